"""What the commands print for programs and for people."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tyro
from rich.cells import cell_len
from rich.console import Console

from ..files import strict_json
from ..untrusted import printable

NAME_WIDTH = 32  # of the names in a list of values; a longer one pushes its value to the right


def print_json(value: Any) -> None:
    """Prints a value as JSON."""
    print(strict_json(value, indent=2))


def print_text(text: str = "", style: str | None = None) -> None:
    """Prints text: only a terminal breaks lines that are too long, and nothing acts on it."""
    Console().print(printable(text), style=style, soft_wrap=True, markup=False, highlight=False)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines, each column as wide as its longest cell."""
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(padded, row, widths)).rstrip() for row in rows]


def padded(cell: str, width: int) -> str:
    """A cell with spaces after it."""
    return cell + " " * (width - cell_len(cell))


def flowed(cells: Iterable[str], indent: str, separator: str = "  ") -> str:
    """Cells one after the other, on as many lines as a terminal needs; none is broken.

    Args:
        cells: the first of them is not indented.
        indent: stands before each further line.
        separator: stands between two cells of a line.
    """
    width = Console().width
    lines = [""]
    for cell in cells:
        line = lines[-1] + separator + cell if lines[-1].strip() else lines[-1] + cell
        if cell_len(line) <= width or not lines[-1].strip():
            lines[-1] = line
        else:
            lines.append(indent + cell)
    return "\n".join(lines)


def listed_values(values: Mapping[str, object]) -> str:
    """Names and their values, a line for each; long values go on below, and no word is broken."""
    column = min(max(map(cell_len, values), default=0), NAME_WIDTH)
    lines = (f"{padded(name, column)}  {value}" for name, value in values.items())
    return "\n".join(wrapped(line, " " * (column + 2)) for line in lines)


def wrapped(text: str, indent: str) -> str:
    """Text on lines that fit a terminal, broken at spaces alone, further ones indented."""
    return textwrap.fill(
        text,
        Console().width,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def number(value: float | None) -> str:
    """A number for a table, with four digits; nothing for None."""
    return "" if value is None else f"{value:.4g}"


@dataclass(frozen=True)
class CommonOptions:
    """What all commands take."""

    root: str | None = None
    """Folder that holds runs/, as for train.py."""
    json: bool = False
    """Print JSON, for programs."""
    debug: bool = False
    """Show the traceback of an error."""


@tyro.conf.configure(tyro.conf.OmitArgPrefixes)  # --run, not --common.run
@dataclass(frozen=True)
class Options(CommonOptions):
    """What a command on one run takes."""

    run: str = "default"
    """Name of the run."""
