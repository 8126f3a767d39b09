"""rewind: an earlier checkpoint becomes the newest, and nothing is lost."""

import json
import shutil

import pytest
import tensorflow as tf

from .. import files
from ..checkpoint import bundle
from ..checkpoint.card import read_card
from ..run import rewind as rewinding
from .helpers import (
    THREE_EPOCHS,
    files_in,
    finish,
    flip,
    log_of,
    points_of,
    read_until,
    run_main,
    saved_values,
    start,
    steps_in,
)
from .program import commands, training
from .program.experiment import Paths


def rewind(root, *arguments):
    return run_main(commands.main, "rewind", *arguments, "--root", root)


def train_on(root, *arguments):
    return run_main(training.main, "--root", root, *THREE_EPOCHS, *arguments)


def events_of(run):
    lines = map(json.loads, (run / "history.jsonl").read_text().splitlines())
    return [(line["event"], line["step"]) for line in lines]


def only_folder_in(folder):
    (found,) = folder.iterdir()
    return found


def test_the_run_goes_on_as_if_it_had_never_been_taken_further(run, straight, capsys):
    root = run.parents[1]
    assert rewind(root, "44") == 0
    assert "Run 'default' is at step 44 (epoch 1) now" in capsys.readouterr().out
    assert steps_in(run / "checkpoints") == [44]
    assert tf.train.latest_checkpoint(str(run / "checkpoints")).endswith("ckpt-44")
    assert log_of(run) == [line for line in log_of(straight) if line["step"] <= 44]
    assert max(points_of(run / "tensorboard")) == 44

    assert train_on(root) == 0
    captured = capsys.readouterr()
    assert "Restored step 44 (epoch 1)" in captured.out
    assert captured.err == ""
    for step in (44, 88, 132):
        name = f"checkpoints/ckpt-{step}"
        assert saved_values(run / name) == saved_values(straight / name)
    assert log_of(run) == log_of(straight)
    assert points_of(run / "tensorboard") == points_of(straight / "tensorboard")
    assert events_of(run) == [("start", 0), ("rewind", 44), ("resume", 44)]
    assert steps_in(run / "checkpoints/best") == steps_in(straight / "checkpoints/best")


def test_what_came_later_is_set_aside_and_can_be_a_run_again(run, straight, capsys):
    root = run.parents[1]
    assert rewind(root, "44", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    aside = only_folder_in(run / "superseded")
    assert told == {
        "path": str(run / "checkpoints/ckpt-44"),
        "step": 44,
        "changed": True,
        "superseded": str(aside),
        "steps": [88, 132],
    }
    assert not set(aside.name) & set('<>:"/\\|?*')
    before = files_in(straight / "checkpoints")
    for path, contents in files_in(aside / "checkpoints").items():
        assert before[straight / path.relative_to(aside)] == contents
    assert steps_in(aside / "checkpoints") == [88, 132]
    assert log_of(aside) == [line for line in log_of(straight) if line["step"] > 44]
    later = [step for step in points_of(straight / "tensorboard") if step > 44]
    assert points_of(aside / "tensorboard") == later

    shutil.move(aside, root / "runs/later")
    assert train_on(root, "--run", "later") == 0
    assert "Run 'later' is complete: step 132" in capsys.readouterr().out
    assert run_main(commands.main, "diff", "later@132", "132", "--root", root) == 2


def test_the_best_is_chosen_anew_by_the_settings_of_the_run(run):
    config = run / "config.json"
    settings = json.loads(config.read_text()) | {"best_metric": "val_loss", "best_mode": "max"}
    config.write_text(json.dumps(settings))
    best = run / "checkpoints/best"
    shutil.rmtree(best)
    bundle.copy(Paths(run.parents[1]).checkpoints / "ckpt-132", Paths(run.parents[1]).best)
    values = {s: read_card(run / f"checkpoints/ckpt-{s}").metrics["val_loss"] for s in (44, 88)}
    assert rewind(run.parents[1], "88") == 0
    assert steps_in(best) == [max(values, key=values.get)]
    aside = only_folder_in(run / "superseded") / "checkpoints/best"
    assert saved_values(aside / "ckpt-132") == saved_values(aside.parent / "ckpt-132")


def test_a_best_that_is_not_later_stays(run):
    paths = Paths(run.parents[1])
    shutil.rmtree(paths.best)
    bundle.copy(paths.checkpoints / "ckpt-44", paths.best)
    before = files_in(paths.best)
    assert rewind(paths.root, "88") == 0
    assert files_in(paths.best) == before


@pytest.mark.parametrize("name", ["44", "best", "default@44"])
def test_one_that_is_only_in_best_is_copied_back(run, straight, name):
    paths = Paths(run.parents[1])
    shutil.rmtree(paths.best)
    bundle.copy(paths.checkpoints / "ckpt-44", paths.best)
    bundle.remove(paths.checkpoints / "ckpt-44")
    assert rewind(paths.root, name) == 0
    assert steps_in(run / "checkpoints") == [44]
    name = "checkpoints/ckpt-44"
    assert saved_values(run / name) == saved_values(straight / name)


def test_the_best_replaces_a_damaged_original(run, straight):
    paths = Paths(run.parents[1])
    shutil.rmtree(paths.best)
    bundle.copy(paths.checkpoints / "ckpt-88", paths.best)
    flip(run / "checkpoints/ckpt-88.data-00000-of-00001")
    assert rewind(paths.root, "88") == 4
    assert rewind(paths.root, "best") == 0
    assert steps_in(run / "checkpoints") == [44, 88]
    name = "checkpoints/ckpt-88"
    assert saved_values(run / name) == saved_values(straight / name)
    assert steps_in(run / "checkpoints/damaged") == [88]


def test_the_newest_needs_nothing(run, capsys):
    before = files_in(run)
    assert rewind(run.parents[1], "latest") == 0
    expected = "Run 'default' is at step 132 (epoch 3) already: there is nothing to do.\n"
    assert capsys.readouterr().out == expected
    assert rewind(run.parents[1], "132", "--json") == 0
    assert json.loads(capsys.readouterr().out)["changed"] is False
    assert files_in(run) == before


def test_later_lines_of_the_history_are_set_aside(run):
    root = run.parents[1]
    assert rewind(root, "88") == 0
    assert train_on(root) == 0
    assert rewind(root, "44") == 0
    assert events_of(run) == [("start", 0), ("rewind", 44)]
    newest = sorted((run / "superseded").iterdir())[-1]
    assert events_of(newest) == [("rewind", 88), ("resume", 88)]


def test_lines_that_cannot_be_read_are_set_aside_too(run):
    with (run / "metrics.jsonl").open("a") as log:
        log.write("garbage")
    assert rewind(run.parents[1], "44") == 0
    aside = only_folder_in(run / "superseded")
    assert (aside / "metrics.jsonl").read_text().endswith("\ngarbage")


def test_two_rewinds_in_one_second_do_not_collide(run):
    paths = Paths(run.parents[1])
    folders = {rewinding.new_folder(paths).folder for _ in range(5)}
    assert len(folders) == 5


def test_pins_go_along(run):
    root = run.parents[1]
    assert run_main(commands.main, "pin", "88", "--root", root) == 0
    assert rewind(root, "44") == 0
    assert (only_folder_in(run / "superseded") / "checkpoints/ckpt-88.pinned").exists()
    assert not (run / "checkpoints/ckpt-88.pinned").exists()


def test_later_ones_that_are_damaged_are_kept_as_they_are(run):
    contents = (run / "checkpoints/ckpt-132.data-00000-of-00001").read_bytes()
    (run / "checkpoints/ckpt-132.index").unlink()
    flip(run / "checkpoints/ckpt-88.data-00000-of-00001", 5)
    flipped = (run / "checkpoints/ckpt-88.data-00000-of-00001").read_bytes()
    assert rewind(run.parents[1], "44") == 0
    aside = only_folder_in(run / "superseded")
    assert (aside / "checkpoints/ckpt-88.data-00000-of-00001").read_bytes() == flipped
    damaged = run / "checkpoints/damaged/ckpt-132.data-00000-of-00001"
    assert damaged.read_bytes() == contents
    assert steps_in(run / "checkpoints") == [44]


@pytest.mark.parametrize("ending", ["index", "data-00000-of-00001"])
def test_a_damaged_target_is_refused(run, ending, capsys):
    flip(run / f"checkpoints/ckpt-44.{ending}")
    before = files_in(run)
    assert rewind(run.parents[1], "44") == 4
    assert "ckpt-44 is damaged" in capsys.readouterr().err
    assert files_in(run) == before


def test_a_target_without_a_card_is_refused(run, capsys):
    tf.train.Checkpoint(a=tf.Variable(1.0)).write(str(run / "checkpoints/ckpt-50"))
    before = files_in(run)
    assert rewind(run.parents[1], "50") == 3
    assert "ckpt-50 has no card" in capsys.readouterr().err
    assert files_in(run) == before


def test_it_is_refused_while_the_run_is_being_trained(run, capsys):
    process = start(run.parents[1], command="hold")
    try:
        read_until(process, "locked")
        before = files_in(run)
        assert rewind(run.parents[1], "44") == 5
        assert f"is being trained by process {process.pid}" in capsys.readouterr().err
        assert files_in(run) == before
    finally:
        process.kill()
        finish(process)


def test_a_disk_that_is_full_is_told(run, monkeypatch, capsys):
    def fail(*_):
        raise OSError(28, "No space left on device")

    before = files_in(run / "checkpoints")
    with monkeypatch.context() as patch:
        patch.setattr(files, "require_space", fail)
        assert rewind(run.parents[1], "44") == 1
    error = capsys.readouterr().err
    assert "No space left on device" in error
    assert "Nothing is lost" in error
    assert files_in(run / "checkpoints") == before
    assert rewind(run.parents[1], "44") == 0


def test_tensorboard_does_not_show_what_was_set_aside_but_does_again_as_a_run(run, capsys):
    root = run.parents[1]
    assert run_main(commands.main, "rewind", "44", "--root", root) == 0
    (aside,) = (run / "superseded").iterdir()
    assert {path.parent for path in run.rglob("*tfevents*")} == {run / "tensorboard"}
    assert list((aside / "tensorboard").iterdir())

    aside.rename(root / "runs/moved")
    settings = [*THREE_EPOCHS[2:], "--epochs", 4]
    assert run_main(training.main, "--root", root, "--run", "moved", *settings) == 0
    steps = points_of(root / "runs/moved/tensorboard")
    assert steps[0] > 44
    assert {88, 132, 176} <= set(steps)
