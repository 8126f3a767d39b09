"""The code with a mistake in it: a proof that does not find the mistake proves nothing."""

import shutil
from pathlib import Path
from typing import NamedTuple

from .helpers import PROJECT

PACKAGE, DURABLE = __package__.split(".")[0], "/".join(__package__.split(".")[:-1])


class Mutant(NamedTuple):
    """A mistake: a piece of code that stands once in a file of `durable/`, and a wrong one."""

    mistake: str
    file: str
    right: str
    wrong: str


def project_with(mutant, folder):
    """Copies the code into a folder with the mistake in it; PYTHONPATH of a process that has it."""
    shutil.copytree(
        PROJECT / PACKAGE, Path(folder) / PACKAGE, ignore=shutil.ignore_patterns("__pycache__")
    )
    file = Path(folder) / DURABLE / mutant.file
    code = file.read_text(encoding="utf-8")
    assert code.count(mutant.right) == 1, f"{mutant.right!r} is not once in {mutant.file}"
    file.write_text(code.replace(mutant.right, mutant.wrong), encoding="utf-8")
    return Path(folder)
