"""Sweeps: trials that are runs, and that are what they would have been without a kill."""

import json
import os
import signal
import sys
from dataclasses import replace
from itertools import pairwise

import pytest
from filelock import FileLock

from ..cli import sweep
from ..errors import ConfigurationError
from ..run.history import read_history
from ..run.space import Choices, Range, parse_space
from .helpers import PROJECT, log_of, read_until, run_main, saved_values, start, steps_in
from .program import commands, experiment
from .program.experiment import Paths

pytest.importorskip("optuna")

SPACE = ["--space", "optimizer.learning-rate=1e-3..1e-1:log", "model.hidden=8,4 4"]
TWO = [*SPACE, "--trials", "2", "--epochs", "2"]
# Stands for train.py: logs what a file says of the run, and ends as that says.
ACTOR = """
import json, os, pathlib, signal, sys
def value_of(flag):
    return sys.argv[len(sys.argv) - sys.argv[::-1].index(flag)]
run = value_of("--run")
folder = pathlib.Path(value_of("--root"), "runs", run)
(folder / "checkpoints").mkdir(parents=True, exist_ok=True)
play = json.loads(os.environ["PLAY"])[run]
attempts = folder / "attempts"
attempt = len(attempts.read_text()) if attempts.exists() else 0
attempts.write_text("x" * (attempt + 1))
act = play[min(attempt, len(play) - 1)]
with (folder / "metrics.jsonl").open("w") as log:
    for epoch, value in enumerate(act["values"], start=1):
        line = {"step": 10 * epoch, "epoch": epoch, "val_accuracy": value}
        print(json.dumps(line), file=log, flush=True)
if "saved" in act:
    for ending in ("index", "data-00000-of-00001"):
        (folder / "checkpoints" / f"ckpt-{act['saved']}.{ending}").write_text("some")
if act["end"] == "wait":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.pause()
if act["end"] < 0:
    os.kill(os.getpid(), -act["end"])
sys.exit(act["end"])
"""


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """A sweep that was never stopped."""
    root = tmp_path_factory.mktemp("straight")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(PROJECT))
        assert run_main(commands.main, "sweep", *TWO, "--root", root) == 0
    return root


@pytest.fixture
def play(tmp_path, monkeypatch):
    """Lets trials act: play({"sweep-0": [{"values": [0.1], "end": 0}]}, …) → exit code."""
    project = replace(experiment.PROJECT, train=(sys.executable, "-c", ACTOR))
    monkeypatch.setattr(commands, "PROJECT", project)
    plan = {"metric": "val_accuracy", "mode": "max"}
    monkeypatch.setattr(sweep, "complete_plan", lambda *given: replace(given[-1], **plan))

    def run(roles, *options):
        monkeypatch.setenv("PLAY", json.dumps(roles))
        arguments = [*SPACE, "--root", tmp_path, "--trials", len(roles), *options]
        return run_main(commands.main, "sweep", *arguments)

    return run


def trials_of(root, capsys):
    """What the finished sweep tells as JSON: nothing is trained for it."""
    capsys.readouterr()
    assert run_main(commands.main, "sweep", *TWO, "--root", root, "--json") == 0
    return json.loads(capsys.readouterr().out)


def test_trials_are_runs_and_the_best_comes_first(straight, capsys):
    told = trials_of(straight, capsys)
    assert (told["sweep"], told["metric"], told["mode"]) == ("sweep", "val_accuracy", "max")
    assert [trial["state"] for trial in told["trials"]] == ["complete"] * 2
    assert len({trial["settings"]["optimizer.learning_rate"] for trial in told["trials"]}) == 2
    for trial in told["trials"]:
        lines = [line for line in log_of(straight / "runs" / trial["run"]) if "val_loss" in line]
        values = {str(line["epoch"]): line["val_accuracy"] for line in lines}
        assert trial["values"] == values
        assert trial["best"] == values[str(trial["epoch"])] == max(values.values())
        config = json.loads((straight / "runs" / trial["run"] / "config.json").read_text())
        settings = trial["settings"]
        assert config["optimizer"]["learning_rate"] == settings["optimizer.learning_rate"]
        assert config["model"]["hidden"] == [*map(int, settings["model.hidden"].split())]
    assert all(one["best"] >= other["best"] for one, other in pairwise(told["trials"]))
    assert (straight / "runs/sweep-sweep.png").read_bytes().startswith(b"\x89PNG")

    assert run_main(commands.main, "sweep", *TWO, "--root", straight) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[1].split() == ["run", "state", "val_accuracy", "epoch", "learning_rate", "hidden"]
    assert [line.split()[0] for line in table[3:5]] == [trial["run"] for trial in told["trials"]]


def test_killed_it_goes_on_as_if_it_never_had_been(straight, root, capsys):
    process = start(*TWO, "--root", root, command="sweep")
    read_until(process, "sweep-1:")
    read_until(process, "epoch 1/2")
    trainer = Paths(root, "sweep-1").lock_holder
    process.kill()
    os.kill(json.loads(trainer.read_text())["pid"], signal.SIGKILL)
    process.communicate()
    assert steps_in(root / "runs/sweep-1/checkpoints") in ([], [44])

    assert run_main(commands.main, "sweep", *TWO, "--root", root) == 0

    assert [len(read_history(Paths(root, f"sweep-{number}"))) for number in (0, 1)] == [1, 2]
    told, wanted = (trials_of(folder, capsys)["trials"] for folder in (root, straight))
    assert told == wanted
    for run in ("runs/sweep-0", "runs/sweep-1"):
        last = f"{run}/checkpoints/ckpt-88"
        assert saved_values(root / last) == saved_values(straight / last)


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such signals")
def test_a_signal_stops_the_trial_and_the_sweep(play, tmp_path, monkeypatch, capfd):
    look = sweep.Trainer._look

    def look_and_stop(self, trial, last):
        if trial.paths.metrics.exists():
            monkeypatch.setattr(sweep.Trainer, "_look", look)
            signal.raise_signal(signal.SIGTERM)
        return look(self, trial, last)

    monkeypatch.setattr(sweep.Trainer, "_look", look_and_stop)
    roles = {"sweep-0": [{"values": [0.5], "end": "wait"}, {"values": [0.5, 0.6], "end": 0}]}
    assert play(roles) == 143
    assert "sweep-0 is not finished: start the sweep again to go on." in capfd.readouterr().out
    assert play(roles) == 0
    assert "sweep-0 complete; val_accuracy 0.6 at epoch 2" in capfd.readouterr().out
    assert play(roles) == 0  # it is not trained once more
    assert (tmp_path / "runs/sweep-0/attempts").read_text() == "xx"


def test_what_does_badly_is_ended_early(play, capsys):
    good, bad = [{"values": [0.5, 0.9], "end": 0}], [{"values": [0.4], "end": "wait"}]
    assert play({"sweep-0": good, "sweep-1": bad}, "--prune-after", 1, "--json") == 0
    first, second = json.loads(capsys.readouterr().out)["trials"]
    assert (first["run"], first["state"], first["best"]) == ("sweep-0", "complete", 0.9)
    assert (second["run"], second["state"], second["values"]) == ("sweep-1", "pruned", {"1": 0.4})


def test_what_fails_is_told_and_the_next_begins(play, capsys):
    roles = {
        "sweep-0": [{"values": [], "end": 1}],
        "sweep-1": [{"values": [], "end": -9}],  # and so it would be again
        "sweep-2": [{"values": [], "end": 0}],
        "sweep-3": [{"values": [], "saved": 10, "end": -9}, {"values": [0.3], "end": 0}],
    }
    assert play(roles) == 0
    told = capsys.readouterr().out
    assert "sweep-0 failed with exit code 1\n" in told
    assert "sweep-1 failed: it was killed by signal 9 before it had saved anything new\n" in told
    assert "sweep-2 failed: it has logged no val_accuracy at the end of an epoch\n" in told
    assert "sweep-3 was killed by signal 9; it goes on from its checkpoint.\n" in told
    assert "sweep-3 complete; val_accuracy 0.3 at epoch 1\n" in told


def test_where_all_fail_the_sweep_does(play):
    assert play({"sweep-0": [{"values": [], "end": 3}]}) == 1


def test_a_trial_that_another_process_trains_is_waited_for(play, capsys):
    assert play({"sweep-0": [{"values": [], "end": 5}]}) == 5
    assert "sweep-0 is not finished" in capsys.readouterr().out
    assert play({"sweep-0": [{"values": [0.1], "end": 0}]}) == 0


def test_trials_fork_a_trunk(three_epochs, capsys):
    arguments = [*SPACE[:2], "--trials", "1", "--epochs", "4", "--fork-from", "default@best"]
    arguments += ["--name", "forks", "--root", three_epochs]
    assert run_main(commands.main, "sweep", *arguments, "--", "--model.hidden", "8") == 0
    (event,) = read_history(Paths(three_epochs, "forks-0"))
    assert (event["event"], event["step"]) == ("fork", 132)
    assert event["sources"] == ["default@132"]
    assert steps_in(three_epochs / "runs/forks-0/checkpoints")[-1] == 176


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (["--epochs", "3"], "was begun with other settings: --epochs 2. Give the same again"),
        (["--fork-from", "default"], "was begun with another trunk: none."),
        (["--space", "model.hidden=4,8"], "was begun with another space: optimizer.learning-rate="),
    ],
)
def test_another_plan_of_the_same_name_is_refused(straight, capsys, change, told):
    assert run_main(commands.main, "sweep", *TWO, *change, "--root", straight) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


def test_a_run_that_is_there_already_is_left_alone(play, tmp_path, capsys):
    checkpoints = tmp_path / "runs/sweep-0/checkpoints"
    checkpoints.mkdir(parents=True)
    (checkpoints / "ckpt-1.index").touch()
    assert play({"sweep-0": [{"values": [0.1], "end": 0}]}) == 2
    assert "Run 'sweep-0' has checkpoints already" in capsys.readouterr().err


def test_one_process_runs_a_sweep(play, tmp_path, capsys):
    (tmp_path / "runs").mkdir()
    with FileLock(tmp_path / "runs/sweep-sweep.lock"):
        assert play({"sweep-0": []}) == 5
    assert "Another process runs the sweep 'sweep'." in capsys.readouterr().err


def test_a_file_that_is_no_study_is_told(play, tmp_path, capsys):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/sweep-sweep.db").write_text("no database, whatever its name says")
    assert play({"sweep-0": []}) == 2
    assert "sweep-sweep.db cannot be used: file is not a database.\n" in capsys.readouterr().err


def test_without_optuna_it_tells_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert run_main(commands.main, "sweep", *SPACE) == 2
    assert capsys.readouterr().err == (
        "A sweep needs Optuna: install it with pip install --editable '.[sweep]'\n"
    )


@pytest.mark.parametrize(
    ("entry", "setting"),
    [
        ("model.dropout=0..0.5", Range("model.dropout", 0.0, 0.5)),
        ("--model.dropout=.25...5:.05", Range("model.dropout", 0.25, 0.5, 0.05)),
        ("data.batch-size=8..64:8", Range("data.batch_size", 8, 64, 8)),
        ("ema=0.9..0.999", Range("ema", 0.9, 0.999)),
        ("max_steps=1..9:log", Range("max_steps", 1, 9, None, is_logarithmic=True)),
        ("optimizer.name=adam,sgd", Choices("optimizer.name", ("adam", "sgd"), None)),
        ("deterministic=true,false", Choices("deterministic", ("true", "false"), bool)),
    ],
)
def test_the_forms_of_a_space(entry, setting):
    (found,) = parse_space(experiment.Config, [entry])
    assert found == (replace(setting, kind=found.kind) if isinstance(found, Choices) else setting)


def test_what_a_chosen_value_is_on_the_command_line():
    hidden, deterministic, rate = parse_space(
        experiment.Config,
        ["model.hidden=8,4 4", "deterministic=true,false", "optimizer.learning-rate=0..1"],
    )
    assert hidden.words("4 4") == ["--model.hidden", "4", "4"]
    assert [*deterministic.words("true"), *deterministic.words("false")] == [
        "--deterministic",
        "--no-deterministic",
    ]
    assert rate.words(1e-05) == ["--optimizer.learning-rate", "1e-05"]


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ([], "Say what to search, with --space NAME=LOW..HIGH"),
        (["model.droput=0..1"], "no setting model.droput to search; did you mean model.dropout?"),
        (["run=a,b"], "no setting run to search"),
        (["seed=1"], "--space seed=1 is not possible: give NAME=LOW..HIGH"),
        (["model.name=1..2"], "model.name is no number. List its values"),
        (["data.batch-size=1..2.5"], "give whole numbers"),
        (["seed=3..2"], "LOW is to be less than HIGH"),
        (["model.dropout=0..1:log"], "with :log more than 0"),
        (["deterministic=1,0"], "deterministic is true or false"),
        (["seed=1,2", "seed=1..2"], "--space has seed twice"),
    ],
)
def test_a_space_that_is_not_possible(entries, told):
    with pytest.raises(ConfigurationError, match="(?s)" + told.replace("?", r"\?")):
        parse_space(experiment.Config, entries)


def test_the_ends_of_the_space_are_tried_first(root, capsys):
    space = ["--space", "optimizer.learning-rate=0..1", "--root", root]
    assert run_main(commands.main, "sweep", *space) == 2
    assert capsys.readouterr().err.startswith("--optimizer.learning-rate 0.0 is not possible")
    assert list(root.iterdir()) == []


def test_what_is_searched_is_not_given_as_well(root, capsys):
    for twice in (["epochs=1,2", "--epochs", 1], ["epochs=1,2", "--", "--epochs", 1]):
        assert run_main(commands.main, "sweep", "--root", root, "--space", *twice) == 2
        assert capsys.readouterr().err.startswith("--epochs is given and searched: leave it out")
