"""docs/dependencies.md names all that a project pulls in, with its reason and its licence."""

import re
import tomllib
from collections.abc import Callable
from pathlib import Path

from bake import TEMPLATE

PERMISSIVE = re.compile(
    r"Apache|BSD|MIT|Python Software Foundation|PSF-2\.0|Mozilla Public License 2\.0"
)


def tables_of(text: str) -> list[list[list[str]]]:
    """The cells of the tables of a Markdown text, without their heads."""
    tables = re.findall(r"(?:^\|.*\n?)+", text, re.MULTILINE)
    return [
        [[cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines()[2:]]
        for table in tables
    ]


def test_every_dependency_has_a_reason_and_a_licence(bake: Callable[..., Path]):
    settings = tomllib.loads((bake() / "pyproject.toml").read_text(encoding="utf-8"))
    direct, *extras = (
        {re.match(r"[\w-]+", name)[0] for name in names}
        for names in [
            settings["project"]["dependencies"],
            *settings["project"]["optional-dependencies"].values(),
        ]
    )

    text = (TEMPLATE / "docs/dependencies.md").read_text(encoding="utf-8")
    reasons, asked_for, licences = tables_of(text)

    assert direct <= {row[0] for row in reasons}
    assert set().union(*extras) == {row[1] for row in asked_for}
    assert all(row[1] and row[2] for row in [*reasons, *asked_for])
    assert all(PERMISSIVE.search(row[4]) for row in asked_for)
    named = {row[0].replace("_cpu", "") for row in licences}
    assert direct <= named
    assert [row for row in licences if not PERMISSIVE.search(row[2])] == []
