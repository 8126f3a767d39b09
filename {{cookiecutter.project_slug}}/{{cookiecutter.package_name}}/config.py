"""Every setting with its default. The command line of train.py is made from these classes."""

import math
import re
from dataclasses import dataclass, field
from typing import Any, Literal

from .errors import ConfigurationError
from .paths import absolute


@dataclass(frozen=True)
class ModelConfig:
    """What is built. Part of a checkpoint's identity."""

    name: str = "mlp"
    """A name of the model registry: mlp, cnn or your own."""
    hidden: tuple[int, ...] = (64, 128)
    """Size of each hidden layer: units in mlp, filters in cnn."""
    activation: str = "relu"
    """Activation of the hidden layers, by its Keras name."""
    dropout: float = 0.3
    """Share of activations dropped before the output."""
    dtype: str = "float32"
    """Keras dtype policy: float32, float64, mixed_bfloat16."""


@dataclass(frozen=True)
class DataConfig:
    """What it learns from. Fixed for the life of a run."""

    name: Literal["digits", "mnist"] = "digits"
    """The embedded digits, or MNIST through the cache of tf.keras.datasets."""
    path: str | None = None
    """Your own data instead: an .npz file with arrays x and y."""
    validation: float = 0.2
    """Share of the examples held out; training never sees them."""
    batch_size: int = 32
    """Examples per step."""
    shift: int = 0
    """Augmentation: shift images at random by up to this many pixels."""

    def __post_init__(self) -> None:
        """Makes the path absolute, so that it holds from another working directory too."""
        if self.path is not None:
            object.__setattr__(self, "path", absolute(self.path))


@dataclass(frozen=True)
class OptimizerConfig:
    """How it learns. Free to change when a run is resumed, but for the name."""

    name: Literal["adam", "adamw", "sgd"] = "adam"
    """The optimizer; sgd uses momentum 0.9."""
    learning_rate: float = 1e-3
    """Learning rate of the first epoch."""
    decay: float = 1.0
    """Factor on the learning rate for each epoch."""


@dataclass(frozen=True)
class Config:
    """Train a model. Run it again to resume."""

    run: str = "default"
    """Name of the run: its folder below runs/."""
    root: str | None = None
    """Folder that holds runs/. By default the project folder, or what this variable says:
    {{ cookiecutter.package_name|upper }}_ROOT"""
    epochs: int = 30
    """Train up to this many epochs in all."""
    seed: int = 0
    """Seed of the weights, the order of the data and the dropout."""
    resume: Literal["auto", "require", "never"] = "auto"
    """auto resumes where there is a checkpoint; require fails where there is none; never refuses
    to start where there is one."""
    fork_from: str | None = None
    """Start this new run from the state of another one: RUN, RUN@STEP, RUN@best or RUN@epoch:N.
    Everything must fit but the settings of the training."""
    partial: bool = False
    """With --fork-from: take over what fits, and tell what does not."""
    save_every: str = "epoch"
    """When to save: epoch, a number of steps, a time such as 30s, 10m or 2h, or auto: as often as
    the budget allows."""
    save_budget: float = 0.02
    """With --save-every auto: the share of the time that may go into saving."""
    save_shortest: str = "10s"
    """With --save-every auto: the shortest time between two saves."""
    save_longest: str = "30m"
    """With --save-every auto: the longest time between two saves."""
    save_mode: Literal["auto", "blocking", "background"] = "auto"
    """How to save: blocking waits for the disk; background trains on meanwhile; auto is background
    where there is an accelerator."""
    max_save_failures: int = 3
    """How many saves in a row may fail, on a full disk, say, before training ends."""
    max_to_keep: int = 5
    """How many of the newest checkpoints to keep, at least 2."""
    keep_every_hours: float | None = None
    """Keep one checkpoint for every so many hours besides."""
    best_metric: Literal["loss", "accuracy", "val_loss", "val_accuracy"] = "val_accuracy"
    """Of the checkpoints that are saved at an epoch's end, the best by this metric is kept in
    checkpoints/best."""
    best_mode: Literal["max", "min"] = "max"
    """Whether the best is the largest or the smallest."""
    log_every: int = 100
    """Steps between two lines of metrics.jsonl, besides those at every epoch's end."""
    deterministic: bool = False
    """Use deterministic operations only. Slower; needed for equal bits on a GPU, not on a CPU."""
    debug: bool = False
    """Show the traceback of an error."""
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)

    def __post_init__(self) -> None:
        """Raises ConfigurationError for a value that is not possible."""
        model, data, optimizer = self.model, self.data, self.optimizer
        hours, failures = self.keep_every_hours, self.max_save_failures
        if self.partial and self.fork_from is None:
            raise ConfigurationError("--partial goes with --fork-from RUN[@STEP].")
        for possible, name, value, wanted in [
            (self.epochs >= 1, "epochs", self.epochs, "at least 1"),
            (self.epochs <= 10**9, "epochs", self.epochs, "at most 1000000000"),
            (0 <= self.seed < 2**32, "seed", self.seed, "0 to 4294967295"),
            (self.max_to_keep >= 2, "max-to-keep", self.max_to_keep, "at least 2"),
            (hours is None or hours > 0, "keep-every-hours", hours, "more than 0"),
            (failures >= 1, "max-save-failures", failures, "at least 1"),
            (0 < self.save_budget < 1, "save-budget", self.save_budget, "between 0 and 1"),
            (self.log_every >= 1, "log-every", self.log_every, "at least 1"),
            (min(model.hidden, default=1) >= 1, "model.hidden", model.hidden, "sizes from 1 up"),
            (0 <= model.dropout < 1, "model.dropout", model.dropout, "from 0 to below 1"),
            (0 < data.validation < 1, "data.validation", data.validation, "between 0 and 1"),
            (data.batch_size >= 1, "data.batch-size", data.batch_size, "at least 1"),
            (data.shift >= 0, "data.shift", data.shift, "0 or more"),
            (
                0 < optimizer.learning_rate < math.inf,
                "optimizer.learning-rate",
                optimizer.learning_rate,
                "more than 0",
            ),
            (optimizer.decay > 0, "optimizer.decay", optimizer.decay, "more than 0"),
        ]:
            if not possible:
                raise ConfigurationError(f"--{name} {value} is not possible: give {wanted}.")
        if not re.fullmatch(r"epoch|auto|[1-9]\d*", self.save_every):
            seconds_of("save-every", self.save_every)
        shortest = seconds_of("save-shortest", self.save_shortest)
        if shortest > seconds_of("save-longest", self.save_longest):
            raise ConfigurationError("--save-shortest must not be longer than --save-longest.")

    def identity(self) -> dict[str, Any]:
        """The settings that one run must keep: its steps would mean something else without them."""
        return {
            "seed": self.seed,
            "data.batch_size": self.data.batch_size,
            "data.validation": self.data.validation,
            "data.shift": self.data.shift,
        }


def seconds_of(name: str, time: str) -> float:
    """The seconds in a time such as 30s, 10m or 2h.

    Raises:
        ConfigurationError: the setting of that name is no such time.
    """
    match = re.fullmatch(r"([1-9]\d*)([smh])", time)
    if match is None:
        hint = "epoch, auto, a number of steps such as 500, or " if name == "save-every" else ""
        raise ConfigurationError(
            f"--{name} {time!r} is not possible: give {hint}a time such as 30s, 10m or 2h."
        )
    return int(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]
