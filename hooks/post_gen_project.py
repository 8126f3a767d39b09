"""Finishes a new project and says how to go on."""

import io
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

# Safe with any text: tojson leaves no single quotation mark unescaped.
ANSWERS = json.loads(r'{{ cookiecutter | tojson }}')  # fmt: skip

# cookiecutter leaves out files without a name, but makes their folders.
OPTIONAL_FOLDERS = (".github/workflows", ".github")


def remove_empty_folders(project: Path) -> None:
    """Removes the optional folders that nothing was put into."""
    for name in OPTIONAL_FOLDERS:
        folder = project / name
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def git(project: Path, *arguments: str) -> str | None:
    """What git has printed; None where it is missing or has failed."""
    try:
        process = subprocess.run(
            ["git", *arguments], cwd=project, capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return process.stdout if process.returncode == 0 else None


def stage(project: Path) -> bool:
    """Adds all files of a repository that has none yet; gives whether it is ready for a commit."""
    if not (project / ".git").exists():
        return False
    has_commits = git(project, "rev-parse", "--verify", "HEAD") is not None
    if has_commits or git(project, "ls-files") != "":
        return False
    return git(project, "add", "--all") is not None


def message(project: Path, *, ready: bool) -> str:
    """What a user reads at the end; its last line is what to type next."""
    repository = ", a git repository ready for its first commit" if ready else ""
    lines = [f"{ANSWERS['project_name']} is in {project}{repository}."]
    if os.name == "posix":
        lines += ["Train it, stop it, and run it again to resume:", ""]
        lines += [f"  cd {shlex.quote(str(project))} && make train"]
    else:
        lines += ["README.md says how to train it without make:", "", f'  cd "{project}"']
    return "\n".join(lines)


def main() -> None:
    """Finishes the project in the working directory."""
    project = Path.cwd()
    remove_empty_folders(project)
    # cruft works in temporary folders, where nobody should be sent.
    if "_commit" not in ANSWERS:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")
        print(message(project, ready=stage(project)))


if __name__ == "__main__":
    main()
