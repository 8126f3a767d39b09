"""Checkpoints that do not fit: the culprit is named, and nothing is changed."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import tensorflow as tf

from ..checkpoint.card import LayerEntry, Structure, read_card
from ..checkpoint.mismatch import SideNames, compare_settings, differing_settings
from ..checkpoint.structure import layer_settings
from ..compat import KERAS_3, keras
from ..errors import CardMissing, CheckpointMismatch, Difference
from .fixtures.make import settings_of_layers
from .helpers import (
    SHAPE,
    files_in,
    manager_of,
    small_model,
    small_state,
    train_a_little,
    values_of,
)

FIXTURES = Path(__file__).parent / "fixtures"
layers = keras.layers


def stack(*layers):
    return keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(name="flatten"), *layers])


def dense(name, units=6, activation="relu", **settings):
    return keras.layers.Dense(units, activation=activation, name=name, **settings)


def variant(first=(), **changes):
    """The model of these tests; a change replaces a layer, adds one at the end, or drops it."""
    layers = {
        "one": dense("one"),
        "two": dense("two"),
        "norm": keras.layers.UnitNormalization(name="norm"),
        "dropout": keras.layers.Dropout(0.3, name="dropout"),
        "logits": dense("logits", 3),
    }
    return stack(*first, *(layer for layer in (layers | changes).values() if layer is not None))


MODELS = {
    "wider": (
        lambda: variant(two=dense("two", 9)),
        ("!", "two/kernel", "shape (6, 6) in the checkpoint, (6, 9) in the model"),
    ),
    "narrower": (
        lambda: variant(one=dense("one", 4)),
        ("!", "one/bias", "shape (6,) in the checkpoint, (4,) in the model"),
    ),
    "a layer more before": (
        lambda: variant(first=[dense("zero", 16)]),
        ("+", "zero/kernel", "only in the model (16, 16) float32"),
    ),
    "a layer more at the end": (
        lambda: variant(more=dense("more", 3)),
        ("+", "more/bias", "only in the model (3,) float32"),
    ),
    "a layer without variables more": (
        lambda: variant(more=keras.layers.ReLU(name="bend")),
        ("+", "bend", "only in the model (ReLU)"),
    ),
    "a layer less": (
        lambda: variant(two=None),
        ("-", "two/kernel", "only in the checkpoint (6, 6) float32"),
    ),
    "a layer without variables less": (
        lambda: variant(norm=None),
        ("-", "norm", "only in the checkpoint (UnitNormalization)"),
    ),
    "another activation": (
        lambda: variant(two=dense("two", activation="tanh")),
        ("~", "two", "activation relu in the checkpoint, tanh in the model"),
    ),
    "another dropout rate": (
        lambda: variant(dropout=keras.layers.Dropout(0.5, name="dropout")),
        ("~", "dropout", "rate 0.3 in the checkpoint, 0.5 in the model"),
    ),
    "another class of layer": (
        lambda: variant(norm=keras.layers.ReLU(name="norm")),
        ("~", "norm", "UnitNormalization in the checkpoint, ReLU in the model"),
    ),
    "another dtype": (
        lambda: variant(two=dense("two", dtype="float64")),
        ("!", "two/kernel", "dtype float32 in the checkpoint, float64 in the model"),
    ),
    "two layers swapped": (
        lambda: variant(one=dense("two"), two=dense("one")),
        ("~", "one", "stands in the checkpoint where two stands in the model"),
    ),
    "another number of classes": (
        lambda: variant(logits=dense("logits", 5)),
        ("!", "logits/kernel", "shape (6, 3) in the checkpoint, (6, 5) in the model"),
    ),
}


def refused(state, directory, **settings):
    """Tries to restore; gives the error after checking that it changed nothing."""
    manager = manager_of(state, directory, **settings)
    values, files = values_of(state), files_in(directory)
    with pytest.raises(CheckpointMismatch) as caught:
        manager.restore_or_initialize()
    assert values_of(state) == values
    assert files_in(directory) == files
    assert caught.value.exit_code == 3
    return caught.value


def saved(directory, state, **settings):
    train_a_little(state)
    manager_of(state, directory, **settings).save()


@pytest.mark.parametrize(("build", "culprit"), MODELS.values(), ids=MODELS.keys())
def test_another_model_is_refused(tmp_path, build, culprit):
    saved(tmp_path, small_state(variant()))
    error = refused(small_state(build()), tmp_path)
    found = [(entry.symbol, entry.path, entry.text) for entry in error.differences]
    assert culprit in found


def test_same_shaped_layers_must_stand_in_the_same_order(tmp_path):
    def build(first, second):
        return stack(dense(first, 16), dense(second, 16), dense("logits", 3))

    saved(tmp_path, small_state(build("one", "two")))
    error = refused(small_state(build("two", "one")), tmp_path)
    assert [entry.path for entry in error.differences] == ["one", "two"]
    assert manager_of(small_state(build("one", "two")), tmp_path).restore_or_initialize()


@pytest.mark.parametrize(("name", "kind"), [("sgd", "SGD"), ("adamw", "AdamW")])
def test_another_optimizer_is_refused(tmp_path, name, kind):
    saved(tmp_path, small_state())
    error = refused(small_state(optimizer=name), tmp_path)
    assert f"optimizer  Adam in the checkpoint, {kind} in the model" in str(error)


def test_other_settings_of_identity_are_refused(tmp_path):
    saved(tmp_path, small_state(), identity={"seed": 1, "data.batch_size": 32})
    error = refused(small_state(), tmp_path, identity={"seed": 2, "data.batch_size": 32})
    assert [entry.path for entry in error.differences] == ["seed"]
    assert "seed  1 in the checkpoint, 2 in the configuration" in str(error)


def test_the_whole_report(tmp_path):
    saved(tmp_path, small_state(variant()))
    model = variant(
        one=dense("one", activation="tanh"), two=dense("two", 9), logits=dense("head", 3)
    )
    assert str(refused(small_state(model), tmp_path)).splitlines() == [
        f"Checkpoint {tmp_path / 'ckpt-2'} does not fit this model. Nothing was restored.",
        "  ! two/kernel     shape (6, 6) in the checkpoint, (6, 9) in the model",
        "  ! two/bias       shape (6,) in the checkpoint, (9,) in the model",
        "  - logits/kernel  only in the checkpoint (6, 3) float32",
        "  - logits/bias    only in the checkpoint (3,) float32",
        "  + head/kernel    only in the model (9, 3) float32",
        "  + head/bias      only in the model (3,) float32",
        "  ~ one            activation relu in the checkpoint, tanh in the model",
        (
            "Start another run with --run NAME, or take over what fits with "
            f"--fork-from {tmp_path.parent.name}@2 --partial."
        ),
    ]


def test_automatic_names_do_not_matter(tmp_path):
    def build():
        return stack(keras.layers.Dense(6), keras.layers.Dense(6), keras.layers.Dense(3))

    state = small_state(build())
    saved(tmp_path, state)
    later = small_state(build(), seed=2)  # its layers are called dense_3, dense_4, dense_5
    assert manager_of(later, tmp_path).restore_or_initialize()
    assert [v.tobytes() for v in later.task.model.get_weights()] == [
        v.tobytes() for v in state.task.model.get_weights()
    ]


class Block(keras.Model):
    """Layers without names, in an attribute and in a list, and one that wraps another."""

    def __init__(self):
        super().__init__()
        self.both = keras.layers.Bidirectional(keras.layers.LSTM(2))
        self.hidden = [keras.layers.Dense(4)]
        self.logits = keras.layers.Dense(3)

    def call(self, x):
        return self.logits(self.hidden[0](self.both(x)))


def test_automatic_names_do_not_matter_in_a_model_of_ones_own_either(tmp_path):
    state = small_state(Block())
    saved(tmp_path, state)
    later = small_state(Block(), seed=2)
    assert manager_of(later, tmp_path).restore_or_initialize()
    assert sorted(values_of(later)) == sorted(values_of(state))


class Weighted(keras.layers.Layer):
    """A layer with settings that JSON writes in another way."""

    def get_config(self):
        return super().get_config() | {"weights": {0: 1.0, 1: (2, 3)}, "limit": float("nan")}

    def call(self, x):
        return x


def test_neither_do_those_of_operations(tmp_path):
    def build():
        inputs = keras.Input(SHAPE)
        last = inputs[:, -1]
        return keras.Model(inputs, dense("logits", 3)(last + last * 2))

    manager_of(small_state(build()), tmp_path).save()
    manager_of(small_state(build()), tmp_path).restore_or_initialize()


def test_a_best_checkpoint_is_of_the_run_that_has_it(tmp_path):
    difference = Difference("-", "logits", "only in the checkpoint")
    best = tmp_path / "wide" / "checkpoints" / "best" / "ckpt-5"
    mismatch = CheckpointMismatch(best, [difference])
    assert "--fork-from wide@5 --partial" in str(mismatch)


def test_settings_are_compared_as_json_writes_them(tmp_path):
    saved(tmp_path, small_state(variant(more=Weighted(name="weighted"))))
    assert manager_of(
        small_state(variant(more=Weighted(name="weighted"))), tmp_path
    ).restore_or_initialize()


def test_the_order_of_settings_does_not_matter():
    first = LayerEntry("a", "Dense", {"regularizer": {"class_name": "L2", "config": {"l2": 0.1}}})
    second = LayerEntry("a", "Dense", {"regularizer": {"config": {"l2": 0.1}, "class_name": "L2"}})
    assert compare_settings(first, second, SideNames()) == []


@pytest.mark.parametrize("name", ["settings", "first_edition_settings"])
@pytest.mark.parametrize("version", ["tf215", "tf221"])
def test_what_keras_writes_otherwise_is_no_difference(version, name):
    written = json.loads((FIXTURES / version / f"{name}.json").read_text())
    live = settings_of_layers()
    assert written.keys() == live.keys()
    for layer, settings in written.items():
        assert list(differing_settings(settings, live[layer])) == [], layer


@pytest.mark.parametrize(
    ("saved", "live", "told"),
    [
        (
            layers.TimeDistributed(layers.Dense(3)),
            layers.TimeDistributed(layers.Dense(3, "relu")),
            "layer.activation linear in the checkpoint, relu in the model",
        ),
        (
            layers.TimeDistributed(layers.Dense(3)),
            layers.TimeDistributed(layers.EinsumDense("bc,cd->bd", 3)),
            "layer Dense in the checkpoint, EinsumDense in the model",
        ),
        (
            layers.Dense(3, kernel_regularizer="l2"),
            layers.Dense(3, kernel_regularizer="l1"),
            "kernel_regularizer L2 in the checkpoint, L1 in the model",
        ),
        (
            layers.Dense(3, kernel_regularizer="l2"),
            layers.Dense(3),
            "kernel_regularizer L2 in the checkpoint, None in the model",
        ),
        (
            layers.LayerNormalization(),
            layers.LayerNormalization(axis=1),
            "axis [2] in the checkpoint, [1] in the model",
        ),
        (
            layers.RNN([layers.LSTMCell(3), layers.GRUCell(2)]),
            layers.RNN([layers.LSTMCell(3), layers.GRUCell(2, dropout=0.5)]),
            "cell.cells.1.dropout 0.0 in the checkpoint, 0.5 in the model",
        ),
        (
            layers.TimeDistributed(layers.Dense(3)),
            layers.TimeDistributed(layers.Dense(3, use_bias=False)),
            "layer.use_bias True in the checkpoint, False in the model",
        ),
        (
            layers.Dropout(0.5),
            layers.Dropout(0.25),
            "rate 0.5 in the checkpoint, 0.25 in the model",
        ),
    ],
)
def test_a_setting_that_differs_is_told_by_its_name_alone(saved, live, told):
    rows = tf.zeros((2, 4, 3))
    entries = []
    for layer in (saved, live):
        layer(rows)
        # As it is read from a card.
        settings = json.loads(json.dumps(layer_settings(layer)))
        entries.append(LayerEntry("a", type(layer).__name__, settings))
    (difference,) = compare_settings(*entries, SideNames())
    assert difference.text == told


def test_the_code_of_a_lambda_as_a_setting_is_neither_compared_nor_kept(tmp_path):
    saved(tmp_path, small_state(variant(one=dense("one", activation=lambda x: x * 2))))
    card = read_card(next(tmp_path.glob("ckpt-*.index")).with_suffix(""))
    (layer,) = (layer for layer in card.structure.layers if layer.path == "one")
    assert layer.settings["activation"] == "__lambda__"
    same = dense(
        "one",
        activation=lambda x: x * 2,  # on another line
    )
    assert manager_of(small_state(variant(one=same)), tmp_path).restore_or_initialize()
    first_edition = {"activation": {"class_name": "__lambda__", "config": {"value": "4wEAAA"}}}
    assert not list(differing_settings(first_edition, layer.settings))
    with pytest.raises(CheckpointMismatch, match="activation __lambda__ in the checkpoint, relu"):
        manager_of(small_state(variant()), tmp_path).restore_or_initialize()


def test_the_code_of_a_lambda_layer_is_not_compared(tmp_path):
    saved(tmp_path, small_state(variant(more=keras.layers.Lambda(lambda x: x, name="more"))))
    same = keras.layers.Lambda(
        lambda x: x,  # on another line of the file
        name="more",
    )
    assert manager_of(small_state(variant(more=same)), tmp_path).restore_or_initialize()


@pytest.mark.skipif(not KERAS_3, reason="Keras 2 makes layers of all operations")
def test_an_operation_that_is_no_layer_is_noticed(tmp_path):
    def build(operation):
        inputs = keras.Input(SHAPE)
        return keras.Model(inputs, dense("logits", 3)(operation(keras.layers.Flatten()(inputs))))

    saved(tmp_path, small_state(build(keras.ops.relu)))
    error = refused(small_state(build(keras.ops.tanh)), tmp_path)
    assert {entry.path for entry in error.differences} == {"relu", "tanh"}


def test_an_older_checkpoint_is_not_tried_where_the_newest_does_not_fit(tmp_path):
    state = small_state()
    saved(tmp_path, state)
    saved(tmp_path, state)
    error = refused(small_state(small_model(hidden=(5, 7))), tmp_path)
    assert error.checkpoint.name == "ckpt-4"


def test_a_checkpoint_without_a_card_is_refused_and_not_set_aside(tmp_path):
    state = small_state()
    tf.train.Checkpoint(**state.parts).write(str(tmp_path / "ckpt-1"))
    values, files = values_of(state), files_in(tmp_path)
    with pytest.raises(CardMissing, match="this project did not save it") as caught:
        manager_of(state, tmp_path).restore_or_initialize()
    assert caught.value.exit_code == 3
    assert values_of(state) == values
    assert files_in(tmp_path).items() >= files.items()


class Unnamed(keras.layers.Layer):
    """Its weights have no names of their own."""

    def build(self, shape):
        self.weight = self.add_weight(shape=(shape[-1],), initializer="normal")
        self.other = self.add_weight(shape=(shape[-1],), initializer="normal")

    def call(self, x):
        return x * self.weight + self.other


@pytest.mark.skipif(not KERAS_3, reason="TensorFlow cannot save weights of Keras 2 without a name")
def test_weights_without_a_name_do_not_depend_on_what_was_made_before(tmp_path):
    def build():
        return small_state(stack(Unnamed(name="one"), Unnamed(name="two"), dense("logits", 3)))

    state = build()
    train_a_little(state)
    path = manager_of(state, tmp_path).save()
    later = build()  # in one process with the first
    assert manager_of(later, tmp_path).restore_or_initialize()
    assert sorted(values_of(later)) == sorted(values_of(state))
    paths = [entry.path for entry in read_card(path).structure.variables]
    assert {"one/variable", "one/variable_1", "two/variable", "two/variable_1"} <= {*paths}
    # As the first edition called them.
    old = {"two/variable": "two/variable_2", "two/variable_1": "two/variable_3"}
    values = asdict(read_card(path).structure)
    for entry in values["variables"]:
        entry["path"] = old.get(entry["path"], entry["path"])
    assert [entry.path for entry in Structure.from_dictionary(values).variables] == paths
