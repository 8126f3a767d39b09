"""The settings, the data and the task of the program."""

import os
import sys
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Literal

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from ...compat import keras
from ...data.arrays import ArrayData, hold_out, load_arrays
from ...data.pipeline import PipelineData
from ...errors import ConfigurationError
from ...files import absolute
from ...run.experiment import Task
from ...run.paths import RunPaths
from ...run.settings import Project, RunSettings, require
from .models import build_model, build_optimizer

ROOT_VARIABLE = "DURABLE_TESTS_ROOT"


@dataclass(frozen=True)
class Paths(RunPaths):
    def default_root(self):
        return os.environ.get(ROOT_VARIABLE) or Path.cwd()


@dataclass(frozen=True)
class ModelConfig:
    name: str = "mlp"
    hidden: tuple[int, ...] = (64, 128)
    activation: str = "relu"
    dropout: float = 0.3
    dtype: str = "float32"
    frozen: bool = False
    """The first layer is not trained."""


@dataclass(frozen=True)
class DataConfig:
    name: str = "digits"
    path: str | None = None
    """An .npz file with arrays x and y."""
    validation: float = 0.2
    batch_size: int = 32
    noise: float = 0.0
    """Augmentation: the standard deviation of what is added at random."""

    def __post_init__(self):
        if self.path is not None:
            object.__setattr__(self, "path", absolute(self.path))


@dataclass(frozen=True)
class OptimizerConfig:
    name: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: float = 1e-3
    decay: float = 1.0


@dataclass(frozen=True)
class Config(RunSettings):
    """Train a model. Run it again to resume."""

    epochs: int = 30
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)

    def __post_init__(self):
        super().__post_init__()
        rate = self.optimizer.learning_rate
        require(rate > 0, "optimizer.learning-rate", rate, "more than 0")

    def identity(self):
        data = self.data
        return super().identity() | {
            "data.batch_size": data.batch_size,
            "data.validation": data.validation,
            "data.noise": data.noise,
        }


@cache
def digits():
    """As many images of 8 x 8 pixels in ten classes as the digits have: 44 steps are an epoch."""
    # The one generator of NumPy whose numbers never change: losses in fixtures/ depend on them.
    random = np.random.RandomState(1797)
    y = random.randint(0, 10, 1797)
    prototypes = random.random_sample((10, 8, 8)) > 0.5
    return prototypes[y] + random.normal(0, 0.6, (1797, 8, 8)), y


def load_data(config):
    if config.path is None:
        x, y = digits()
    else:
        try:
            x, y = load_arrays(config.path, "x", "y").values()
        except FileNotFoundError as error:
            raise ConfigurationError(f"There is no data file {config.path}.") from error
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"{config.path} cannot be used: {error}.") from error
    x, y = x.astype(np.float32), y.astype(np.int32)
    details = {"data.shape": list(x.shape[1:]), "data.classes": int(y.max()) + 1}
    examples = hold_out((x, y), config.validation)
    if config.name == "pipeline":
        return pipeline_of(*examples, config.batch_size, details)
    augment = partial(add_noise, deviation=config.noise) if config.noise else None
    return ArrayData(*examples, config.batch_size, details, augment)


def pipeline_of(training, validation, batch_size, details):
    def shuffled(seed):
        examples = tf.data.Dataset.from_tensor_slices(training)
        return examples.shuffle(500, seed=seed).batch(batch_size, drop_remainder=True).prefetch(2)

    held_out = tf.data.Dataset.from_tensor_slices(validation).batch(batch_size)
    steps = len(training[0]) // batch_size
    return PipelineData(shuffled, held_out, steps, {"data": "digits", **details})


def add_noise(example, seed, deviation):
    x, y = example
    return x + tf.random.stateless_normal(tf.shape(x), seed, stddev=deviation), y


class Classes(Task):
    best_metric = "val_accuracy"
    best_mode = "max"

    def __init__(self, config, data):
        x, _ = data.element_spec
        classes = data.identity["data.classes"]
        self.models = {"model": build_model(config.model, tuple(x.shape[1:]), classes)}
        self.optimizers = {"optimizer": build_optimizer(config.optimizer, data.steps_per_epoch)}

    def loss(self, y, outputs):
        logits = outputs if outputs.dtype == tf.float64 else tf.cast(outputs, tf.float32)
        return tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits)

    def metrics(self):
        return {"accuracy": keras.metrics.SparseCategoricalAccuracy()}

    def combine(self, members):
        logs = [tf.nn.log_softmax(tf.cast(logits, tf.float64)) for logits in members]
        return tf.reduce_logsumexp(tf.stack(logs), axis=0) - np.log(len(members))

    def figures(self):
        return Losses()


class Losses:
    """One figure that can be drawn, and one that cannot."""

    def __init__(self):
        self.losses = []

    def update(self, _batch, _outputs, losses):
        self.losses.append(losses)

    def draw(self, title):
        figure = Figure(figsize=(2, 2))
        figure.add_subplot(title=title).hist(np.concatenate(self.losses))
        return {"losses": figure, "mistakes": "there are none"}


@dataclass(frozen=True)
class Experiment:
    config: Config

    @property
    def paths(self):
        return Paths(self.config.root, self.config.run)

    def data(self):
        return load_data(self.config.data)

    def task(self, data):
        return Classes(self.config, data)

    def hooks(self):
        return []


PROJECT = Project(
    Config, Paths, lambda: Experiment, train=(sys.executable, "-m", __package__, "train")
)
