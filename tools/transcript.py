"""Runs the commands of a page of documentation, and puts what they print beneath each.

Usage: python tools/transcript.py PROJECT PAGE

In a block marked `console`, a line that begins with a dollar sign is a command; the rest is what it
prints. All are run in a copy of the project, with the Python of its `.venv`. A block that follows a
line `<!-- picture: NAME.svg -->` is drawn as a terminal into that file too.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.text import Text

WIDTH = 100
BLOCK = re.compile(r"(?:<!-- picture: ([\w.-]+) -->\n)?```console\n(.*?)```\n", re.DOTALL)
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def main(project: Path, page: Path) -> None:
    """Writes the page anew, and its pictures beside it."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / project.name
        shutil.copytree(project, copy, ignore=shutil.ignore_patterns("runs", ".venv", ".*cache"))
        python = project / ".venv" / "bin"

        def fill(block: re.Match[str]) -> str:
            commands = [line for line in block[2].splitlines() if line.startswith("$ ")]
            outputs = [run(command.removeprefix("$ "), copy, python) for command in commands]
            shown = [
                f"{command}\n{output}" for command, output in zip(commands, outputs, strict=True)
            ]
            if block[1]:
                draw("\n".join(shown), page.parent / block[1])
            marker = f"<!-- picture: {block[1]} -->\n" if block[1] else ""
            lines = COLOURS.sub("", "".join(shown)).splitlines()
            return "\n".join([f"{marker}```console", *map(str.rstrip, lines), "```\n"])

        text = page.read_text(encoding="utf-8")
        page.write_text(BLOCK.sub(fill, text), encoding="utf-8", newline="\n")


def run(command: str, folder: Path, python: Path) -> str:
    """What a command prints on a terminal, with its paths below the folder."""
    settings = {
        "COLUMNS": str(WIDTH),
        "FORCE_COLOR": "1" if "-m my_experiment" in command else "",
        "PATH": f"{python}{os.pathsep}{os.environ['PATH']}",
    }
    process = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=os.environ | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        check=False,
    )
    return process.stdout.replace(f"{folder}/", "")


def draw(text: str, picture: Path) -> None:
    """Draws a text with its colours as a terminal."""
    console = Console(record=True, width=WIDTH, file=StringIO(), force_terminal=True)
    console.print(Text.from_ansi(text))
    svg = console.export_svg(title=picture.stem, unique_id=picture.stem)
    picture.write_text(svg, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())
