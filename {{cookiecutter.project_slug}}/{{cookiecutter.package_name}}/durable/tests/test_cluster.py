"""Which workers train together: whom TF_CONFIG, Slurm and Kubernetes name."""

import json
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
import tensorflow as tf

from ..errors import ConfigurationError
from ..run.cluster import Cluster, answers, find_cluster
from ..run.replicas import start_strategy
from ..run.settings import RunSettings
from .helpers import run_main
from .program import training


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
        ({"cluster": TWO}, "a part is missing"),
        ({"cluster": TWO, "task": {"type": "worker", "index": 2}}, "it has no worker 2"),
        ({"cluster": TWO, "task": {"type": "worker", "index": -1}}, "-1"),
        ({"cluster": TWO, "task": {"type": "ps", "index": 0}}, "it has no ps 0"),
        ({"cluster": TWO, "task": {"type": "worker", "index": "one"}}, "'one'"),
        ({"cluster": {"ps": ["a:1"]}, "task": {"type": "ps", "index": 0}}, "no use for ps"),
        ({"cluster": {"worker": "one:1"}, "task": {"type": "worker", "index": 0}}, "no list"),
        ({"cluster": {"worker": ["one"]}, "task": {"type": "worker", "index": 0}}, "host:port"),
        (
            {"cluster": {"worker": ["a:1", "a:1"]}, "task": {"type": "worker", "index": 0}},
            "one address",
        ),
        ({"cluster": TWO, "task": {"type": "worker", "index": 1.0}}, "1.0 is no number"),
        ({"cluster": TWO, "task": {"type": "worker", "index": True}}, "True is no number"),
        (
            {"cluster": TWO, "task": {"type": "worker", "index": float("inf")}},
            "inf is no number",
        ),
        ({"cluster": {"worker": ["a:0"]}, "task": {"type": "worker", "index": 0}}, "1 to 65535"),
        ({"cluster": {"worker": ["a:٣"]}, "task": {"type": "worker", "index": 0}}, "host:port"),
        (TWO, "outside of"),
        ([], "a part is missing, or of another kind"),
    ],
)
def test_clusters_that_make_no_sense(config, reason):
    with pytest.raises(ConfigurationError, match=reason):
        cluster(config)


def test_a_cluster_that_is_no_json():
    for text in ("worker 0 of 2", "[" * 100_000):
        with pytest.raises(ConfigurationError, match="TF_CONFIG describes no cluster"):
            find_cluster({"TF_CONFIG": text})


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
    assert run_main(training.main, "--root", tmp_path, "--cpu-devices", 2) == 2
    assert "--cpu-devices goes with --strategy mirrored, or auto." in capsys.readouterr().err
    for time in ("soon", "40000d"):
        with pytest.raises(ConfigurationError, match="worker-timeout"):
            RunSettings(worker_timeout=time)


def test_auto_takes_one_device_where_one_worker_is_named(monkeypatch):
    config = {"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    strategy = start_strategy(RunSettings(strategy="auto"))
    assert not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


@pytest.mark.parametrize("text", ["", " ", "{}", '{"cluster": {}}', '{"cluster": null}'])
@pytest.mark.parametrize("kind", ["mirrored", "auto"])
def test_a_configuration_that_names_nobody_does_no_harm(monkeypatch, text, kind):
    monkeypatch.setenv("TF_CONFIG", text)
    assert start_strategy(RunSettings(strategy=kind, cpu_devices=2)).num_replicas_in_sync == 2
