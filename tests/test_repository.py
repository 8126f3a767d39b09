"""A new project is a git repository ready for its first commit, where it should be one."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from bake import bake as bake_project
from repositories import commit, git


def test_a_new_project_is_ready_for_its_first_commit(bake: Callable[..., Path]):
    project = bake()

    assert git(project, "branch", "--show-current") == "main\n"
    status = git(project, "status", "--porcelain").splitlines()
    assert len(status) > 50
    assert {line[:2] for line in status} == {"A "}
    commit(project)
    assert git(project, "status", "--porcelain") == ""
    assert git(project, "rev-list", "--count", "HEAD") == "1\n"


def test_a_project_inside_a_repository_belongs_to_that(bake: Callable[..., Path], tmp_path: Path):
    (tmp_path / "own").touch()
    commit(tmp_path)

    project = bake()

    assert not (project / ".git").exists()
    assert git(tmp_path, "status", "--porcelain").startswith("?? ")


def test_a_project_is_made_without_git_too(
    bake: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
):
    found = [folder for folder in os.get_exec_path() if not shutil.which("git", path=folder)]
    monkeypatch.setenv("PATH", os.pathsep.join(found))

    project = bake()

    assert (project / "train.py").is_file()
    assert not (project / ".git").exists()
    assert "git repository" not in capfd.readouterr().out


def test_a_folder_with_files_becomes_no_repository(tmp_path: Path):
    project = tmp_path / "my-experiment"
    file = project / "large.bin"
    project.mkdir()
    file.touch()

    bake_project(tmp_path, overwrite=True)

    assert not (project / ".git").exists()
    assert file.exists()


def test_a_commit_of_the_user_stays_the_last(bake: Callable[..., Path]):
    project = bake()
    commit(project)
    (project / "own").touch()
    head = git(project, "rev-parse", "HEAD")

    bake(overwrite=True)

    assert git(project, "rev-parse", "HEAD") == head
    assert git(project, "status", "--porcelain") == "?? own\n"
