"""The log: rewound to a step, with nothing twice and nothing missing."""

import json
import math
from itertools import pairwise

import numpy as np
import pytest
import tensorflow as tf

from ..run.log import MetricsLog
from ..run.state import TrainState
from .helpers import log_of, points_of
from .program import training
from .program.experiment import Config, Experiment, ModelConfig, Paths


def write(paths, step, *steps):
    with MetricsLog(paths, step) as log:
        for number in steps:
            log.write(number, number // 10, {"loss": 1 / number}, epoch_ended=number % 10 == 0)


def points(paths):
    return points_of(paths.tensorboard)


@pytest.fixture
def paths(root):
    paths = Paths(root)
    paths.folder.mkdir(parents=True)
    return paths


def test_a_line_has_step_epoch_metrics_and_time(paths):
    write(paths, 0, 10)
    (line,) = paths.metrics.read_text().splitlines()
    assert list(json.loads(line)) == ["step", "epoch", "loss", "time"]
    assert log_of(paths.folder) == [{"step": 10, "epoch": 1, "loss": 0.1}]
    assert points(paths) == [10]


def test_a_number_that_is_none_is_null(paths):
    values = {"loss": math.nan, "accuracy": math.inf}
    with MetricsLog(paths, 0) as log:
        log.write(10, 1, values, epoch_ended=True)
    (line,) = paths.metrics.read_text().splitlines()
    found = json.loads(line, parse_constant=pytest.fail)
    assert (found["loss"], found["accuracy"]) == (None, None)


def test_lines_have_the_means_since_the_last_and_epochs_those_of_the_epoch(root):
    config = Config(root=str(root), epochs=2, log_every=10, model=ModelConfig(hidden=(8,)))
    losses, accuracies = train_by_hand(config)
    arguments = ["--root", config.root, "--epochs", "2", "--log-every", "10", "--model.hidden", "8"]
    assert training.main(arguments) == 0
    spans = [*pairwise([0, 10, 20, 30, 40]), (0, 44), *pairwise([44, 50, 60, 70, 80]), (44, 88)]
    lines = log_of(root / "runs/default")
    assert [line["step"] for line in lines] == [stop for _, stop in spans]
    for line, (start, stop) in zip(lines, spans, strict=True):
        assert line["loss"] == pytest.approx(np.mean(losses[start:stop]), rel=1e-4)
        assert line["accuracy"] == pytest.approx(np.mean(accuracies[start:stop]))


def train_by_hand(config):
    """The loss and the accuracy of each step."""
    tf.keras.utils.set_random_seed(config.seed)
    experiment = Experiment(config)
    data = experiment.data()
    task = experiment.task(data)
    TrainState(task, data.element_spec)
    step = tf.function(task.step)
    losses, accuracies = [], []
    for batch in data.batches(config.seed, 0, config.epochs * data.steps_per_epoch):
        outputs, loss = step(batch)
        losses.append(float(loss))
        accuracies.append(np.mean(np.argmax(outputs, axis=-1) == batch[1]))
    return losses, accuracies


def test_both_are_rewound(paths):
    write(paths, 0, 10, 20, 30, 40)
    write(paths, 20, 30, 50)
    assert [line["step"] for line in log_of(paths.folder)] == [10, 20, 30, 50]
    assert points(paths) == [10, 20, 30, 50]


def test_from_scratch_nothing_is_left(paths):
    write(paths, 0, 10, 20)
    write(paths, 0, 10)
    assert [line["step"] for line in log_of(paths.folder)] == [10]
    assert points(paths) == [10]


def test_what_a_killed_rewind_left_is_removed(paths):
    write(paths, 0, 10, 20)
    (events,) = paths.tensorboard.glob("events*")
    events.with_name(f"{events.name}_temp").write_bytes(b"half")
    write(paths, 20, 30)
    assert points(paths) == [10, 20, 30]
    assert not list(paths.tensorboard.glob("*_temp"))


def test_a_line_that_cannot_be_read_is_left_out_and_told(paths, caplog):
    write(paths, 0, 10, 20, 30)
    first, _, last = paths.metrics.read_text().splitlines(keepends=True)
    paths.metrics.write_text(f"{first}garbage\n{last}")
    write(paths, 30, 40)
    assert [line["step"] for line in log_of(paths.folder)] == [10, 30, 40]
    assert f"Line 2 of {paths.metrics} cannot be read" in caplog.text


def test_what_a_killed_process_cut_short_is_removed(paths):
    write(paths, 0, 10, 20, 30)
    text = paths.metrics.read_text()
    paths.metrics.write_text(text[: len(text) - 9])
    (events,) = paths.tensorboard.glob("events*")
    events.write_bytes(events.read_bytes()[:-9])
    write(paths, 30, 40)
    assert [line["step"] for line in log_of(paths.folder)] == [10, 20, 40]
    assert points(paths) == [10, 20, 40]
