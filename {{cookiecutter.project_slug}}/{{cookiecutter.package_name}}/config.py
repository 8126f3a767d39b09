"""Every setting with its default. The command line of train.py is made from these classes."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from .durable import ConfigurationError, RunSettings, absolute, require


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
    """Keras dtype policy: float32, float64, mixed_bfloat16, mixed_float16 (scales the loss)."""


@dataclass(frozen=True)
class TaskConfig:
    """What is learned. Part of a checkpoint's identity."""

    name: str = "classification"
    """A name of the registry of tasks: classification or your own."""
    label_smoothing: float = 0.0
    """Share of a label's probability that is spread evenly over all classes."""
    class_weights: tuple[float, ...] = ()
    """How much the examples of each class count in the loss; by default all the same."""


@dataclass(frozen=True)
class DataConfig:
    """What it learns from. Fixed for the life of a run."""

    name: str = "digits"
    """A name of the registry of data sets: digits, mnist or your own."""
    path: str | None = None
    """A file of your own instead: an .npz file with arrays x and y."""
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
    """Learning rate of the first epoch, or after the warm-up."""
    schedule: Literal["exponential", "constant", "cosine", "steps"] = "exponential"
    """exponential multiplies the rate by decay after each epoch, steps at the milestones; cosine
    takes it to 0 at the last step, see --epochs."""
    decay: float = 1.0
    """Factor on the learning rate for each epoch, or for each milestone."""
    milestones: tuple[int, ...] = ()
    """With --optimizer.schedule steps: the epochs after which the rate changes."""
    warmup_steps: int = 0
    """Steps in which the rate rises from 0."""
    warmup_epochs: float = 0.0
    """The same in epochs; both add up."""
    clip_norm: float | None = None
    """Scale the gradients down to this norm of all of them together."""
    clip_value: float | None = None
    """Cut each number of the gradients off at this size."""


@dataclass(frozen=True)
class Config(RunSettings):
    """Train a model. Run it again to resume.

    How a run is saved, resumed and logged is set by `RunSettings`: see `train.py --help`. To give
    one of its settings another default, define it here, as `epochs` is.
    """

    epochs: int = 30
    """Train up to this many epochs in all."""
    task: TaskConfig = field(default_factory=TaskConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)

    def __post_init__(self) -> None:
        """Raises ConfigurationError for a value that is not possible."""
        super().__post_init__()
        model, data, optimizer = self.model, self.data, self.optimizer
        rate = optimizer.learning_rate
        require(min(model.hidden, default=1) >= 1, "model.hidden", model.hidden, "sizes from 1 up")
        require(0 <= model.dropout < 1, "model.dropout", model.dropout, "from 0 to below 1")
        smoothing, weights = self.task.label_smoothing, self.task.class_weights
        require(0 <= smoothing < 1, "task.label-smoothing", smoothing, "from 0 to below 1")
        are_weights = all(0 <= weight < math.inf for weight in weights)
        require(are_weights, "task.class-weights", weights, "0 or more for each class")
        require(0 < data.validation < 1, "data.validation", data.validation, "between 0 and 1")
        require(data.batch_size >= 1, "data.batch-size", data.batch_size, "at least 1")
        require(data.shift >= 0, "data.shift", data.shift, "0 or more")
        require(0 < rate < math.inf, "optimizer.learning-rate", rate, "more than 0")
        require(optimizer.decay > 0, "optimizer.decay", optimizer.decay, "more than 0")
        ends = optimizer.milestones
        in_order = ends == tuple(sorted({*ends})) and min(ends, default=1) >= 1
        require(in_order, "optimizer.milestones", ends, "epochs from 1 up, in their order")
        if (optimizer.schedule == "steps") != bool(ends):
            raise ConfigurationError("--optimizer.milestones go with --optimizer.schedule steps.")
        for name in ("warmup_steps", "warmup_epochs"):
            warmup = getattr(optimizer, name)
            flag = f"optimizer.{name.replace('_', '-')}"
            require(0 <= warmup < math.inf, flag, warmup, "0 or more")
        limits = {"clip-norm": optimizer.clip_norm, "clip-value": optimizer.clip_value}
        for name, limit in limits.items():
            require(limit is None or limit > 0, f"optimizer.{name}", limit, "more than 0")
        if None not in limits.values():
            raise ConfigurationError("Give --optimizer.clip-norm or --optimizer.clip-value.")

    def identity(self) -> dict[str, Any]:
        """The settings that one run must keep: its steps would mean something else without them."""
        return super().identity() | {
            "task": self.task.name,
            "task.label_smoothing": self.task.label_smoothing,
            "task.class_weights": list(self.task.class_weights),
            "data.batch_size": self.data.batch_size,
            "data.validation": self.data.validation,
            "data.shift": self.data.shift,
        }
