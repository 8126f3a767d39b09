"""Exports: what other programs read predicts, and goes on, as the run itself."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from ..checkpoint.card import read_card
from ..checkpoint.restore import read_variables
from ..compat import KERAS_3, keras
from ..convert import export
from ..errors import PACKAGE
from ..run.rebuild import rebuild, restore
from . import v1_network
from .helpers import files_in, log_of, run_main, small_task
from .program import commands, training
from .program.experiment import PROJECT, ModelConfig
from .program.models import MODELS, build_model, mlp

MLP = ["--model.hidden", "8", "--model.dropout", "0", "--log-every", "1", "--save-every", "20"]
SGD = ["--optimizer.name", "sgd", "--optimizer.learning-rate", "0.01"]
OTHER = Path(__file__).parent / "fixtures" / ("tf215" if KERAS_3 else "tf221")


def run(*arguments, main=commands.main):
    """Runs a command in this process; returns its exit code."""
    return run_main(main, *arguments)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The runs `adam` and `sgd`, with checkpoints at the steps 20, 40 and 44."""
    root = tmp_path_factory.mktemp("some runs")
    for name, settings in (("adam", []), ("sgd", SGD)):
        arguments = ["--root", str(root), "--run", name, *MLP, *settings, "--epochs", "1"]
        assert training.main(arguments) == 0
    return root


@pytest.fixture
def runs(root, trained):
    """The same, in a folder of the test's own."""
    shutil.copytree(trained, root, dirs_exist_ok=True)
    return root


def model_of(checkpoint):
    """The model of a checkpoint."""
    state = rebuild(PROJECT, read_card(checkpoint)).state
    restore(checkpoint, state)
    return state.task.model


def test_each_form_holds_the_model(runs, capsys):
    assert run("export", "20", "--run", "adam", "--root", runs, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    folder = runs / "runs/adam/exports/ckpt-20"
    assert told["path"] == str(folder)
    assert told["files"] == ["model.keras", "saved_model", "weights.npz"]

    model = model_of(runs / "runs/adam/checkpoints/ckpt-20")
    x = np.random.default_rng(0).random((5, 8, 8)).astype(np.float32)
    wanted = model(x).numpy()
    again = keras.models.load_model(folder / "model.keras", compile=False)
    np.testing.assert_allclose(again(x), wanted, rtol=1e-5)
    served = tf.saved_model.load(str(folder / "saved_model"))
    np.testing.assert_allclose(served.serve(x), wanted, rtol=1e-5)
    with np.load(folder / "weights.npz", allow_pickle=False) as arrays:
        names = ["hidden_1/kernel", "hidden_1/bias", "logits/kernel", "logits/bias"]
        assert list(arrays) == names
        for name, weight in zip(names, model.get_weights(), strict=True):
            assert arrays[name].tobytes() == weight.tobytes()


def test_bfloat16_becomes_float32_with_the_same_values():
    model = build_model(ModelConfig(dtype="bfloat16", dropout=0), (4, 4), 3)
    arrays = export.plain_arrays(model)
    assert {array.dtype.name for array in arrays.values()} == {"float32"}
    for array, weight in zip(arrays.values(), model.get_weights(), strict=True):
        assert (array == weight.astype(np.float32)).all()


def test_coarser_types_are_allowed_coarser_differences(tmp_path):
    task, element_spec = small_task(build_model(ModelConfig(dtype="mixed_bfloat16"), (4, 4), 3))
    assert export.tolerance(task.model) == 16 * 2**-7
    assert export.export_model(task, element_spec, tmp_path) < 16 * 2**-7


def test_an_export_is_not_overwritten(runs, capsys):
    assert run("export", "adam@20", "--root", runs, "--saver") == 0
    before = files_in(runs)
    assert run("export", "adam@20", "--root", runs, "--saver") == 2
    assert "is not overwritten" in capsys.readouterr().err
    assert files_in(runs) == before


@pytest.mark.parametrize("loader", ["load_keras_file", "load_saved_model"])
def test_a_model_that_predicts_something_else_is_not_left(runs, loader, monkeypatch, capsys):
    load = getattr(export, loader)
    slightly = 1 + 1e-5
    monkeypatch.setattr(export, loader, lambda *of: lambda x: load(*of)(x) * slightly)
    before = files_in(runs)
    assert run("export", "--run", "adam", "--root", runs) == 1
    assert "does not predict what the model does" in capsys.readouterr().err
    assert files_in(runs) == before


class Doubled(keras.layers.Layer):
    """A layer that no other program knows."""

    def call(self, x):
        return 2 * x


class Untold(keras.Model):
    """A model whose settings no file can hold."""

    def __init__(self, body):
        super().__init__()
        self.body = body

    def call(self, x, training=False):
        return self.body(x, training=training)


def odd(kind):
    """A function that builds a model whose `.keras` file cannot be written or loaded."""

    def build(config, shape, classes):
        body = mlp(config, shape, classes)
        if kind == "subclass":
            return Untold(body)
        layer = keras.layers.Lambda(lambda x: 2 * x) if kind == "lambda" else Doubled()
        inputs = keras.Input(shape)
        return keras.Model(inputs, layer(body(inputs)))

    return build


@pytest.mark.parametrize("kind", ["custom", "lambda", "subclass"])
def test_a_form_that_the_model_has_not_is_left_out(root, monkeypatch, capsys, kind):
    monkeypatch.setitem(MODELS, "odd", odd(kind))
    assert run("--model.name", "odd", "--root", root, "--epochs", 1, main=training.main) == 0
    before = files_in(root)
    assert run("export", "--root", root, "--forms", "keras") == 1
    assert "model.keras cannot be" in capsys.readouterr().err
    assert files_in(root) == before

    assert run("export", "--root", root, "--json") == 0
    output = capsys.readouterr()
    assert json.loads(output.out)["files"] == ["saved_model", "weights.npz"]
    (line,) = [line for line in output.err.splitlines() if "model.keras" in line]
    assert "cannot be" in line
    assert line.endswith("The other forms are there.")
    assert len(line) < 500


def test_forms_are_chosen(runs, capsys):
    common = ["export", "--run", "adam", "--root", runs, "--json"]
    assert run(*common, "20", "--forms", "arrays") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["files"], told["largest_difference"]) == (["weights.npz"], None)
    assert run(*common, "40", "--forms", "keras", "saved-model") == 0
    assert json.loads(capsys.readouterr().out)["files"] == ["model.keras", "saved_model"]
    assert run(*common, "--forms", "onnx") == 2
    assert run(*common, "--forms", "keras", "--saver") == 2


def test_where_no_form_can_be_written_nothing_is_left(runs, monkeypatch, capsys):
    def fail(*_):
        raise ValueError("no")

    for name in ("load_keras_file", "load_saved_model", "plain_arrays"):
        monkeypatch.setattr(export, name, fail)
    before = files_in(runs)
    assert run("export", "--run", "adam", "--root", runs) == 1
    assert "cannot be" in capsys.readouterr().err
    assert files_in(runs) == before


def test_layers_that_keep_their_states_are_exported_with_none(tmp_path):
    shape = {"batch_shape": (2, 4, 4)} if KERAS_3 else {"shape": (4, 4), "batch_size": 2}
    recurrent = keras.layers.LSTM(5, stateful=True, name="lstm")
    model = keras.Sequential([keras.Input(**shape), recurrent, keras.layers.Dense(3)])
    task, element_spec = small_task(model)
    x = tf.random.stateless_normal((2, 4, 4), (0, 0))
    first = model(x).numpy()
    assert not np.allclose(model(x), first)  # it goes on from where it was
    assert export.export_model(task, element_spec, tmp_path) < 1e-6
    again = keras.models.load_model(tmp_path / "model.keras", compile=False)
    served = tf.saved_model.load(str(tmp_path / "saved_model"))
    for outputs in (again(x), served.serve(x)):
        np.testing.assert_allclose(outputs, first, atol=1e-6)


def test_what_a_killed_export_left_is_swept(runs):
    left = runs / "runs/adam/exports/ckpt-44_temp"
    left.mkdir(parents=True)
    (left / "weights.npz").write_bytes(b"half")
    assert run("export", "--run", "adam", "--root", runs) == 0
    assert [path.name for path in left.parent.iterdir()] == ["ckpt-44"]


def test_a_checkpoint_of_the_other_keras_is_to_be_imported_first(runs, capsys):
    for file in OTHER.glob("carded.*"):
        shutil.copy(file, runs / "runs/adam/checkpoints" / file.name.replace("carded", "ckpt-44"))
    assert run("export", "44", "--run", "adam", "--root", runs) == 3
    assert f"{PACKAGE} import " in capsys.readouterr().err


def test_a_damaged_checkpoint_and_one_that_is_not_there(runs, capsys):
    data = runs / "runs/adam/checkpoints/ckpt-40.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:-100])
    before = files_in(runs)
    assert run("export", "40", "--run", "adam", "--root", runs) == 4
    assert run("export", "41", "--run", "adam", "--root", runs) == 2
    assert "has no checkpoint of step 41" in capsys.readouterr().err
    assert files_in(runs) == before


@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_a_session_of_version_1_goes_on_from_an_export(runs, name):
    assert run("export", "20", "--run", name, "--root", runs, "--saver") == 0
    examples = v1_network.batches(20, 30)
    optimizer = v1_network.adam if name == "adam" else v1_network.momentum
    with v1_network.session(optimizer) as (running, train_on):
        v1_network.restore(running, runs / f"runs/{name}/exports/ckpt-20-saver/model.ckpt-20")
        assert running.run(v1_network.v1.train.get_global_step()) == 20
        losses = [train_on(batch) for batch in examples]
    log = [line["loss"] for line in log_of(runs / "runs" / name)]
    assert losses == pytest.approx(log[20:30], abs=1e-4)


def test_what_was_exported_is_imported_bit_for_bit(runs):
    assert run("export", "20", "--run", "adam", "--root", runs, "--saver") == 0
    path = runs / "runs/adam/exports/ckpt-20-saver/model.ckpt-20"
    settings = ["--model.hidden", "8", "--model.dropout", "0"]
    assert run("import", path, "--run", "back", "--root", runs, *settings) == 0
    values = []
    for name in ("adam", "back"):
        checkpoint = runs / f"runs/{name}/checkpoints/ckpt-20"
        entries = [
            x for x in read_card(checkpoint).structure.variables if x.role in ("model", "optimizer")
        ]
        found = read_variables(checkpoint, entries)
        values.append({path: value.numpy().tobytes() for path, value in found.items()})
    assert values[0] == values[1]
    assert len(values[0]) == 13
