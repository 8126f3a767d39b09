"""Records stories, cuts the power in them, and judges what is left."""

import contextlib
import json
import logging
import os
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import tensorflow as tf

from ...errors import PACKAGE, NoUsableCheckpoint
from ..helpers import files_in, finish, log_of, start
from ..mutants import project_with
from ..program.experiment import Paths
from .judge import Judge, Told
from .mistakes import MUTANTS
from .states import CUT_SHORT, WORST, drawn_policies
from .story import digest_of
from .tracing import Recording, calls_of, strace

STORY = f"{__package__}.story"
# TensorFlow is imported once for all stories, and has not run anything when they begin.
TELLER = """
import json, os, runpy, sys
import tensorflow.keras

def wait():
    child, status = os.wait()
    assert status == 0, children.pop(child)
    del children[child]

children = {}
for story in json.loads(sys.argv[1]):
    if len(children) == 2:
        wait()
    child = os.fork()
    if not child:
        sys.path.insert(0, story["path"])
        sys.argv = [story["module"], story["scene"], story["root"]]
        runpy.run_module(story["module"], run_name="__main__", alter_sys=True)
        sys.stdout.flush()
        os._exit(0)
    children[child] = story
while children:
    wait()
"""
MEMORY = Path("/dev/shm")  # there, a sync takes no time  # noqa: S108


def memory_folder():
    """A temporary folder in memory, where there is one."""
    return tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None)


def record(folder, stories):
    """Has stories told, each a scene by the code in a path, and gives all of them."""
    roots = [Path(folder, f"{number} {scene}") for number, (scene, _) in enumerate(stories)]
    told = []
    for root, (scene, path) in zip(roots, stories, strict=True):
        root.mkdir()
        told.append(
            {"path": str(path), "module": STORY, "scene": scene, "root": str(root / "root")}
        )
    trace = Path(folder, "trace")
    process = subprocess.run(
        [*strace(trace), sys.executable, "-c", TELLER, json.dumps(told)],
        cwd=folder,
        env=os.environ | {"PYTHONUTF8": "1", "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    calls, all_told = calls_of(trace), []
    for root, (scene, _) in zip(roots, stories, strict=True):
        all_told.append(Told(scene, Recording(calls, str(root))))
        require_recorded(all_told[-1], root)
    return all_told


def require_recorded(told, root):
    """Requires that the recorded operations lead to what is really on the disk."""
    state = told.disk.state(len(told.operations), CUT_SHORT)
    recorded = {Path(root, name): state.contents[inode] for name, inode in state.files.items()}
    assert recorded == files_in(root)


@dataclass
class Tally:
    """What was tried, and what was lost."""

    points: int = 0
    states: int = 0
    judged: int = 0
    models: Counter = field(default_factory=Counter)
    losses: list = field(default_factory=list)


class Proof:
    """Cuts the power in a story, at one operation after the other, and judges what is left."""

    def __init__(self, told, tally=None):
        self._told = told
        self.tally = tally or Tally()
        self._known = set()

    def cut(self, end, policies, chance):
        """Cuts the power before an operation, and judges a state for each policy."""
        self.tally.points += 1
        for policy in policies:
            state = self._told.disk.state(end, policy, chance)
            self.tally.states += 1
            self.tally.models[policy.model] += 1
            for run in self._told.runs:
                self._judge(state.below(f"root/runs/{run}"), run, end, policy)

    def _judge(self, state, run, end, policy):
        """Judges one run, unless it was found in this state with this promise before."""
        expected = self._told.expected(run, end)
        is_ordered = policy.model != "posix"
        known = (run, state.key(), repr(expected), is_ordered)
        if known in self._known:
            return
        self._known.add(known)
        self.tally.judged += 1
        with memory_folder() as folder:
            state.write(folder)
            judge = Judge(
                self._told, Paths(Path(folder, "root"), run), expected, is_ordered=is_ordered
            )
            try:
                problems = judge.judge()
            except Exception as error:  # a command or a start of training has a traceback
                problems = [*judge.problems, f"{type(error).__name__}: {error}"]
        for problem in problems:
            place = f"{self._told.scene}, operation {end}, {policy}, run {run}"
            self.tally.losses.append(f"{place}: {problem}")


@contextlib.contextmanager
def quiet():
    """Keeps the messages of the program and of TensorFlow off the screen."""
    logs = [logging.getLogger(PACKAGE), tf.get_logger()]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)


def prove(told, changes, points, chance, tally=None, *, stop=False):
    """Cuts the power in a story.

    Args:
        told: the story.
        changes: after how many changes of a name or a size, all of which survive.
        points: before how many operations, drawn as the changes are; what survives is drawn too.
        chance: draws.
        tally: adds up.
        stop: at the first loss.

    After every report, it is cut as badly as each model allows.
    """
    proof = Proof(told, tally)
    drawn = sorted(chance.sample(range(1, len(told.operations) + 1), points))
    changed = chance.sample(sorted(told.changes), min(changes, len(told.changes)))
    with quiet():
        for end in sorted({*told.reports, *changed, *drawn}):
            proof.cut(
                end,
                [
                    *(WORST if end in told.reports else []),
                    *([told.changes[end]] if end in changed else []),
                    *(drawn_policies(chance) if end in drawn else []),
                ],
                chance,
            )
            if stop and proof.tally.losses:
                break
    return proof.tally


def resume(told, chance):
    """Cuts the power anywhere, and trains a run to its end in a process of its own.

    Returns:
        What differs from the run whose power was never cut.
    """
    end = chance.randrange(1, len(told.operations) + 1)
    policy = chance.choice([*WORST, *drawn_policies(chance)])
    run = chance.choice(sorted(told.arguments))
    last = max(step for name, step in told.digests if name == run)
    with memory_folder() as folder:
        told.disk.state(end, policy, chance).write(folder)
        paths = Paths(Path(folder, "root"), run)
        arguments = ["--root", paths.root, "--run", run, "--max-steps", last]
        code, printed, errors = finish(start(*arguments, *told.arguments[run]))
        expected = told.expected(run, end)
        place = f"{told.scene}, operation {end}, {policy}, run {run}"
        if code == NoUsableCheckpoint.exit_code and not expected.promise:
            return []  # the first save had begun, and left a part
        if code:
            return [f"{place}: ended with {code}: {errors[-500:]}"]
        problems = []
        if digest_of(paths.checkpoints / f"ckpt-{last}") != told.digests[run, last]:
            problems.append(f"{place}: the values of step {last} are others")
        if [line["step"] for line in log_of(paths.folder)] != [s for s, _ in told.lines(run, last)]:
            problems.append(f"{place}: the log has other lines: {printed}")
        return problems


def stories_with(mutants, folder):
    """The stories that the code tells with one mistake in it each; both as `record` takes them."""
    return [
        (MUTANTS[mutant], project_with(mutant, Path(folder, f"code {number}")))
        for number, mutant in enumerate(mutants)
    ]


def first_loss(told, chance):
    """What is lost first in a story that is told by code with a mistake in it, or None."""
    return next(iter(prove(told, sys.maxsize, 0, chance, stop=True).losses), None)
