"""Any tf.data pipeline: its place is in the checkpoint, or it is refused."""

import numpy as np
import pytest
import tensorflow as tf

from ..data.pipeline import PipelineData
from ..data.protocol import data_state
from ..errors import ConfigurationError
from .helpers import finish, log_of, run_main, start, steps_in
from .program import commands, training

SMALL = ["--data.name", "pipeline", "--model.hidden", 8, "--save-every", 10, "--log-every", 5]


def weights_of(checkpoint):
    """The variables of a checkpoint; the state of an iterator cannot be compared."""
    reader = tf.train.load_checkpoint(str(checkpoint))
    keys = [
        key
        for key in reader.get_variable_to_shape_map()
        if key.endswith("VARIABLE_VALUE") and not key.startswith("card/")
    ]
    return {key: np.asarray(reader.get_tensor(key)).tobytes() for key in keys}


def test_a_killed_run_goes_on_with_the_batches_that_would_have_come(root):
    settings = [*SMALL, "--root", root, "--epochs", 3]
    assert run_main(training.main, *settings, "--run", "straight") == 0
    killed = start(*settings, "--run", "killed")
    while killed.poll() is None and 50 not in steps_in(root / "runs/killed/checkpoints"):
        pass  # in the second epoch, with a shuffle buffer that is part of the state
    killed.kill()
    assert finish(killed)[0] == -9
    assert run_main(training.main, *settings, "--run", "killed") == 0
    last = "checkpoints/ckpt-132"
    assert weights_of(root / "runs/killed" / last) == weights_of(root / "runs/straight" / last)
    assert log_of(root / "runs/killed") == log_of(root / "runs/straight")


def test_all_else_works_without_the_pipeline(root, capsys):
    settings = [*SMALL, "--root", root]
    assert run_main(training.main, *settings, "--epochs", 2) == 0
    told = "The iterator of the pipeline takes 0.3 MB of each checkpoint."
    assert told in capsys.readouterr().out
    for command in (
        "show",
        "verify",
        "diff latest --model",
        "export latest",
        "data index",
        "data verify",
    ):
        assert run_main(commands.main, *command.split(), "--root", root) == 0, command
    assert run_main(commands.evaluate, "--root", root) == 0
    average = ["--average", 2, "--save-as", "mean", "--root", root]
    assert run_main(commands.evaluate, *average) == 0
    # What was made of it, and a fork, can be trained on.
    assert run_main(training.main, *settings, "--run", "mean", "--epochs", 3) == 0
    fork = ["--run", "b", "--fork-from", "default@50", "--epochs", 2]
    assert run_main(training.main, *settings, *fork) == 0
    last = "checkpoints/ckpt-88"
    assert weights_of(root / "runs/b" / last) == weights_of(root / "runs/default" / last)


def test_it_is_not_mixed_with_data_that_save_nothing(root, capsys):
    settings = ["--model.hidden", 8, "--root", root, "--epochs", 1]
    assert run_main(training.main, *settings) == 0
    assert run_main(training.main, *settings, "--data.name", "pipeline") == 3
    assert "+ data" in capsys.readouterr().err
    assert run_main(training.main, *settings, *SMALL, "--run", "b", "--overfit-batches", 2) == 2


OPERATIONS = {
    "PyFunc": lambda x: tf.numpy_function(lambda y: y, [x], tf.int64),
    "EagerPyFunc": lambda x: tf.py_function(lambda y: y, [x], tf.int64),
    "RandomUniformInt": lambda x: x + tf.random.uniform((), maxval=2, dtype=tf.int64),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_state_that_cannot_be_saved_is_refused_by_the_name_of_the_operation(operation):
    numbers = tf.data.Dataset.range(10).map(OPERATIONS[operation])
    data = PipelineData(lambda _: numbers, numbers, 10, {"data": "numbers"})
    with pytest.raises(ConfigurationError, match=f"state in {operation}, which no checkpoint"):
        data_state(data, 0)


def test_where_it_ends_the_next_epoch_begins():
    data = PipelineData(
        lambda seed: tf.data.Dataset.range(6).shuffle(6, seed=seed).batch(2),
        tf.data.Dataset.range(3),
        3,
        {"data": "numbers"},
    )
    batches = iter(data.batches(1, 0, 6))
    epochs = [[int(n) for _ in range(3) for n in next(batches)] for _ in range(2)]
    assert [sorted(epoch) for epoch in epochs] == [[*range(6)]] * 2
    assert epochs[0] != epochs[1]
