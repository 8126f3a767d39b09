"""list: what is there, and in which condition."""

import json
import re
import shutil

import pytest
import tensorflow as tf

from .helpers import data_of, flip, place_of, run_main
from .program import commands


@pytest.fixture
def folder(three_epochs):
    return three_epochs / "runs/default/checkpoints"


@pytest.fixture
def listed(three_epochs, capsys):
    """Gives a function that lists the run: the entries in JSON, by step."""

    def entries(*settings):
        capsys.readouterr()
        assert run_main(commands.main, "list", "--json", "--root", three_epochs, *settings) == 0
        return {entry["step"]: entry for entry in json.loads(capsys.readouterr().out)}

    return entries


def printed(root, capsys, *settings):
    """The table that `list` prints, and what is below it."""
    assert run_main(commands.main, "list", "--root", root, *settings) == 0
    return capsys.readouterr().out


def test_steps_epochs_metrics_and_marks(listed, folder):
    assert run_main(commands.main, "pin", "88", "--root", folder.parents[2]) == 0
    found = listed()
    assert {step: entry["epoch"] for step, entry in found.items()} == {44: 1, 88: 2, 132: 3}
    assert found[88]["path"] == str(folder / "ckpt-88")
    assert found[88]["metrics"].keys() == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert found[88]["versions"]["tensorflow"] == tf.__version__
    assert found[88]["bytes"] == sum(file.stat().st_size for file in folder.glob("ckpt-88.*"))
    assert "newest" in found[132]["marks"]
    assert [step for step, entry in found.items() if "pinned" in entry["marks"]] == [88]
    (best,) = (folder / "best").glob("*.index")
    marked = [f"ckpt-{step}" for step, entry in found.items() if "best" in entry["marks"]]
    assert marked == [best.stem]
    assert {entry["state"] for entry in found.values()} == {"good"}


@pytest.mark.parametrize("ending", ["index", "data-00000-of-00001"])
def test_a_checkpoint_is_shown_damaged_whichever_byte_is(listed, folder, ending, capsys):
    file = folder / f"ckpt-88.{ending}"
    good = file.read_bytes()
    for _ in range(5):
        flip(file)
        entry = listed()[88]
        assert entry["state"] == "damaged"
        assert "ckpt-88 is damaged: " in entry["damaged"]
        file.write_bytes(good)
    flip(file)
    table = printed(folder.parents[2], capsys)
    assert re.search(r"^88 .* damaged$", table, re.MULTILINE)
    assert f"Checkpoint {folder / 'ckpt-88'} is damaged: " in table


def test_quick_reads_the_cards_alone(listed, folder):
    checkpoint = folder / "ckpt-88"
    flip(data_of(checkpoint), place_of(checkpoint, "hidden_1/kernel"))
    assert listed("--quick")[88]["state"] == "good"
    assert listed()[88]["state"] == "damaged"


def test_a_damaged_copy_of_the_best_is_marked(listed, folder):
    (best,) = (folder / "best").glob("*.index")
    flip(best)
    entry = listed()[int(best.stem.partition("-")[2])]
    assert "damaged best" in entry["marks"]
    assert entry["state"] == "good"


def test_what_was_set_aside_is_shown_and_is_not_the_newest(listed, folder, capsys):
    (folder / "damaged").mkdir()
    for file in folder.glob("ckpt-132.*"):
        file.rename(folder / "damaged" / file.name)
    shutil.rmtree(folder / "best")
    found = listed()
    assert (found[132]["state"], found[132]["marks"]) == ("set aside", [])
    assert found[132]["path"] == str(folder / "damaged/ckpt-132")
    assert found[88]["marks"] == ["newest"]
    assert "set aside" in printed(folder.parents[2], capsys)
    for file in folder.glob("ckpt-*"):
        file.unlink()
    assert [entry["state"] for entry in listed().values()] == ["set aside"]


def test_what_something_else_wrote_has_no_card_and_is_not_damaged(listed, folder, capsys):
    tf.train.Checkpoint(a=tf.Variable(1.0)).write(str(folder / "ckpt-200"))
    assert (listed()[200]["state"], listed()[200]["damaged"]) == ("no card", None)
    assert "no card" in printed(folder.parents[2], capsys)


def test_the_table_fits_80_columns(folder, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert run_main(commands.main, "pin", "132", "--root", folder.parents[2]) == 0
    capsys.readouterr()
    lines = printed(folder.parents[2], capsys).splitlines()
    assert max(map(len, lines)) <= 80
    assert sum(bool(re.search(r"val_accuracy \d\.\d{4}", line)) for line in lines) == 3
