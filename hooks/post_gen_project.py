"""Finishes a new project and says how to go on."""

import io
import json
import shlex
import sys
from pathlib import Path

# Safe with any text: tojson leaves no single quotation mark unescaped.
ANSWERS = json.loads(r'{{ cookiecutter | tojson }}')  # fmt: skip

# cookiecutter leaves out files without a name, but makes their folders.
OPTIONAL_FOLDERS = (".github/workflows", ".github")

MESSAGE = """\
{name} is in {folder}. Next:

  cd {folder}
  make train   # trains a model; stop it and run it again to resume
  make test    # runs the tests
"""


def remove_empty_folders(project: Path) -> None:
    """Removes the optional folders that nothing was put into."""
    for name in OPTIONAL_FOLDERS:
        folder = project / name
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def main() -> None:
    """Finishes the project in the working directory."""
    project = Path.cwd()
    remove_empty_folders(project)
    # cruft works in temporary folders, where nobody should be sent.
    if "_commit" not in ANSWERS:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")
        print(MESSAGE.format(name=ANSWERS["project_name"], folder=shlex.quote(str(project))))


if __name__ == "__main__":
    main()
