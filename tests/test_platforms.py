"""What is made fits on Linux, macOS and Windows."""

import re
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

import pytest
from bake import TEMPLATE
from repositories import git

# Microsoft, "Naming Files, Paths, and Namespaces".
FORBIDDEN = re.compile(r'[<>:"\\|?*\x00-\x1f]')
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
LONGEST_PATH = 160  # of the 260 that Windows allows; the rest is for the folder it lies in


def faults_of(names: Iterable[str]) -> list[str]:
    """The names that some system cannot hold."""
    faults, seen = [], set()
    for name in names:
        parts = PurePosixPath(name).parts
        if (
            any(FORBIDDEN.search(part) or RESERVED.fullmatch(part) for part in parts)
            or any(part.endswith((" ", ".")) for part in parts)
            or name.lower() in seen
            or len(name) > LONGEST_PATH
        ):
            faults.append(name)
        seen.add(name.lower())
    return faults


@pytest.fixture(params=["template", "project"])
def folder(request: pytest.FixtureRequest, bake: Callable[..., Path]) -> Path:
    """The template, and a project with the longest name."""
    return TEMPLATE if request.param == "template" else bake(package_name="k" * 40)


def files_of(folder: Path) -> dict[str, Path]:
    """All files of a repository that git does not ignore, by name."""
    listed = git(folder, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    names = [name for name in listed.split("\0") if name and (folder / name).exists()]
    assert len(names) > 50
    return {name: folder / name for name in names}


def test_every_system_can_hold_the_names(folder: Path):
    assert faults_of(files_of(folder)) == []


@pytest.mark.parametrize(
    "name", ["a:b", "x/aux.py", "nul", "a|b", 'a"b', "dot.", "space ", "x/a?", "A.py", "d" * 161]
)
def test_a_name_that_does_not_fit_would_be_found(name: str):
    assert faults_of(["a.py", name]) == [name]


def test_there_are_no_symbolic_links(folder: Path):
    assert [name for name, file in files_of(folder).items() if file.is_symlink()] == []


def test_lines_end_alike_everywhere(folder: Path):
    contents = {name: file.read_bytes() for name, file in files_of(folder).items()}

    texts = {name: content for name, content in contents.items() if b"\0" not in content}
    assert [name for name, content in texts.items() if b"\r" in content] == []
    assert b"* text=auto eol=lf\n" in texts[".gitattributes"]
    assert b"end_of_line = lf\n" in texts[".editorconfig"]


def test_no_encoding_is_assumed(folder: Path):
    rules = ["--preview", "--isolated", "--select", "PLW1514", "--exclude", "*cookiecutter.*"]
    process = subprocess.run(
        ["ruff", "check", "--no-cache", *rules],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )

    assert process.returncode == 0, process.stdout
