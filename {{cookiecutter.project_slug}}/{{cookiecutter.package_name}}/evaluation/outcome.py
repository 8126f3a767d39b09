"""What an evaluation found: as text for people, and as JSON for programs."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from ..data import Data
from ..paths import EvaluationPaths
from .members import Member, newest_of
from .predictions import Predictions


@dataclass(frozen=True)
class Outcome:
    """What was evaluated, and what was found.

    Attributes:
        kind: checkpoint, average or ensemble.
        members: the checkpoint, or those that were combined.
        scores: what each member predicts.
        combined: what the checkpoint, the average or the ensemble predicts.
        data: whose held-out examples they predict.
    """

    kind: str
    members: Sequence[Member]
    scores: Sequence[Predictions]
    combined: Predictions
    data: Data

    @property
    def paths(self) -> EvaluationPaths:
        """Where it is kept: in the run of the newest member."""
        run = newest_of(self.members).run
        if self.kind == "checkpoint":
            return run.evaluation(self.members[0].path.name)
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
            describe(member, found) for member, found in zip(self.members, self.scores, strict=True)
        ]
        if self.kind == "checkpoint":
            return described[0]
        return {self.kind: self.combined.metrics, "members": described}

    def print(self, *, as_json: bool) -> None:
        """Prints JSON, or a line for a checkpoint and a table for several."""
        if as_json:
            print(json.dumps(self.summary | {"folder": str(self.paths.folder)}, indent=2))
        elif self.kind == "checkpoint":
            metrics = self.combined.metrics.items()
            text = "  ".join(f"{name} {value:.4f}" for name, value in metrics)
            print(f"{self.members[0].path} (epoch {self.members[0].card.epoch}): {text}")
        else:
            Console().print(self._table())

    def _table(self) -> Table:
        table = Table("", "epoch", *self.combined.metrics)
        for member, found in zip(self.members, self.scores, strict=True):
            table.add_row(member.name, str(member.card.epoch), *cells(found))
        table.add_section()
        table.add_row(self.title, "", *cells(self.combined), style="bold")
        return table


def describe(member: Member, found: Predictions) -> dict[str, Any]:
    """A checkpoint and its metrics, as JSON can hold them."""
    return {
        "checkpoint": member.name,
        "path": str(member.path),
        "step": member.card.step,
        "epoch": member.card.epoch,
        **found.metrics,
    }


def cells(found: Predictions) -> list[str]:
    """The metrics for a row of the table."""
    return [f"{value:.4f}" for value in found.metrics.values()]
