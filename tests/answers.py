"""The answers that the tests give."""

import itertools
import json
from typing import Any

from bake import TEMPLATE

QUESTIONS = json.loads((TEMPLATE / "cookiecutter.json").read_text(encoding="utf-8"))
CHOICES = {
    name: values
    for name, values in QUESTIONS.items()
    if isinstance(values, list) and not name.startswith("_")
}


def pairs_of(answers: dict[str, str]) -> set[Any]:
    """Every two of the answers."""
    return set(itertools.combinations(answers.items(), 2))


def covering() -> list[dict[str, str]]:
    """Few combinations of the choices, in which any two of them still come together."""
    products = itertools.product(*CHOICES.values())
    all_answers = [dict(zip(CHOICES, values, strict=True)) for values in products]
    missing = set().union(*map(pairs_of, all_answers))
    chosen = []
    while missing:
        most = max(all_answers, key=lambda answers: len(pairs_of(answers) & missing))
        missing -= pairs_of(most)
        chosen.append(most)
    return chosen


COMBINATIONS = covering()


def name_of(answers: dict[str, str]) -> str:
    """A name for a test with these answers."""
    return "-".join(answers.values())
