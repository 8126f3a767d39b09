"""What all tests share."""

import shutil

import pytest
import tensorflow as tf

from ..compat import keras
from ..run.replicas import split_cpu
from .helpers import THREE_EPOCHS
from .program import training
from .program.experiment import ROOT_VARIABLE

split_cpu(4)  # before anything is computed; all but the tests of replicas use the first one
tf.config.list_logical_devices()  # from here on, they stay four


@pytest.fixture(autouse=True)
def _clean(monkeypatch):
    """Every test starts without the user's own root and with a fresh Keras."""
    monkeypatch.delenv(ROOT_VARIABLE, raising=False)
    keras.backend.clear_session()


@pytest.fixture
def root(tmp_path):
    """A folder for runs, with a name that needs quoting."""
    folder = tmp_path / "a röot folder"
    folder.mkdir()
    return folder


@pytest.fixture(scope="session")
def three_epochs_once(tmp_path_factory):
    """The run that `three_epochs` copies."""
    root = tmp_path_factory.mktemp("three epochs")
    assert training.main(["--root", str(root), *THREE_EPOCHS]) == 0
    return root


@pytest.fixture
def three_epochs(root, three_epochs_once):
    """A run with checkpoints at the steps 44, 88 and 132, and a line of the log every 10 steps."""
    shutil.copytree(three_epochs_once, root, dirs_exist_ok=True)
    return root


@pytest.fixture
def run(three_epochs):
    """The folder of that run."""
    return three_epochs / "runs/default"


@pytest.fixture
def straight(three_epochs_once):
    """The folder of the run that it is a copy of."""
    return three_epochs_once / "runs/default"
