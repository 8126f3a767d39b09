"""What the commands print for programs and for people."""

from collections.abc import Container
from dataclasses import dataclass
from typing import Any

import tyro
from rich import box
from rich.table import Table

from ..files import strict_json


def print_json(value: Any) -> None:
    """Prints a value as JSON."""
    print(strict_json(value, indent=2))


def light_table(*columns: str, title: str | None = None, whole: Container[str] = ()) -> Table:
    """A table without frames; what is too long for its column goes on below.

    Args:
        columns: their headings.
        title: stands above it.
        whole: the columns whose lines are never broken.
    """
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.show_header = any(columns)
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in whole)
    return table


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
