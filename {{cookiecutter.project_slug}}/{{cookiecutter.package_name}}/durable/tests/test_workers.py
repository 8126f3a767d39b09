"""Several workers: one run, the same numbers, and nothing lost when one of them is."""

import json
import re
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf

from ..checkpoint.workers import Workers
from ..errors import ConfigurationError
from ..run import agreement
from ..run.agreement import Watchdog
from ..run.cluster import Cluster, answers, find_cluster
from ..run.replicas import single_device, start_strategy
from ..run.settings import RunSettings
from .helpers import (
    files_in,
    finish,
    log_of,
    manager_of,
    read_until,
    run_main,
    saved_values,
    start_workers,
    train,
)
from .pair import TASKS, state_of, trained, values_of
from .program import training
from .tasks import images
from .test_replicas import Numbers, require_same

PAIR = f"{__package__}.pair"


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """The folder in which two workers did what `pair` does, with what each of them saw."""
    folder = tmp_path_factory.mktemp("two workers")
    state = state_of(Numbers, images(), single_device())
    train(state, images(), 0, 4)
    manager_of(state, folder / "elastic").save()
    processes = start_workers(2, folder, module=PAIR)
    ended = [finish(process) for process in processes]
    assert [code for code, _, _ in ended] == [0, 0], ended
    texts = [folder / f"seen-{index}.json" for index in range(2)]
    seen = [json.loads(text.read_text(encoding="utf-8")) for text in texts]
    return folder, seen, [output for _, output, _ in ended]


@pytest.mark.parametrize("name", TASKS)
def test_two_workers_make_the_numbers_of_one(pair, name):
    folder, seen, _ = pair
    task, data = TASKS[name]
    wanted = trained(task, data(), single_device())
    for index in range(2):
        with np.load(folder / f"{name}-{index}.npz") as arrays:
            found = list(arrays.values())
        require_same((found, seen[index]["means"][name]), wanted)


def test_what_they_tell_each_other(pair):
    for seen in (each["talk"] for each in pair[1]):
        assert seen["gathered"] == [[0, 7], [1, 7]]
        assert seen["texts"] == ["", "I am 1: ü"]
        assert seen["told"] == "by 0"
        assert seen["led"] == "the chief's"
        assert seen["error of 1"] == [2, "It is wrong."]
        assert seen["error of 0"] == [4, "Checkpoint ckpt-1 is damaged: cut"]


def test_no_threads_are_left_by_what_they_tell_each_other(pair):
    assert all(seen["threads"] < 50 for seen in pair[1])  # 100 times


def test_what_they_decide(pair):
    for index, seen in enumerate(each["decide"] for each in pair[1]):
        nothing, ended, stopped = seen
        # A save is due by the clock of the chief alone.
        assert nothing == {"stop": None, "save": False, "ended": None, "chunk": 5}
        assert (ended["save"], stopped["save"]) == (True, True)
        assert ended["ended"] == ("mine" if index else "a hook of another worker wants it to.")
        assert stopped["stop"] == 15


def test_only_the_chief_writes_and_tells(pair):
    folder, seen, printed = pair
    assert seen[0]["places"][:2] == [True, True]
    assert seen[1]["places"][:2] == [True, False]
    for each in seen:
        code, message = each["places"][2]
        assert code == 5
        assert message.startswith("Run 'place' is being trained by process")
    assert "printed by 0" in printed[0]
    assert "printed" not in printed[1]
    assert (folder / "runs/place/file").exists()


def test_data_without_an_order_are_refused(pair):
    for each in pair[1]:
        code, message = each["pipeline"]
        assert code == 2
        assert message.startswith("PipelineData has no order by number")


def test_one_that_does_not_fit_ends_all_and_nothing_is_restored(pair):
    for index, each in enumerate(pair[1]):
        (code, message), variable, unseen = each["misfit"]
        assert code == 3
        assert "Nothing was restored" in message
        assert "(2,)" in message
        assert variable == [1.0] * (2 + index)
        assert unseen[0] == 2
        assert unseen[1].startswith("A worker does not see")
    assert pair[1][0]["misfit"][0] == pair[1][1]["misfit"][0]


def test_the_chief_chooses_what_is_restored(pair):
    folder, seen, _ = pair
    for each in (one["checkpoints"] for one in seen):
        assert each["before"] is False
        assert each["none"] is None
        assert each["restored"].endswith("ckpt-9")
        assert each["older"]
        assert each["same values"]
        assert each["damaged for one"][0] == 4
        assert "it says" in each["damaged for one"][1]
        assert each["kept"] == 8  # nothing was restored
        assert each["full for one"][0] == 1
        assert "No space left" in each["full for one"][1]
    names = {path.name for path in files_in(folder / "checkpoints")}
    assert names == {
        "checkpoint",
        "ckpt-7.data-00000-of-00001",
        "ckpt-7.index",
        "ckpt-9.data-00000-of-00001",  # in damaged/
        "ckpt-9.index",
    }


def test_a_run_goes_on_with_two_workers_and_with_one_again(pair):
    folder, _, _ = pair
    state = state_of(Numbers, images(), single_device())
    manager = manager_of(state, folder / "elastic")
    assert manager.restore_or_initialize().endswith("ckpt-7")
    train(state, images(), 7, 9)
    straight = state_of(Numbers, images(), single_device())
    train(straight, images(), 0, 9)
    require_same((values_of(state), {}), (values_of(straight), {}))


def test_what_is_killed_or_stopped_goes_on_exactly(tmp_path):
    arguments = ["--model.hidden", "8", "--log-every", "10", "--save-every", "11"]
    arguments += ["--strategy", "multi-worker", "--data.noise", "0.1"]
    torn, straight = ([*arguments, "--root", tmp_path / name] for name in ("torn", "straight"))
    checkpoints = tmp_path / "torn/runs/default/checkpoints"

    def newest():
        return max(int(re.sub(r"\D", "", file.stem)) for file in checkpoints.glob("ckpt-*.index"))

    def hit(worker, number, epoch):
        processes = start_workers(2, *torn, "--epochs", "1000")
        read_until(processes[0], f"epoch {epoch}/")
        processes[worker].send_signal(number)
        return [finish(process) for process in processes], newest()

    lost, first = hit(0, signal.SIGKILL, 1)
    assert lost[0][0] == -signal.SIGKILL
    assert lost[1][0] == 1
    assert lost[1][2].endswith("start all workers again to resume.\n")
    lost, second = hit(1, signal.SIGKILL, first // 44 + 1)
    assert second >= first >= 33
    assert lost[0][0] == 1
    assert "A worker was lost" in lost[0][2]
    stopped, third = hit(1, signal.SIGTERM, second // 44 + 1)
    assert [code for code, _, _ in stopped] == [143, 143]
    assert f"Saved step {third} and stopped by signal 15." in stopped[0][1]

    runs = [start_workers(2, *run, "--max-steps", third + 5) for run in (torn, straight)]
    ended = [finish(process) for processes in runs for process in processes]
    assert [code for code, _, _ in ended] == [0] * 4, ended
    assert f"Restored step {third} " in ended[0][1]
    runs = [tmp_path / name / "runs/default" for name in ("torn", "straight")]
    saved = [saved_values(run / f"checkpoints/ckpt-{third + 5}") for run in runs]
    assert saved[0] == saved[1]
    assert log_of(runs[0]) == log_of(runs[1])


def test_one_that_never_starts_is_not_waited_for_for_ever(tmp_path):
    waiting = ["--strategy", "multi-worker", "--worker-timeout", "2s", "--root", tmp_path]
    waiting_one, never = start_workers(2, *waiting)
    never.kill()
    finish(never)
    code, _, errors = finish(waiting_one)
    assert code == 1
    assert re.search(r"Worker 1 did not start at localhost:\d+ within the 2 s", errors)


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


def test_one_that_starts_late_is_waited_for():
    with socket.socket() as first, socket.socket() as second:
        for one in (first, second):
            one.bind(("localhost", 0))
        addresses = tuple(f"localhost:{one.getsockname()[1]}" for one in (first, second))
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(Cluster(addresses, 0).wait_for_others, 100)
        while not answers(addresses[0]):
            assert not waiting.done()
        assert not waiting.done()
        with socket.create_server(("", Cluster(addresses, 1).port)):
            waiting.result()


def cluster(config, **more):
    return find_cluster({"TF_CONFIG": json.dumps(config)} | more)


TWO = {"worker": ["one:1", "two:2"]}


def test_clusters_of_tf_config():
    found = cluster({"cluster": TWO, "task": {"type": "worker", "index": 1}})
    assert (found.addresses, found.index) == (("one:1", "two:2"), 1)
    chief = {"chief": ["zero:9"], **TWO}
    found = cluster({"cluster": chief, "task": {"type": "worker", "index": 1}})
    assert (found.addresses, found.index) == (("zero:9", "one:1", "two:2"), 2)
    assert cluster({"cluster": chief, "task": {"type": "chief", "index": 0}}).index == 0
    assert cluster({}) is None
    assert find_cluster({"TF_CONFIG": " "}) is None
    assert find_cluster({}) is None


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"cluster": TWO}, "'task'"),
        ({"cluster": TWO, "task": {"type": "worker", "index": 2}}, "out of range"),
        ({"cluster": TWO, "task": {"type": "worker", "index": -1}}, "-1"),
        ({"cluster": TWO, "task": {"type": "ps", "index": 0}}, "'ps'"),
        ({"cluster": TWO, "task": {"type": "worker", "index": "one"}}, "'one'"),
        ({"cluster": {"ps": ["a:1"]}, "task": {"type": "ps", "index": 0}}, "no use for ps"),
        ({"cluster": {"worker": "one:1"}, "task": {"type": "worker", "index": 0}}, "no list"),
        ({"cluster": {"worker": ["one"]}, "task": {"type": "worker", "index": 0}}, "host:port"),
        (
            {"cluster": {"worker": ["a:1", "a:1"]}, "task": {"type": "worker", "index": 0}},
            "one address",
        ),
        ([], "'list' object"),
    ],
)
def test_clusters_that_make_no_sense(config, reason):
    with pytest.raises(ConfigurationError, match=reason):
        cluster(config)


def test_a_cluster_that_is_no_json():
    with pytest.raises(ConfigurationError, match="TF_CONFIG describes no cluster"):
        find_cluster({"TF_CONFIG": "worker 0 of 2"})


def test_clusters_of_kubernetes():
    pods = {"WORKER_ADDRESS": "train-{index}.train:2222", "WORKER_COUNT": "3"}
    found = find_cluster({**pods, "JOB_COMPLETION_INDEX": "2"})
    assert found.addresses == ("train-0.train:2222", "train-1.train:2222", "train-2.train:2222")
    assert found.index == 2
    for wrong, reason in [
        ({"JOB_COMPLETION_INDEX": "3"}, "Worker 3 is not one of 3"),
        ({}, "JOB_COMPLETION_INDEX is ''"),
        ({"JOB_COMPLETION_INDEX": "0", "WORKER_COUNT": "two"}, "WORKER_COUNT is 'two'"),
        ({"JOB_COMPLETION_INDEX": "0", "WORKER_ADDRESS": "train:1"}, "the same for all"),
    ]:
        with pytest.raises(ConfigurationError, match=reason):
            find_cluster(pods | wrong)


def test_clusters_of_slurm(monkeypatch):
    step = {
        "SLURM_JOB_ID": "12",
        "SLURM_STEP_NUM_TASKS": "3",
        "SLURM_STEP_NODELIST": "node[2,9-10]",
        "SLURM_STEP_TASKS_PER_NODE": "1(x3)",
        "SLURM_PROCID": "2",
    }
    for name, value in step.items():
        monkeypatch.setenv(name, value)
    found = find_cluster(step)
    assert found.addresses == ("node2:15192", "node9:15192", "node10:15192")
    assert found.index == 2
    monkeypatch.setenv("SLURM_STEP_NODELIST", "node[2")
    with pytest.raises(ConfigurationError, match="Slurm's variables describe no cluster"):
        find_cluster(step)
    assert start_strategy(RunSettings()).num_replicas_in_sync == 1  # it need not make sense


def test_a_port_that_is_taken(monkeypatch, tmp_path, capsys):
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        workers = [f"localhost:{taken.getsockname()[1]}", "localhost:9"]
        config = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": 0}}
        monkeypatch.setenv("TF_CONFIG", json.dumps(config))
        assert run_main(training.main, "--root", tmp_path, "--strategy", "auto") == 2
        assert "Worker 0 cannot listen at localhost:" in capsys.readouterr().err
    assert run_main(training.main, "--root", tmp_path) == 2
    assert "TF_CONFIG names 2 workers, and --strategy is none" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_workers_that_nothing_names(tmp_path, capsys):
    assert run_main(training.main, "--root", tmp_path, "--strategy", "multi-worker") == 2
    assert "set TF_CONFIG, start it by srun" in capsys.readouterr().err
    wrong = ["--strategy", "multi-worker", "--cpu-devices", 2]
    assert run_main(training.main, "--root", tmp_path, *wrong) == 2
    assert "--cpu-devices goes with --strategy mirrored" in capsys.readouterr().err
    with pytest.raises(ConfigurationError, match="worker-timeout"):
        RunSettings(worker_timeout="soon")


def test_auto_takes_one_device_where_one_worker_is_named(monkeypatch):
    config = {"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    strategy = start_strategy(RunSettings(strategy="auto"))
    assert not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
