"""Where a run keeps its files."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Self

from etils import epath

from ..errors import ConfigurationError
from ..files import absolute, require_usable


@dataclass(frozen=True)
class RunPaths:
    """Every path of one run; a project's own `Paths` adds where the runs and the data are.

    `root` is made absolute, so that the working directory never matters afterwards.

    Attributes:
        root: folder that holds `runs`; by default what `default_root` says.
        run: name of the run.
        aside: where a worker that is not the chief has all but the checkpoints; see `own_place`.

    Raises:
        ConfigurationError: `run` is not a plain folder name, or `root` cannot hold checkpoints.
    """

    root: epath.PathLike | None = None
    run: str = "default"
    aside: epath.PathLike | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\w[\w.-]*", self.run):
            raise ConfigurationError(
                f"--run {self.run!r} is not a folder name: use letters, digits, '-', '_' and '.', "
                "and start with a letter or a digit."
            )
        root = absolute(os.fspath(self.root or self.default_root()))
        require_usable(root)
        object.__setattr__(self, "root", epath.Path(root))

    def default_root(self) -> epath.PathLike:
        """The folder that holds `runs` where none is given."""
        return Path.cwd()

    def of(self, run: str) -> Self:
        """The paths of another run."""
        return replace(self, run=run)

    @property
    def runs(self) -> epath.Path:
        """All runs."""
        return epath.Path(self.root) / "runs"

    @property
    def folder(self) -> epath.Path:
        """Everything of this run."""
        return self.runs / self.run if self.aside is None else epath.Path(self.aside) / self.run

    @property
    def checkpoints(self) -> epath.Path:
        """Its checkpoints."""
        return self.runs / self.run / "checkpoints"

    @property
    def best(self) -> epath.Path:
        """Copies of its best checkpoints."""
        return self.checkpoints / "best"

    @property
    def tensorboard(self) -> epath.Path:
        """Its curves, for TensorBoard."""
        return self.folder / "tensorboard"

    @property
    def metrics(self) -> epath.Path:
        """Its metrics, one JSON object a line."""
        return self.folder / "metrics.jsonl"

    @property
    def history(self) -> epath.Path:
        """Its starts, resumes, forks and rewinds, one JSON object a line."""
        return self.folder / "history.jsonl"

    @property
    def config(self) -> epath.Path:
        """Its configuration."""
        return self.folder / "config.json"

    @property
    def tracking(self) -> epath.Path:
        """What it is to the trackers that its log was sent to."""
        return self.folder / "tracking.json"

    @property
    def exports(self) -> epath.Path:
        """Its exported models."""
        return self.folder / "exports"

    @property
    def lock(self) -> epath.Path:
        """The lock of the process that trains it."""
        return self.folder / "train.lock"

    @property
    def lock_holder(self) -> epath.Path:
        """Who holds the lock."""
        return self.folder / "train.pid"

    @property
    def superseded(self) -> epath.Path:
        """What rewinds have set aside, a folder for each."""
        return self.folder / "superseded"

    def superseded_at(self, time: str) -> "SupersededPaths":
        """What one rewind has set aside."""
        return SupersededPaths(self, self.superseded / time)

    def evaluation(self, *words: str) -> epath.Path:
        """The folder of the evaluation that the words name."""
        return self.folder / "evaluations" / file_name(words)

    def sweep(self, ending: str) -> epath.Path:
        """A file of the sweep of this name, whose trials are runs: .db, .png or .lock."""
        return self.runs / f"sweep-{self.run}{ending}"

    def report(self, runs: Sequence[str]) -> epath.Path:
        """The picture of the learning curves of some runs."""
        return self.runs / f"{file_name(['report', *runs])}.png"


@dataclass(frozen=True)
class SupersededPaths:
    """What one rewind has set aside, laid out as the run itself is.

    Attributes:
        of: the run.
        folder: everything of it.
    """

    of: RunPaths
    folder: epath.Path

    def __getattr__(self, name: str) -> epath.Path:
        """The place of a file of the run below the folder."""
        place: epath.Path = getattr(self.of, name)
        return self.folder / place.relative_to(self.of.folder)


def file_name(words: Sequence[str]) -> str:
    """The words joined by hyphens; a name too long for a file is cut, and told apart by a hash."""
    name = "-".join(words)
    return name if len(name) <= 120 else f"{name[:100]}-{sha256(name.encode()).hexdigest()[:16]}"
