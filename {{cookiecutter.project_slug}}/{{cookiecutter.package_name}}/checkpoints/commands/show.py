"""show: the card of a checkpoint."""

from dataclasses import asdict
from json import dumps
from typing import Any

import tyro
from rich.console import Console
from rich.table import Table

from ...config_file import flat
from ..locate import locate
from ..reader import read_card
from .options import Options


def show(common: Options, at: tyro.conf.Positional[str] = "latest") -> int:
    """Show the card of a checkpoint: its metrics, settings, layers and variables.

    Args:
        common: What every command takes.
        at: A step, latest, best or epoch:N.
    """
    checkpoint = locate(common.paths, at)
    card = read_card(checkpoint)
    if common.json:
        print(dumps({"path": str(checkpoint)} | asdict(card), indent=2))
        return 0
    facts = {"step": card.step, "epoch": card.epoch, "created": card.created}
    structure = card.structure
    sections: dict[str, tuple[list[str], list[list[Any]]]] = {
        "checkpoint": (["", ""], [*map(list, (facts | card.versions | card.metrics).items())]),
        "settings": (["name", "value"], [*map(list, flat(card.settings).items())]),
        "layers": (
            ["path", "class", "settings"],
            [[layer.path, layer.kind, dumps(layer.settings)] for layer in structure.layers],
        ),
        "variables": (
            ["path", "role", "shape", "dtype"],
            [[entry.path, entry.role, entry.shape, entry.dtype] for entry in structure.variables],
        ),
    }
    console = Console()
    console.print(str(checkpoint), soft_wrap=True, highlight=False)
    for title, (columns, rows) in sections.items():
        table = Table(*columns, title=title, title_justify="left", show_header=any(columns))
        for row in rows:
            table.add_row(*map(str, row))
        console.print(table)
    return 0
