"""The commands of the program, for tests that call them in their own process."""

from ...cli.evaluate import evaluate as evaluate_project
from ...cli.main import run_command
from .experiment import PROJECT


def main(arguments):
    return run_command(PROJECT, arguments, program=f"python -m {__package__}")


def evaluate(arguments):
    return evaluate_project(PROJECT, arguments)
