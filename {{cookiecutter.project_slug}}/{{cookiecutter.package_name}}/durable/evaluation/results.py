"""What an evaluation found: as text for people, as JSON for programs, and kept in a folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

from etils import epath
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Column, Table

from ..errors import ConfigurationError
from ..files import make_folder, strict_json, write_bytes, write_text
from ..remote import storage_errors
from .members import Member, newest_of

if TYPE_CHECKING:  # no TensorFlow: `report` takes pictures from here
    from .scoring import Scores

WIDEST_COLUMNS = 40  # of metrics; what is wider stands below each other, to fit 80 columns


@dataclass(frozen=True)
class EvaluationResult:
    """What was evaluated, and what was found.

    Attributes:
        kind: checkpoint, average or ensemble.
        members: the checkpoint, or those that were combined.
        scores: of each member, and of what was evaluated.
    """

    kind: str
    members: Sequence[Member]
    scores: "Scores"

    @property
    def folder(self) -> epath.Path:
        """Where it is kept: in the run of the newest member."""
        run = newest_of(self.members).run
        if self.kind == "checkpoint":
            member = self.members[0]
            return run.evaluation(member.path.name, *(["ema"] if member.ema else []))
        return run.evaluation(self.kind, *(member.name for member in self.members))

    @property
    def title(self) -> str:
        """What was evaluated, in few words."""
        if self.kind == "checkpoint":
            return self.members[0].name
        return f"{self.kind} of {len(self.members)}"

    @property
    def summary(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        described = [
            member_summary(member, metrics)
            for member, metrics in zip(self.members, self.scores.members, strict=True)
        ]
        if self.kind == "checkpoint":
            return described[0]
        return {self.kind: self.scores.combined, "members": described}

    def print(self, *, as_json: bool) -> None:
        """Prints JSON, or a line for a checkpoint and a table for several."""
        if as_json:
            print(strict_json(self.summary | {"folder": str(self.folder)}, indent=2))
        elif self.kind == "checkpoint":
            metrics = self.scores.combined.items()
            text = "  ".join(f"{name} {value:.4f}" for name, value in metrics)
            print(f"{self.members[0].path} (epoch {self.members[0].card.epoch}): {text}")
        else:
            Console().print(self._table())

    def _table(self) -> Table:
        names = [*self.scores.combined]
        beside = sum(len(name) + len("  ") for name in names) <= WIDEST_COLUMNS
        table = Table(Column("", overflow="fold"), Column("epoch", no_wrap=True))
        for heading in names if beside else ["metrics"]:
            table.add_column(heading, no_wrap=True)
        for member, metrics in zip(self.members, self.scores.members, strict=True):
            cells = metric_cells(metrics, beside=beside)
            table.add_row(member.name, str(member.card.epoch), *cells)
        table.add_section()
        combined = metric_cells(self.scores.combined, beside=beside)
        table.add_row(self.title, "", *combined, style="bold")
        return table

    def save(self) -> str:
        """Writes metrics.json and the figures of the task, each whole or not at all.

        Returns:
            What was saved, and what was not and why, for the user.

        Raises:
            ConfigurationError: the folder cannot be written.
        """
        drawn = {} if self.scores.figures is None else self.scores.figures.draw(self.title)
        told = [f"Saved the metrics and pictures in {self.folder}."]
        try:
            make_folder(self.folder)
            for name, figure in drawn.items():
                file = self.folder / f"{name}.png"
                if isinstance(figure, str):
                    file.unlink(missing_ok=True)  # of an earlier evaluation
                    told.append(f"No picture of the {name}: {figure}.")
                else:
                    write_bytes(file, png(figure))
            write_text(self.folder / "metrics.json", strict_json(self.summary, indent=2) + "\n")
        except storage_errors(self.folder) as error:
            raise ConfigurationError(f"{self.folder} cannot be written: {error}") from error
        return " ".join(told)


def decimal(value: float | None) -> str:
    """A metric with four decimals; nothing where it was not a number."""
    return "" if value is None else f"{value:.4f}"


def png(figure: Figure) -> bytes:
    """The figure as a PNG file."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()


def write_picture(file: epath.Path, figure: Figure) -> None:
    """Writes a figure as a PNG file, whose folder is made if need be.

    Raises:
        ConfigurationError: it cannot be written there.
    """
    try:
        make_folder(file.parent)
        write_bytes(file, png(figure))
    except storage_errors(file) as error:
        raise ConfigurationError(f"{file} cannot be written: {error}") from error


def member_summary(member: Member, metrics: Mapping[str, float]) -> dict[str, Any]:
    """A checkpoint and its metrics, as JSON can hold them."""
    return {
        "checkpoint": member.name,
        "path": str(member.path),
        "step": member.card.step,
        "epoch": member.card.epoch,
        **metrics,
    }


def metric_cells(metrics: Mapping[str, float], *, beside: bool) -> list[str]:
    """The metrics for a row of the table: a cell for each, or one for all."""
    if beside:
        return [decimal(value) for value in metrics.values()]
    return ["\n".join(f"{name} {decimal(value)}" for name, value in metrics.items())]
