"""A task of two models and two optimizers, through every command that reads its checkpoints."""

import json
import shutil
from functools import partial

import numpy as np
import pytest
import tensorflow as tf

from ..checkpoint.card import read_card
from ..checkpoint.restore import read_variables
from ..cli.evaluate import evaluate
from ..cli.main import run_command
from ..run.settings import Project
from .helpers import log_of, run_main
from .program import training
from .program.experiment import Config, Experiment, Paths
from .tasks import Adversarial, images


class Gan(Experiment):
    def data(self):
        return images()

    def task(self, data):
        return Adversarial()


PROJECT = Project(Config, Paths, lambda: Gan)
train = partial(training.main, experiment_class=Gan)
score, command = partial(evaluate, PROJECT), partial(run_command, PROJECT)


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory):
    root = tmp_path_factory.mktemp("gan")
    assert run_main(train, "--root", root, "--epochs", 2) == 0
    return root


@pytest.fixture
def folder(root, trained_once):
    """The checkpoints of a run, at the steps 6 and 12."""
    shutil.copytree(trained_once, root, dirs_exist_ok=True)
    return root / "runs/default/checkpoints"


def weights_in(checkpoint):
    """The weights in a checkpoint, by path."""
    entries = read_card(checkpoint).structure.variables
    return read_variables(checkpoint, [entry for entry in entries if entry.role == "model"])


def test_validation_is_that_of_the_task(folder):
    assert {"loss", "fooled", "val_loss", "val_fooled"} <= log_of(folder.parent)[-1].keys()


def test_an_average_is_the_mean_of_both_models(folder, root, capsys):
    arguments = ["--average", 2, "--save-as", "mean", "--json", "--root", root]
    assert run_main(score, *arguments) == 0
    assert "val_fooled" in json.loads(capsys.readouterr().out)["average"]
    first, second, mean = (
        weights_in(path)
        for path in (folder / "ckpt-6", folder / "ckpt-12", root / "runs/mean/checkpoints/ckpt-12")
    )
    kernels = [path for path in mean if path.endswith("/kernel")]
    assert len(kernels) == 4
    for path in kernels:
        np.testing.assert_allclose(mean[path], (first[path] + second[path]) / 2, rtol=1e-6)


def test_what_the_task_names_is_exported(folder, root, capsys):
    assert run_main(command, "export", "--json", "--root", root) == 0
    exported = json.loads(capsys.readouterr().out)["path"]
    model = tf.saved_model.load(f"{exported}/saved_model")
    assert model.serve(tf.ones((5, 3))).shape == (5, 16)


def test_a_checkpoint_is_imported(folder, root):
    arguments = ["import", folder / "ckpt-12", "--run", "copy", "--root", root]
    assert run_main(command, *arguments) == 0
    copied = weights_in(root / "runs/copy/checkpoints/ckpt-12")
    for path, value in weights_in(folder / "ckpt-12").items():
        assert np.array_equal(copied[path], value), path


def test_what_cannot_tell_the_models_apart_is_refused(folder, root, capsys):
    bare = tf.train.Checkpoint(model=tf.Module(), v=tf.Variable(1.0)).write(str(root / "bare"))
    for arguments in (["import", bare, "--run", "copy"], ["export", "--saver"]):
        assert run_main(command, *arguments, "--root", root) == 2
        assert "The task has the models generator, discriminator" in capsys.readouterr().err
    assert not (root / "runs/copy").exists()
    assert not list((root / "runs/default/exports").glob("*"))


def test_it_is_compared_and_rewound(folder, root, capsys):
    assert run_main(command, "diff", 6, 12, "--root", root) == 1
    printed = capsys.readouterr().out
    assert "generator/hidden/kernel" in printed
    assert "discriminator/hidden/kernel" in printed
    assert run_main(command, "rewind", 6, "--root", root) == 0
    assert run_main(train, "--root", root, "--epochs", 2) == 0
