"""A small project of the tests' own: `python -m <package>.durable.tests.program train …`.

Nothing of it depends on what a user makes of the project that the tests lie in.
"""
