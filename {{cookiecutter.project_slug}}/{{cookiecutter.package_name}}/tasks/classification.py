"""Classification: one of several classes for each example."""

import heapq
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from ..config import Config
from ..durable import ConfigurationError, DataSpec, Task, keras
from ..models import build_model
from ..optimizers import build_optimizer

# More would not be readable.
MOST_COUNTS = 20  # classes
MOST_MISTAKES = 24
COLUMNS = 6


class Classification(Task):
    """Cross-entropy of integer labels (batch,) and logits (batch, classes)."""

    best_metric = "val_accuracy"
    best_mode = "max"

    def __init__(self, config: Config, data: DataSpec) -> None:
        x, y, *_ = data.element_spec
        classes = data.identity.get("data.classes")
        if classes is None or y.shape.rank != 1 or not y.dtype.is_integer:
            raise ConfigurationError(
                "Classification learns integer labels (batch,) of data that tell how many classes "
                f"there are (data.classes); these labels are {y}."
            )
        model = build_model(config.model, tuple(x.shape[1:]), classes)
        self.models = {"model": model}
        self.optimizers = {"optimizer": build_optimizer(config, data)}
        self._classes = classes
        self._smoothing, self._weights = config.task.label_smoothing, config.task.class_weights
        if self._weights and len(self._weights) != classes:
            raise ConfigurationError(
                f"--task.class-weights are {len(self._weights)}, and there are {classes} classes."
            )

    def loss(self, y: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """The cross-entropy of each example in nats: (batch,) float32, or float64 for an ensemble.

        Weights of classes and smoothed labels (Szegedy et al. 2016, section 7) count in validation
        too, so that `val_loss` is the mean of the same quantity.

        Raises:
            ValueError: the model does not give a logit for each class.
        """
        if outputs.shape.rank != 2 or outputs.shape[1] != self._classes:
            raise ValueError(
                f"the model gives {outputs.shape}, and not (batch, {self._classes}) logits."
            )
        logits = outputs if outputs.dtype == tf.float64 else tf.cast(outputs, tf.float32)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits)
        if self._smoothing:
            even = -tf.reduce_mean(tf.nn.log_softmax(logits), axis=-1)
            losses += self._smoothing * (even - losses)
        if self._weights:
            losses *= tf.gather(tf.constant(self._weights, losses.dtype), y)
        return losses

    def metrics(self) -> dict[str, keras.metrics.Metric]:
        """The share of examples whose class has the highest logit."""
        return {"accuracy": keras.metrics.SparseCategoricalAccuracy()}

    def combine(self, members: Sequence[tf.Tensor]) -> tf.Tensor:
        """The logarithms of the mean of the members' probabilities: (batch, classes) float64.

        Computed from logarithms, so that a probability too small for a number counts as it should.
        """
        logs = [tf.nn.log_softmax(tf.cast(logits, tf.float64)) for logits in members]
        return tf.reduce_logsumexp(tf.stack(logs), axis=0) - np.log(len(members))

    def figures(self) -> "ClassificationFigures":
        """The confusion matrix and the worst mistakes."""
        return ClassificationFigures(self._classes)


class Mistake(NamedTuple):
    """An example that was taken for another class; ordered by its loss."""

    loss: float
    number: int
    image: np.ndarray
    true: int
    predicted: int
    probability: float


class ClassificationFigures:
    """The confusion matrix and the worst mistakes, collected batch by batch.

    Attributes:
        counts: how many examples of each class were taken for which: (true, predicted) int64.
        worst: the worst mistakes, the best of them first.
    """

    def __init__(self, classes: int) -> None:
        self.counts = np.zeros((classes, classes), np.int64)
        self.worst: list[Mistake] = []

    def update(self, batch: Any, outputs: np.ndarray, losses: np.ndarray) -> None:
        """Takes in a batch, with the logits (batch, classes) and the losses (batch,) for it."""
        images, labels = batch[:2]
        logits = outputs.astype(np.float64)
        logits -= logits.max(axis=-1, keepdims=True)
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
        predicted = outputs.argmax(axis=-1)
        first = self.counts.sum()
        np.add.at(self.counts, (labels, predicted), 1)
        for place in np.flatnonzero(predicted != labels):
            mistake = Mistake(
                float(losses[place]),
                -int(first + place),  # of equal losses, the first example counts as the worst
                images[place],
                int(labels[place]),
                int(predicted[place]),
                float(probabilities[place, predicted[place]]),
            )
            heapq.heappush(self.worst, mistake)
            if len(self.worst) > MOST_MISTAKES:
                heapq.heappop(self.worst)

    @property
    def mistakes(self) -> int:
        """How many examples were taken for another class."""
        return int(self.counts.sum() - self.counts.trace())

    def draw(self, title: str) -> Mapping[str, Figure | str]:
        """The two figures, or why there is no picture of the mistakes."""
        return {"confusion": self.draw_confusion(title), "mistakes": self.draw_mistakes(title)}

    def draw_confusion(self, title: str) -> Figure:
        """Draws the confusion matrix, with its counts where there is room for them."""
        counts, classes = self.counts, len(self.counts)
        size = 2 + 0.42 * min(max(classes, 6), MOST_COUNTS)
        figure = Figure(figsize=(size, size), layout="constrained")
        axes = figure.add_subplot()
        shades = np.sqrt(counts)  # so that a single mistake can be seen
        axes.imshow(shades, cmap="Blues")
        if classes <= MOST_COUNTS:
            axes.set_xticks(range(classes))
            axes.set_yticks(range(classes))
            for (true, predicted), count in np.ndenumerate(counts):
                if count:
                    color = "white" if shades[true, predicted] > 0.6 * shades.max() else "black"
                    axes.text(predicted, true, count, ha="center", va="center", color=color, size=9)
        axes.set(xlabel="predicted class", ylabel="true class")
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        figure.suptitle(
            f"{title}: {self.mistakes} mistakes in {counts.sum()} examples", size=10, wrap=True
        )
        return figure

    def draw_mistakes(self, title: str) -> Figure | str:
        """Draws the worst mistakes, where there are some and the examples are images."""
        if not self.worst:
            return "there are none"
        worst = sorted(self.worst, reverse=True)
        images = np.stack([mistake.image for mistake in worst])
        if not is_image(images.shape[1:]):
            return f"examples of shape {images.shape[1:]} are not images"
        columns = min(COLUMNS, len(worst))
        rows = -(-len(worst) // columns)
        figure = Figure(figsize=(max(1.4 * columns, 4), 1.75 * rows + 0.6), layout="constrained")
        heading = f"{title}: {len(worst)} of {self.mistakes} mistakes, the worst first"
        figure.suptitle(heading, size=10, wrap=True)
        low, high = images.min(), images.max()
        span = high - low if high > low else 1
        for place, mistake in enumerate(worst, start=1):
            axes = figure.add_subplot(rows, columns, place)
            axes.imshow((mistake.image - low) / span, cmap="gray", vmin=0, vmax=1)
            axes.set_axis_off()
            predicted = f"predicted {mistake.predicted} ({mistake.probability:.0%})"
            axes.set_title(f"true {mistake.true}\n{predicted}", size=8)
        return figure


def is_image(shape: tuple[int, ...]) -> bool:
    """Whether examples of a shape can be drawn: (height, width[, 1, 3 or 4 channels])."""
    return len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4))
