"""Trackers: they get each line of a run's log once, when a checkpoint has it."""

import json
import signal
import subprocess
from contextlib import suppress
from importlib.util import find_spec

import pytest

from ..run import trackers
from ..run.references import newest_step
from ..run.trackers import last_offline_step, offline_steps, records
from .helpers import finish, log_of, run_main, start
from .program import commands, training
from .program.experiment import Paths

SMALL = ["--model.hidden", "8", "--log-every", "10"]
# Slow enough that it is not over before a tracker has woken up.
ENDLESS = ["--model.hidden", "256", "256", "--log-every", "30", "--save-every", "20"]
ENDLESS += ["--epochs", "1000000"]


class Shelf:
    """Keeps what it is sent, as a tracker does that is far away; it may be out of reach."""

    runs = {}  # noqa: RUF012
    endings = []  # noqa: RUF012
    failures = 0

    def __init__(self, run, config, paths):
        self.fail()
        self.name, self.paths = run.id, paths
        self.lines = self.runs.setdefault(run.id, [])

    @classmethod
    def fail(cls):
        if cls.failures:
            cls.failures -= 1
            raise ConnectionError("it is\nout of reach")

    @staticmethod
    def prepare():
        pass

    def send(self, lines):
        kept = newest_step(self.paths)
        have = [line["step"] for line in self.lines]
        for line in lines:
            assert line["step"] <= kept
            if line["step"] not in have:
                self.lines.append(line)
        self.fail()  # after what it has got

    def close(self, *, failed):
        self.endings.append("failed" if failed else "finished")


@pytest.fixture
def shelf(monkeypatch):
    """Stands for MLflow."""
    monkeypatch.setattr(Shelf, "runs", {})
    monkeypatch.setattr(Shelf, "endings", [])
    monkeypatch.setitem(trackers.TRACKERS, "mlflow", Shelf)
    return Shelf


def tracked(root, run="default", tracker="mlflow"):
    """What the run is to the tracker."""
    return json.loads((root / "runs" / run / "tracking.json").read_text())[tracker]


def on(shelf, identity):
    """The lines that a tracked run has, as `log_of` gives them."""
    lines = shelf.runs[identity]
    return [{name: value for name, value in line.items() if name != "time"} for line in lines]


def train(root, *arguments):
    return run_main(training.main, *SMALL, "--track", "mlflow", "--root", root, *arguments)


def test_a_resumed_run_goes_on_in_the_same_tracked_run(root, shelf, capsys):
    assert train(root, "--epochs", 1) == 0
    first = tracked(root)["id"]
    assert train(root, "--epochs", 3) == 0
    assert [*shelf.runs] == [first]
    assert on(shelf, first) == log_of(root / "runs/default")
    assert shelf.endings == ["finished"] * 2
    assert capsys.readouterr().err == ""  # no line was sent too early


@pytest.mark.parametrize("failures", [1, 2, 3])
def test_a_tracker_that_fails_is_told_once_and_gets_all(root, shelf, capsys, monkeypatch, failures):
    monkeypatch.setattr(shelf, "failures", failures)
    assert train(root, "--epochs", 6) == 0
    told = capsys.readouterr().err
    assert told == (
        "Shelf has failed: it is out of reach. Training goes on; what is missing is sent at a "
        "later save.\n"
    )
    assert on(shelf, tracked(root)["id"]) == log_of(root / "runs/default")


def test_a_tracker_that_was_away_to_the_end_gets_all_later(root, shelf, capsys, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(shelf, "failures", 100)
        assert train(root, "--epochs", 2) == 0
    assert capsys.readouterr().err.splitlines()[1:] == [
        "Shelf has not got all: it has failed. The same command sends the rest."
    ]
    for _ in range(2):
        assert train(root, "--epochs", 2) == 0
        assert on(shelf, tracked(root)["id"]) == log_of(root / "runs/default")


def test_a_fork_and_a_rewind_are_new_and_name_their_parent(root, shelf):
    assert train(root, "--epochs", 3) == 0
    trunk = tracked(root)
    assert train(root, "--run", "fork", "--fork-from", "default@88", "--epochs", 3) == 0
    fork = tracked(root, "fork")
    assert (fork["parent"], fork["parent_id"]) == ("default@88", trunk["id"])
    assert on(shelf, fork["id"]) == log_of(root / "runs/fork")

    old = on(shelf, trunk["id"])
    assert run_main(commands.main, "rewind", 44, "--root", root) == 0
    assert train(root, "--epochs", 3, "--optimizer.learning-rate", 0.1) == 0
    rewound = tracked(root)
    assert (rewound["parent"], rewound["parent_id"]) == ("default@44", trunk["id"])
    assert on(shelf, rewound["id"]) == log_of(root / "runs/default")
    assert on(shelf, trunk["id"]) == old
    assert train(root, "--epochs", 4) == 0
    assert len(shelf.runs) == 3


@pytest.mark.parametrize("tracker", ["mlflow", "wandb"])
def test_one_that_is_not_installed_is_told_first(root, monkeypatch, capsys, tracker):
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    assert run_main(training.main, "--track", tracker, "--root", root) == 2
    assert capsys.readouterr().err == (
        f"--track {tracker} needs an extra: install it with pip install --editable '.[{tracker}]'\n"
    )
    assert list(root.iterdir()) == []


def kill_when(process, is_reached):
    """Kills a process with SIGKILL once something has happened."""
    while process.poll() is None and not is_reached():
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.1)  # the process needs the processor
    process.send_signal(signal.SIGKILL)
    code, output, errors = finish(process)
    assert code == -signal.SIGKILL, output + errors


def resume(root, tracker):
    """Lets a killed run go on to the end of its epoch, and returns its log."""
    epochs = newest_step(Paths(root)) // 44 + 1
    arguments = [*ENDLESS[:-1], epochs, "--track", tracker, "--root", root]
    assert run_main(training.main, *arguments) == 0
    log = log_of(root / "runs/default")
    # The steps of a run that was never stopped.
    end = 44 * epochs + 1
    assert [line["step"] for line in log] == sorted({*range(30, end, 30), *range(44, end, 44)})
    return log


def record_sent(monkeypatch, client):
    """The steps of all points that are sent from now on."""
    sent, log_batch = [], client.log_batch

    def recording(self, run_id, metrics=(), **others):
        sent.extend(point.step for point in metrics)
        log_batch(self, run_id, metrics=metrics, **others)

    monkeypatch.setattr(client, "log_batch", recording)
    return sent


@pytest.mark.skipif(
    not all(map(find_spec, ("mlflow", "sqlalchemy"))), reason="the extra mlflow is not installed"
)
def test_mlflow_has_each_point_of_a_killed_run_once(root, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    trackers.MLflow.prepare()
    from mlflow import MlflowClient  # noqa: PLC0415  (an extra)

    paths = Paths(root)
    paths.runs.mkdir()
    client = MlflowClient(trackers.local_store(paths))
    client.search_experiments()  # makes the tables, which takes a while

    def tracked_runs():
        experiments = [found.experiment_id for found in client.search_experiments()]
        return client.search_runs(experiments)

    process = start(*ENDLESS, "--track", "mlflow", "--root", root)
    kill_when(process, lambda: any(run.data.metrics for run in tracked_runs()))
    (found,) = tracked_runs()
    has = max(point.step for point in client.get_metric_history(found.info.run_id, "loss"))
    sent = record_sent(monkeypatch, MlflowClient)
    wanted = resume(root, "mlflow")
    assert min(sent) > has

    (found,) = tracked_runs()
    assert (found.info.run_name, found.info.status) == ("default", "FINISHED")
    assert found.data.params["model.hidden"] == "(256, 256)"
    for name in found.data.metrics:
        points = client.get_metric_history(found.info.run_id, name)
        points = sorted((point.step, point.value) for point in points)
        assert points == [(line["step"], line[name]) for line in wanted if name in line], name
    assert {*found.data.metrics} == {name for line in wanted for name in line} - {"step"}


@pytest.mark.skipif(find_spec("wandb") is None, reason="the extra wandb is not installed")
def test_wandb_has_each_line_of_a_killed_run_once(root, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.delenv("WANDB_DIR", raising=False)
    folder = root / "runs/default"

    def has_arrived():
        kept = folder / "tracking.json"
        return (
            kept.exists() and last_offline_step(folder, tracked(root, "default", "wandb")["id"]) > 0
        )

    kill_when(start(*ENDLESS, "--track", "wandb", "--root", root), has_arrived)
    wanted = resume(root, "wandb")

    files = sorted(folder.glob("wandb/offline-run-*/*.wandb"))
    assert {file.stem for file in files} == {f"run-{tracked(root, tracker='wandb')['id']}"}
    assert len(files) == 2
    assert [step for file in files for step in offline_steps(file)] == [
        line["step"] for line in wanted
    ]


def test_a_file_of_records_is_read_up_to_where_it_was_cut():
    def part(kind, size):
        return b"\0" * 4 + size.to_bytes(2, "little") + bytes([kind]) + b"x" * size

    # The first ends 3 bytes before the end of a block; the second goes over three blocks.
    first = part(1, 32768 - 7 - 7 - 3)
    second = part(2, 32761) + part(3, 32761) + part(4, 5)
    whole = b":W&Babc" + first + b"\0" * 3 + second
    assert [len(record) for record in records(whole)] == [32751, 2 * 32761 + 5]
    assert [len(record) for record in records(whole[:-1])] == [32751]
    assert [*records(whole[:7])] == []
