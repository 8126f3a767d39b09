"""The workflows are valid, may do little, and use what is pinned."""

import configparser
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from bake import TEMPLATE

WORKFLOW = ".github/workflows/ci.yml"
SCHEMAS = {WORKFLOW: "vendor.github-workflows", ".github/dependabot.yml": "vendor.dependabot"}
PIN = re.compile(r"uses: ([\w-]+/[\w-]+)@([0-9a-f]{40}) # (v\d+\.\d+\.\d+)\n")
NOT_WEEKLY = "${{ github.event_name == 'schedule' && 'none' || 'latest' }}"


def pins_of(folder: Path) -> dict[str, tuple[str, str]]:
    """The commit and the version of each action that a folder's workflow uses."""
    text = (folder / WORKFLOW).read_text(encoding="utf-8")
    found = PIN.findall(text)
    assert len(found) == text.count("uses:")
    return {action: (commit, version) for action, commit, version in found}


def workflow_of(folder: Path) -> dict[Any, Any]:
    """The workflow of a folder."""
    return yaml.safe_load((folder / WORKFLOW).read_text(encoding="utf-8"))


@pytest.fixture(params=["template", "project"])
def folder(request: pytest.FixtureRequest, bake: Callable[..., Path]) -> Path:
    """The template, and a project made from it."""
    return TEMPLATE if request.param == "template" else bake()


def check(file: Path, schema: str) -> None:
    """Checks a file against a schema that check-jsonschema has with it."""
    command = ["check-jsonschema", "--builtin-schema", schema, str(file)]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout + process.stderr


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_files_follow_the_official_schema(folder: Path, name: str):
    check(folder / name, SCHEMAS[name])


def test_a_fault_would_be_found(bake: Callable[..., Path]):
    file = bake() / WORKFLOW
    file.write_text(file.read_text().replace("runs-on:", "runs-at:"))

    with pytest.raises(AssertionError, match="runs-at"):
        check(file, SCHEMAS[WORKFLOW])


def test_the_template_and_the_project_use_the_same_actions(bake: Callable[..., Path]):
    assert pins_of(TEMPLATE) == pins_of(bake())


def test_a_workflow_may_do_little_and_not_for_long(folder: Path):
    workflow = workflow_of(folder)

    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["group"]
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 60
        assert "permissions" not in job
        checkouts = [step for step in job["steps"] if "checkout" in step.get("uses", "")]
        assert [step["with"]["persist-credentials"] for step in checkouts] == [False]


def test_a_workflow_runs_weekly_with_the_newest_release(folder: Path):
    workflow = workflow_of(folder)

    minute, hour, *days, weekday = workflow[True]["schedule"][0]["cron"].split()  # YAML's on
    assert minute.isdecimal()
    assert hour.isdecimal()
    assert (days, weekday) == (["*", "*"], "1")
    matrix = workflow["jobs"]["test"]["strategy"]["matrix"]
    assert matrix["environment"][-1] == "latest"
    assert matrix["exclude"] == [{"environment": NOT_WEEKLY}]


def test_the_project_is_tested_on_the_oldest_and_the_newest(bake: Callable[..., Path]):
    job = workflow_of(bake())["jobs"]["test"]

    environments = job["strategy"]["matrix"]["environment"]
    assert environments == ["lint", "py311-tf215", "py313-tf221", "py314-tf222", "latest"]
    assert job["steps"][-1]["run"] == "python -m tox run -e ${{ matrix.environment }}"


def test_the_template_is_tested_everywhere_with_everything():
    matrix = workflow_of(TEMPLATE)["jobs"]["test"]["strategy"]["matrix"]

    settings = configparser.ConfigParser(interpolation=None)
    settings.read(TEMPLATE / "tox.ini")
    assert matrix["environment"] == [*settings["tox"]["env_list"].split(", "), "latest"]
    systems = [system.partition("-")[0] for system in matrix["system"]]
    assert systems == ["ubuntu", "macos", "windows"]


@pytest.mark.parametrize("tensorflow", ["tensorflow", "tensorflow-cpu", "tensorflow[and-cuda]"])
def test_the_newest_is_installed_whatever_the_project_allows(
    bake: Callable[..., Path], tensorflow: str
):
    settings = configparser.ConfigParser(interpolation=None)
    settings.read(bake(tensorflow=tensorflow) / "tox.ini")

    commands = settings["testenv"]["commands_pre"].splitlines()
    name = tensorflow.partition("[")[0]
    assert [command for command in commands if command.startswith("latest:")] == [
        "latest: uv pip uninstall keras keras-nightly",
        f"latest: uv pip install --upgrade --prerelease-package {name}=allow {name}",
    ]
    assert "latest" not in settings["testenv"]["deps"]
