"""Bugs made by hand, to see whether the tests notice."""
