"""The seam: all that the machinery ever sees of a user's zone.

A project fulfills it in its `experiment.py`, and hands it over in `train.py`, `evaluate.py` and
`__main__.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import tensorflow as tf

from ..data.protocol import Data, DataSpec
from .paths import RunPaths
from .settings import RunSettings
from .task import Task


class Experiment(Protocol):
    """From a configuration to data, models and optimizers.

    Attributes:
        config: every setting.
        paths: where the run keeps its files.
    """

    @property
    def config(self) -> Any: ...

    @property
    def paths(self) -> RunPaths: ...

    def data(self) -> Data:
        """Opens the data set.

        Raises:
            ConfigurationError: it is not there, or not usable.
        """
        ...

    def task(self, data: DataSpec) -> Task:
        """Builds the models and the optimizers for data of that kind.

        Called to train, and, with what a checkpoint tells of its data, to evaluate or export it.

        Raises:
            ConfigurationError: they cannot be built from these settings.
        """
        ...

    def hooks(self) -> Sequence["Hook"]:
        """What else is to be told how training goes."""
        ...


class Hook:
    """Is told how training goes, and may end it. Each method does nothing by default.

    Attributes:
        name: what it is called in the checkpoint.
        variables: its state by name; saved and restored with the run.
        stop: why the run should end, once it should.
    """

    name: str = ""
    variables: Mapping[str, tf.Variable] = {}
    stop: str | None = None

    def on_start(self, step: int) -> None:
        """The run goes on from a step: what was told of later ones is void."""

    def on_log(self, step: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """A line was logged."""

    def on_epoch_end(self, step: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """An epoch has ended, with these means and validation metrics."""


@dataclass(frozen=True)
class Project:
    """What the commands are given.

    Attributes:
        config: the class of the configuration.
        paths: the class of the paths.
        load_experiment: imports the class of the experiment; called by the commands that need the
            models, so that the others work while a file of a model is broken.
        train: the command line that starts training, for the command that kills it.
    """

    config: type[RunSettings]
    paths: type[RunPaths]
    load_experiment: Callable[[], Callable[[Any], Experiment]]
    train: tuple[str, ...] = ()
