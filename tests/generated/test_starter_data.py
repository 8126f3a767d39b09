"""The starter's data: the digits, MNIST and files of one's own, with clear errors for bad ones."""

import numpy as np
import pytest
import tensorflow as tf
from my_experiment.config import DataConfig
from my_experiment.data import DATA, load_data
from my_experiment.data.labeled import shift_image
from my_experiment.durable import ConfigurationError


@pytest.fixture
def numbered(tmp_path):
    """Writes a file of 50 examples that can be told apart, and gives its path."""
    path = tmp_path / "my data.npz"
    x = np.arange(50, dtype=np.float32)[:, None] * np.ones(3, np.float32)
    np.savez(path, x=x, y=np.arange(50) % 4)
    return str(path)


def test_the_digits():
    data = load_data(DataConfig())
    (x, y), (held_out, _) = data.training.arrays, data.validation.arrays
    assert x.shape == (1438, 8, 8)
    assert y.shape == (1438,)
    assert len(held_out) == 359
    assert data.identity["data.classes"] == 10
    assert data.identity["data"] == "643e71c440464f35"  # that of the first edition's runs
    assert data.steps_per_epoch == 44
    assert (x.min(), x.max()) == (0, 1)


def test_the_order_is_the_same_on_every_tensorflow():
    data = load_data(DataConfig(batch_size=4))
    (_, labels), *_ = data.batches(seed=5, start=1000, stop=1001).as_numpy_iterator()
    assert labels.tolist() == [7, 9, 7, 3]


def test_augmentation_depends_on_seed_and_step_alone():
    data = load_data(DataConfig(shift=1))
    straight = [x for x, _ in data.batches(seed=3, start=0, stop=5).as_numpy_iterator()]
    sought = [x for x, _ in data.batches(seed=3, start=4, stop=5).as_numpy_iterator()]
    plain = [x for x, _ in load_data(DataConfig()).batches(3, 4, 5).as_numpy_iterator()]
    assert (sought[0] == straight[4]).all()
    assert (sought[0] != plain[0]).any()


@pytest.mark.parametrize("channels", [(), (2,)])
def test_images_are_shifted_and_not_changed(channels):
    image = np.zeros((5, 6, *channels), np.float32)
    image[2, 3] = 1
    places = set()
    for number in range(200):
        shifted = shift_image(tf.constant(image), 2, tf.constant([1, number])).numpy()
        assert shifted.shape == image.shape
        assert (shifted.sum(axis=(0, 1)) == 1).all()
        places.add(tuple(np.argwhere(shifted)[0][:2]))
    assert places == {(row, column) for row in range(5) for column in range(1, 6)}


def test_integers_are_scaled_and_other_numbers_are_not(tmp_path):
    y = np.zeros(10, int)
    np.savez(tmp_path / "integers.npz", x=np.full((10, 2), 40), y=y)
    np.savez(tmp_path / "floats.npz", x=np.full((10, 2), 40.0), y=y)
    for name, value in [("integers", 1), ("floats", 40)]:
        data = load_data(DataConfig(path=str(tmp_path / f"{name}.npz"), batch_size=2))
        assert (data.training.arrays[0] == value).all()


X, Y = np.ones((20, 3)), np.arange(20) % 4
BAD = {
    "missing key": ({"x": X, "labels": Y}, "it has no array 'y', but x, labels"),
    "wrong rank of x": ({"x": np.ones(20), "y": Y}, "x has shape (20,)"),
    "wrong rank of y": ({"x": X, "y": np.ones((20, 4), int)}, "y has shape (20, 4)"),
    "other lengths": ({"x": X, "y": Y[:19]}, "x has 20 examples and y has 19 labels"),
    "negative label": ({"x": X, "y": Y - 1}, "labels are out of range: they go from -1 to 2"),
    "label too large": ({"x": X, "y": Y + 20}, "labels are out of range: they go from 20 to 23"),
    "labels not integers": ({"x": X, "y": Y / 2}, "y has values of type float64"),
    "NaN": ({"x": np.where(np.arange(3) == 1, np.nan, X), "y": Y}, "NaN or infinite"),
    "text": ({"x": X.astype(str), "y": Y}, "x has values of type <U"),
    "pickled objects": ({"x": X.astype(object), "y": Y}, "is not a usable .npz file"),
    "no examples": ({"x": X[:0], "y": Y[:0]}, "0 examples are too few"),
    "fewer than one batch": ({"x": X, "y": Y}, "leaves 16 examples for training, fewer than one"),
}


@pytest.mark.parametrize(("arrays", "message"), BAD.values(), ids=BAD.keys())
def test_bad_data_is_refused_by_name(tmp_path, arrays, message):
    path = tmp_path / "bad.npz"
    np.savez(path, **arrays)
    with pytest.raises(ConfigurationError) as caught:
        load_data(DataConfig(path=str(path)))
    assert message in str(caught.value)
    assert "bad.npz" in str(caught.value)


def test_a_file_that_is_not_there_or_no_archive(tmp_path):
    with pytest.raises(ConfigurationError, match="There is no data file"):
        load_data(DataConfig(path=str(tmp_path / "none.npz")))
    for name, contents in [("text.npz", b"hello"), ("empty.npz", b""), ("cut.npz", b"PK\x03\x04")]:
        (tmp_path / name).write_bytes(contents)
        with pytest.raises(ConfigurationError, match=r"is not a usable \.npz file"):
            load_data(DataConfig(path=str(tmp_path / name)))
    np.save(tmp_path / "array.npy", X)
    with pytest.raises(ConfigurationError, match=r"is not a usable \.npz file"):
        load_data(DataConfig(path=str(tmp_path / "array.npy")))


def test_shifting_needs_images(numbered):
    with pytest.raises(ConfigurationError, match=r"--data.shift 1 needs larger images"):
        load_data(DataConfig(path=numbered, shift=1))


def test_mnist_is_read_from_the_cache_of_keras(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KERAS_HOME", raising=False)
    cache = tmp_path / ".keras" / "datasets"
    cache.mkdir(parents=True)
    images = np.full((100, 28, 28), 255, np.uint8)
    labels = (np.arange(100) % 10).astype(np.uint8)
    np.savez(cache / "mnist.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    data = load_data(DataConfig(name="mnist"))
    assert data.training.arrays[0].shape == (80, 28, 28)
    assert data.identity["data.classes"] == 10


def test_mnist_that_cannot_be_had_is_one_clear_error(tmp_path, monkeypatch):
    def fail():
        raise Exception("URL fetch failure")  # noqa: TRY002  (as Keras does)

    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(tf.keras.datasets.mnist, "load_data", fail)
    with pytest.raises(ConfigurationError, match=r"could not be downloaded \(URL fetch failure"):
        load_data(DataConfig(name="mnist"))


def test_a_data_set_of_ones_own_is_given_the_path(monkeypatch, tmp_path):
    monkeypatch.setitem(DATA, "own", lambda config: config.path)
    assert load_data(DataConfig(name="own", path=str(tmp_path))) == str(tmp_path)
