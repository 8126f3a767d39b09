"""The log: rewound to a step, with nothing twice and nothing missing."""

import json

import pytest

from ..run.log import MetricsLog
from .helpers import log_of, points_of
from .program.experiment import Paths


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
