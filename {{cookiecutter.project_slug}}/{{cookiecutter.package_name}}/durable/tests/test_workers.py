"""Several workers: a run that loses one of them, or stops, goes on exactly."""

import re
import signal
import threading

import tensorflow as tf

from ..checkpoint.workers import Workers
from ..run import agreement
from ..run.agreement import Watchdog
from ..run.settings import RunSettings
from ..run.worker import local_clusters
from .helpers import finish, read_until, require_same_run, start, start_workers, steps_in


def test_what_is_killed_or_stopped_goes_on_exactly(tmp_path):
    arguments = ["--model.hidden", "8", "--log-every", "10", "--save-every", "11"]
    arguments += ["--strategy", "multi-worker", "--data.noise", "0.1"]
    torn, straight = ([*arguments, "--root", tmp_path / name] for name in ("torn", "straight"))
    checkpoints = tmp_path / "torn/runs/default/checkpoints"

    def hit(worker, number, began):
        processes = start_workers(2, *torn, "--epochs", "1000")
        read_until(processes[0], began)
        read_until(processes[0], "/1000")  # the first epoch that ends
        processes[worker].send_signal(number)
        return [finish(process) for process in processes], max(steps_in(checkpoints))

    lost, first = hit(0, signal.SIGKILL, "starting from scratch")
    assert lost[0][0] == -signal.SIGKILL
    assert lost[1][0] == 1
    assert lost[1][2].endswith("start all workers again to resume.\n")
    lost, second = hit(1, signal.SIGKILL, f"Restored step {first} ")
    assert second >= first >= 33
    assert lost[0][0] == 1
    assert "A worker was lost" in lost[0][2]
    stopped, third = hit(1, signal.SIGTERM, f"Restored step {second} ")
    assert [code for code, _, _ in stopped] == [143, 143]
    assert f"Saved step {third} and stopped by signal 15." in stopped[0][1]

    ended = [finish(process) for process in start_workers(2, *straight, "--max-steps", third)]
    assert [code for code, _, _ in ended] == [0, 0], ended
    require_same_run(tmp_path / "torn", tmp_path / "straight", third)


def test_one_that_never_starts_is_not_waited_for_for_ever(tmp_path):
    first, _ = local_clusters(2)
    waiting = ["--strategy", "multi-worker", "--worker-timeout", "2s", "--root", tmp_path]
    code, _, errors = finish(start(*waiting, environment={"TF_CONFIG": first}))
    assert code == 1
    assert re.search(r"Worker 1 did not start at localhost:\d+ within the 2 s", errors)


def test_workers_that_were_given_other_settings_end_before_they_train(tmp_path):
    given = ["--strategy", "multi-worker", "--root"]
    clusters = enumerate(local_clusters(2))
    workers = [
        start(*given, tmp_path / f"{index}", "--seed", index, environment={"TF_CONFIG": cluster})
        for index, cluster in clusters
    ]
    for code, _, errors in [finish(worker) for worker in workers]:
        assert code == 2
        assert "Worker 1 was started with other settings than worker 0: --seed 1, not 0." in errors
    assert not list(tmp_path.iterdir())


def test_one_that_does_nothing_is_not_waited_for_for_ever(monkeypatch, capsys):
    codes, ended = [], threading.Event()

    def end(code):
        codes.append(code)
        ended.set()

    monkeypatch.setattr(agreement.os, "_exit", end)
    monkeypatch.setattr(agreement, "seconds_of", lambda *_: 0.05)
    workers, config = Workers(), RunSettings(worker_timeout="9m")
    steps = [tf.Variable(3), tf.Variable(0)]
    with Watchdog(config, workers, steps):
        pass
    workers.count = 2
    with Watchdog(config, workers, steps):
        assert ended.wait(100)
    assert set(codes) == {1}
    assert "nothing has gone on for 9m (--worker-timeout)" in capsys.readouterr().err
