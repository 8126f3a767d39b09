"""The tests of what is yours; those of the machinery are in durable/tests."""
