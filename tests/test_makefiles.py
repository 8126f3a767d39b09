"""The Makefiles set up an environment, with uv or without it."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from bake import TEMPLATE

pytestmark = pytest.mark.skipif(os.name != "posix", reason="it needs make")

UV = "UV=uv 1.0"
NO_UV = "UV="


def commands(folder: Path, *arguments: str) -> str:
    """What make would run."""
    process = subprocess.run(
        ["make", "--dry-run", "--always-make", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return process.stdout


@pytest.fixture(params=["template", "project"])
def folder(request: pytest.FixtureRequest, bake: Callable[..., Path]) -> Path:
    """The template, and a project made from it."""
    return TEMPLATE if request.param == "template" else bake()


def test_uv_is_used_where_it_is_installed(folder: Path):
    printed = commands(folder, "test", UV)

    assert "uv venv" in printed
    assert "uv pip install --python .venv" in printed
    assert "-m pip" not in printed


def test_pip_is_used_elsewhere(folder: Path):
    printed = commands(folder, "test", NO_UV)

    assert '"python3" -m venv .venv' in printed
    assert ".venv/bin/python -m pip install --upgrade pip" in printed
    assert "--group dev" in printed
    assert "uv venv" not in printed


@pytest.mark.parametrize("tool", [UV, NO_UV])
def test_the_interpreter_can_be_chosen(folder: Path, tool: str):
    assert '"python3.12"' in commands(folder, "test", tool, "PYTHON=python3.12")


def test_arguments_are_passed_on(bake: Callable[..., Path]):
    printed = commands(bake(), "train", "ARGS=--run wide --epochs 50")

    assert printed.splitlines()[-1] == ".venv/bin/python train.py --run wide --epochs 50"


@pytest.mark.parametrize("tool", [UV, NO_UV])
def test_the_sweep_installs_what_it_needs(bake: Callable[..., Path], tool: str):
    project = bake(package_name="my_experiment")

    install, _, command = commands(project, "sweep", tool).splitlines()[-3:]
    assert "pip install" in install
    assert install.endswith('--editable ".[sweep]"')
    assert command.startswith(".venv/bin/python -m my_experiment sweep --space optimizer.learning-")

    command = commands(project, "sweep", tool, "ARGS=--space seed=1..9").splitlines()[-1]
    assert command == ".venv/bin/python -m my_experiment sweep --space seed=1..9"


def test_the_environment_follows_pyproject(bake: Callable[..., Path]):
    project = bake()
    installed = project / ".venv" / "installed"
    installed.parent.mkdir()
    installed.touch()
    quick = ["make", "--question", ".venv/installed"]
    assert subprocess.run(quick, cwd=project, check=False).returncode == 0

    newer = installed.stat().st_mtime_ns + 10**9
    os.utime(project / "pyproject.toml", ns=(newer, newer))

    assert subprocess.run(quick, cwd=project, check=False).returncode == 1


def test_every_command_has_its_form_without_make(bake: Callable[..., Path]):
    project = bake()
    readme = (project / "README.md").read_text(encoding="utf-8").replace(".venv/bin/", "")
    targets = ("train", "test", "sweep", "tensorboard", "gpu", "lint")

    lines = commands(project, *targets, NO_UV).splitlines()
    plain = [line for line in lines if line.startswith(".venv/bin/")]
    assert len(plain) >= 10
    for line in plain:
        command = line.partition("#")[0].strip().replace(".venv/bin/", "")
        assert command in readme, command
