"""Power cuts: what was reported before one is there after it, whatever the disk may have lost.

Runs that see everything a run can (`program/story.py`) are recorded by strace. From their file
operations the states are built that a power cut may leave at any moment (`disk_states.py`), and the
program's own code judges them: the newest reported checkpoint or a newer one is restored, what was
reported as pinned, rewound, forked, averaged or imported is so, the log has no gap up to the
restored step, and `list` and `verify` end well.

    python -m <package>.durable.tests.powercut --points 1000 --seed 7
    python -m <package>.durable.tests.powercut --mutants
"""

import argparse
import contextlib
import io
import json
import logging
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import tensorflow as tf
from etils import epath

from ..checkpoint import bundle
from ..checkpoint.manager import CheckpointManager
from ..checkpoint.reader import condition_of
from ..errors import PACKAGE, NoUsableCheckpoint, UserError
from ..run.command_line import parse_settings
from ..run.history import read_objects
from ..run.log import rewind_log
from ..run.state import TrainState
from .disk_states import CHANGED, CUT_SHORT, WORST, Disk, drawn_policies
from .helpers import PROJECT, finish, log_of, start
from .mutants import Mutant, project_with
from .program import commands
from .program.experiment import Config, Experiment, Paths
from .program.story import SCENES, SMALL, digest_of, points_in, promise_of
from .tracing import Printed, Recording, Rename, Truncate, Unlink, calls_of, strace

STORY = f"{__package__}.program.story"
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
MUTANTS = {
    Mutant(
        "small files are not synchronized",
        "files.py",
        "    temporary.write_bytes(content)\n    synchronize(temporary)\n",
        "    temporary.write_bytes(content)\n",
    ): "beginning",
    Mutant(
        "the names of small files are not synchronized",
        "files.py",
        "    temporary.replace(path)\n    synchronize(path.parent)\n",
        "    temporary.replace(path)\n",
    ): "beginning",
    Mutant(
        "the index of a checkpoint comes before its data",
        "checkpoint/bundle.py",
        "files.put_in_place(files_of(written), ",
        "files.put_in_place(files_of(written)[::-1], ",
    ): "beginning",
    Mutant(
        "the files of TensorBoard are not synchronized",
        "run/log.py",
        "            synchronize(events)\n",
        "            pass\n",
    ): "beginning",
    Mutant(
        "new folders are not synchronized",
        "files.py",
        "    for made in missing:\n        synchronize(made.parent)\n",
        "",
    ): "beginning",
    Mutant(
        "small files are written in place",
        "files.py",
        '    temporary = path.parent / f"{path.name}{TEMPORARY}"\n    temporary.write_bytes',
        "    temporary = path\n    temporary.write_bytes",
    ): "training",
    Mutant(
        "what is added to a log is not synchronized",
        "files.py",
        "            file.write(text)\n        synchronize(path)\n",
        "            file.write(text)\n",
    ): "beginning",
    Mutant(
        "the name of a new log is not synchronized",
        "files.py",
        "        if is_new:\n            synchronize(path.parent)\n",
        "",
    ): "deriving",
    Mutant(
        "a checkpoint is not synchronized before it is put in place",
        "files.py",
        "            synchronize(file)\n    for file in moved:\n",
        "            pass\n    for file in moved:\n",
    ): "beginning",
    Mutant(
        "the names of a checkpoint are not synchronized",
        "files.py",
        "        move(folder / file.name)\n    synchronize(folder)\n",
        "        move(folder / file.name)\n",
    ): "beginning",
    Mutant(
        "the best is removed before the better one is there",
        "checkpoint/retention.py",
        "        bundle.copy(checkpoint, self.directory)\n",
        "        for kept in found:\n            bundle.remove(kept)\n"
        "        bundle.copy(checkpoint, self.directory)\n",
    ): "training",
    Mutant(
        "the log is written after the checkpoint",
        "checkpoint/manager.py",
        "            if before is not None:\n                before()\n",
        "",
    ): "beginning",
    Mutant(
        "what a rewind removes may come back",
        "checkpoint/bundle.py",
        "    remove(checkpoint)\n    files.synchronize(checkpoint.parent)\n",
        "    remove(checkpoint)\n",
    ): "rewinding",
    Mutant(
        "a rewind cuts the log first",
        "run/rewind.py",
        "    choose_best(paths, staying)\n",
        "    rewind_log(paths, step)\n    choose_best(paths, staying)\n",
    ): "rewinding",
    Mutant(
        "a file of TensorBoard that is cut is not synchronized",
        "run/log.py",
        "    synchronize(temporary)\n    temporary.replace(path)\n",
        "    temporary.replace(path)\n",
    ): "training",
    Mutant(
        "the name of a file of TensorBoard that is cut is not synchronized",
        "run/log.py",
        "    temporary.replace(path)\n    synchronize(path.parent)\n",
        "    temporary.replace(path)\n",
    ): "rewinding",
    Mutant(
        "the name of a new file of TensorBoard is not synchronized",
        "run/log.py",
        "        synchronize(paths.tensorboard)  # which has a new file\n",
        "",
    ): "beginning",
    Mutant(
        "what a rewind sets aside of TensorBoard is not synchronized",
        "run/log.py",
        "    synchronize(target)\n    synchronize(target.parent)\n",
        "    synchronize(target.parent)\n",
    ): "rewinding",
    Mutant(
        "the name of what a rewind sets aside of TensorBoard is not synchronized",
        "run/log.py",
        "    synchronize(target)\n    synchronize(target.parent)\n",
        "    synchronize(target)\n",
    ): "rewinding",
    Mutant(
        "shards that checkpoints share are not synchronized",
        "checkpoint/shared.py",
        "        files.put_in_place(parts_of(folder / shard.name), shard.parent, overwrite=True)\n",
        "        for part in parts_of(folder / shard.name):\n"
        "            part.replace(shard.parent / part.name)\n",
    ): "sharing",
    Mutant(
        "a pin is not synchronized",
        "cli/pin.py",
        '        files.write_text(bundle.pin_file(checkpoint), "")\n',
        "        bundle.pin_file(checkpoint).touch()\n",
    ): "beginning",
    Mutant(
        "a pin that was removed may come back",
        "files.py",
        "    path.unlink(missing_ok=True)\n    synchronize(path.parent)\n",
        "    path.unlink(missing_ok=True)\n",
    ): "training",
    Mutant(
        "the folder of an evaluation is not synchronized",
        "evaluation/results.py",
        "            make_folder(self.folder)\n",
        "            self.folder.mkdir(parents=True, exist_ok=True)\n",
    ): "deriving",
    Mutant(
        "what is in an export is not synchronized",
        "files.py",
        "            synchronize(epath.Path(path))\n        synchronize(temporary)\n",
        "            pass\n        synchronize(temporary)\n",
    ): "deriving",
    Mutant(
        "the names in an export are not synchronized",
        "files.py",
        "            synchronize(epath.Path(path))\n        synchronize(temporary)\n",
        "            synchronize(epath.Path(path))\n",
    ): "deriving",
}
MEMORY = Path("/dev/shm")  # there, a sync takes no time  # noqa: S108


def memory_folder():
    """A temporary folder in memory, where there is one."""
    return tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None)


def record(folder, stories):
    """Tells stories, each a scene and the path of the code, and gives the recording of each."""
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
    calls = calls_of(trace)
    return [Recording(calls, str(root)) for root in roots]


@dataclass
class Expected:
    """What must be found of a run.

    Attributes:
        promise: what `promise_of` found when something was reported last; None: nothing was.
        newest: the newest reported step, or the older one that is being rewound to.
        highest: the newest step that may be on the disk.
        going: what has begun and has not ended.
        is_rewound: whether a rewind was reported last, and nothing has begun since.
    """

    promise: dict | None = None
    newest: int = 0
    highest: int = 0
    going: str | None = None
    is_rewound: bool = False

    def hear(self, told):
        """Takes what the story tells."""
        if "begun" in told and told["begun"] == "save":
            self.highest = max(self.highest, told["step"])
        elif "begun" in told:
            self.going, self.is_rewound = told["begun"], False
            if self.going == "rewind":
                self.newest = told["step"]
        elif "done" in told:
            self.promise = told["promise"]
            self.newest = self.promise["newest"]
            if told["done"] != "save":
                self.highest, self.going = self.newest, None
                self.is_rewound = told["done"] == "rewind"


class Told:
    """A recorded story: the states of the disk, and what must be found in them."""

    def __init__(self, scene, recording):
        self.scene = scene
        self.operations = recording.operations
        self.disk = Disk(self.operations)
        self.digests, self.logged, self.arguments = {}, {}, {}
        self._marks = []
        root = Path(recording.root, "root")
        for number, operation in enumerate(self.operations):
            if isinstance(operation, Printed) and operation.text.startswith("{"):
                told = json.loads(operation.text)
                if told["root"] == str(root):
                    self._marks.append((number, told))
                    self._learn(told)
        self.runs = sorted({told["run"] for _, told in self._marks})
        self.reports = [number + 1 for number, told in self._marks if "done" in told]
        self.changes = {
            number + 1: CUT_SHORT if isinstance(operation, Truncate) else CHANGED
            for number, operation in enumerate(self.operations)
            if isinstance(operation, Rename | Unlink | Truncate)
        }

    def _learn(self, told):
        run = told["run"]
        if "digest" in told:
            self.digests[run, told["step"]] = told["digest"]
        if "logged" in told:
            self.logged.setdefault(run, {})[told["logged"]] = told["metrics"]
        if "arguments" in told:
            self.arguments[run] = told["arguments"]

    def expected(self, run, end):
        """What must be found of a run where the power is cut before an operation."""
        expected = Expected()
        for number, told in self._marks:
            if number < end and told["run"] == run:
                expected.hear(told)
        return expected

    def lines(self, run, step):
        """The lines of the log up to a step: steps and metrics."""
        logged = self.logged.get(run, {})
        return [(at, logged[at]) for at in sorted(logged) if at <= step]


@cache
def state_for(arguments):
    """A training state, and what identifies a run; one for all checkpoints of such a run."""
    config = parse_settings(Config, [*arguments])
    experiment = Experiment(config)
    data = experiment.data()
    state = TrainState(experiment.task(data), data.element_spec, [], config)
    return tf.train.Checkpoint(**state.parts), config.identity() | dict(data.identity)


class Judge:
    """Looks whether a run on the disk is as it must be.

    Args:
        told: the story.
        paths: of the run; what is there may be changed, as a start of training does.
        expected: of the run.
        is_ordered: whether the names on the disk have changed in their order: then nothing is
            damaged. Else what was being written or removed may seem to be.
    """

    def __init__(self, told, paths, expected, *, is_ordered):
        self._told = told
        self._paths = paths
        self._expected = expected
        self._is_ordered = is_ordered
        self.problems = []

    def require(self, holds, problem):
        """Notes a problem."""
        if not holds:
            self.problems.append(problem)

    def judge(self):
        """Gives what is not as it must be."""
        entries = self.look()
        if self._expected.promise is not None:
            self.require_promise(entries)
            self.restore()
        return self.problems

    def look(self):
        """Lists and verifies; gives what is listed, by step."""
        expected = self._expected.promise
        common = ["--run", self._paths.run, "--root", str(self._paths.root), "--json"]
        code, listed = call("list", *common)
        self.require(code == 0 or (code == 2 and expected is None), f"list ends with {code}")
        verified, _ = call("verify", "--all", *common)
        allowed = {0} | (set() if self._is_ordered else {4}) | (set() if expected else {2})
        self.require(verified in allowed, f"verify ends with {verified}")
        entries = json.loads(listed) if code == 0 else []
        return {entry["step"]: entry for entry in entries if entry["state"] != "set aside"}

    def require_promise(self, entries):
        """Compares what is there with what was."""
        expected, promise = self._expected, self._expected.promise
        found = promise_of(self._paths)
        is_rewinding = expected.going == "rewind"
        newest = found["newest"]
        self.require(expected.newest <= newest <= expected.highest, f"the newest is {newest}")
        history = promise["history"]
        if is_rewinding:
            history = [event for event in history if event[1] <= expected.newest]
        begins = found["history"][: len(history)]
        self.require(begins == history, f"the history is {found['history']}, not {history}")
        self.require(found["config"] or not promise["config"], "config.json is lost")
        for kind in ("evaluations", "exports"):
            lost = promise[kind].items() - found[kind].items()
            self.require(not lost, f"of the {kind} is lost: {lost}")
        for name, aside in promise["aside"].items():
            there = found["aside"].get(name)
            self.require(there == aside, f"of {aside}, which was set aside, there is {there}")
        if is_rewinding:
            self.require(found["best"] is not None, "there is no best any more")
            for step in promise["kept"]:
                self.require_somewhere(step)
            return
        pins = set(promise["pins"]) - set(found["pins"])
        self.require(not pins or expected.going == "unpin", f"not pinned any more: {pins}")
        if expected.going in (None, "train") and promise["pins"] == []:
            self.require(found["pins"] == [], f"pinned again: {found['pins']}")
        is_good = promise["best"] is None or (found["best"] or 0) >= promise["best"]
        self.require(is_good, f"the best has {found['best']}, not {promise['best']}")
        for step in {expected.newest, *promise["pins"]}:
            state = entries.get(step, {}).get("state")
            self.require(state == "good", f"step {step} is {state}")
        latest = tf.train.latest_checkpoint(str(self._paths.checkpoints)) or "ckpt--1"
        latest = bundle.step_of(epath.Path(latest))
        self.require(latest >= expected.newest, f"TensorFlow's latest is {latest}")

    def require_somewhere(self, step):
        """Requires a good copy of a checkpoint anywhere in the run."""
        copies = Path(self._paths.folder).rglob(f"ckpt-{step}.index")
        checkpoints = [epath.Path(copy.with_suffix("")) for copy in copies]
        conditions = [condition_of(checkpoint).state for checkpoint in checkpoints]
        self.require("good" in conditions, f"step {step} is lost: {conditions}")

    def restore(self):
        """Restores as a start of training does, and looks at the log as it is then."""
        run, expected = self._paths.run, self._expected
        checkpoint, identity = state_for(tuple(self._told.arguments.get(run, SMALL)))
        manager = CheckpointManager(checkpoint, self._paths.checkpoints, identity=identity)
        try:
            path = epath.Path(manager.restore_or_initialize() or "none-0")
        except NoUsableCheckpoint as error:
            self.require(False, str(error))
            return
        step = bundle.step_of(path)
        self.require(expected.newest <= step <= expected.highest, f"step {step} is restored")
        if step == 0:
            return
        digest = self._told.digests.get((run, step))
        self.require(digest in (None, digest_of(path)), f"the values of step {step} are others")
        if not expected.is_rewound:  # else it is cut already
            rewind_log(self._paths, step)
        lines = self._told.lines(run, step)
        found = [
            (line.pop("step"), {name: line[name] for name in line if name not in ("epoch", "time")})
            for line in read_objects(self._paths.metrics)
        ]
        steps = [at for at, _ in found]
        self.require(found == lines, f"the log has the steps {steps}, up to {step}")
        points = [at for at, metrics in lines for _ in metrics]
        found_points = points_in(self._paths.tensorboard)
        self.require(found_points == points, f"TensorBoard has the points {found_points}")


def call(*words):
    """Calls a command in this process; its exit code and what it printed."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        try:
            code = commands.main([*words])
        except UserError as error:
            code = error.exit_code
    return code, printed.getvalue()


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
    """Keeps the program's own messages off the screen."""
    log = logging.getLogger(PACKAGE)
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
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
    policy, run = chance.choice([*WORST, *drawn_policies(chance)]), chance.choice(sorted(told.arguments))
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


def mutants(number, chance):
    """For so many mistakes in the code, what each loses first."""
    chosen = dict(list(MUTANTS.items())[:number])
    with tempfile.TemporaryDirectory() as folder:
        stories = []
        for place, (mutant, scene) in enumerate(chosen.items()):
            stories.append((scene, project_with(mutant, Path(folder, f"code {place}"))))
        recordings = record(folder, stories)
        for (mutant, scene), recording in zip(chosen.items(), recordings, strict=True):
            tally = prove(Told(scene, recording), sys.maxsize, 0, chance, stop=True)
            yield mutant.mistake, next(iter(tally.losses), None)


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n\n    ")[0],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--points", type=int, default=1000, help="at how many operations to cut")
    parser.add_argument("--resumed", type=int, default=20, help="how often to train on, besides")
    parser.add_argument("--seed", type=int, default=7, help="of what is drawn by chance")
    parser.add_argument("--mutants", action="store_true", help="break the code instead: see what is found")
    options = parser.parse_args(arguments)
    chance = random.Random(options.seed)
    began = time.monotonic()
    if options.mutants:
        found = dict(print_each(mutants(len(MUTANTS), chance)))
        missed = [mistake for mistake, loss in found.items() if loss is None]
        print(f"{len(found) - len(missed)} of {len(found)} mistakes were found.")
        return 1 if missed else 0
    with tempfile.TemporaryDirectory() as folder:
        recordings = record(folder, [(scene, PROJECT) for scene in SCENES])
    stories = [Told(*both) for both in zip(SCENES, recordings, strict=True)]
    total = sum(len(told.operations) for told in stories)
    tally = Tally()
    for told in stories:
        count = len(told.operations)
        prove(told, 0, min(count, -(-options.points * count // total)), chance, tally)
        print(f"{told.scene}: {count} operations, {len(told.reports)} reports", flush=True)
    for _ in range(options.resumed):
        tally.losses += resume(chance.choice(stories), chance)
    print(
        f"{total} operations, cut at {tally.points} points into {tally.states} states "
        f"({', '.join(f'{count} {model}' for model, count in sorted(tally.models.items()))}), "
        f"of which {tally.judged} runs were different; {options.resumed} were trained on. "
        f"Seed {options.seed}, {time.monotonic() - began:.0f} s."
    )
    print("\n".join(tally.losses[:50]) or "Nothing was lost.")
    return 1 if tally.losses else 0


def print_each(found):
    """Prints pairs as they come, and gives them."""
    for mistake, loss in found:
        print(f"{mistake}\n    {loss or 'NOT FOUND'}", flush=True)
        yield mistake, loss


if __name__ == "__main__":
    sys.exit(main())
