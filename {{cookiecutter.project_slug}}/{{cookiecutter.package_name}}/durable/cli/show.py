"""show: the card of a checkpoint, and what is in its variables."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import tyro
from etils import epath
from rich.console import Console
from rich.filesize import decimal

from ..checkpoint.card import Card, VariableEntry, bytes_taken, read_card
from ..checkpoint.reader import Tensors
from ..evaluation.comparison import Statistics
from ..files import strict_json
from ..run.references import locate
from ..run.settings import Project, flat
from .console import (
    Options,
    aligned,
    flowed,
    listed_values,
    number,
    print_json,
    print_text,
    wrapped,
)

INDENT = "    "
AllStatistics = Mapping[str, Statistics | None]


def show(
    project: Project, common: Options, at: tyro.conf.Positional[str] = "latest", quick: bool = False
) -> int:
    """Show the card of a checkpoint, its metrics, settings, layers and variables.

    Of each variable it tells the size, the share of zeros, and of the finite values the mean, the
    standard deviation, the smallest and the largest.

    Args:
        project: whose run it is.
        common: what every command takes.
        at: A step, latest, best or epoch:N; or RUN@ and one of these.
        quick: Read the card alone: nothing is told of the values.
    """
    checkpoint = locate(project.paths(common.root, common.run), at)
    card = read_card(checkpoint)
    statistics = {} if quick else read_statistics(checkpoint, card)
    if common.json:
        print_json({"path": str(checkpoint)} | asdict(card) | with_statistics(card, statistics))
        return 0
    print_card(checkpoint, card)
    print_variables(card, statistics)
    return 0


def read_statistics(checkpoint: epath.Path, card: Card) -> AllStatistics:
    """The statistics of each variable, by path. All else is read too, to find damage."""
    tensors = Tensors(checkpoint)
    by_key = {key: Statistics.of(tensors.read(key)) for key in tensors.keys}
    return {entry.path: by_key.get(entry.key) for entry in card.structure.variables}


def with_statistics(card: Card, statistics: AllStatistics) -> dict[str, Any]:
    """The structure of a card, each variable with its size and its statistics."""
    structure = asdict(card.structure)
    for entry, values in zip(card.structure.variables, structure["variables"], strict=True):
        found = statistics.get(entry.path)
        values |= {
            "bytes": bytes_taken(entry.shape, entry.dtype),
            "statistics": found and asdict(found),
        }
    return {"structure": structure}


def print_card(checkpoint: epath.Path, card: Card) -> None:
    """Prints the facts, the settings and the layers, each below its title."""
    facts: dict[str, object] = {"step": card.step, "epoch": card.epoch, "created": card.created}
    facts |= {"origin": card.origin, "commit": card.code, **card.versions, **card.metrics}
    print_text(str(checkpoint))
    for title, values in (("checkpoint", facts), ("settings", flat(card.settings))):
        print_text(f"\n{title}", style="bold")
        print_text(listed_values(values))
    print_text("\nlayers", style="bold")
    for layer in card.structure.layers:
        print_text(f"{layer.path}  {layer.kind}")
        if layer.settings:
            print_text(wrapped(INDENT + strict_json(layer.settings), INDENT))


def print_variables(card: Card, statistics: AllStatistics) -> None:
    """Prints each variable with what is in it, and those that are not finite once more."""
    entries = card.structure.variables
    rows = aligned([variable_cells(entry, statistics.get(entry.path)) for entry in entries])
    print_text("\nvariables", style="bold")
    for entry, row in zip(entries, rows, strict=True):
        print_text(f"{entry.path}  {entry.role}")
        fits = len(INDENT + row) <= Console().width
        cells = [row] if fits else filter(None, variable_cells(entry, statistics.get(entry.path)))
        print_text(INDENT + flowed(cells, INDENT))
    for path, found in statistics.items():
        if found and found.flag:
            print_text(f"Not finite: {path} ({found.flag})", style="bold red")


def variable_cells(entry: VariableEntry, found: Statistics | None) -> list[str]:
    """What is told of a variable below its path."""
    cells = [f"{entry.shape} {entry.dtype}", decimal(bytes_taken(entry.shape, entry.dtype))]
    if found is None:
        return [*cells, "", "", ""]
    known = found.mean is not None
    return [
        *cells,
        "" if found.zeros is None else f"{found.zeros:.1%} zeros",
        f"{number(found.mean)} ± {number(found.deviation)}" if known else "",
        f"{number(found.min)} to {number(found.max)}" if known else "",
    ]
