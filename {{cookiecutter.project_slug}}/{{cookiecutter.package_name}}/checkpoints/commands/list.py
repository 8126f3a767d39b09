"""list: the checkpoints of a run."""

from collections.abc import Mapping
from datetime import datetime, timezone
from json import dumps
from typing import Any

from etils import epath
from rich.console import Console
from rich.filesize import decimal
from rich.table import Column, Table

from ...paths import Paths
from .. import files
from ..errors import DamagedCheckpoint, ForeignCheckpoint
from ..locate import all_checkpoints
from ..reader import read_card
from .options import Options


def list_checkpoints(common: Options) -> int:
    """List the checkpoints of a run, oldest first."""
    paths = common.paths
    checkpoints = all_checkpoints(paths)
    entries = [describe(checkpoint, paths, checkpoints[-1]) for checkpoint in checkpoints]
    if common.json:
        print(dumps(entries, indent=2))
        return 0
    marks, metrics = Column("marks", no_wrap=True), Column("metrics", no_wrap=True)
    table = Table("step", "epoch", "age", "size", marks, metrics, "TensorFlow\nKeras")
    for entry in entries:
        table.add_row(*list_cells(entry))
    console = Console()
    if origin := entries[-1].get("origin"):
        console.print(f"Run {paths.run!r} is a {origin}.", highlight=False)
    console.print(table)
    return 0


def describe(checkpoint: epath.Path, paths: Paths, newest: epath.Path) -> dict[str, Any]:
    """What `list` tells of a checkpoint."""
    best = (paths.best / f"{checkpoint.name}.index").exists()
    entry = {
        "step": files.step_of(checkpoint),
        "path": str(checkpoint),
        "bytes": files.size_of(checkpoint),
        "marks": [
            *(["newest"] if checkpoint == newest else []),
            *(["best"] if best else []),
        ],
    }
    try:
        card = read_card(checkpoint)
    except (DamagedCheckpoint, ForeignCheckpoint) as error:
        return entry | {"damaged": str(error)}
    return entry | {
        "epoch": card.epoch,
        "created": card.created,
        "metrics": card.metrics,
        "versions": card.versions,
        "origin": None if card.origin is None else str(card.origin),
    }


def list_cells(entry: Mapping[str, Any]) -> list[str]:
    """One row of the table of checkpoints."""
    if "damaged" in entry:
        return [str(entry["step"]), "", "", decimal(entry["bytes"]), "[red]damaged"]
    metrics = "\n".join(f"{name} {value:.4f}" for name, value in entry["metrics"].items())
    return [
        str(entry["step"]),
        "" if entry["epoch"] is None else str(entry["epoch"]),
        age(entry["created"]),
        decimal(entry["bytes"]),
        "\n".join(entry["marks"]),
        metrics,
        f"{entry['versions']['tensorflow']}\n{entry['versions']['keras']}",
    ]


def age(created: str) -> str:
    """How long ago a time was, in the largest unit that fits."""
    seconds = (datetime.now(timezone.utc) - datetime.fromisoformat(created)).total_seconds()
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
