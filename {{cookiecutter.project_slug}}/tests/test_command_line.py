"""The command lines: help, wrong usage, and what they print."""

import json

import evaluate
import train
from {{ cookiecutter.package_name }}.checkpoints import __main__ as checkpoints

import pytest

from .helpers import finish, log_of, run, start


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of two epochs of 44 steps."""
    root = tmp_path_factory.mktemp("a folder")
    assert train.main(["--root", str(root), "--epochs", "2", "--model.hidden", "8"]) == 0
    return root


@pytest.mark.parametrize("main", [train.main, evaluate.main, checkpoints.main])
def test_help(main, capsys):
    assert run(main, "--help") == 0
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
        (["--data.shift", "1", "--data.name", "nope"], "--data.name"),
    ],
)
def test_wrong_usage_ends_with_code_2_and_leaves_nothing(root, arguments, message, capsys):
    assert run(train.main, "--root", root, *arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.out + captured.err
    assert "Traceback" not in captured.out + captured.err
    assert list(root.iterdir()) == []


def test_plain_lines_where_there_is_no_terminal(root, capsys):
    assert run(train.main, "--root", root, "--epochs", 1, "--model.hidden", 8) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[1].startswith("epoch 1/1  step 44  loss ")
    assert "val_accuracy" in lines[1]


def test_an_epoch_ends_with_validation(trained):
    lines = log_of(trained / "runs/default")
    assert [line["step"] for line in lines] == [44, 88]
    assert list(lines[0]) == ["step", "epoch", "loss", "accuracy", "val_loss", "val_accuracy"]


def test_list(trained, capsys):
    assert run(checkpoints.main, "list", "--root", trained) == 0
    assert "newest" in capsys.readouterr().out
    assert run(checkpoints.main, "list", "--root", trained, "--json") == 0
    first, last = json.loads(capsys.readouterr().out)
    assert (first["step"], first["epoch"], last["step"], last["epoch"]) == (44, 1, 88, 2)
    assert "newest" in last["marks"]
    assert "best" in first["marks"] + last["marks"]
    assert last["metrics"].keys() == {"loss", "accuracy", "val_loss", "val_accuracy"}


def test_show(trained, capsys):
    assert run(checkpoints.main, "show", "44", "--root", trained) == 0
    printed = capsys.readouterr().out
    assert "hidden_1/kernel" in printed
    assert "(64, 8)" in printed
    assert run(checkpoints.main, "show", "--root", trained, "--json") == 0
    card = json.loads(capsys.readouterr().out)
    assert card["step"] == 88
    assert card["settings"]["model"]["hidden"] == [8]


def test_verify_and_a_damaged_one(trained, capsys):
    assert run(checkpoints.main, "verify", "--all", "--root", trained) == 0
    assert capsys.readouterr().out.count("every byte agrees with its checksum") == 2
    data = trained / "runs/default/checkpoints/ckpt-44.data-00000-of-00001"
    good = data.read_bytes()
    data.write_bytes(good[:-100] + bytes([good[-100] ^ 1]) + good[-99:])
    try:
        assert run(checkpoints.main, "verify", "44", "--root", trained) == 4
        assert "ckpt-44 is damaged" in capsys.readouterr().out
        assert run(checkpoints.main, "verify", "--root", trained) == 0
        assert run(checkpoints.main, "verify", "--all", "--json", "--root", trained) == 4
    finally:
        data.write_bytes(good)
    capsys.readouterr()
    data.unlink()
    try:
        assert run(checkpoints.main, "verify", "--all", "--root", trained) == 4
    finally:
        data.write_bytes(good)


def test_list_shows_damaged_ones_as_such(trained, capsys):
    index = trained / "runs/default/checkpoints/ckpt-44.index"
    good = index.read_bytes()
    index.write_bytes(good[:100])
    try:
        assert run(checkpoints.main, "list", "--root", trained) == 0
        assert "damaged" in capsys.readouterr().out
    finally:
        index.write_bytes(good)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["list", "--run", "nope"], "There is no run 'nope'"),
        (["show", "7"], "has no checkpoint of step 7. It has those of step 44, 88."),
        (["show", "epoch:9"], "has no checkpoint of epoch 9. It has those of epoch 1, 2."),
        (["show", "newest"], "'newest' is not a checkpoint"),
        (["show", "epochs:1"], "'epochs:1' is not a checkpoint"),
    ],
)
def test_a_checkpoint_that_is_not_there(trained, command, message, capsys):
    assert run(checkpoints.main, *command, "--root", trained) == 2
    assert message in capsys.readouterr().err


def test_commands_need_no_model(trained):
    module = "{{ cookiecutter.package_name }}.checkpoints"
    code, output, errors = finish(start("list", "--root", trained, script=f"-m{module}"))
    assert code == 0, errors
    assert "newest" in output


def test_a_root_that_cannot_be_used(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert run(train.main, "--root", tmp_path / "file") == 2
    assert "cannot be used for a run" in capsys.readouterr().err


def test_the_default_run_learns(root):
    assert run(train.main, "--root", root) == 0
    assert log_of(root / "runs/default")[-1]["val_accuracy"] > 0.97
