"""One module is one state of the machine is one Lambda function."""
