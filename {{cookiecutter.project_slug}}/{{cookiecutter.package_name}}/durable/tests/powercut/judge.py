"""Looks whether what was reported of a run is on the disk, with the program's own code."""

import contextlib
import io
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import tensorflow as tf
from etils import epath

from ...checkpoint import bundle
from ...checkpoint.manager import CheckpointManager
from ...checkpoint.reader import condition_of
from ...errors import NoUsableCheckpoint, UserError
from ...run.command_line import parse_settings
from ...run.history import read_objects, rewind_log
from ...run.state import TrainState
from ..program import commands
from ..program.experiment import Config, Experiment
from .states import CHANGED, CUT_SHORT, Disk
from .story import SMALL, digest_of, points_in, promise_of
from .tracing import Printed, Rename, Truncate, Unlink


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
