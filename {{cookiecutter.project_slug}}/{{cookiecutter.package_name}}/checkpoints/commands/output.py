"""What the commands print for programs and for people."""

import json
import math
from collections.abc import Container, Mapping
from typing import Any

from rich import box
from rich.table import Table


def print_json(value: Any) -> None:
    """Prints a value as JSON."""
    print(json.dumps(without_nan(value), indent=2, allow_nan=False))


def without_nan(value: Any) -> Any:
    """The value with null for each number that JSON has no word for."""
    if isinstance(value, Mapping):
        return {name: without_nan(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


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
