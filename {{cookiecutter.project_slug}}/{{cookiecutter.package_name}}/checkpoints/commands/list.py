"""list: the checkpoints of a run."""

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from etils import epath
from rich.console import Console
from rich.filesize import decimal

from ...errors import ConfigurationError
from ...paths import Paths
from .. import files
from ..directory import Directory
from ..locate import all_checkpoints
from ..verification import condition_of
from .options import Options
from .output import light_table, print_json


def list_checkpoints(common: Options, quick: bool = False) -> int:
    """List the checkpoints of a run, oldest first. Every byte is read, to find damaged ones.

    Args:
        common: What every command takes.
        quick: Read the cards alone: damage elsewhere does not show.
    """
    paths = common.paths
    entries = entries_of(paths, quick=quick)
    if common.json:
        print_json(entries)
        return 0
    columns = ("step", "epoch", "age", "size", "marks", "metrics", "TensorFlow\nKeras")
    table = light_table(*columns, whole=("marks", "metrics"))
    for entry in entries:
        table.add_row(*list_cells(entry))
    console = Console()
    origins = [entry["origin"] for entry in entries if entry["origin"]]
    if origins:
        article = "an" if origins[-1].startswith(("average", "import")) else "a"
        console.print(f"Run {paths.run!r} is {article} {origins[-1]}.", highlight=False)
    console.print(table)
    for entry in entries:
        if entry["damaged"]:
            console.print(entry["damaged"], soft_wrap=True, markup=False, highlight=False)
    return 0


def entries_of(paths: Paths, *, quick: bool) -> list[dict[str, Any]]:
    """What `list` tells of a run, oldest first, of one step those set aside first.

    Raises:
        ConfigurationError: there is no such run, or nothing in it.
    """
    aside = Directory(paths.checkpoints).damaged()
    try:
        checkpoints = all_checkpoints(paths)
    except ConfigurationError:
        if not aside:
            raise
        checkpoints = []
    entries = [describe(path, quick=quick) | {"state": "set aside"} for path in aside]
    for checkpoint in checkpoints:
        try:
            entry = describe(checkpoint, quick=quick)
        except FileNotFoundError:  # a trainer has just removed it
            continue
        entries.append(entry | {"marks": marks_of(checkpoint, paths, quick=quick)})
    return sorted(entries, key=lambda entry: entry["step"])


def describe(checkpoint: epath.Path, *, quick: bool) -> dict[str, Any]:
    """What `list` tells of a checkpoint."""
    condition = condition_of(checkpoint, quick=quick)
    card = condition.card
    return {
        "step": files.step_of(checkpoint),
        "path": str(checkpoint),
        "bytes": files.size_of(checkpoint),
        "state": condition.state,
        "damaged": condition.reason,
        "marks": [],
        "epoch": card and card.epoch,
        "created": card and card.created,
        "metrics": card.metrics if card else {},
        "versions": card.versions if card else {},
        "origin": str(card.origin) if card and card.origin else None,
    }


def marks_of(checkpoint: epath.Path, paths: Paths, *, quick: bool) -> list[str]:
    """What sets a checkpoint apart: newest, best or damaged best (the copy), pinned."""
    marks = []
    if checkpoint == files.find_checkpoints(paths.checkpoints)[-1]:
        marks.append("newest")
    copy = paths.best / checkpoint.name
    if files.files_of(copy):
        is_damaged = condition_of(copy, quick=quick).state == "damaged"
        marks.append("damaged best" if is_damaged and copy != checkpoint else "best")
    if files.is_pinned(checkpoint):
        marks.append("pinned")
    return marks


def list_cells(entry: Mapping[str, Any]) -> list[str]:
    """One row of the table of checkpoints."""
    metrics = [f"{name} {value:.4f}" for name, value in entry["metrics"].items()]
    colour = {"damaged": "[bold red]", "no card": "[yellow]", "set aside": "[yellow]"}
    state = entry["state"]
    return [
        str(entry["step"]),
        "" if entry["epoch"] is None else str(entry["epoch"]),
        age(entry["created"]) if entry["created"] else "",
        decimal(entry["bytes"]),
        "\n".join(entry["marks"]).replace(" ", "\n"),
        "\n".join(metrics if state == "good" else [colour[state] + state]),
        "\n".join(entry["versions"].get(name, "") for name in ("tensorflow", "keras")),
    ]


def age(created: str) -> str:
    """How long ago a time was, in the largest unit that fits."""
    seconds = (datetime.now(timezone.utc) - datetime.fromisoformat(created)).total_seconds()
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
