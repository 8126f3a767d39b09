"""The helper that generates projects keeps to itself and takes no wrong answer."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from bake import bake as bake_project


def test_an_unknown_answer_is_an_error(bake: Callable[..., Path], tmp_path: Path):
    with pytest.raises(ValueError, match=r"does not ask for licence\."):
        bake(licence="MIT")

    assert not list(tmp_path.iterdir())


def test_a_private_answer_is_an_error(bake: Callable[..., Path]):
    with pytest.raises(ValueError, match="does not ask for __year"):
        bake(__year="1999")


def test_a_choice_that_is_none_is_an_error(bake: Callable[..., Path]):
    with pytest.raises(ValueError, match="GPL"):
        bake(license="GPL")


def test_nothing_of_the_user_is_read_or_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    home = tmp_path / "home"
    home.mkdir()
    settings = home / ".cookiecutterrc"
    settings.write_text(json.dumps({"default_context": {"project_slug": "of-the-user"}}))
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("COOKIECUTTER_CONFIG", str(settings))

    project = bake_project(tmp_path / "projects")

    assert project.name == "my-experiment"
    assert list(home.iterdir()) == [settings]
