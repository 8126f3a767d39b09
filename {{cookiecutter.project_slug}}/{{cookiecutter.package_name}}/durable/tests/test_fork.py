"""Forks: a new run from the state of another one, which stays as it is."""

import json
import re
import shutil

import pytest

from ..checkpoint.card import read_card
from ..compat import KERAS_3
from .helpers import files_in, finish, log_of, run_main, saved_values, start
from .program import commands, training

SMALL = ["--model.hidden", "8", "--model.dropout", "0.5"]


def run(root, *settings, main=training.main):
    """Runs a command in this process; returns its exit code."""
    return run_main(main, *settings, "--root", root)


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory):
    root = tmp_path_factory.mktemp("trained")
    assert run(root, "--run", "a", *SMALL, "--epochs", 2) == 0
    return root


@pytest.fixture
def trained(root, trained_once):
    """A run `a` with checkpoints at the steps 44 and 88."""
    shutil.copytree(trained_once, root, dirs_exist_ok=True)
    return root


def test_a_fork_without_other_settings_goes_on_as_the_run_itself(trained):
    before = files_in(trained / "runs/a")
    fork = ["--run", "b", "--fork-from", "a@44", *SMALL, "--epochs", 2]
    assert run(trained, *fork) == 0
    assert files_in(trained / "runs/a") == before
    last = "checkpoints/ckpt-88"
    assert saved_values(trained / "runs/b" / last) == saved_values(trained / "runs/a" / last)
    assert log_of(trained / "runs/b") == log_of(trained / "runs/a")[1:]


def test_a_fork_says_where_it_comes_from_and_can_have_other_settings(trained, capsys):
    fork = ["--run", "b", "--fork-from", "a@44", *SMALL, "--epochs", 3]
    fork += ["--optimizer.learning-rate", "1e-4", "--seed", 7, "--data.batch-size", 16]
    assert run(trained, *fork) == 0
    source = trained / "runs/a/checkpoints/ckpt-44"
    assert f"Forked step 44 (epoch 1) from {source}." in capsys.readouterr().out
    first = trained / "runs/b/checkpoints/ckpt-44"
    assert saved_values(first) == saved_values(source)
    newest = read_card(trained / "runs/b/checkpoints/ckpt-267")
    assert str(newest.origin) == "fork of a@44"
    (begun,) = map(json.loads, (trained / "runs/b/history.jsonl").read_text().splitlines())
    assert (begun["event"], begun["step"], begun["sources"]) == ("fork", 44, ["a@44"])

    assert run(trained, "list", "--run", "b", main=commands.main) == 0
    assert "fork of a@44" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["a", "a@latest", "a@88", "a@epoch:2"])
def test_the_same_command_again_resumes_the_fork(trained, capsys, name):
    fork = ["--run", "b", "--fork-from", name, *SMALL, "--epochs"]
    assert run(trained, *fork, 3) == 0
    assert run(trained, *fork, 4) == 0
    assert "Restored step 132 (epoch 3)" in capsys.readouterr().out
    events = map(json.loads, (trained / "runs/b/history.jsonl").read_text().splitlines())
    assert [event["event"] for event in events] == ["fork", "resume"]


def test_a_fork_killed_before_its_first_save_is_due_is_no_fresh_start(trained):
    fork = ["--run", "b", "--fork-from", "a@44", *SMALL, "--save-every", "1000h"]
    process = start("--root", trained, *fork, "--epochs", 10**6)
    next(line for line in process.stdout if line.startswith("epoch"))
    process.kill()
    finish(process)
    assert run(trained, "--run", "b", *SMALL, "--epochs", 2) == 0
    last = "checkpoints/ckpt-88"
    assert saved_values(trained / "runs/b" / last) == saved_values(trained / "runs/a" / last)


def test_what_does_not_fit_starts_nothing(trained, capsys):
    fork = ["--run", "b", "--fork-from", "a@88", "--model.hidden", "12"]
    assert run(trained, *fork) == 3
    errors = capsys.readouterr().err
    assert "hidden_1/kernel" in errors
    assert "--fork-from a@88 --partial" in errors
    assert not (trained / "runs/b/checkpoints").exists()


def test_a_partial_fork_takes_what_fits_and_tells_the_rest(trained, capsys):
    fork = ["--run", "b", "--fork-from", "a@88", "--partial", "--epochs", 3]
    assert run(trained, *fork, "--model.hidden", 8, 5) == 0
    errors = capsys.readouterr().err
    assert "Not everything was taken over:" in errors
    assert "+ hidden_2/kernel" in errors
    assert "! logits/kernel" in errors
    slot = "momentum" if KERAS_3 else "m"
    assert re.search(rf"\+ optimizer/{slot}/hidden_2/kernel +begins as that of a new", errors)
    assert f"optimizer/{slot}/hidden_1/kernel" not in errors
    old = saved_values(trained / "runs/a/checkpoints/ckpt-88")
    new = saved_values(trained / "runs/b/checkpoints/ckpt-88")
    paths = {
        entry.path: entry.key
        for entry in read_card(trained / "runs/b/checkpoints/ckpt-88").structure.variables
    }
    assert new[paths["hidden_1/kernel"]] == old[paths["hidden_1/kernel"]]
    assert new[paths["step"]] == old[paths["step"]]
    assert str(read_card(trained / "runs/b/checkpoints/ckpt-88").origin) == "partial fork of a@88"


def test_another_optimizer_starts_anew_in_a_partial_fork(trained, capsys):
    fork = ["--run", "b", "--fork-from", "a@88", "--partial", *SMALL, "--epochs", 2]
    assert run(trained, *fork, "--optimizer.name", "sgd") == 0
    errors = capsys.readouterr().err
    assert re.search("~ optimizer +Adam in the checkpoint, SGD in the model", errors)
    assert re.search(r"\+ optimizer/\S*logits/bias +begins as that of a new optimizer", errors)
    first = trained / "runs/b/checkpoints/ckpt-88"
    values = saved_values(first)
    entries = read_card(first).structure.variables
    slots = [values[entry.key] for entry in entries if entry.role == "optimizer"]
    assert len(slots) > 4
    assert not any(any(slot) for slot in slots)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["--fork-from", "nope"], "There is no run 'nope'"),
        (["--fork-from", "a@7"], "has no checkpoint of step 7"),
        (["--fork-from", "a@newest"], "'newest' is not a checkpoint"),
        (["--fork-from", "../a@7"], "is not a folder name"),
        (["--partial"], "--partial goes with --fork-from"),
    ],
)
def test_wrong_usage(trained, settings, message, capsys):
    assert run(trained, "--run", "b", *settings, *SMALL) == 2
    assert message in capsys.readouterr().err
    assert not (trained / "runs/b/checkpoints").exists()


@pytest.mark.parametrize("other", ["a@44", "c"])
def test_another_origin_than_the_run_has_is_refused(trained, other, capsys):
    assert run(trained, "--run", "b", "--fork-from", "a@88", *SMALL, "--epochs", 3) == 0
    shutil.copytree(trained / "runs/a", trained / "runs/c")
    assert run(trained, "--run", "b", "--fork-from", other, *SMALL) == 2
    captured = capsys.readouterr()
    assert "was forked from a@88" in captured.err
    assert "Restored" not in captured.out.rpartition("complete")[2]


def test_a_damaged_parent_starts_nothing(trained, capsys):
    data = trained / "runs/a/checkpoints/ckpt-88.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:-100])
    assert run(trained, "--run", "b", "--fork-from", "a@88", *SMALL) == 4
    assert "ckpt-88 is damaged" in capsys.readouterr().err
    assert not (trained / "runs/b/checkpoints").exists()
