"""Texts as inputs: a vocabulary in the model, words of any number in ragged batches, weights."""

import numpy as np
import pytest
import tensorflow as tf
from etils import epath

from ..checkpoint.card import read_card
from ..checkpoint.restore import Restorer
from ..compat import keras
from ..convert.export import export_model
from ..data.arrays import ArrayData
from ..data.indexed import IndexedData
from ..data.protocol import spec_as_json, spec_from_json
from ..errors import CheckpointMismatch
from ..run.experiment import Task
from ..run.means import Validation
from ..run.state import TrainState
from .helpers import manager_of, train, values_of

layers = keras.layers
WORDS = ["good", "bad", "very", "not", "it", "is"]


def texts(size=48):
    """Texts of one to seven words, a label for each, and a weight."""
    random = np.random.default_rng(7)
    x = [" ".join(random.choice(WORDS, random.integers(1, 8))) for _ in range(size)]
    y = np.array([text.count("good") > text.count("bad") for text in x], np.float32)
    return np.array(x, object), y, random.uniform(0.5, 2, size).astype(np.float32)


class Opinion(Task):
    """Texts → logits; padded with zeros, which are masked, to the longest of a batch."""

    vocabulary = WORDS

    def __init__(self):
        keras.utils.set_random_seed(1)
        inputs = keras.Input((), dtype="string")
        numbers = layers.TextVectorization(vocabulary=self.vocabulary, name="text")(inputs)
        self.models = {"model": keras.Model(inputs, self._read(numbers))}
        self.optimizers = {"optimizer": keras.optimizers.Adam(0.05)}

    def _read(self, numbers):
        x = layers.Embedding(len(self.vocabulary) + 2, 4, mask_zero=True, name="words")(numbers)
        x = layers.Dropout(0.2, name="dropout")(layers.GRU(4, name="state")(x))
        return layers.Dense(1, name="opinion")(x)

    def loss(self, y, outputs):
        return tf.nn.sigmoid_cross_entropy_with_logits(y, outputs[:, 0])

    def metrics(self):
        return {"accuracy": keras.metrics.BinaryAccuracy(threshold=0)}

    def update_metrics(self, metrics, batch, outputs):
        _, y, weight = batch
        metrics["accuracy"].update_state(y[:, None], outputs, sample_weight=weight)


class RaggedOpinion(Opinion):
    """The same for the numbers of words, in ragged batches."""

    def __init__(self):
        super().__init__()
        inputs = keras.Input((None,), dtype="int64")
        self.models = {"model": keras.Model(inputs, self._read(inputs))}

    def forward(self, batch, *, training):
        return self.model(batch[0].to_tensor(), training=training)

    def inference(self, element_spec):
        return self.model, tf.TensorSpec((None, None), tf.int64)


class RaggedExamples:
    """Words by number, of any count, with labels and weights."""

    def __init__(self, x, y, weight):
        self._rows = [[WORDS.index(word) + 2 for word in text.split()] for text in x]
        self._words = tf.ragged.constant(self._rows, tf.int64)
        self._y, self._weight = tf.constant(y), tf.constant(weight)

    def __len__(self):
        return len(self._rows)

    def take(self, indices):
        found = (tf.gather(part, indices) for part in (self._words, self._y, self._weight))
        words, y, weight = found
        return words, tf.ensure_shape(y, (None,)), tf.ensure_shape(weight, (None,))

    def content(self):
        yield repr(self._rows).encode()


def padded_data():
    x, y, weight = texts()
    return ArrayData((x, y, weight), (x[:9], y[:9], weight[:9]), 8)


def ragged_data():
    x, y, weight = texts()
    return IndexedData(RaggedExamples(x, y, weight), RaggedExamples(x[:9], y[:9], weight[:9]), 8)


@pytest.mark.parametrize(("kind", "make"), [(Opinion, padded_data), (RaggedOpinion, ragged_data)])
def test_a_resumed_run_ends_as_if_it_had_never_stopped(tmp_path, kind, make):
    data = make()
    straight = TrainState(kind(), data.element_spec)
    first = Validation(straight.task, data)()
    train(straight, data, 0, 4)
    manager_of(straight, tmp_path).save()
    train(straight, data, 4, 9)
    resumed = TrainState(kind(), spec_from_json(spec_as_json(data.element_spec)))
    manager_of(resumed, tmp_path).restore_or_initialize()
    train(resumed, data, 4, 9)
    assert values_of(resumed) == values_of(straight)
    last = Validation(resumed.task, data)()
    assert last == Validation(straight.task, data)()
    assert last["val_loss"] < first["val_loss"]
    folder = epath.Path(tmp_path / "exported")
    folder.mkdir()
    assert export_model(resumed.task, data.element_spec, folder, ["saved-model"]) is not None


def test_another_vocabulary_is_refused_by_name_in_a_fork_too(tmp_path, monkeypatch):
    state = TrainState(Opinion(), padded_data().element_spec)
    path = epath.Path(manager_of(state, tmp_path).save())
    told = {entry.path: entry.settings for entry in read_card(path).structure.layers}
    assert any("table lookup_table" in settings for settings in told.values())
    monkeypatch.setattr(Opinion, "vocabulary", [*WORDS[:2], "much", *WORDS[3:]])
    other = TrainState(Opinion(), padded_data().element_spec)
    before = values_of(other)
    message = r"~ text\S* +table lookup_table of 6 entries \(\w+\) in the checkpoint, of 6 entries"
    with pytest.raises(CheckpointMismatch, match=message):
        manager_of(other, tmp_path).restore_or_initialize()
    with pytest.raises(CheckpointMismatch, match=message):
        Restorer(tf.train.Checkpoint(**other.parts), {}).transfer(path, partial=False)
    assert values_of(other) == before
