"""What holds for the template as a whole."""

import configparser
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from answers import QUESTIONS
from bake import TEMPLATE

OLDEST, NEWEST = 11, 14  # of Python 3


def tools_of(folder: Path) -> dict[str, str]:
    """The pinned tools of a folder's pyproject.toml."""
    groups = tomllib.loads((folder / "pyproject.toml").read_text())["dependency-groups"]
    return dict(requirement.split("==") for requirement in groups["dev"])


def settings_of(folder: Path, tool: str) -> dict[str, Any]:
    """A tool's settings in a folder's pyproject.toml."""
    return tomllib.loads((folder / "pyproject.toml").read_text())["tool"][tool]


def environments_of(folder: Path) -> list[str]:
    """The environments that a folder's tox.ini runs by default."""
    settings = configparser.ConfigParser(interpolation=None)
    settings.read(folder / "tox.ini")
    return settings["tox"]["env_list"].split(", ")


def test_one_folder_is_the_project():
    names = [path.name for path in TEMPLATE.iterdir() if "{{" in path.name]

    assert names == ["{{cookiecutter.project_slug}}"]


def test_every_question_has_help():
    questions = [name for name in QUESTIONS if not name.startswith("_")]

    assert len(questions) <= 10
    assert list(QUESTIONS["__prompts__"]) == questions


def test_every_choice_of_a_question_has_help():
    for name, prompt in QUESTIONS["__prompts__"].items():
        if isinstance(prompt, dict):
            assert list(prompt) == ["__prompt__", *QUESTIONS[name]]


def test_the_template_and_the_project_use_the_same_tools(bake: Callable[..., Path]):
    own, generated = tools_of(TEMPLATE), tools_of(bake())

    assert {"mypy", "ruff", "pytest", "tox", "tox-uv", "pre-commit"} <= set(generated)
    assert own == generated | {"cookiecutter": own["cookiecutter"]}


def test_the_template_and_the_project_follow_the_same_rules(bake: Callable[..., Path]):
    own, generated = (settings_of(folder, "ruff") for folder in (TEMPLATE, bake()))

    assert own["lint"]["select"] == generated["lint"]["select"]
    assert own["line-length"] == generated["line-length"]


def test_the_template_and_the_project_are_typed_alike(bake: Callable[..., Path]):
    own, generated = (settings_of(folder, "mypy") for folder in (TEMPLATE, bake()))

    assert own.pop("files") == ["benchmarks", "hooks", "tools"]
    assert generated.pop("files") == ["my_experiment", "evaluate.py", "train.py"]
    assert generated.pop("exclude") == ["/durable/tests/"]
    assert own == generated
    assert own["strict"]


def test_every_tensorflow_of_the_project_is_tested(bake: Callable[..., Path]):
    own, generated = environments_of(TEMPLATE), environments_of(bake())

    assert own == ["lint", "template", "generated215", "generated221", "long221", *generated[1:]]
    assert generated[0] == "lint"
    assert generated[1:] == [*(f"tf2{minor}" for minor in range(15, 23)), "keras2"]


def test_the_supported_versions_are_the_same_everywhere(bake: Callable[..., Path]):
    project = bake(tensorflow="tensorflow")
    settings = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    tested = [name for name in environments_of(project) if name.startswith("tf")]

    assert settings["requires-python"] == f">=3.{OLDEST},<3.{NEWEST + 1}"
    for folder in (TEMPLATE, project):
        assert settings_of(folder, "ruff")["target-version"] == f"py3{OLDEST}"
        assert settings_of(folder, "mypy")["python_version"] == f"3.{OLDEST}"
    assert f">=3.{OLDEST})" in (TEMPLATE / "Makefile").read_text()
    for page in ("README.md", "docs/dependencies.md"):
        assert f"Python 3.{OLDEST} to 3.{NEWEST}" in (TEMPLATE / page).read_text(encoding="utf-8")

    minors = [int(name.removeprefix("tf2")) for name in tested]
    bounds = f">=2.{min(minors)},<2.{max(minors) + 1}"
    assert {f"tensorflow{bounds}", f"tensorboard{bounds}"} <= set(settings["dependencies"])


def test_every_promise_of_the_readme_is_proved():
    table = (TEMPLATE / "README.md").read_text(encoding="utf-8").partition("## What happens")[2]
    proofs = re.findall(r"`(test_\w+\.py)::(test_\w+)` \|$", table, re.MULTILINE)
    rows = re.findall(r"^\| (?!\||---)", table, re.MULTILINE)

    assert len(proofs) == len(rows) >= 15
    package = TEMPLATE / "{{cookiecutter.project_slug}}" / "{{cookiecutter.package_name}}"
    for file, test in proofs:
        text = (package / "durable" / "tests" / file).read_text(encoding="utf-8")
        assert f"\ndef {test}(" in text, test
