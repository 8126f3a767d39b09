"""The segmentation starter: its scenes, its metrics and its figure."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from my_segmentation.config import Config, DataConfig
from my_segmentation.data import load_data
from my_segmentation.data.scenes import OBJECTS, Scenes
from my_segmentation.durable import ConfigurationError, keras
from my_segmentation.models import build_model
from my_segmentation.tasks import build_task
from my_segmentation.tasks.segmentation import SegmentationFigures


def test_the_scenes():
    data = load_data(DataConfig())
    x, y = next(data.batches(0, 0, 1).as_numpy_iterator())
    assert (x.shape, y.shape) == ((32, 32, 32), (32, 32, 32))
    assert (x.min(), x.max()) == (0, 1)
    assert set(np.unique(y)) == {0, 1, 2, 3}
    assert ((x == 0) <= (y == 0)).all()
    assert ((x > 0) & (y == 0)).any()  # distractors
    assert (len(data.training), len(data.validation)) == (1024, 512)


def test_a_scene_is_a_function_of_its_number():
    scenes = load_data(DataConfig()).training
    together = [part.numpy() for part in scenes.take(tf.constant([7, 10**6, 7], tf.int64))]
    alone = [part.numpy() for part in scenes.take(tf.constant([10**6], tf.int64))]
    for batch, single in zip(together, alone, strict=True):
        assert (batch[1] == single[0]).all()
        assert (batch[0] == batch[2]).all()
        assert (batch[0] != batch[1]).any()


def test_scenes_held_out_have_digits_of_their_own():
    data = load_data(DataConfig())
    trained = {image.tobytes() for image in data.training.images}
    held_out = {image.tobytes() for image in data.validation.images}
    assert (len(trained), len(held_out)) == (1438, 359)
    assert not trained & held_out


def test_digits_lie_over_one_another():
    """On a canvas of their own size, all lie in one place, and the last one shows."""
    images = np.zeros((2, 2, 2), np.float32)
    images[0, 0], images[1, :, 0] = 0.5, 1.0
    scenes = Scenes(images, np.array([1, 2], np.int32), count=64, size=2, seed=0)
    x, y = (part.numpy() for part in scenes.take(tf.range(64, dtype=tf.int64)))
    assert OBJECTS > 1
    assert (y[x == 0.5] == 1).all()
    assert (y[x == 1.0] == 2).all()
    kinds = {image.tobytes() for image in x}
    over = [[1.0, 0.5], [1.0, 0.0]], [[0.5, 0.5], [1.0, 0.0]]
    assert all(np.array(image, np.float32).tobytes() in kinds for image in over)


def test_what_is_to_be_found_can_be_chosen():
    data = load_data(DataConfig(digits=(7,)))
    assert data.identity["data.classes"] == 2
    with pytest.raises(ConfigurationError, match=r"--data.digits 12: give one or more of 0"):
        load_data(DataConfig(digits=(12,)))


def test_an_image_that_cannot_be_halved_is_refused():
    config = Config().model
    with pytest.raises(ConfigurationError, match="30 x 32 pixels cannot be halved 2 times"):
        build_model(config, (30, 32), 4)
    with pytest.raises(ConfigurationError, match="it needs images"):
        build_model(config, (30,), 4)


def test_each_pixel_counts_as_much_as_its_example():
    data = load_data(DataConfig(batch_size=2))
    task = build_task(Config(), data)
    y = np.zeros((2, 32, 32), np.int32)
    outputs = np.zeros((2, 32, 32, 4), np.float32)
    outputs[0, ..., 0] = outputs[1, ..., 1] = 9  # the first is right, the second wrong
    expected = [np.log(1 + 3 * np.exp(-9.0)), 9 + np.log(1 + 3 * np.exp(-9.0))]
    loss = task.loss(tf.constant(y), tf.constant(outputs))
    np.testing.assert_allclose(loss, expected, rtol=1e-3)
    for weight, accuracy in ((None, 0.5), ([1.5, 0.5], 0.75)):
        metrics = task.metrics()
        batch = (None, tf.constant(y)) if weight is None else (None, y, tf.constant(weight))
        task.update_metrics(metrics, batch, tf.constant(outputs))
        assert float(metrics["accuracy"].result()) == pytest.approx(accuracy)
        # Class 0: right as often as it is right; class 1: never there, and told.
        assert float(metrics["iou"].result()) == pytest.approx(accuracy / 2)


def test_an_ensemble_gives_the_mean_of_pixel_probabilities():
    task = build_task(Config(), load_data(DataConfig()))
    members = [tf.math.log([[[[0.8, 0.2]]]]), tf.math.log([[[[0.4, 0.6]]]])]
    np.testing.assert_allclose(tf.exp(task.combine(members)), [[[[0.6, 0.4]]]], rtol=1e-6)


def test_the_worst_come_first():
    figures = SegmentationFigures(classes=2)
    for first in (0, 10):
        images = np.arange(10)[:, None, None] * np.ones((10, 4, 4))
        losses = np.array([0, 5, 5, 1, 2, 3, 4, 9, 8, 7.0]) + first
        figures.update((images, np.zeros((10, 4, 4), int)), np.zeros((10, 4, 4, 2)), losses)
    figure = figures.draw("title")["scenes"]
    told = [axes.get_ylabel() for axes in figure.axes[::3]]
    assert told == [f"loss {loss:.3f}" for loss in (19, 18, 17, 15, 15, 14, 13, 12)]
    assert [-scene.number for scene in sorted(figures.worst, reverse=True)[3:5]] == [11, 12]


def test_a_task_of_other_labels_is_refused():
    data = load_data(DataConfig())

    class Flat:
        element_spec = (data.element_spec[0], tf.TensorSpec((32,), tf.int32))
        identity = data.identity
        steps_per_epoch = 1

    with pytest.raises(ConfigurationError, match="Segmentation learns integer labels"):
        build_task(Config(), Flat())


@pytest.mark.parametrize("dtype", ["float64", "mixed_bfloat16"])
def test_every_policy_trains(dtype):
    data = load_data(DataConfig(batch_size=2))
    config = Config()
    task = build_task(replace(config, model=replace(config.model, dtype=dtype)), data)
    outputs, loss = task.step(next(iter(data.batches(0, 0, 1))))
    assert outputs.shape == (2, 32, 32, 4)
    assert np.isfinite(float(loss))
    assert isinstance(task.model, keras.Model)
