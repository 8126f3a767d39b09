"""Look at the checkpoints of a run, without the code that wrote them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from json import dumps
from typing import Any

import tyro
from etils import epath
from rich.console import Console
from rich.filesize import decimal
from rich.table import Column, Table

from .. import session
from ..config_file import flat
from ..paths import Paths
from . import files
from .errors import DamagedCheckpoint, ForeignCheckpoint
from .locate import all_checkpoints, locate
from .reader import read_card, read_tensors


@dataclass(frozen=True)
class Options:
    """What every command takes."""

    run: str = "default"
    """Name of the run."""
    root: str | None = None
    """Folder that holds runs/, as for train.py."""
    json: bool = False
    """Print JSON, for programs."""
    debug: bool = False
    """Show the traceback of an error."""

    @property
    def paths(self) -> Paths:
        """Where the run keeps its files."""
        return Paths(self.root, self.run)


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
    Console().print(table)
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
    sections: dict[str, tuple[list[str], list[list[object]]]] = {
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


def verify(
    common: Options,
    at: tyro.conf.Positional[str] = "latest",
    all: bool = False,  # noqa: A002
) -> int:
    """Read every byte of a checkpoint against its checksum; exit code 4 if one is damaged.

    Args:
        common: What every command takes.
        at: A step, latest, best or epoch:N.
        all: Verify all checkpoints of the run.
    """
    paths = common.paths
    checkpoints = all_checkpoints(paths) if all else [locate(paths, at)]
    problems = {checkpoint: problem_with(checkpoint) for checkpoint in checkpoints}
    if common.json:
        entries = [{"path": str(path), "damaged": problem} for path, problem in problems.items()]
        print(dumps(entries, indent=2))
    else:
        for checkpoint, problem in problems.items():
            print(problem or f"{checkpoint}: every byte agrees with its checksum.")
    return DamagedCheckpoint.exit_code if any(problems.values()) else 0


def problem_with(checkpoint: epath.Path) -> str | None:
    """Reads a whole checkpoint and tells what is wrong with it, if anything."""
    try:
        read_card(checkpoint)
        read_tensors(checkpoint)
    except (DamagedCheckpoint, ForeignCheckpoint) as error:
        return str(error)
    return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one of the commands and gives its exit code."""
    return tyro.extras.subcommand_cli_from_dict(
        {"list": list_checkpoints, "show": show, "verify": verify},
        prog=f"python -m {__package__}",
        description=__doc__,
        args=arguments,
        config=(tyro.conf.OmitArgPrefixes,),
    )


if __name__ == "__main__":
    session.run(main)
