"""The picture of the learning curves, and the table beside it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from rich.console import Console

from ..checkpoint import bundle
from ..cli.report import best, runs_table
from ..evaluation.results import png
from ..report.curves import Run, Source, read_run
from ..report.drawing import draw, short
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


def connections(figure):
    """The points of the dotted lines from parents to their forks, in the panel of the loss."""
    dotted = [line for line in figure.axes[0].lines if line.get_linestyle() == ":"]
    return [[*zip(line.get_xdata(), line.get_ydata(), strict=True)] for line in dotted]


def value_at(run, metric, step):
    curve = run.curve(metric)
    return np.interp(step, curve.steps, curve.values)


def test_a_fork_starts_on_its_parents_curve(trained):
    parent, fork = (read_run(Paths(trained, name)) for name in ("a", "b"))
    of_training, of_validation = connections(draw([parent, fork]))
    # From where it left the curve that the parent has now, over the step, to its own first point.
    assert of_training[-2:] == [
        (60, value_at(parent, "loss", 60)),
        (70, value_at(fork, "loss", 70)),
    ]
    assert of_validation[-2:] == [
        (60, value_at(parent, "val_loss", 60)),
        (88, value_at(fork, "val_loss", 88)),
    ]


def test_a_fork_starts_on_the_curve_that_its_parent_had_then(root, trained):
    shutil.copytree(trained, root, dirs_exist_ok=True)
    before = read_run(Paths(root, "a"))
    assert run_main(commands.main, "rewind", "a@30", "--root", root) == 0
    other = ["--run", "a", *SMALL, *OFTEN, "--epochs", 2, "--optimizer.learning-rate", 0.01]
    assert run_main(training.main, "--root", root, *other) == 0
    parent, fork = (read_run(Paths(root, name)) for name in ("a", "b"))
    assert value_at(parent, "loss", 60) != value_at(before, "loss", 60)
    of_training, _ = connections(draw([parent, fork]))
    points = [(30, value_at(before, "loss", 30)), (40, value_at(before, "loss", 40))]
    assert of_training[: len(points)] == points
    assert of_training[-2] == (60, value_at(before, "loss", 60))


def test_what_was_never_trained_is_drawn_by_its_card(root, trained, capsys):
    shutil.copytree(trained, root, dirs_exist_ok=True)
    mean = ["--run", "a", "--average", 2, "--save-as", "mean"]
    assert run_main(commands.evaluate, "--root", root, *mean) == 0
    file = root / "runs/a/checkpoints/ckpt-88"
    assert run_main(commands.main, "import", file, "--root", root, "--run", "new") == 0
    capsys.readouterr()
    assert run_main(commands.main, "report", "--root", root, "--run", "mean", "new", "--json") == 0
    average, imported = json.loads(capsys.readouterr().out)["runs"]
    assert average["final"]["step"] == 88
    assert average["best"]["val_loss"]["value"] == average["final"]["val_loss"]
    assert imported["events"][0]["event"] == "import"
    assert run_main(commands.main, "report", "--root", root, "--run", "mean", "new") == 0


def test_many_metrics_stay_readable_at_80_columns(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    names = [f"metric_of_some_length_{number}" for number in range(14)]
    lines = [{"step": 1234567, "epoch": 9, "loss": 0.1} | dict.fromkeys(names, 0.25)]
    runs = [Run(name, lines, [], []) for name in ("default", "another-run-of-some-length")]
    Console().print(runs_table(runs))
    printed = capsys.readouterr().out
    for word in (*names, "default", "another-run-of-some-length", "1234567", "0.2500"):
        assert word in printed
    assert max(map(len, printed.splitlines())) <= 80
    assert len(draw(runs).axes) == 6 + 1


def test_a_number_that_was_none_leaves_a_gap():
    lines = [{"step": step, "loss": value} for step, value in ((1, 0.5), (2, None), (3, 0.25))]
    curve = Run("a", lines, [], []).curve("loss")
    assert np.isnan(curve.values).tolist() == [False, True, False]
    assert best(Run("a", lines, [], []), "loss") == {"value": 0.25, "step": 3, "mode": "min"}


def test_lines_that_a_run_did_not_write_do_no_harm(root, trained, capsys):
    shutil.copytree(trained, root, dirs_exist_ok=True)
    run = Paths(root, "a")
    with Path(run.metrics).open("a", encoding="utf-8") as metrics:
        metrics.writelines(
            f"{line}\n"
            for line in (
                '{"step": 90, "epoch": "x", "loss": "[/]"}',
                '{"step": 91, "loss": [1], "[/]": null}',
                '{"step": 92, "loss": 1' + "0" * 400 + "}",
                '{"step": 1' + "0" * 40 + ', "loss": 1.0}',
                '{"step": -1, "loss": 1.0}',
                "[" * 100_000,
            )
        )
    with Path(run.history).open("a", encoding="utf-8") as events:
        events.writelines(["[]\n", '{"step": 5}\n', '{"step": 8, "event": 7, "time": "x"}\n'])
    for settings in ("5", "[]", "{", "[" * 100_000):
        Path(run.config).write_text(settings, encoding="utf-8")
        assert commands.main(["report", "--run", "a", "--root", str(root)]) == 0
    assert "loss" in capsys.readouterr().out


def happened(event, step, *sources):
    return {"event": event, "step": step, "sources": sources}


def test_everything_that_happened_is_marked_and_explained():
    lines = [{"step": step, "epoch": 1, "loss": 0.5} for step in (50, 100)]
    parent = [happened("start", 0), happened("resume", 70), happened("rewind", 50)]
    child = [happened("average", 50, "a@50", "c@50"), happened("resume", 80)]
    sources = [Source("a", 50, lines), Source("c", 50, lines)]
    figure = draw([Run("a", lines, [50, 100], parent), Run("b", lines[1:], [100], child, sources)])
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
        for line in figure.axes[-1].lines
        if len(line.get_xdata())
    }
    assert marks["|", 0] == [50, 100]
    assert marks["^", 0] == [70]
    assert marks["v", 0] == [50]
    assert marks["s", 1] == [50]
    assert marks["^", 1] == [80]
    assert [label.get_text() for label in figure.axes[-1].get_yticklabels()] == ["a", "b"]


def test_a_run_that_diverged_is_drawn():
    lines = [{"step": 1, "epoch": 0, "loss": 1.0, "val_loss": float("nan")}]
    lines += [{"step": 2, "epoch": 0, "loss": float("inf"), "val_loss": float("nan")}]
    diverged = Run("a", lines, [], [])
    assert png(draw([diverged]))
    assert best(diverged, "val_loss") is None


def test_the_picture_and_the_table(trained, tmp_path, capsys):
    assert run_main(commands.main, "report", "--root", trained, "--run", "a", "b", "a") == 0
    printed = capsys.readouterr().out
    picture = trained / "runs/report-a-b.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert f"Drew {picture}" in printed
    assert "val_accuracy" in printed

    output = tmp_path / "new folder" / "curves.png"
    arguments = ["--root", trained, "--run", "b", "--output", output, "--json"]
    assert run_main(commands.main, "report", *arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["picture"] == str(output)
    assert output.exists()
    (entry,) = found["runs"]
    assert (entry["run"], entry["final"]["step"]) == ("b", 132)
    assert entry["best"]["val_loss"]["step"] in (88, 132)
    assert entry["checkpoints"][-1] == 132
    assert entry["events"][0]["sources"] == ["a@60"]
    # The picture in runs/ is not taken for a run.
    assert run_main(commands.main, "report", "--root", trained, "--run", "nope") == 2
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
    assert run_main(commands.main, "report", "--root", trained, *arguments) == 2
    assert message in capsys.readouterr().err


def test_a_run_without_metrics_and_a_picture_that_cannot_be_written(root, trained, capsys):
    shutil.copytree(trained / "runs/a", root / "runs/a")
    picture = root / "runs/report-a.png"
    picture.mkdir()
    assert run_main(commands.main, "report", "--root", root, "--run", "a") == 2
    assert f"{picture} cannot be written" in capsys.readouterr().err
    shutil.rmtree(root / "runs/a/checkpoints")
    Path(root / "runs/a/metrics.jsonl").unlink()
    assert run_main(commands.main, "report", "--root", root, "--run", "a") == 2
    assert "Run 'a' has no metrics" in capsys.readouterr().err
