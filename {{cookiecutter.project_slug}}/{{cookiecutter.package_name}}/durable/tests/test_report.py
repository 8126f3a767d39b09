"""The picture of the learning curves, and the table beside it."""

import json
import shutil
from pathlib import Path

import pytest
import tensorflow as tf

from ..checkpoint import bundle
from ..report.curves import Run, read_run
from ..report.drawing import draw, short
from ..report.table import best
from ..run import history
from .helpers import finish, read_until, run_main, start
from .program import commands, training
from .program.experiment import Paths

SMALL = ["--model.hidden", 8]
OFTEN = ["--save-every", 15, "--log-every", 10]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run `a` of two epochs of 44 steps, and its fork `b` with a third."""
    root = tmp_path_factory.mktemp("a folder")
    assert run_main(training.main, "--root", root, "--run", "a", *SMALL, *OFTEN, "--epochs", 2) == 0
    fork = ["--run", "b", "--fork-from", "a@60", *SMALL, *OFTEN, "--epochs", 3]
    assert run_main(training.main, "--root", root, *fork) == 0
    return root


def steps_drawn(folder):
    """The steps of the curves that are drawn of a run: training, validation."""
    drawn = read_run(Paths(folder.parent.parent, folder.name))
    loss, accuracy, _ = draw([drawn]).axes
    curves = [line.get_xdata().tolist() for line in loss.lines]
    assert curves == [line.get_xdata().tolist() for line in accuracy.lines]
    return curves


def steps_in_tensorboard(folder):
    """The steps that TensorBoard finds for the run: training, validation."""
    steps = {"loss": [], "val_loss": []}
    for file in sorted((folder / "tensorboard").iterdir()):
        for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
            event = tf.compat.v1.Event.FromString(record)
            for value in event.summary.value:
                if value.tag in steps:
                    steps[value.tag].append(event.step)
    return [sorted(found) for found in steps.values()]


def expected_steps(last):
    epoch_ends = list(range(44, last + 1, 44))
    return [sorted({*range(10, last + 1, 10), *epoch_ends}), epoch_ends]


def saved_steps(root):
    return [bundle.step_of(path) for path in bundle.find_checkpoints(Paths(root).checkpoints)]


def test_curves_have_no_point_twice_and_none_missing_after_a_kill_and_a_rewind(root):
    folder, settings = root / "runs/default", ["--root", root, *SMALL, *OFTEN]
    process = start(*settings, "--epochs", 10**6)
    read_until(process, "epoch 2/")
    process.kill()
    finish(process)
    epochs = saved_steps(root)[-1] // 44 + 2
    assert run_main(training.main, *settings, "--epochs", epochs) == 0
    assert steps_drawn(folder) == expected_steps(44 * epochs)
    assert steps_in_tensorboard(folder) == expected_steps(44 * epochs)

    paths = Paths(root)
    newest = bundle.find_checkpoints(paths.checkpoints)[1:]
    for checkpoint in [*newest, *bundle.find_checkpoints(paths.best)]:
        bundle.remove(checkpoint)
    (kept,) = saved_steps(root)
    history.record(paths, "rewind", kept)
    assert run_main(training.main, *settings, "--epochs", epochs) == 0
    assert steps_drawn(folder) == expected_steps(44 * epochs)
    assert steps_in_tensorboard(folder) == expected_steps(44 * epochs)


def test_tensorboard_finds_one_folder_of_events_for_each_run(trained):
    events = (trained / "runs").rglob("*tfevents*")
    assert {path.parent for path in events} == {
        trained / f"runs/{name}/tensorboard" for name in ("a", "b")
    }


def test_a_fork_starts_on_its_parents_curve(trained):
    runs = [read_run(Paths(trained, name)) for name in ("a", "b")]
    loss = draw(runs).axes[0]
    dotted = [line for line in loss.lines if line.get_linestyle() == ":"]
    starts = [(line.get_xdata()[0], line.get_ydata()[0]) for line in dotted]
    ends = [(line.get_xdata()[1], line.get_ydata()[1]) for line in dotted]
    parent, fork = [[run.curve(name) for name in ("loss", "val_loss")] for run in runs]
    assert starts == [(60, curve.at(60)) for curve in parent]
    assert ends == [(70, fork[0].at(70)), (88, fork[1].at(88))]


def happened(event, step, *sources):
    return {"event": event, "step": step, "sources": sources}


def test_everything_that_happened_is_marked_and_explained():
    lines = [{"step": step, "epoch": 1, "loss": 0.5} for step in (50, 100)]
    parent = [happened("start", 0), happened("resume", 70), happened("rewind", 50)]
    child = [happened("average", 50, "a@50", "c@50"), happened("resume", 80)]
    figure = draw([Run("a", lines, [50, 100], parent), Run("b", lines[1:], [100], child)])
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "validation",
        "training",
        "checkpoint",
        "average",
        "resume",
        "rewind",
        "from its parent",
    ]
    marks = {
        (line.get_marker(), round(line.get_ydata()[0])): [*line.get_xdata()]
        for line in figure.axes[2].lines
        if len(line.get_xdata())
    }
    assert marks["|", 0] == [50, 100]
    assert marks["^", 0] == [70]
    assert marks["v", 0] == [50]
    assert marks["s", 1] == [50]
    assert marks["^", 1] == [80]
    assert [label.get_text() for label in figure.axes[2].get_yticklabels()] == ["a", "b"]


def test_a_run_that_diverged_is_drawn():
    lines = [{"step": 1, "epoch": 0, "loss": 1.0, "val_loss": float("nan")}]
    lines += [{"step": 2, "epoch": 0, "loss": float("inf"), "val_loss": float("nan")}]
    diverged = Run("a", lines, [], [])
    assert report.png(draw([diverged]))
    assert best(diverged, "val_loss") is None


def test_the_picture_and_the_table(trained, tmp_path, capsys):
    assert run_main(commands.main, "--root", trained, "--run", "a", "b", "a") == 0
    printed = capsys.readouterr().out
    picture = trained / "runs/report-a-b.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert f"Drew {picture}" in printed
    assert "val_accuracy" in printed

    output = tmp_path / "new folder" / "curves.png"
    assert (
        run_main(commands.main, "--root", trained, "--run", "b", "--output", output, "--json") == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert found["picture"] == str(output)
    assert output.exists()
    (entry,) = found["runs"]
    assert (entry["run"], entry["final"]["step"]) == ("b", 132)
    assert entry["best"]["val_loss"]["step"] in (88, 132)
    assert entry["checkpoints"][-1] == 132
    assert entry["events"][0]["sources"] == ["a@60"]
    # The picture in runs/ is not taken for a run.
    assert run_main(commands.main, "--root", trained, "--run", "nope") == 2
    assert "Runs: a, b." in capsys.readouterr().err


def test_a_long_name_is_cut_in_the_picture_and_in_its_path():
    name = "n" * 60 + "m" * 60
    assert short(name) == "nnnnnnnnnnnn…mmmmmmmmmmm"
    one, other = (Paths("/", "a").report([name, name, end]).name for end in "ab")
    assert one != other
    assert len(one) < 130


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--run", "nope"], "There is no run 'nope'"),
        (["--run", "a", "../x"], "is not a folder name"),
        (["--run", *"abcdefgh"], "--run: give 1 to 7 runs, not 8"),
        (["--run"], "--run: give 1 to 7 runs, not 0"),
        (["--run", "a", "--output", "curves.pdf"], "curves.pdf is not possible: give a .png file"),
    ],
)
def test_wrong_usage(trained, arguments, message, capsys):
    assert run_main(commands.main, "--root", trained, *arguments) == 2
    assert message in capsys.readouterr().err


def test_a_run_without_metrics_and_a_picture_that_cannot_be_written(root, trained, capsys):
    shutil.copytree(trained / "runs/a", root / "runs/a")
    picture = root / "runs/report-a.png"
    picture.mkdir()
    assert run_main(commands.main, "--root", root, "--run", "a") == 2
    assert f"{picture} cannot be written" in capsys.readouterr().err
    Path(root / "runs/a/metrics.jsonl").unlink()
    assert run_main(commands.main, "--root", root, "--run", "a") == 2
    assert "Run 'a' has no metrics" in capsys.readouterr().err
