"""The hooks tell how to go on, can run twice, and need nothing but Python."""

import ast
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from bake import TEMPLATE
from bake import bake as bake_project
from cookiecutter.hooks import run_script_with_context

HOOKS = sorted((TEMPLATE / "hooks").glob("*.py"))


def contents(folder: Path) -> dict[Path, bytes | None]:
    """Everything below a folder: the bytes of each file, None for a folder."""
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def test_the_end_says_what_to_type_next(capfd: pytest.CaptureFixture[str], tmp_path: Path):
    project = bake_project(tmp_path / "a 'strange' folder", project_name="{Net} \\ 日本")

    lines = capfd.readouterr().out.splitlines()
    repository = "a git repository ready for its first commit"
    assert lines[0] == f"{{Net}} \\ 日本 is in {project}, {repository}."
    if os.name == "posix":
        assert shlex.split(lines[-1]) == ["cd", str(project), "&&", "make", "train"]
    else:
        assert lines[-1] == f'  cd "{project}"'


@pytest.mark.parametrize("ci", ["github", "none"])
def test_a_second_time_changes_nothing(bake: Callable[..., Path], ci: str):
    project = bake(ci=ci)
    first = contents(project)

    bake(ci=ci, overwrite=True)

    assert contents(project) == first


def test_a_folder_of_the_users_own_stays(bake: Callable[..., Path]):
    project = bake(ci="none")
    own = project / ".github" / "workflows" / "own.yml"
    own.parent.mkdir(parents=True)
    own.touch()

    bake(ci="none", overwrite=True)

    assert own.exists()


def test_cruft_is_sent_nowhere(bake: Callable[..., Path], capfd: pytest.CaptureFixture[str]):
    project = bake(ci="none")
    first = contents(project)
    capfd.readouterr()

    answers = {"project_name": "My Experiment", "_commit": "0" * 40}
    hook = TEMPLATE / "hooks" / "post_gen_project.py"
    run_script_with_context(hook, project, {"cookiecutter": answers})

    assert contents(project) == first
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook.stem)
def test_hooks_import_the_standard_library_alone(hook: Path):
    tree = ast.parse(hook.read_text(encoding="utf-8"))

    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append(node.module)
    assert "json" in names
    assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names
