"""The answers that the tests give."""

import itertools
import json

from bake import TEMPLATE

QUESTIONS = json.loads((TEMPLATE / "cookiecutter.json").read_text(encoding="utf-8"))
CHOICES = {
    name: values
    for name, values in QUESTIONS.items()
    if isinstance(values, list) and not name.startswith("_")
}
COMBINATIONS = [
    dict(zip(CHOICES, values, strict=True)) for values in itertools.product(*CHOICES.values())
]


def name_of(answers: dict[str, str]) -> str:
    """A name for a test with these answers."""
    return "-".join(answers.values())
