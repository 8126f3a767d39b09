"""show: the card of a checkpoint, and what is in its variables."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from json import dumps
from typing import Any

import tensorflow as tf
import tyro
from etils import epath
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from ..checkpoint.card import Card
from ..checkpoint.reader import Tensors, read_card
from ..checkpoint.structure import VariableEntry
from ..evaluation.statistics import Statistics
from ..run.experiment import Project
from ..run.references import locate
from ..run.settings import flat
from .console import Options, light_table, number, print_json

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
    console = Console()
    console.print(str(checkpoint), soft_wrap=True, highlight=False)
    for table in tables(card, statistics):
        console.print(table)
    for path, found in statistics.items():
        if found and found.flag:
            console.print(f"[bold red]Not finite:[/] {path} ({found.flag})", highlight=False)
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
        values |= {"bytes": variable_bytes(entry), "statistics": found and asdict(found)}
    return {"structure": structure}


def tables(card: Card, statistics: AllStatistics) -> list[Table]:
    """Everything, for a terminal of 80 columns."""
    facts: dict[str, object] = {"step": card.step, "epoch": card.epoch, "created": card.created}
    facts |= {"origin": card.origin, **card.versions, **card.metrics}
    layers = [[layer.path, layer.kind, dumps(layer.settings)] for layer in card.structure.layers]
    columns = ["path\nrole", "shape\ndtype", "bytes\nzeros", "mean\n± deviation", "min\nmax"]
    variables = [
        variable_cells(entry, statistics.get(entry.path)) for entry in card.structure.variables
    ]
    return [
        titled_table("checkpoint", ["", ""], list(facts.items())),
        titled_table("settings", ["name", "value"], list(flat(card.settings).items())),
        titled_table("layers", ["path", "class", "settings"], layers),
        titled_table("variables", columns, variables),
    ]


def titled_table(title: str, columns: list[str], rows: list[Any]) -> Table:
    """A table with its title on the left."""
    table = light_table(*columns, title=title)
    for row in rows:
        table.add_row(*map(str, row))
    return table


def variable_cells(entry: VariableEntry, found: Statistics | None) -> list[str]:
    """One row of the table of variables."""
    cells = [f"{entry.path}\n{entry.role}", f"{entry.shape}\n{entry.dtype}"]
    size = decimal(variable_bytes(entry))
    if found is None:
        return [*cells, size, "", ""]
    flag = f"\n[bold red]{found.flag}[/]" if found.flag else ""
    zeros = "" if found.zeros is None else f"{found.zeros:.1%}"
    deviation = "" if found.deviation is None else f"± {number(found.deviation)}"
    return [
        *cells,
        f"{size}\n{zeros}",
        f"{number(found.mean)}\n{deviation}{flag}",
        f"{number(found.min)}\n{number(found.max)}",
    ]


def variable_bytes(entry: VariableEntry) -> int:
    """The bytes that a variable takes in memory; of strings, none are counted."""
    return math.prod(entry.shape) * tf.as_dtype(entry.dtype).size
