"""Records found by number: what TFRecord files hold, and what is wrong with them."""

import gzip
from functools import partial

import numpy as np
import pytest
import tensorflow as tf

from ..data import records
from ..data.arrays import hold_out_numbers
from ..data.indexed import IndexedData
from ..data.records import INDEX, RecordExamples
from ..errors import ConfigurationError


def write(file, numbers):
    """Writes records that tell their numbers, of other sizes."""
    with tf.io.TFRecordWriter(str(file)) as writer:
        for number in numbers:
            values = tf.train.Int64List(value=[number] * (1 + number % 5))
            feature = {"number": tf.train.Feature(int64_list=values)}
            writer.write(
                tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()
            )
    return file


def decode(serialized):
    spec = {"number": tf.io.RaggedFeature(tf.int64)}
    number = tf.io.parse_example(serialized, spec)["number"].to_tensor()[:, 0]
    return tf.cast(number, tf.float32)[:, None], number


@pytest.fixture
def files(tmp_path):
    return [
        write(tmp_path / f"{name}.tfrecord", range(first, first + 20))
        for name, first in (("a", 0), ("b", 20), ("c", 40))
    ]


def numbers_of(examples, indices):
    x, y = examples.take(tf.constant(indices, tf.int64))
    assert (x[:, 0].numpy() == y.numpy()).all()
    return y.numpy().tolist()


def test_records_are_found_by_number(files):
    examples = RecordExamples(files, decode)
    assert len(examples) == 60
    assert numbers_of(examples, [59, 0, 20, 19]) == [59, 0, 20, 19]
    assert numbers_of(examples.subset(np.array([5, 50, 7])), [2, 1]) == [7, 50]
    assert numbers_of(examples.subset(np.array([5, 50, 7])).subset(np.array([1])), [0]) == [50]


def test_batches_are_a_function_of_the_step(files):
    examples = RecordExamples(files, decode)
    held_out, rest = hold_out_numbers(len(examples), 0.2)
    data = IndexedData(examples.subset(rest), examples.subset(held_out), 8, parallel=2)
    assert [spec.shape.as_list() for spec in data.element_spec] == [[8, 1], [8]]
    straight = [y.tolist() for _, y in data.batches(3, 0, 12).as_numpy_iterator()]
    sought = [y.tolist() for _, y in data.batches(3, 10**6, 10**6 + 1).as_numpy_iterator()]
    assert [y.tolist() for _, y in data.batches(3, 7, 12).as_numpy_iterator()] == straight[7:]
    assert sorted(number for batch in straight[:6] for number in batch) == sorted(rest.tolist())
    assert len(sought[0]) == 8
    validated = [number for _, y in data.validation_batches().as_numpy_iterator() for number in y]
    assert validated == held_out.tolist()


def test_the_index_is_built_once_and_anew_where_a_file_has_changed(files, monkeypatch):
    RecordExamples(files, decode)
    built = files[0].parent / INDEX
    assert [path.name for path in files[0].parent.glob("*.npz")] == [INDEX]
    read = []
    monkeypatch.setattr(records, "sizes_in", partial(counted, read, records.sizes_in))

    RecordExamples(files, decode)
    assert read == []
    write(files[1], range(100, 130))
    assert numbers_of(RecordExamples(files, decode), [20, 49, 69]) == [100, 129, 59]
    assert len(read) == 3
    built.write_bytes(b"damaged")
    assert len(RecordExamples(files, decode)) == 70


def counted(read, function, file):
    read.append(file)
    return function(file)


def test_a_folder_that_cannot_be_written_to_has_no_index(files, monkeypatch):
    def fail(*_, **__):
        raise PermissionError

    monkeypatch.setattr(np, "savez", fail)
    assert len(RecordExamples(files, decode)) == 60
    assert not list(files[0].parent.glob("*.npz"))


def test_what_the_data_are_known_by(files, tmp_path):
    def known(*given):
        return IndexedData(*[RecordExamples(given, decode)] * 2, 8).identity["data"]

    before = known(*files)
    moved = tmp_path / "moved"
    moved.mkdir()
    assert known(*[file.rename(moved / file.name) for file in files]) == before
    files = sorted(moved.glob("*.tfrecord"))
    assert known(*files[:2]) != before
    write(files[2], range(41, 61))
    assert known(*files) != before


@pytest.mark.parametrize("cut", [1, 5, 13])
def test_a_file_that_is_cut_short_is_refused_by_record(files, cut):
    files[1].write_bytes(files[1].read_bytes()[:-cut])
    with pytest.raises(
        ConfigurationError, match=r"b.tfrecord is damaged or cut short in record 19"
    ):
        RecordExamples(files, decode)


def test_a_byte_that_is_not_what_was_written_is_noticed(files):
    content = bytearray(files[2].read_bytes())
    content[len(content) // 2] ^= 1
    files[2].write_bytes(content)
    with pytest.raises(
        ConfigurationError, match=r"c.tfrecord is damaged or cut short in record \d"
    ):
        RecordExamples(files, decode)


def test_other_bad_files_are_refused(files, tmp_path):
    files[0].write_bytes(gzip.compress(files[0].read_bytes()))
    files[2].write_bytes(files[2].read_bytes()[:-1])
    told = r"a.tfrecord is compressed, .* write it anew .*c.tfrecord is damaged or cut short"
    with pytest.raises(ConfigurationError, match=told):
        RecordExamples(files, decode)
    with pytest.raises(ConfigurationError, match="There is no record file"):
        RecordExamples([tmp_path / "none"], decode)
