"""Baking into a folder that is there already deletes nothing of the user's."""

import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from bake import TEMPLATE
from repositories import commit, environment_of, git

RUN = "runs/default/checkpoints/"
RUN_FILES = [f"{RUN}checkpoint", f"{RUN}ckpt-44.index", f"{RUN}ckpt-44.data-00000-of-00001"]


def own_files(folders: Iterable[Path]) -> dict[Path, bytes]:
    """Writes a file of the user's own into each folder."""
    files = {}
    for number, folder in enumerate(folders):
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "of the user.bin"
        file.write_bytes(bytes([0, number % 256]))
        files[file] = file.read_bytes()
    return files


def cookiecutter(output: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Runs the command that users type."""
    command = ["cookiecutter", str(TEMPLATE), "--no-input", "--output-dir", str(output), *options]
    home = environment_of(output.parent / "home")
    return subprocess.run(command, env=home, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("options", ["-f", "-fs"])
def test_nothing_of_the_user_is_deleted(bake: Callable[..., Path], options: str):
    project = bake()
    folders = [path for path in project.rglob("*") if path.is_dir()]
    files = own_files([project, *folders, project / "of the user", project / "tests" / "mine"])
    for name in RUN_FILES:
        file = project / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(name.encode())
        files[file] = name.encode()

    process = cookiecutter(project.parent, options)

    assert process.returncode == 0, process.stderr
    assert {file: file.read_bytes() for file in files} == files


def test_what_is_there_stays_with_s_and_is_written_anew_without(bake: Callable[..., Path]):
    project = bake()
    train = project / "train.py"
    original = train.read_bytes()
    train.write_bytes(b"# changed\n")
    (project / "evaluate.py").unlink()

    assert cookiecutter(project.parent, "-fs").returncode == 0
    assert train.read_bytes() == b"# changed\n"
    assert (project / "evaluate.py").is_file()

    assert cookiecutter(project.parent, "-f").returncode == 0
    assert train.read_bytes() == original


def test_an_existing_folder_is_refused_without_an_option(bake: Callable[..., Path]):
    project = bake()
    (project / "train.py").write_bytes(b"# changed\n")

    process = cookiecutter(project.parent)

    assert process.returncode != 0
    assert "already exists" in process.stdout + process.stderr
    assert (project / "train.py").read_bytes() == b"# changed\n"


def test_a_refusal_deletes_nothing(bake: Callable[..., Path]):
    project = bake()
    files = own_files([project, project / "empty"])
    (project / "really empty").mkdir()

    process = cookiecutter(project.parent, "-f", "package_name=class")

    assert process.returncode != 0
    assert {file: file.read_bytes() for file in files} == files
    assert (project / "really empty").is_dir()


def test_an_existing_repository_keeps_its_history(tmp_path: Path):
    project = tmp_path / "projects" / "my-experiment"
    files = own_files([project, project / "runs" / "old"])
    commit(project)
    (project / "staged").touch()
    git(project, "add", "staged")
    head = git(project, "rev-parse", "HEAD")

    assert cookiecutter(project.parent, "-fs").returncode == 0

    assert git(project, "rev-parse", "HEAD") == head
    assert git(project, "diff", "--cached", "--name-only").split() == ["staged"]
    assert {file: file.read_bytes() for file in files} == files
