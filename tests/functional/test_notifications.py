"""What the rules tell reaches the topic, with the right of their role."""

import json

from tests.functional.conftest import World


def test_a_failed_bake_is_told_by_the_rules_role_and_by_nothing_else(world: World) -> None:
    aws = world.aws
    sns, sqs, iam = aws.client("sns"), aws.client("sqs"), aws.client("iam")
    (topic,) = [it["TopicArn"] for it in sns.list_topics()["Topics"]]
    queue = sqs.create_queue(QueueName="mail")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
    endpoint = arn["Attributes"]["QueueArn"]
    made = sns.subscribe(
        TopicArn=topic, Protocol="sqs", Endpoint=endpoint, ReturnSubscriptionArn=True
    )
    names = [role["RoleName"] for role in iam.list_roles()["Roles"]]
    (teller,) = [name for name in names if "Teller" in name]
    (policy,) = iam.list_role_policies(RoleName=teller)["PolicyNames"]
    document = iam.get_role_policy(RoleName=teller, PolicyName=policy)["PolicyDocument"]

    def tell(recipe: str) -> None:
        detail = {"recipe": recipe, "error": "E", "summary": "s", "advice": "a", "execution": "x"}
        entry = {"Source": "ami-bakery", "DetailType": "Bake Failed", "Detail": json.dumps(detail)}
        assert aws.client("events").put_events(Entries=[entry])["FailedEntryCount"] == 0

    try:
        tell("web")
        (mail,) = aws.until(lambda: sqs.receive_message(QueueUrl=queue).get("Messages"))
        assert "AMI Bakery: recipe web failed with E" in mail["Body"]
        before = len(aws.events.failures)
        iam.delete_role_policy(RoleName=teller, PolicyName=policy)
        tell("db")
        failure = aws.until(lambda: aws.events.failures[before:])[0]
        assert "may not sns:Publish" in failure.reason and teller in failure.reason
    finally:
        iam.put_role_policy(RoleName=teller, PolicyName=policy, PolicyDocument=json.dumps(document))
        sns.unsubscribe(SubscriptionArn=made["SubscriptionArn"])
        sqs.delete_queue(QueueUrl=queue)
