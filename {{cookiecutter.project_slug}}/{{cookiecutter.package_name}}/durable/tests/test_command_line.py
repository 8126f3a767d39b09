"""The command lines: help, wrong usage, and what they print."""

import dataclasses
import re

import pytest

from ..cli.main import COMMANDS, GROUPS
from .helpers import log_of, run_main
from .program import commands, training
from .program.experiment import PROJECT


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of two epochs of 44 steps."""
    root = tmp_path_factory.mktemp("a folder")
    assert training.main(["--root", str(root), "--epochs", "2", "--model.hidden", "8"]) == 0
    return root


@pytest.mark.parametrize("main", [training.main, commands.evaluate, commands.main])
def test_help(main, capsys):
    assert run_main(main, "--help") == 0
    assert "usage:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epochs", "many"], "--epochs"),
        (["--epochs", "0"], "--epochs 0 is not possible"),
        (["--model.name", "nope"], "--model.name 'nope' is unknown"),
        (["--run", "../x"], "is not a folder name"),
        (["--data.path", "none.npz"], "There is no data file"),
        (["--save-every", "never"], "--save-every 'never' is not possible"),
        (["--optimizer.name", "nope"], "--optimizer.name"),
        (["--nope"], "--nope"),
        (["--best-metric", "nope"], "--best-metric nope is unknown. Known are: loss, accuracy"),
    ],
)
def test_wrong_usage_ends_with_code_2_and_leaves_nothing(root, arguments, message, capsys):
    assert run_main(training.main, "--root", root, *arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.out + captured.err
    assert "Traceback" not in captured.out + captured.err
    assert list(root.iterdir()) == []


def test_plain_lines_where_there_is_no_terminal(root, capsys):
    assert run_main(training.main, "--root", root, "--epochs", 1, "--model.hidden", 8) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[1].startswith("epoch 1/1  step 44  loss ")
    assert "val_accuracy" in lines[1]


def test_an_epoch_ends_with_validation(trained):
    lines = log_of(trained / "runs/default")
    assert [line["step"] for line in lines] == [44, 88]
    assert list(lines[0]) == ["step", "epoch", "loss", "accuracy", "val_loss", "val_accuracy"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["list", "--run", "nope"], "There is no run 'nope'"),
        (["verify", "--run", "nope"], "There is no run 'nope'"),
        (["rewind", "--run", "nope", "7"], "There is no run 'nope'"),
        (["diff", "44", "nope@7"], "There is no run 'nope'"),
        (["pin", "7"], "has no checkpoint of step 7"),
        (["unpin", "7"], "has no checkpoint of step 7"),
        (["rewind", "7"], "has no checkpoint of step 7"),
        (["rewind", "epoch:9"], "has no checkpoint of epoch 9"),
        (["diff", "44", "7"], "has no checkpoint of step 7"),
        (["show", "7"], "has no checkpoint of step 7. It has those of step 44, 88."),
        (["show", "epoch:9"], "has no checkpoint of epoch 9. It has those of epoch 1, 2."),
        (["show", "newest"], "'newest' is not a checkpoint"),
        (["show", "epochs:1"], "'epochs:1' is not a checkpoint"),
    ],
)
def test_a_checkpoint_that_is_not_there(trained, command, message, capsys):
    assert run_main(commands.main, *command, "--root", trained) == 2
    assert message in capsys.readouterr().err
    assert [folder.name for folder in (trained / "runs").iterdir()] == ["default"]


@pytest.mark.parametrize("command", ["show", "rewind", "pin", "unpin", "diff", "verify"])
def test_a_name_with_two_meanings_is_refused(trained, command, capsys):
    (trained / "runs/44").mkdir()
    try:
        assert run_main(commands.main, command, "44", "--root", trained) == 2
        if command != "diff":
            assert "'44' is ambiguous" in capsys.readouterr().err
            return
        assert run_main(commands.main, "diff", "88", "44", "--root", trained) == 2
        assert "'44' is ambiguous" in capsys.readouterr().err
    finally:
        (trained / "runs/44").rmdir()


def test_no_command_prints_the_commands_in_groups(capsys):
    assert run_main(commands.main) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("usage:")
    for group, entries in GROUPS.items():
        assert group in printed
        for name, (_, _, summary) in entries.items():
            assert re.search(rf"^  {name} +{re.escape(summary)}", printed, re.MULTILINE)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help(name, capsys):
    assert run_main(commands.main, name, "--help") == 0
    printed = capsys.readouterr().out
    assert f"{commands.__package__} {name}" in printed.splitlines()[0]
    assert "--root" in printed or name == "launch"  # which gives it to train.py


@pytest.mark.parametrize("name", ["lst", "--run", "-x", ""])
def test_an_unknown_command_is_one_clear_line(name, capsys):
    assert run_main(commands.main, name) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{name!r} is no command. Known are: list, show")


def test_commands_need_no_model(trained, monkeypatch, capsys):
    def load_experiment():
        raise SyntaxError("a model that is being written")

    project = dataclasses.replace(PROJECT, load_experiment=load_experiment)
    monkeypatch.setattr(commands, "PROJECT", project)
    for command in (["list"], ["show"], ["verify"], ["diff", "44", "88"], ["pin", "44"]):
        assert run_main(commands.main, *command, "--root", trained) in (0, 1)
    assert "newest" in capsys.readouterr().out
    with pytest.raises(SyntaxError):
        commands.main(["diff", "88", "--model", "--root", str(trained)])


def test_a_root_that_cannot_be_used(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert run_main(training.main, "--root", tmp_path / "file") == 2
    assert "cannot be used for a run" in capsys.readouterr().err


def test_the_default_run_learns(root):
    assert run_main(training.main, "--root", root) == 0
    assert log_of(root / "runs/default")[-1]["val_accuracy"] > 0.97
