"""Examples that Python finds by number: mapped arrays, and sequences of other libraries."""

import sys

import numpy as np
import pytest
import tensorflow as tf

from ..data.arrays import hold_out_numbers
from ..data.indexed import IndexedData, name_bad_examples
from ..data.sources import ArrayFiles, ArrayRecords, SourceExamples
from ..errors import ConfigurationError


class Plain:
    """As a grain `MapDataset` is: one element at a time."""

    def __init__(self, size=20):
        self.size = size

    def __len__(self):
        return self.size

    def __getitem__(self, number):
        x = {"image": np.full((2, 3), number, np.float32), "name": f"n{number}"}
        return x, (number, b"a\0b\0")


class Batched(Plain):
    """As a Hugging Face `Dataset` is: several at a time."""

    def __getitem__(self, number):
        raise AssertionError

    def __getitems__(self, numbers):
        return [Plain(self.size)[number] for number in numbers]


@pytest.fixture
def files(tmp_path):
    numbers = np.arange(20)
    np.save(tmp_path / "x.npy", np.repeat(numbers, 6).reshape(20, 2, 3).astype(np.float32))
    np.save(tmp_path / "y.npy", numbers)
    return tmp_path / "x.npy", tmp_path / "y.npy"


@pytest.mark.parametrize("kind", [Plain, Batched])
def test_elements_of_a_sequence_are_stacked(kind):
    examples = SourceExamples(kind())
    x, (y, raw) = examples.subset(np.array([3, 9, 5])).take(tf.constant([2, 1], tf.int64))
    assert x["image"].shape == (2, 2, 3)
    assert x["image"][:, 0, 0].numpy().tolist() == [5, 9]
    assert x["name"].numpy().tolist() == [b"n5", b"n9"]
    assert y.numpy().tolist() == [5, 9]
    assert raw.numpy().tolist() == [b"a\0b\0"] * 2  # every byte, those at the end too
    assert examples.subset(np.array([3, 9, 5])).where(2) == f"Element 5 of {kind.__name__}"


def test_batches_are_a_function_of_the_step(files):
    for source in (Batched(), ArrayFiles(files)):
        examples = SourceExamples(source, lambda element: (element[0], element[1]))
        held_out, rest = hold_out_numbers(len(examples), 0.2)
        data = IndexedData(examples.subset(rest), examples.subset(held_out), 4, parallel=2)
        straight = [numbers_of(batch) for batch in data.batches(1, 0, 12)]
        assert [numbers_of(batch) for batch in data.batches(1, 5, 12)] == straight[5:]
        assert sorted(np.concatenate(straight[:4]).tolist()) == sorted(rest.tolist())
        spec = tf.nest.flatten(data.element_spec[0])[0]
        assert (spec.shape.as_list(), spec.dtype) == ([4, 2, 3], tf.float32)


def numbers_of(batch):
    image = tf.nest.flatten(batch[0])[0]
    return image[:, 0, 0].numpy().astype(int).tolist()


def test_what_a_sequence_is_known_by():
    def known(source):
        return IndexedData(*[SourceExamples(source)] * 2, 4).identity["data"]

    assert known(Plain()) == known(Batched())
    assert known(Plain()) != known(Plain(19))

    class Changed(Plain):
        def __getitem__(self, number):
            return super().__getitem__(number + 1)

    assert known(Plain()) != known(Changed())


def test_arrays_are_mapped_and_not_read(files):
    examples = SourceExamples(ArrayFiles(files))
    assert len(examples) == 20
    x, y = examples.take(tf.constant([7, 0], tf.int64))
    assert (x[:, 1, 2].numpy().tolist(), y.numpy().tolist()) == ([7, 0], [7, 0])
    assert all(isinstance(array, np.memmap) for array in examples.source._arrays)
    assert examples.subset(np.array([4])).where(0) == f"Example 4 of {files[0]}, {files[1]}"
    before = IndexedData(examples, examples, 4).identity
    np.save(files[1], np.arange(1, 21))
    again = SourceExamples(ArrayFiles(files))
    assert IndexedData(again, again, 4).identity != before


def test_arrays_that_cannot_be_used_are_named(files, tmp_path):
    x, y = files
    with pytest.raises(ConfigurationError, match=r"none.npy cannot be read"):
        ArrayFiles((tmp_path / "none.npy", y))
    np.save(tmp_path / "short.npy", np.arange(19))
    with pytest.raises(ConfigurationError, match=r"20 in .*x.npy, 19 in .*short.npy"):
        ArrayFiles((x, tmp_path / "short.npy"))
    np.save(tmp_path / "objects.npy", np.array([None, "a"], object), allow_pickle=True)
    with pytest.raises(ConfigurationError, match=r"objects.npy cannot be read"):
        ArrayFiles((tmp_path / "objects.npy",))
    np.save(tmp_path / "one.npy", np.array(1.0))
    with pytest.raises(ConfigurationError, match=r"one.npy is no .npy file of several examples"):
        ArrayFiles((tmp_path / "one.npy",))
    x.write_bytes(x.read_bytes()[:-10])
    with pytest.raises(ConfigurationError, match=r"x.npy cannot be read"):
        ArrayFiles(files)


def test_elements_that_are_no_arrays_are_refused():
    with pytest.raises(ConfigurationError, match="Plain has no elements"):
        SourceExamples(Plain(0))
    with pytest.raises(ConfigurationError, match=r"list are to be nests .*: there is None in the"):
        SourceExamples([(None, 1)])
    ragged = SourceExamples([([1.0], np.zeros(2)), ([1.0], np.zeros(3))])
    data = IndexedData(ragged, ragged, 1)
    with (
        pytest.raises(
            ConfigurationError, match=r"Element 1 of list cannot be used: it is float64 \(3,\)"
        ),
        name_bad_examples(data),
    ):
        list(data.validation_batches())


def test_array_records_are_found_by_number(tmp_path):
    writers = pytest.importorskip("array_record.python.array_record_module")
    files = [tmp_path / "a.array_record", tmp_path / "b.array_record"]
    for place, file in enumerate(files):
        writer = writers.ArrayRecordWriter(str(file), "group_size:1")
        for number in range(10 * place, 10 * place + 10):
            writer.write(number.to_bytes(4, "little"))
        writer.close()
    decoded = SourceExamples(ArrayRecords(files), lambda raw: tf.io.decode_raw(raw, tf.int32))
    assert len(decoded) == 20
    found = decoded.take(tf.constant([13, 0, 19], tf.int64)).numpy()
    assert found[:, 0].tolist() == [13, 0, 19]
    assert decoded.where(13) == f"{files[1]}, record 3,"
    assert decoded.where(9) == f"{files[0]}, record 9,"
    with pytest.raises(ConfigurationError, match="There is no record file"):
        ArrayRecords([tmp_path / "none"])


def test_array_records_need_a_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "array_record.python.array_record_data_source", None)
    with pytest.raises(ConfigurationError, match="array_record, which is not installed"):
        ArrayRecords([tmp_path / "a"])
