"""Every setting with its default. The command line of train.py is made from these classes."""

import re
from dataclasses import dataclass, field
from typing import Any, Literal

from .errors import ConfigurationError


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
    """Folder that holds runs/. By default ${{ cookiecutter.package_name|upper }}_ROOT, else the project folder."""
    epochs: int = 30
    """Train up to this many epochs in all."""
    seed: int = 0
    """Seed of the weights, the order of the data and the dropout."""
    resume: Literal["auto", "require", "never"] = "auto"
    """auto resumes where there is a checkpoint; require fails where there is none; never refuses
    to start where there is one."""
    save_every: str = "epoch"
    """When to save: epoch, a number of steps, or a time such as 30s, 10m, 2h."""
    save_mode: Literal["blocking"] = "blocking"
    """How to save: blocking waits for the disk."""
    max_to_keep: int = 5
    """How many of the newest checkpoints to keep, at least 2."""
    keep_every_hours: float | None = None
    """Keep one checkpoint for every so many hours besides."""
    best_metric: str = "val_accuracy"
    """The checkpoint that is best by this metric is kept in checkpoints/best."""
    best_mode: Literal["max", "min"] = "max"
    """Whether the best is the largest or the smallest."""
    log_every: int = 100
    """Steps between two lines of metrics.jsonl, besides those at every epoch's end."""
    debug: bool = False
    """Show the traceback of an error."""
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)

    def __post_init__(self) -> None:
        """Raises ConfigurationError for a value that is not possible."""
        model, data, optimizer = self.model, self.data, self.optimizer
        hours = self.keep_every_hours
        for possible, name, value, wanted in [
            (self.epochs >= 1, "epochs", self.epochs, "at least 1"),
            (self.seed >= 0, "seed", self.seed, "0 or more"),
            (self.max_to_keep >= 1, "max-to-keep", self.max_to_keep, "at least 1"),
            (hours is None or hours > 0, "keep-every-hours", hours, "more than 0"),
            (self.log_every >= 1, "log-every", self.log_every, "at least 1"),
            (min(model.hidden, default=1) >= 1, "model.hidden", model.hidden, "sizes from 1 up"),
            (0 <= model.dropout < 1, "model.dropout", model.dropout, "from 0 to below 1"),
            (0 < data.validation < 1, "data.validation", data.validation, "between 0 and 1"),
            (data.batch_size >= 1, "data.batch-size", data.batch_size, "at least 1"),
            (data.shift >= 0, "data.shift", data.shift, "0 or more"),
            (
                optimizer.learning_rate > 0,
                "optimizer.learning-rate",
                optimizer.learning_rate,
                "more than 0",
            ),
            (optimizer.decay > 0, "optimizer.decay", optimizer.decay, "more than 0"),
        ]:
            if not possible:
                raise ConfigurationError(f"--{name} {value} is not possible: give {wanted}.")
        Cadence.parse(self.save_every)

    def identity(self) -> dict[str, Any]:
        """The settings that one run must keep: its steps would mean something else without them."""
        return {
            "seed": self.seed,
            "data.batch_size": self.data.batch_size,
            "data.validation": self.data.validation,
            "data.shift": self.data.shift,
        }


@dataclass(frozen=True)
class Cadence:
    """How often to save: every so many steps, every so many seconds, or at each epoch's end."""

    steps: int | None = None
    seconds: float | None = None

    @classmethod
    def parse(cls, text: str) -> "Cadence":
        """Reads epoch, a number of steps, or a time in s, m or h.

        Raises:
            ConfigurationError: the text is none of these.
        """
        if text == "epoch":
            return cls()
        match = re.fullmatch(r"([1-9]\d*)([smh]?)", text)
        if match is None:
            raise ConfigurationError(
                f"--save-every {text!r} is not a cadence: give epoch, a number of steps "
                "such as 500, or a time such as 30s, 10m or 2h."
            )
        number, unit = int(match[1]), match[2]
        if not unit:
            return cls(steps=number)
        return cls(seconds=number * {"s": 1, "m": 60, "h": 3600}[unit])

    def is_due(self, step: int, epoch_ended: bool, seconds: float) -> bool:
        """Whether to save at this step, so many seconds after the last save."""
        if self.steps is not None:
            return step % self.steps == 0
        if self.seconds is not None:
            return seconds >= self.seconds
        return epoch_ended
