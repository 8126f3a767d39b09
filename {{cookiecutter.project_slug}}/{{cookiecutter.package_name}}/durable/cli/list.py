"""list: the checkpoints of a run."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from etils import epath
from rich.filesize import decimal

from ..checkpoint import bundle
from ..checkpoint.directory import Directory
from ..checkpoint.reader import condition_of
from ..errors import ConfigurationError
from ..run.paths import RunPaths
from ..run.references import all_checkpoints
from ..run.settings import Project
from .console import Options, aligned, flowed, print_json, print_text

COLUMNS = ("step", "epoch", "age", "size", "TensorFlow", "Keras")
INDENT = "    "
STYLES = {
    "good": None,
    "damaged": "bold red",
    "unreadable": "bold red",
    "no card": "yellow",
    "set aside": "yellow",
}


def list_checkpoints(project: Project, common: Options, quick: bool = False) -> int:
    """List the checkpoints of a run, oldest first. Every byte is read, to find damaged ones.

    Args:
        project: whose run it is.
        common: what every command takes.
        quick: Read the cards alone: damage elsewhere does not show.
    """
    paths = project.paths(common.root, common.run)
    entries = entries_of(paths, quick=quick)
    if common.json:
        print_json(entries)
        return 0
    print_entries(paths.run, entries)
    return 0


def print_entries(run: str, entries: Sequence[Mapping[str, Any]]) -> None:
    """Prints each checkpoint with its metrics below it, and then what is damaged."""
    origins = [entry["origin"] for entry in entries if entry["origin"]]
    if origins:
        article = "an" if origins[-1].startswith(("average", "import")) else "a"
        print_text(f"Run {run!r} is {article} {origins[-1]}.\n")
    heading, *lines = aligned([COLUMNS, *map(cells_of, entries)])
    print_text(flowed([heading, "marks"], INDENT), style="bold")
    for line, entry in zip(lines, entries, strict=True):
        state = [] if entry["state"] == "good" else [entry["state"]]
        print_text(flowed([line, *state, *entry["marks"]], INDENT), style=STYLES[entry["state"]])
        metrics = [f"{name} {value:.4f}" for name, value in entry["metrics"].items()]
        if metrics:
            print_text(INDENT + flowed(metrics, INDENT))
    for entry in entries:
        if entry["damaged"]:
            print_text(entry["damaged"])


def entries_of(paths: RunPaths, *, quick: bool) -> list[dict[str, Any]]:
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
    entries = [checkpoint_entry(path, quick=quick) | {"state": "set aside"} for path in aside]
    for checkpoint in checkpoints:
        try:
            entry = checkpoint_entry(checkpoint, quick=quick)
            entry["marks"] = marks_of(checkpoint, paths, quick=quick)
        except FileNotFoundError:  # a trainer has just removed it
            continue
        if entry["state"] == "good" or bundle.is_there(checkpoint):  # else it was removed just now
            entries.append(entry)
    return sorted(entries, key=lambda entry: entry["step"])


def checkpoint_entry(checkpoint: epath.Path, *, quick: bool) -> dict[str, Any]:
    """What `list` tells of a checkpoint."""
    condition = condition_of(checkpoint, quick=quick)
    card = condition.card
    return {
        "step": bundle.step_of(checkpoint),
        "path": str(checkpoint),
        "bytes": bundle.size_of(checkpoint),
        "state": condition.state,
        "damaged": condition.reason,
        "marks": [],
        "epoch": card and card.epoch,
        "created": card and card.created,
        "metrics": card.metrics if card else {},
        "versions": card.versions if card else {},
        "origin": str(card.origin) if card and card.origin else None,
    }


def marks_of(checkpoint: epath.Path, paths: RunPaths, *, quick: bool) -> list[str]:
    """What sets a checkpoint apart: newest, best or damaged best (the copy), pinned."""
    marks = []
    if checkpoint in bundle.find_checkpoints(paths.checkpoints)[-1:]:
        marks.append("newest")
    copy = paths.best / checkpoint.name
    if bundle.files_of(copy):
        is_damaged = condition_of(copy, quick=quick).state == "damaged"
        marks.append("damaged best" if is_damaged and copy != checkpoint else "best")
    if bundle.is_pinned(checkpoint):
        marks.append("pinned")
    return marks


def cells_of(entry: Mapping[str, Any]) -> list[str]:
    """What stands in the columns for a checkpoint."""
    versions = entry["versions"]
    return [
        str(entry["step"]),
        "" if entry["epoch"] is None else str(entry["epoch"]),
        age(entry["created"]) if entry["created"] else "",
        decimal(entry["bytes"]),
        versions.get("tensorflow", ""),
        versions.get("keras", ""),
    ]


def age(created: str) -> str:
    """How long ago a time was, in the largest unit that fits."""
    seconds = (datetime.now(UTC) - datetime.fromisoformat(created)).total_seconds()
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
