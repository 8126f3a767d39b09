"""The starter's task: its loss, what an ensemble makes of it, and its figures."""

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from matplotlib.figure import Figure
from my_experiment.config import Config, ModelConfig, TaskConfig
from my_experiment.data import load_data
from my_experiment.durable import ConfigurationError
from my_experiment.tasks.classification import Classification, ClassificationFigures, is_image


@pytest.fixture(scope="module")
def task() -> Classification:
    config = Config(model=ModelConfig(hidden=(4,)))
    return Classification(config, load_data(config.data))


def test_the_loss_is_that_of_each_example(task):
    logits = np.random.default_rng(0).normal(size=(6, 10)).astype(np.float32)
    labels = np.arange(6)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = -np.log(probabilities[np.arange(6), labels])
    np.testing.assert_allclose(task.loss(labels, tf.constant(logits)), expected, rtol=1e-5)


def test_labels_are_smoothed_and_classes_weighted():
    weights = tuple(np.arange(10) / 4)
    settings = TaskConfig(label_smoothing=0.3, class_weights=weights)
    config = Config(model=ModelConfig(hidden=(4,)), task=settings)
    task = Classification(config, load_data(config.data))
    logits = np.random.default_rng(0).normal(size=(6, 10)).astype(np.float32)
    labels = np.arange(6)
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    targets = 0.7 * np.eye(10)[labels] + 0.03
    expected = -(targets * logs).sum(axis=1) * np.array(weights)[labels]
    np.testing.assert_allclose(task.loss(labels, tf.constant(logits)), expected, rtol=1e-5)


def test_weights_of_other_classes_are_refused():
    config = Config(task=TaskConfig(class_weights=(1.0, 2.0)))
    with pytest.raises(ConfigurationError, match="class-weights are 2, and there are 10 classes"):
        Classification(config, load_data(config.data))


def test_an_ensemble_is_the_mean_of_the_probabilities(task):
    probabilities = np.random.default_rng(0).dirichlet(np.ones(10), (4, 50))
    combined = task.combine([tf.constant(np.log(member)) for member in probabilities])
    np.testing.assert_allclose(np.exp(combined), probabilities.mean(axis=0), rtol=1e-12)


def test_probabilities_too_small_for_a_number_still_count(task):
    logits = tf.constant([[-2000.0] + [0.0] * 9], tf.float64)
    loss = task.loss(tf.constant([0]), task.combine([logits, logits]))
    assert loss.numpy() == pytest.approx([2000 + np.log(9)])


@pytest.mark.parametrize("outputs", [tf.zeros((2, 9)), tf.zeros((2,)), tf.zeros((2, 3, 10))])
def test_outputs_that_are_not_a_logit_for_each_class_are_refused(task, outputs):
    with pytest.raises(ValueError, match=r"and not \(batch, 10\) logits"):
        task.loss(tf.constant([0, 1]), outputs)


@pytest.mark.parametrize(
    "labels", [tf.TensorSpec((None, 4)), tf.TensorSpec((None,)), tf.TensorSpec((None, 1), tf.int32)]
)
def test_labels_that_are_no_classes_are_refused(labels):
    data = SimpleNamespace(
        element_spec=(tf.TensorSpec((None, 8, 8)), labels),
        identity={"data.classes": 4},
        steps_per_epoch=3,
    )
    with pytest.raises(ConfigurationError, match="Classification learns integer labels"):
        Classification(Config(), data)


def figures_of(labels, probabilities, shape=(3, 3)):
    """The figures of predictions that came in batches of two."""
    found = ClassificationFigures(len(probabilities[0]))
    for start in range(0, len(labels), 2):
        y = np.array(labels[start : start + 2])
        chosen = np.array(probabilities[start : start + 2])
        losses = -np.log(chosen[np.arange(len(y)), y])
        found.update((np.zeros((len(y), *shape), np.float32), y), np.log(chosen), losses)
    return found


def test_the_confusion_matrix_counts_what_was_taken_for_what():
    first, second, third = [0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.5, 0.3, 0.2]
    found = figures_of([0, 0, 1, 2], [first, second, second, third])
    assert found.counts.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]
    (axes,) = found.draw_confusion("a@88").axes
    counts = {text.get_position(): text.get_text() for text in axes.texts}
    assert counts == {(0, 0): "1", (1, 0): "1", (1, 1): "1", (0, 2): "1"}  # (predicted, true)
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0", "1", "2"]


def test_the_worst_mistake_comes_first_and_right_answers_do_not_come():
    found = figures_of([0, 0, 1, 1], [[0.6, 0.4], [0.45, 0.55], [0.3, 0.7], [0.9, 0.1]])
    titles = [axes.get_title() for axes in found.draw_mistakes("a@88").axes]
    assert titles == ["true 1\npredicted 0 (90%)", "true 0\npredicted 1 (55%)"]


def test_of_many_mistakes_the_worst_are_kept():
    wrong = np.linspace(0.51, 0.99, 100)
    found = figures_of([0] * 100, [[1 - share, share] for share in wrong])
    drawn = found.draw_mistakes("a@88")
    assert len(drawn.axes) == 24
    assert drawn.axes[0].get_title() == "true 0\npredicted 1 (99%)"
    assert "24 of 100 mistakes" in drawn.get_suptitle()


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((8, 8), True), ((8, 8, 1), True), ((8, 8, 3), True), ((8, 8, 2), False), ((64,), False)],
)
def test_what_is_no_image_is_not_drawn(shape, expected):
    assert is_image(shape) == expected
    drawn = figures_of([0], [[0.1, 0.9]], shape).draw("a@88")
    assert isinstance(drawn["confusion"], Figure)
    if expected:
        assert isinstance(drawn["mistakes"], Figure)
    else:
        assert drawn["mistakes"] == f"examples of shape {shape} are not images"


def test_where_there_are_no_mistakes_that_is_said():
    assert figures_of([0], [[0.9, 0.1]]).draw("a@88")["mistakes"] == "there are none"
