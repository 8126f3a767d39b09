"""A file of Keras weights may be that of a body: it is taken into one layer of the model."""

import numpy as np
import pytest
import tensorflow as tf
from etils import epath

from ..checkpoint.structure import describe_variables
from ..cli.import_ import ImportOptions, plan_of
from ..compat import KERAS_3, keras
from ..convert.importing import Start, assign, recognize, require_whole
from ..errors import ConfigurationError, ImportMismatch
from ..run.state import TrainState
from .test_fine_tuning import SPEC, Tuning

layers = keras.layers


def body_of(units=4):
    """A body as that of the task, with weights of its own."""
    stack = [layers.Dense(units, "relu", name="other"), layers.BatchNormalization()]
    body = keras.Sequential([keras.Input((3,)), *stack])
    random = np.random.default_rng(1)
    body.set_weights([random.uniform(size=weight.shape) for weight in body.get_weights()])
    return body


@pytest.fixture(scope="module")
def start():
    return Start(None, None, TrainState(Tuning(), SPEC))


@pytest.mark.parametrize("suffix", [".weights.h5", ".keras", *([] if KERAS_3 else [".h5"])])
def test_all_of_it_is_taken_and_the_rest_begins_anew(tmp_path, start, suffix):
    body, path = body_of(), epath.Path(tmp_path / f"body{suffix}")
    (body.save if suffix == ".keras" else body.save_weights)(str(path))
    source = recognize(path)
    plan = plan_of(source, ImportOptions(str(path), into="body"), start)
    require_whole(source, plan, partial=False)
    assert {"middle/kernel", "head/bias", "body_optimizer/iteration"} <= {*plan.anew}
    assert not any(path.startswith("body/inside/inner") for path in plan.anew)
    assign(source, plan, start)
    described = describe_variables(tf.train.Checkpoint(**start.state.parts))
    for name, weight in zip(
        ("other/kernel", "other/bias", "norm/gamma", "norm/beta"), body.get_weights(), strict=False
    ):
        found = described[f"body/inside/{name.replace('other', 'inner')}"][1]
        assert (found.numpy() == weight).all()


def test_what_does_not_fit_is_refused_by_its_path(tmp_path, start):
    path = epath.Path(tmp_path / "body.weights.h5")
    body_of(units=5).save_weights(str(path))
    source = recognize(path)
    plan = plan_of(source, ImportOptions(str(path), into="body"), start)
    with pytest.raises(ImportMismatch, match=r"! body/inside/inner/kernel +shape \(3, 5\)"):
        require_whole(source, plan, partial=False)
    with pytest.raises(ConfigurationError, match=r"--into head is .* Give body/inside or"):
        plan_of(source, ImportOptions(str(path), into="head"), start)
