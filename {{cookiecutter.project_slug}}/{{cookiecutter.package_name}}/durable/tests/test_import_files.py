"""Files that cannot be imported: each has its error, and nothing is written."""

import pickle
import shutil
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

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
