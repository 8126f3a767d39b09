"""The model registry, and how a model is added to it."""

import shutil

from {{ cookiecutter.package_name }} import models
from {{ cookiecutter.package_name }}.config import ModelConfig
from {{ cookiecutter.package_name }}.errors import ConfigurationError
from {{ cookiecutter.package_name }}.models import MODELS, build_model

import pytest
import tensorflow as tf

from .helpers import PROJECT, finish, start


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("shape", [(8, 8), (6, 5, 3)])
def test_each_model_gives_logits(name, shape):
    model = build_model(ModelConfig(name=name, hidden=(4,)), shape, 7)
    logits = model(tf.ones((2, *shape)))
    assert logits.shape == (2, 7)
    assert logits.dtype == tf.float32


def test_mlp_takes_vectors_and_cnn_says_that_it_does_not():
    assert build_model(ModelConfig(), (5,), 2)(tf.ones((1, 5))).shape == (1, 2)
    with pytest.raises(ConfigurationError, match=r"Cannot build .* 'cnn': it needs images"):
        build_model(ModelConfig(name="cnn"), (5,), 2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "nope"}, "--model.name 'nope' is unknown. Known are: mlp, .*cnn"),
        ({"activation": "nope"}, "Cannot build the model 'mlp': .*nope"),
        ({"dtype": "float99"}, "Cannot build the model 'mlp': .*"),
    ],
)
def test_what_cannot_be_built_is_refused(settings, message):
    with pytest.raises(ConfigurationError, match=message):
        build_model(ModelConfig(**settings), (8, 8), 10)


def test_a_new_model_is_one_file_and_one_line(tmp_path):
    """Does to a copy of the project what its README says."""
    copy = tmp_path / "copy"
    skipped = shutil.ignore_patterns("runs", ".*", "__pycache__")
    shutil.copytree(PROJECT, copy, ignore=skipped)
    folder = copy / models.__name__.replace(".", "/")
    (folder / "linear.py").write_text(
        "from ..compat import keras\n\n\n"
        "def build(config, shape, classes):\n"
        "    return keras.Sequential(\n"
        "        [keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(classes)]\n"
        "    )\n"
    )
    registry = folder / "__init__.py"
    text = registry.read_text()
    text = text.replace("from . import cnn, mlp", "from . import cnn, linear, mlp")
    registry.write_text(text.replace('    "mlp"', '    "linear": linear.build,\n    "mlp"'))
    settings = ["--model.name", "linear", "--epochs", "1"]
    code, output, errors = finish(start(*settings, script=copy / "train.py", path=copy))
    assert code == 0, errors
    assert "Run 'default' is complete: step 44, epoch 1." in output
    assert (copy / "runs/default/checkpoints/ckpt-44.index").exists()
