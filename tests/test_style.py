"""A new project is clean: its own tools find nothing to fix."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from bake import TEMPLATE

DURABLE = TEMPLATE / "{{cookiecutter.project_slug}}" / "{{cookiecutter.package_name}}" / "durable"
# The order of imports depends on the names, and the length of lines on how long they are.
PACKAGES = ["a", "_a", "d", "k" * 40, "n", "p", "s", "t", "u", "z", "z" * 40]


def run(project: Path, *command: str) -> None:
    """Runs a command that should have nothing to say against the project."""
    process = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout + process.stderr
    assert not process.stderr  # ruff warns there if it has found no files


def check(project: Path) -> None:
    """Checks that ruff has nothing to fix."""
    run(project, "ruff", "check", "--no-cache")
    run(project, "ruff", "format", "--check", "--no-cache")


def test_ruff_has_nothing_to_fix(baked: Path):
    check(baked)


@pytest.mark.parametrize("package", PACKAGES)
def test_ruff_has_nothing_to_fix_whatever_the_name(bake: Callable[..., Path], package: str):
    check(bake(package_name=package))


def test_ruff_would_find_a_fault(bake: Callable[..., Path]):
    project = bake()
    with (project / "train.py").open("a") as file:
        file.write("import os\n")

    with pytest.raises(AssertionError, match="F401"):
        check(project)


def test_mypy_finds_nothing(bake: Callable[..., Path]):
    run(bake(), "mypy")


def test_mypy_would_find_a_fault(bake: Callable[..., Path]):
    project = bake()
    with (project / "train.py").open("a") as file:
        file.write("def untyped(x):\n    return x\n")

    with pytest.raises(AssertionError, match="no-untyped-def"):
        run(project, "mypy")


def test_the_templates_zone_is_clean_as_it_lies():
    """It is Python before it is baked, and has its own settings."""
    check(DURABLE)
    settings = ["--config-file", "durable/mypy.ini", "--cache-dir", os.devnull]
    run(DURABLE.parent, "mypy", *settings, "-p", "durable")


def test_the_commit_hooks_have_nothing_to_fix(bake: Callable[..., Path]):
    project = bake()

    run(project, "pre-commit", "run", "--all-files")

    run(project, "git", "diff", "--exit-code")
