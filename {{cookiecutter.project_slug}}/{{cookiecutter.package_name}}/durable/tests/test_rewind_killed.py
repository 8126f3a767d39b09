"""A rewind that is killed: nothing is lost, and the run can be trained on or rewound again."""

import contextlib
import random
import shutil
import sys

import pytest

from .helpers import THREE_EPOCHS, log_of, points_of, run_main, saved_values, steps_in
from .program import commands, training


class Killed(BaseException):
    """What ends a rewind."""


class Killer:
    """Rewinds a run, and ends that as a kill would, before the n-th change to a file."""

    def __init__(self):
        self.folder, self.changes, self.limit = None, 0, None
        sys.addaudithook(self.look)

    def look(self, event, arguments):
        if self.folder is None or not self.is_change(event, arguments):
            return
        self.changes += 1
        if self.changes == self.limit:
            self.folder = None
            raise Killed

    def is_change(self, event, arguments):
        if event == "open":
            changing = isinstance(arguments[1], str) and set(arguments[1]) & set("wa+x")
        else:
            changing = event in {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}
        return changing and str(arguments[0]).startswith(str(self.folder))

    def rewind(self, root, limit=None):
        """Rewinds to step 44, up to a change, and gives how many changes there were."""
        self.folder, self.changes, self.limit = root, 0, limit
        with contextlib.suppress(Killed):
            rewind(root)
        self.folder = None
        print(f"ended at change {self.changes}, of {limit}")
        return self.changes


@pytest.fixture(scope="module")
def killer():
    return Killer()


def rewind(root):
    return run_main(commands.main, "rewind", "44", "--root", root)


def values_of_log(run):
    """What is in the log of a run, or of what a rewind has set aside."""
    lines = log_of(run) if (run / "metrics.jsonl").exists() else []
    return [(line["step"], str(line)) for line in lines], points_of(run / "tensorboard")


def nothing_is_lost(run, straight):
    """Every checkpoint is whole somewhere, every line of the log too, and the log has no gap."""
    for step in (44, 88, 132):
        name = f"ckpt-{step}.*"
        expected = {file.name: file.read_bytes() for file in (straight / "checkpoints").glob(name)}
        copies = [index.parent for index in run.rglob(f"ckpt-{step}.index")]
        assert expected in [{f.name: f.read_bytes() for f in copy.glob(name)} for copy in copies]
    newest = steps_in(run / "checkpoints")[-1]
    lines, points = values_of_log(straight)
    found, found_points = values_of_log(run)
    assert [line for line in found if line[0] <= newest] == [
        line for line in lines if line[0] <= newest
    ]
    assert [point for point in found_points if point <= newest] == [
        point for point in points if point <= newest
    ]
    for aside in (run / "superseded").glob("*"):
        more, more_points = values_of_log(aside)
        found, found_points = found + more, found_points + more_points
    assert set(lines) <= set(found)
    assert set(points) <= set(found_points)


def test_nothing_is_lost_and_the_next_rewind_ends_it(run, straight, killer, tmp_path):
    shutil.copytree(run.parents[1], tmp_path / "whole")
    changes = killer.rewind(tmp_path / "whole")
    assert changes > 40
    for limit in random.sample(range(1, changes + 1), 6):
        root = tmp_path / f"killed {limit}"
        shutil.copytree(run.parents[1], root)
        assert killer.rewind(root, limit) == limit
        nothing_is_lost(root / "runs/default", straight)
        assert rewind(root) == 0
        nothing_is_lost(root / "runs/default", straight)
        assert steps_in(root / "runs/default/checkpoints") == [44]
        for folder in ("checkpoints", "superseded"):
            assert not list((root / "runs/default" / folder).rglob("*_temp"))


def test_the_run_can_be_trained_on(run, straight, killer, capsys):
    root = run.parents[1]
    killer.rewind(root, random.randrange(1, 60))
    saves = steps_in(run / "checkpoints")[-1] < 132  # which is when what was left is removed
    assert run_main(training.main, "--root", root, *THREE_EPOCHS) == 0
    assert "damaged" not in capsys.readouterr().err
    last = "checkpoints/ckpt-132"
    assert saved_values(run / last) == saved_values(straight / last)
    assert log_of(run) == log_of(straight)
    assert not (saves and list((run / "checkpoints").rglob("*_temp")))
