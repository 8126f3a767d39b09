"""Data in memory: any step at once, every example once an epoch, any nest of arrays."""

import json

import numpy as np
import pytest
import tensorflow as tf

from ..data.arrays import ArrayData, hold_out
from ..data.protocol import any_batch_size, spec_as_json, spec_from_json
from ..errors import ConfigurationError
from .program.experiment import DataConfig, load_data


def numbered(batch_size=8):
    """50 examples that can be told apart."""
    x = np.arange(50, dtype=np.float32)[:, None] * np.ones(3, np.float32)
    y = (np.arange(50) % 4).astype(np.int32)
    return ArrayData(*hold_out((x, y), 0.2), batch_size)


def numbers_in(dataset):
    return [[int(number) for number in x[:, 0]] for x, _ in dataset.as_numpy_iterator()]


def test_an_epoch_has_each_training_example_once_and_no_other():
    data = numbered()
    batches = numbers_in(data.batches(seed=0, start=0, stop=data.steps_per_epoch))
    assert len(batches) == 5
    seen = [number for batch in batches for number in batch]
    assert sorted(seen) == sorted(int(x[0]) for x in data.training.arrays[0])
    held_out = {int(x[0]) for x in data.validation.arrays[0]}
    assert len(held_out) == 10
    assert held_out.isdisjoint(seen)


def test_a_batch_depends_on_seed_and_step_alone():
    data = numbered()
    straight = numbers_in(data.batches(seed=7, start=0, stop=15))
    assert numbers_in(data.batches(seed=7, start=9, stop=15)) == straight[9:]
    assert straight[:5] != straight[5:10]
    assert numbers_in(data.batches(seed=8, start=0, stop=15)) != straight


def test_the_same_examples_are_held_out_whatever_the_seed():
    first = numbered(32)
    second = numbered(4)
    assert (first.validation.arrays[0] == second.validation.arrays[0]).all()


def test_a_step_far_out_is_found_at_once():
    data = numbered()
    assert len(numbers_in(data.batches(seed=0, start=10**12, stop=10**12 + 3))) == 3


def test_labels_stay_with_their_examples():
    data = numbered()
    for x, y in data.batches(seed=1, start=0, stop=10).as_numpy_iterator():
        assert (x[:, 0].astype(int) % 4 == y).all()
        assert x.dtype == np.float32
        assert y.dtype == np.int32


def test_the_order_is_the_same_on_every_tensorflow():
    data = load_data(DataConfig(batch_size=4))
    (_, labels), *_ = data.batches(seed=5, start=1000, stop=1001).as_numpy_iterator()
    assert labels.tolist() == [6, 7, 8, 4]


def test_augmentation_depends_on_seed_and_step_alone():
    def shift(batch, seed):
        x, y = batch
        return x + tf.random.stateless_uniform(tf.shape(x), seed), y

    plain = numbered()
    noisy = ArrayData(plain.training.arrays, plain.validation.arrays, 8, augment=shift)
    straight = [x for x, _ in noisy.batches(seed=3, start=0, stop=5).as_numpy_iterator()]
    sought = [x for x, _ in noisy.batches(seed=3, start=4, stop=5).as_numpy_iterator()]
    without = [x for x, _ in plain.batches(seed=3, start=4, stop=5).as_numpy_iterator()]
    assert (sought[0] == straight[4]).all()
    assert (np.floor(sought[0]) == without[0]).all()
    assert (sought[0] != without[0]).any()


def test_a_fingerprint_tells_data_apart():
    same = numbered().identity["data"]
    assert numbered(4).identity["data"] == same
    training, validation = numbered().training.arrays, numbered().validation.arrays
    assert ArrayData(validation, training, 8).identity["data"] != same
    changed = (training[0] + 1, training[1])
    assert ArrayData(changed, validation, 8).identity["data"] != same


def test_the_details_are_part_of_the_identity():
    data = ArrayData(
        numbered().training.arrays, numbered().validation.arrays, 8, details={"data.classes": 4}
    )
    assert data.identity == numbered().identity | {"data.classes": 4}


def test_any_nest_of_arrays_is_data():
    x = {"number": np.arange(20.0), "text": np.array([f"example {i}" for i in range(20)])}
    y = (np.arange(20), np.arange(40).reshape(20, 2))
    weight = np.linspace(0, 1, 20)
    data = ArrayData(*hold_out((x, y, weight), 0.25), batch_size=5)
    assert data.steps_per_epoch == 3
    seen = []
    for x, (first, second), weight in data.batches(0, 0, 3).as_numpy_iterator():
        assert (x["number"] == first).all()
        assert (second[:, 0] == 2 * first).all()
        assert np.allclose(weight, first / 19)
        assert [text.decode() for text in x["text"]] == [f"example {i}" for i in first]
        seen += first.tolist()
    (held_out, _, _) = data.validation.arrays
    assert sorted([*seen, *held_out["number"]]) == list(range(20))
    texts = np.array(["other"] * 15)
    other = ArrayData(
        ({**data.training.arrays[0], "text": texts}, *data.training.arrays[1:]),
        data.validation.arrays,
        5,
    )
    assert other.identity["data"] != data.identity["data"]


def test_texts_of_python_are_data():
    texts = np.array(["a", "bc", "def", "ghij"], object)
    data = ArrayData((texts, np.arange(4)), (texts, np.arange(4)), 2)
    (x, y), *_ = data.batches(0, 0, 1).as_numpy_iterator()
    assert [text.decode() for text in x] == texts[y].tolist()
    other = ArrayData((texts[::-1], np.arange(4)), (texts, np.arange(4)), 2)
    assert other.identity["data"] != data.identity["data"]


def test_fewer_examples_than_a_batch_are_refused():
    with pytest.raises(ConfigurationError, match=r"40 examples for training, fewer than one batch"):
        numbered(41)


SPECS = (
    {"image": tf.TensorSpec((32, 8, 8)), "text": tf.TensorSpec((32,), tf.string)},
    (tf.TensorSpec((32,), tf.int32), tf.RaggedTensorSpec((32, None), tf.int64, 1)),
    tf.TensorSpec((32,), tf.bfloat16),
)


def test_specs_are_kept_as_json():
    assert spec_from_json(json.loads(json.dumps(spec_as_json(SPECS)))) == SPECS


def test_any_number_of_examples_fits():
    (x, (_, ragged), weight) = any_batch_size(SPECS)
    assert x["image"].shape.as_list() == [None, 8, 8]
    assert ragged.shape.as_list() == [None, None]
    assert weight.is_compatible_with(tf.zeros((7,), tf.bfloat16))
