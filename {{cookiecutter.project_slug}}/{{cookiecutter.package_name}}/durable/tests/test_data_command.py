"""python -m <package> data: what there is, a picture of it, and what cannot be used."""

import json
import re

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from ..data.images import ImageExamples, class_folders
from ..data.indexed import IndexedData, bad_examples, name_bad_examples
from ..errors import ConfigurationError
from ..report.examples import draw_examples
from ..run.debugging import LimitedData
from .helpers import run_main
from .program import experiment
from .program.commands import main
from .test_images import save
from .test_records import RecordExamples, decode, files, write

__all__ = ["files"]  # a fixture


@pytest.fixture
def opened(monkeypatch):
    """Lets the program train on other data."""

    def open_instead(data):
        monkeypatch.setattr(experiment, "load_data", lambda _: data)

    return open_instead


def record_data(files, size=4):
    examples = RecordExamples(files, decode)
    return IndexedData(examples.subset(np.arange(40)), examples.subset(np.arange(40, 60)), size)


def test_index_tells_what_the_data_are(opened, files, capsys):
    opened(record_data(files))
    assert run_main(main, "data", "index") == 0
    printed = capsys.readouterr().out
    assert "training         40" in printed
    assert "(float32 (4, 1), int64 (4,))" in printed
    assert run_main(main, "data", "index", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["training"], told["validation"], told["steps_per_epoch"]) == (40, 20, 10)


def test_the_settings_are_those_of_train(capsys, tmp_path):
    np.savez(tmp_path / "few.npz", x=np.zeros((50, 4, 4)), y=np.arange(50) % 3)
    path = tmp_path / "few.npz"
    assert run_main(main, "data", "index", "--json", "--data.path", path) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["training"], told["data.classes"]) == (40, 3)
    assert run_main(main, "data", "index", "--data.path", tmp_path / "none.npz") == 2
    assert run_main(main, "data", "sow") == 2


def test_show_draws_the_first_examples(capsys, tmp_path):
    picture = tmp_path / "new folder/picture.png"
    assert run_main(main, "data", "show", "--number", 3, "--output", picture) == 0
    assert capsys.readouterr().out == f"Drew {picture}\n"
    few = Image.open(picture).size
    assert run_main(main, "data", "show", "--root", tmp_path) == 0
    many = Image.open(tmp_path / "runs/data.png").size
    assert (many[0] > few[0], many[1] > few[1]) == (True, True)
    assert run_main(main, "data", "show", "--output", "picture.txt") == 2
    assert run_main(main, "data", "show", "--number", 0) == 2


def test_any_batch_can_be_drawn():
    count = 3
    batch = (
        {"image": tf.random.uniform((count, 9, 12, 3)), "text": tf.constant(["ä", "b", "c"])},
        (tf.zeros((count, 9, 12), tf.int32), tf.random.uniform((count, 24, 2)), tf.ones(count)),
        tf.ones(count),
    )
    figure = draw_examples(batch, 12)
    assert len(figure.axes) == 9
    assert figure.axes[0].get_title().splitlines() == ["x.text ä", "y.2 1.0", "weight 1.0"]
    assert [len(axes.images) for axes in figure.axes] == [1, 1, 1, 1, 1, 1, 0, 0, 0]
    assert len(draw_examples((tf.zeros((2, 1)), tf.zeros(2)), 12).axes) == 2  # numbers alone


def test_verify_names_every_record_that_cannot_be_used(opened, files, capsys):
    opened(record_data(files))
    assert run_main(main, "data", "verify") == 0
    assert capsys.readouterr().out == "Every example can be used.\n"

    with tf.io.TFRecordWriter(str(files[1])) as writer:
        for number in range(20):
            writer.write(b"nothing" if number in (3, 7) else EXAMPLE)
    data = record_data(files)
    content = bytearray(files[2].read_bytes())
    content[-10] ^= 1  # after the index was built
    opened(data)
    files[2].write_bytes(content)
    assert run_main(main, "data", "verify") == 2
    lines = capsys.readouterr().out.splitlines()
    assert f"{files[2]} is damaged or cut short in record 19: restore the file" in lines[0]
    assert [line.partition(" cannot")[0] for line in lines if line.startswith(str(files[1]))] == [
        f"{files[1]}, record {number}," for number in (3, 7)
    ]


VALUES = tf.train.Feature(int64_list=tf.train.Int64List(value=[1]))
EXAMPLE = tf.train.Example(
    features=tf.train.Features(feature={"number": VALUES})
).SerializeToString()


def test_a_record_that_does_not_parse_is_named_wherever_it_is_used(files):
    write(files[0], range(20))
    with tf.io.TFRecordWriter(str(files[2])) as writer:
        for _ in range(19):
            writer.write(EXAMPLE)
        writer.write(b"nothing")
    examples = RecordExamples(files, decode)
    data = IndexedData(examples, examples.subset(np.arange(20)), 4)
    at = tf.Variable(0, dtype=tf.int64)
    named = f"{files[2]}, record 19, cannot be used: Could not parse example input"
    with pytest.raises(ConfigurationError, match=re.escape(named)), name_bad_examples(data, 5, at):
        list(data.batches(5, 0, 15))
    few = LimitedData(data, 15, None)
    with pytest.raises(ConfigurationError, match="record 19"), name_bad_examples(few, 5, at):
        list(few.batches(5, 0, 15))
    held_out = IndexedData(examples.subset(np.arange(20)), examples, 4)
    with pytest.raises(ConfigurationError, match="record 19"), name_bad_examples(held_out):
        list(held_out.validation_batches())


def test_no_example_is_looked_for_where_another_worker_is_lost():
    class Unlooked:
        def first_bad(self, *_):
            raise AssertionError("it was looked for")

    lost = tf.errors.UnavailableError(None, None, "Socket closed")
    with pytest.raises(tf.errors.UnavailableError), name_bad_examples(Unlooked()):
        raise lost


def test_an_image_that_is_cut_short_is_named(opened, tmp_path, capfd):
    for number in range(8):
        save(tmp_path / f"a/{number}.png", 200, (50, 50))
    cut = tmp_path / "a/5.png"
    cut.write_bytes(cut.read_bytes()[:70])  # its head is whole
    images, labels, _ = class_folders(tmp_path)
    examples = ImageExamples(tmp_path, images, labels, (4, 4))
    data = IndexedData(examples, examples, 4)
    named = re.escape(f"{cut} cannot be used: ")
    with pytest.raises(ConfigurationError, match=named), name_bad_examples(data):
        list(data.validation_batches())
    assert len(list(bad_examples(examples, range(8)))) == 1
    opened(data)
    capfd.readouterr()
    assert run_main(main, "data", "verify") == 2
    printed = capfd.readouterr()
    assert printed.out.count(f"{cut} cannot be used: ") == 2  # held out, and trained on
    assert printed.out.count("\n") == 2
    assert printed.err == ""


def test_an_error_that_no_example_is_to_blame_for_is_left_as_it_is(files):
    data = record_data(files)
    with pytest.raises(tf.errors.ResourceExhaustedError), name_bad_examples(data):
        raise tf.errors.ResourceExhaustedError(None, None, "no memory")
