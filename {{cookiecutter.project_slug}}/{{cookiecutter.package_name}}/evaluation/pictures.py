"""Pictures of an evaluation: the confusion matrix and the worst mistakes."""

from io import BytesIO

import numpy as np
from matplotlib.figure import Figure

from ..data import Examples
from .predictions import Predictions

# More would not be readable.
MOST_COUNTS = 20  # classes
MOST_MISTAKES = 24
COLUMNS = 6


def png(figure: Figure) -> bytes:
    """The figure as a PNG file."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()


def confusion_matrix(predictions: Predictions) -> np.ndarray:
    """How many examples of each class were taken for which: (true, predicted) int64."""
    classes = predictions.log_probabilities.shape[1]
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (predictions.labels, predictions.predicted), 1)
    return counts


def draw_confusion(predictions: Predictions, name: str) -> Figure:
    """Draws the confusion matrix, with its counts where there is room for them.

    Args:
        predictions: for the held-out examples.
        name: of what predicted.
    """
    counts = confusion_matrix(predictions)
    classes, mistakes = len(counts), counts.sum() - counts.trace()
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
                colour = "white" if shades[true, predicted] > 0.6 * shades.max() else "black"
                axes.text(predicted, true, count, ha="center", va="center", color=colour, size=9)
    axes.set(xlabel="predicted class", ylabel="true class")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    figure.suptitle(f"{name}: {mistakes} mistakes in {counts.sum()} examples", size=10, wrap=True)
    return figure


def worst_mistakes(predictions: Predictions) -> np.ndarray:
    """The indices of the mistakes, the one with the highest loss first: (mistakes,) int64."""
    mistakes = np.flatnonzero(predictions.predicted != predictions.labels)
    return mistakes[np.argsort(-predictions.losses[mistakes], kind="stable")]


def draw_mistakes(predictions: Predictions, examples: Examples, name: str) -> Figure:
    """Draws the worst mistakes, of at least one, on images that `is_image` accepts.

    Args:
        predictions: for the held-out examples.
        examples: the held-out examples.
        name: of what predicted.
    """
    mistakes = worst_mistakes(predictions)
    worst = mistakes[:MOST_MISTAKES]
    columns = min(COLUMNS, len(worst))
    rows = -(-len(worst) // columns)
    figure = Figure(figsize=(max(1.4 * columns, 4), 1.75 * rows + 0.6), layout="constrained")
    title = f"{name}: {len(worst)} of {len(mistakes)} mistakes, the worst first"
    figure.suptitle(title, size=10, wrap=True)
    images = examples.x[worst]
    low, high = images.min(), images.max()
    span = high - low if high > low else 1
    for place, (index, image) in enumerate(zip(worst, images, strict=True), start=1):
        axes = figure.add_subplot(rows, columns, place)
        axes.imshow((image - low) / span, cmap="gray", vmin=0, vmax=1)
        axes.set_axis_off()
        predicted = predictions.predicted[index]
        probability = np.exp(predictions.log_probabilities[index, predicted])
        text = f"true {predictions.labels[index]}\npredicted {predicted} ({probability:.0%})"
        axes.set_title(text, size=8)
    return figure


def is_image(shape: tuple[int, ...]) -> bool:
    """Whether examples of a shape can be drawn: (height, width[, 1, 3 or 4 channels])."""
    return len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4))
