"""Every path of the project. No other module spells one."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from etils import epath

from .errors import ConfigurationError

PACKAGE = epath.Path(Path(__file__).resolve().parent)
PROJECT = PACKAGE.parent
ROOT_VARIABLE = "{{ cookiecutter.package_name|upper }}_ROOT"


@dataclass(frozen=True)
class Paths:
    """Where one run keeps its files.

    `root` is the given folder, else the environment variable `ROOT_VARIABLE`, else the project's
    own folder, or the working directory where a wheel was installed. It is made absolute, so that
    the working directory never matters afterwards.

    Raises:
        ConfigurationError: `run` is not a plain folder name.
    """

    root: epath.PathLike | None = None
    run: str = "default"

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\w[\w.-]*", self.run):
            raise ConfigurationError(
                f"--run {self.run!r} is not a folder name: use letters, digits, '-', '_' and '.', "
                "and start with a letter or a digit."
            )
        root = os.fspath(self.root or os.environ.get(ROOT_VARIABLE) or default_root())
        object.__setattr__(self, "root", epath.Path(absolute(root)))

    @property
    def runs(self) -> epath.Path:
        """All runs."""
        return epath.Path(self.root) / "runs"

    @property
    def folder(self) -> epath.Path:
        """Everything of this run."""
        return self.runs / self.run

    @property
    def checkpoints(self) -> epath.Path:
        """Its checkpoints."""
        return self.folder / "checkpoints"

    @property
    def best(self) -> epath.Path:
        """The copy of its best checkpoint."""
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
    def superseded(self) -> epath.Path:
        """What rewinds have set aside, a folder for each."""
        return self.folder / "superseded"

    def superseded_at(self, time: str) -> "Superseded":
        """What one rewind has set aside."""
        return Superseded(self.root, self.run, time)

    @property
    def evaluations(self) -> epath.Path:
        """Its evaluations, a folder for each."""
        return self.folder / "evaluations"

    def evaluation(self, *words: str) -> "EvaluationPaths":
        """The evaluation that the words name."""
        return EvaluationPaths(self.evaluations / file_name(words))

    def report(self, runs: Sequence[str]) -> epath.Path:
        """The picture of the learning curves of some runs."""
        return self.runs / f"{file_name(['report', *runs])}.png"

    @property
    def config(self) -> epath.Path:
        """Its configuration."""
        return self.folder / "config.json"

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


@dataclass(frozen=True)
class Superseded(Paths):
    """What one rewind has set aside, laid out as the run itself is.

    Attributes:
        time: the name of its folder.
    """

    time: str = ""

    @property
    def folder(self) -> epath.Path:
        """Everything of it."""
        return self.runs / self.run / "superseded" / self.time


@dataclass(frozen=True)
class EvaluationPaths:
    """Where one evaluation keeps its files."""

    folder: epath.Path

    @property
    def metrics(self) -> epath.Path:
        """What was evaluated, and its metrics."""
        return self.folder / "metrics.json"

    @property
    def confusion(self) -> epath.Path:
        """The picture of the confusion matrix."""
        return self.folder / "confusion.png"

    @property
    def mistakes(self) -> epath.Path:
        """The picture of the worst mistakes."""
        return self.folder / "mistakes.png"


def file_name(words: Sequence[str]) -> str:
    """The words joined by hyphens; a name too long for a file is cut, and told apart by a hash."""
    name = "-".join(words)
    return name if len(name) <= 120 else f"{name[:100]}-{sha256(name.encode()).hexdigest()[:16]}"


def default_root() -> epath.Path:
    """The project's own folder, or the working directory where a wheel was installed."""
    return PROJECT if (PROJECT / "pyproject.toml").exists() else epath.Path(Path.cwd())


def absolute(path: str) -> str:
    """A local path that holds from any working directory; remote ones do anyway."""
    return path if "://" in path else str(Path(path).expanduser().absolute())


def digits() -> epath.Path:
    """The embedded data set; a wheel has it inside the package."""
    installed = PACKAGE / "digits.npz"
    return installed if installed.exists() else PROJECT / "data" / "digits.npz"


def keras_cache(name: str) -> epath.Path:
    """Where Keras keeps the data set file `name` once it has been downloaded."""
    home = os.environ.get("KERAS_HOME") or Path.home() / ".keras"
    return epath.Path(home) / "datasets" / name
