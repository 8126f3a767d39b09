"""Files that cannot be imported: each has its error, and nothing is written."""

import pickle
import shutil
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from ..checkpoint.card import read_card
from ..checkpoint.restore import read_variables
from ..compat import KERAS_3, keras
from . import v1_network
from .helpers import files_in, run_main
from .program import commands

FIXTURES = Path(__file__).parent / "fixtures" / "tf221"
MLP = ["--model.hidden", "8", "--model.dropout", "0"]


def run(root, path, *settings):
    """Imports a file as the run `new`; returns the exit code."""
    command = ["import", path, "--run", "new", "--root", root, *MLP, *settings]
    return run_main(commands.main, *command)


@pytest.fixture
def copies(tmp_path):
    """The fixtures, to be damaged."""
    return Path(shutil.copytree(FIXTURES, tmp_path / "some files"))


def archive(folder):
    with zipfile.ZipFile(folder / "other.zip", "w") as file:
        file.writestr("config.json", "{}")
    return folder / "other.zip"


def pickled(folder):
    (folder / "weights.pkl").write_bytes(pickle.dumps({"logits/bias": [1.0]}))
    return folder / "weights.pkl"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "nothing", "There is no file"),
        (lambda folder: folder, "is a folder"),
        (lambda folder: folder / "losses.json", "is of no known kind"),
        (archive, "is of no known kind"),
        (pickled, "is of no known kind"),
    ],
)
def test_what_is_no_checkpoint(root, copies, make, message, capsys):
    assert run(root, make(copies)) == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert ".weights.h5" in errors
    assert files_in(root) == {}


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])


@pytest.mark.parametrize(
    ("file", "damage"),
    [("data-00000-of-00001", flip), ("data-00000-of-00001", Path.unlink), ("index", cut)],
)
@pytest.mark.parametrize("name", ["carded", "object", "saver"])
def test_a_damaged_checkpoint(root, copies, name, file, damage, capsys):
    damage(copies / f"{name}.{file}")
    assert run(root, copies / name) == 4
    assert f"{name} is damaged" in capsys.readouterr().err
    assert files_in(root) == {}


@pytest.mark.parametrize("name", ["new.weights.h5", "new.keras"])
def test_a_keras_file_that_was_cut(root, copies, name, capsys):
    cut(copies / name)
    code = run(root, copies / name)
    # Half an archive has no table of contents: nothing tells what it is.
    assert code == (4 if name.endswith(".h5") else 2), capsys.readouterr().err
    assert files_in(root) == {}


def test_a_keras_archive_with_a_wrong_byte(root, copies, capsys):
    flip(copies / "new.keras")
    assert run(root, copies / "new.keras") == 4
    assert "is damaged" in capsys.readouterr().err
    assert files_in(root) == {}


def test_weights_that_lie_in_another_file_are_not_read(root, copies, capsys):
    (copies / "secret").write_bytes(np.ones(10, np.float32).tobytes())
    with h5py.File(copies / "new.weights.h5", "r+") as file:
        del file["layers/dense_1/vars/1"]
        outside = [(str(copies / "secret"), 0, 40)]
        file.create_dataset("layers/dense_1/vars/1", (10,), "f4", external=outside)
    assert run(root, copies / "new.weights.h5") == 4
    assert "points to another file" in capsys.readouterr().err
    assert files_in(root) == {}


def test_a_link_to_another_file_is_not_followed(root, copies, capsys):
    shutil.copy(copies / "new.weights.h5", copies / "other.h5")
    with h5py.File(copies / "new.weights.h5", "r+") as file:
        del file["layers/dense_1/vars/1"]
        outside = h5py.ExternalLink(str(copies / "other.h5"), "layers/dense_1/vars/1")
        file["layers/dense_1/vars/1"] = outside
    assert run(root, copies / "new.weights.h5") == 3
    assert "+ logits/bias" in capsys.readouterr().err
    assert files_in(root) == {}


def test_a_file_may_be_named_by_its_index(root, copies):
    assert run(root, copies / "carded.index") == 0
    assert (root / "runs/new/checkpoints/ckpt-44.index").exists()


def trained_model():
    """A model as `models.mlp` with `--model.hidden 8`, compiled and trained, with Keras's names."""
    layers = [keras.layers.Flatten(), keras.layers.Dense(8, "relu"), keras.layers.Dense(10)]
    model = keras.Sequential([keras.Input((8, 8)), *layers])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    x, y = v1_network.batches(0, 1)[0]
    model.fit(x, y, verbose=0)
    return model


def imported(root, name):
    """The value of an imported weight."""
    (index,) = (root / "runs/new/checkpoints").glob("*.index")
    checkpoint = index.with_suffix("")
    entries = read_card(checkpoint).structure.variables
    return read_variables(checkpoint, [entry for entry in entries if entry.path == name])[name]


@pytest.mark.parametrize("whole", [True, False])
def test_a_model_in_the_older_format_of_keras(root, tmp_path, whole, capsys):
    model = trained_model()
    if whole:
        model.save(tmp_path / "m.h5")
    elif KERAS_3:
        pytest.skip("Keras 3 writes weights alone as .weights.h5")
    else:
        model.save_weights(tmp_path / "m.h5")
    assert run(root, tmp_path / "m.h5") == 0, capsys.readouterr().err
    for path, weight in zip(
        ("hidden_1/kernel", "hidden_1/bias", "logits/kernel", "logits/bias"),
        model.get_weights(),
        strict=True,
    ):
        assert imported(root, path).numpy().tobytes() == weight.tobytes()


def test_the_first_format_of_the_saver(root, tmp_path, capsys):
    (batch,) = v1_network.batches(0, 1)
    with v1_network.session(v1_network.adam) as (running, train_on):
        train_on(batch)
        saver = v1_network.v1.train.Saver(write_version=v1_network.v1.train.SaverDef.V1)
        saver.save(running, str(tmp_path / "model"), write_meta_graph=False)
        kernel = running.run(v1_network.v1.trainable_variables()[0])
    assert run(root, tmp_path / "model") == 0, capsys.readouterr().err
    assert "name-based checkpoint" in capsys.readouterr().out
    assert imported(root, "hidden_1/kernel").numpy().tobytes() == kernel.tobytes()
    cut(tmp_path / "model")
    assert run(root / "other", tmp_path / "model") == 2  # the end that told what it is is gone
