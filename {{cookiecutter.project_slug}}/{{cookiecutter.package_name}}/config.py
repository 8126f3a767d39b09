"""Every setting with its default. The command line of train.py is made from these classes."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from .durable import ConfigurationError, RunSettings, {% if cookiecutter.starter != "segmentation" %}absolute, {% endif %}require


@dataclass(frozen=True)
class ModelConfig:
    """What is built. Part of a checkpoint's identity."""
{%- if cookiecutter.starter == "classification" %}

    name: str = "mlp"
    """A name of the model registry: mlp, cnn or your own."""
    hidden: tuple[int, ...] = (64, 128)
    """Size of each hidden layer: units in mlp, filters in cnn."""
    activation: str = "relu"
    """Activation of the hidden layers, by its Keras name."""
    dropout: float = 0.3
    """Share of activations dropped before the output."""
{%- elif cookiecutter.starter == "segmentation" %}

    name: str = "unet"
    """A name of the model registry: unet or your own."""
    hidden: tuple[int, ...] = (16, 32, 64)
    """Filters at each level, from the whole image down to the bottom."""
    activation: str = "relu"
    """Activation of the hidden layers, by its Keras name."""
    dropout: float = 0.1
    """Share of activations dropped at the bottom."""
{%- else %}

    name: str = "recurrent"
    """A name of the model registry: recurrent, linear or your own."""
    units: int = 32
    """Size of the state of recurrent."""
    dropout: float = 0.1
    """Share of activations dropped before the output of recurrent."""
{%- endif %}
    dtype: str = "float32"
    """Keras dtype policy: float32, float64, mixed_bfloat16, mixed_float16 (scales the loss)."""


@dataclass(frozen=True)
class TaskConfig:
    """What is learned. Part of a checkpoint's identity."""

    name: str = "{{ cookiecutter.starter }}"
    """A name of the registry of tasks: {{ cookiecutter.starter }} or your own."""
{%- if cookiecutter.starter == "classification" %}
    label_smoothing: float = 0.0
    """Share of a label's probability that is spread evenly over all classes."""
    class_weights: tuple[float, ...] = ()
    """How much the examples of each class count in the loss; by default all the same."""
{%- elif cookiecutter.starter == "forecasting" %}
    season: int = 24
    """The naive forecast, which is to be beaten, repeats this many rows."""
{%- endif %}


@dataclass(frozen=True)
class DataConfig:
    """What it learns from. Fixed for the life of a run."""
{%- if cookiecutter.starter == "classification" %}

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
{%- elif cookiecutter.starter == "segmentation" %}

    name: str = "scenes"
    """A name of the registry of data sets: scenes or your own."""
    validation: float = 0.2
    """Share of the digits that only scenes held out are composed of; training never sees them."""
    batch_size: int = 32
    """Examples per step."""
    scenes: int = 1024
    """How many scenes are an epoch."""
    held_out: int = 512
    """How many scenes are held out."""
    size: int = 32
    """Height and width of a scene, in pixels."""
    digits: tuple[int, ...] = (1, 2, 3)
    """The digits that are to be found; all others count as background."""
{%- else %}

    name: str = "weather"
    """A name of the registry of data sets: weather or your own."""
    path: str | None = None
    """A file of your own instead: CSV with a header and rows at equal distances in time."""
    target: str | None = None
    """The column that is to be found; the first one unless given."""
    history: int = 72
    """How many rows a forecast is made from."""
    horizon: int = 24
    """How many rows it reaches ahead."""
    validation: float = 0.2
    """Share of the rows held out, at the end; training never sees them."""
    batch_size: int = 64
    """Examples per step."""
{%- endif %}
{%- if cookiecutter.starter != "segmentation" %}

    def __post_init__(self) -> None:
        """Makes the path absolute, so that it holds from another working directory too."""
        if self.path is not None:
            object.__setattr__(self, "path", absolute(self.path))
{%- endif %}


@dataclass(frozen=True)
class OptimizerConfig:
    """How it learns. Free to change when a run is resumed, but for the name."""

    name: Literal["adam", "adamw", "sgd"] = "adam"
    """The optimizer; sgd uses momentum 0.9."""
    learning_rate: float = {{ "1e-3" if cookiecutter.starter == "classification" else "3e-3" }}
    """Learning rate of the first epoch, or after the warm-up."""
    schedule: Literal["exponential", "constant", "cosine", "steps"] = "exponential"
    """exponential multiplies the rate by decay after each epoch, steps at the milestones; cosine
    takes it to 0 at the last step, see --epochs."""
    decay: float = {{ {"classification": "1.0", "segmentation": "0.85", "forecasting": "0.8"}[cookiecutter.starter] }}
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

    epochs: int = {{ {"classification": 30, "segmentation": 12, "forecasting": 8}[cookiecutter.starter] }}
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
{%- if cookiecutter.starter == "classification" %}
        require(min(model.hidden, default=1) >= 1, "model.hidden", model.hidden, "sizes from 1 up")
{%- elif cookiecutter.starter == "segmentation" %}
        require(min(model.hidden, default=0) >= 1, "model.hidden", model.hidden, "sizes from 1 up")
{%- else %}
        require(model.units >= 1, "model.units", model.units, "at least 1")
        require(self.task.season >= 1, "task.season", self.task.season, "at least 1")
{%- endif %}
        require(0 <= model.dropout < 1, "model.dropout", model.dropout, "from 0 to below 1")
{%- if cookiecutter.starter == "classification" %}
        smoothing, weights = self.task.label_smoothing, self.task.class_weights
        require(0 <= smoothing < 1, "task.label-smoothing", smoothing, "from 0 to below 1")
        are_weights = all(0 <= weight < math.inf for weight in weights)
        require(are_weights, "task.class-weights", weights, "0 or more for each class")
{%- endif %}
        require(0 < data.validation < 1, "data.validation", data.validation, "between 0 and 1")
        require(data.batch_size >= 1, "data.batch-size", data.batch_size, "at least 1")
{%- if cookiecutter.starter == "classification" %}
        require(data.shift >= 0, "data.shift", data.shift, "0 or more")
{%- elif cookiecutter.starter == "segmentation" %}
        require(data.scenes >= 1, "data.scenes", data.scenes, "at least 1")
        require(data.held_out >= 1, "data.held-out", data.held_out, "at least 1")
        require(data.size >= 8, "data.size", data.size, "at least 8, the size of a digit")
{%- else %}
        require(data.history >= 1, "data.history", data.history, "at least 1")
        require(data.horizon >= 1, "data.horizon", data.horizon, "at least 1")
{%- endif %}
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
{%- if cookiecutter.starter == "classification" %}
            "task.label_smoothing": self.task.label_smoothing,
            "task.class_weights": list(self.task.class_weights),
{%- endif %}
            "data.batch_size": self.data.batch_size,
            "data.validation": self.data.validation,
{%- if cookiecutter.starter == "classification" %}
            "data.shift": self.data.shift,
{%- elif cookiecutter.starter == "segmentation" %}
            "data.scenes": self.data.scenes,
            "data.size": self.data.size,
            "data.digits": list(self.data.digits),
{%- else %}
            "data.history": self.data.history,
            "data.horizon": self.data.horizon,
{%- endif %}
        }
