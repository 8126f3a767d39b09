"""Git repositories for tests: the template's own, and those of users."""

import os
import shutil
import subprocess
from pathlib import Path

from bake import TEMPLATE

AUTHOR = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]


def environment_of(home: Path) -> dict[str, str]:
    """An environment with nothing of the user's own settings."""
    home.mkdir(exist_ok=True)
    names = {"HOME": str(home), "USERPROFILE": str(home), "GIT_CONFIG_GLOBAL": os.devnull}
    return os.environ | names


def git(folder: Path, *arguments: str) -> str:
    """Runs git in a folder, and gives what it printed."""
    command = ["git", *AUTHOR, *arguments]
    process = subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True)
    return process.stdout


def commit(folder: Path) -> None:
    """Commits everything in a folder, which becomes a repository if it is none yet."""
    if not (folder / ".git").exists():
        git(folder, "init", "--quiet", "--initial-branch", "main")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--no-verify", "--message", "Change")


def copy_template(folder: Path) -> Path:
    """Makes a repository of the template as it is now, committed or not."""
    folder.mkdir()
    shutil.copy(TEMPLATE / "cookiecutter.json", folder)
    for name in ("hooks", "templates", "{{cookiecutter.project_slug}}"):
        shutil.copytree(
            TEMPLATE / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".*cache")
        )
    commit(folder)
    return folder


def edit(file: Path, old: str, new: str) -> None:
    """Replaces a text that stands in a file once."""
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1
    file.write_text(text.replace(old, new), encoding="utf-8", newline="\n")
