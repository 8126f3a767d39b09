"""Makes system calls fail, one after the other, and looks whether anything was lost.

    python -m <package>.durable.tests.failing_calls --calls 1000 --seed 7

Each call on the files of a run that a start, a resume (with its saves, prunes and copies of the
best) or a rewind makes is a point. At a point one call fails, or it and all that come after it: a
disk that fails, is full, refuses, has no free handles, is interrupted, or reads and writes less
than it was asked for. Then the disk is well again, and the run goes on to its end. It must have
told the failure in a line, and end as a run that nothing ever happened to.
"""

import argparse
import ctypes
import errno
import gc
import importlib
import itertools
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

from .helpers import end_with_parent
from .mutants import Mutant, project_with

SOURCE = Path(__file__).with_suffix(".c")
LIBRARY = "FAILING_CALLS"  # the variable that names what was made of it
SHORT = 0  # no error: a read or a write of less than was asked for
ERRORS = (errno.EIO, errno.ENOSPC, errno.EACCES, errno.EMFILE, errno.EINTR, SHORT)
NEVER = 1 << 40  # the number of a call that is never made
SETTINGS = [
    *["--save-every", "1", "--log-every", "1", "--max-to-keep", "2", "--model.hidden", "8"],
    *["--best-metric", "loss", "--best-mode", "min", "--optimizer.learning-rate", "0.01"],
]
PINNED, BEGUN, REWOUND_FROM, LAST = 1, 3, 4, 6


class Scenario(NamedTuple):
    """What is done while calls fail."""

    name: str
    base: str | None
    command: tuple


SCENARIOS = (
    Scenario("start", None, ("train", "--max-steps", "2")),
    Scenario("resume", "begun", ("train", "--max-steps", "5")),
    Scenario("rewind", "longer", ("rewind", "2")),
)


# What each would let be lost; see `mutants.py`.
MUTANTS = (
    Mutant(
        "what cannot be looked at counts as missing",
        "files.py",
        "with suppress(FileNotFoundError, NotADirectoryError):",
        "with suppress(OSError):",
    ),
    Mutant(
        "a folder that cannot be read counts as empty",
        "files.py",
        "    with suppress(FileNotFoundError):\n        return sorted(os",
        "    with suppress(OSError):\n        return sorted(os",
    ),
    Mutant(
        "half a line stays in a log",
        "files.py",
        "            os.truncate(path, before)\n",
        "            pass\n",
    ),
    Mutant(
        "what failed once is not read again",
        "checkpoint/bundle.py",
        "        mend(checkpoint)\n        require_readable(checkpoint)\n",
        "        raise damage_from(checkpoint, ValueError()) from None\n",
    ),
    Mutant(
        "what cannot be read is damaged",
        "checkpoint/bundle.py",
        "        raise UnreadableCheckpoint(checkpoint, error) from error\n\n\ndef attempt",
        "        raise DamagedCheckpoint(checkpoint, str(error)) from error\n\n\ndef attempt",
    ),
    Mutant(
        "a checkpoint that is moved is removed first",
        "checkpoint/bundle.py",
        "    target = copy(checkpoint, directory)\n    if is_pinned",
        "    index_file(checkpoint).rename(index_file(directory / checkpoint.name))\n"
        "    target = copy(checkpoint, directory)\n    if is_pinned",
    ),
    Mutant(
        "what cannot be tidied up is a failed save",
        "checkpoint/directory.py",
        "            self.is_tidy = False\n",
        "            raise\n",
    ),
    Mutant(
        "points that could not be written are forgotten",
        "run/log.py",
        "            return\n        self._waiting.seek(0)",
        "        self._waiting.seek(0)",
    ),
    Mutant(
        "curves that cannot be written end in an error",
        "run/log.py",
        "        except storage_errors(self._path) as error:\n            log.warning(\n",
        "        except IndexError as error:\n            log.warning(\n",
    ),
    Mutant(
        "what the system refuses ends in a traceback",
        "run/session.py",
        "        if not isinstance(error, (UserError, *access_errors())):\n",
        "        if not isinstance(error, UserError):\n",
    ),
    Mutant(
        "a lock that fails is a lock of another process",
        "run/session.py",
        "        except Timeout:\n            raise RunLocked",
        "        except (Timeout, OSError):\n            raise RunLocked",
    ),
    Mutant(
        "what a rewind that failed has left stays",
        "run/rewind.py",
        "            Directory(folder).sweep()\n",
        "            pass\n",
    ),
    Mutant(
        "a save that fails is reported as a save",
        "checkpoint/saver.py",
        "            bundle.clear_unfinished(path)\n        raise\n",
        "            bundle.clear_unfinished(path)\n",
    ),
)


class Call(NamedTuple):
    """A system call that a scenario makes.

    Attributes:
        number: its place among those of the scenario.
        kind: what it does, as the library has it.
        by_path: whether it is given a path.
    """

    number: int
    name: str
    kind: int
    by_path: bool
    path: str


class Point(NamedTuple):
    """What fails."""

    scenario: Scenario
    call: Call
    error: int
    for_ever: bool

    def __str__(self):
        error = errno.errorcode.get(self.error, "SHORT")
        times = "for ever" if self.for_ever else "once"
        return (
            f"{self.scenario.name}: call {self.call.number}, {self.call.name}({self.call.path}): "
            f"{error} {times}"
        )


def compiled(folder):
    """Makes the library in a folder; None where there is no compiler, or another system."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        return None
    library = Path(folder) / "failing_calls.so"
    command = [compiler, "-O1", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"]
    subprocess.run(command, check=True)
    return library


@cache
def library():
    """The library that is preloaded into this process."""
    return ctypes.CDLL(os.environ[LIBRARY])


@contextmanager
def failing(root, first, last, error, record=-1):
    """Makes the calls on paths below a root fail, from one number to another."""
    library().arm(os.fsencode(root), ctypes.c_long(first), ctypes.c_long(last), error, record)
    try:
        yield
    finally:
        library().disarm()


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    output: str
    errors: str


class Program:
    """The program of the tests in this process: what no file has a part in is made once.

    Attributes:
        saved: the steps that were reported as saved since this was emptied last.
    """

    def __init__(self, folder):
        # Not before the processes are made: TensorFlow does not outlive a fork once it has run.
        from ..run import start  # noqa: PLC0415
        from . import helpers  # noqa: PLC0415
        from .program import commands, training  # noqa: PLC0415

        self.folder, self.helpers, self.saved = folder, helpers, []
        self._commands, self._training = commands, training
        self._parse = cache(training.parse_settings)
        self._made = Made(training)
        manager, saved = training.CheckpointManager, self.saved

        class Manager(manager):
            def save(self, *arguments, **settings):
                path = super().save(*arguments, **settings)
                saved.extend([] if path is None else [int(path.rpartition("-")[2])])
                return path

        training.CheckpointManager = Manager
        start.version_of_code = dict  # it would start processes

    def _train(self, arguments, root):
        config = self._parse(self._training.Config, (*SETTINGS, *arguments))
        self._training.parse_settings = lambda *_: replace(config, root=str(root))
        return self._training.main(experiment_class=self._made.experiment)

    def run(self, root, command, *arguments, **failure):
        """Runs a command to its end, and gives how it ended."""
        arguments = tuple(map(str, arguments))
        if command == "train":
            main = partial(self._train, arguments, root)
        else:
            main = partial(self._commands.main, [command, *arguments, "--root", str(root)])
        failure = {"first": NEVER, "last": NEVER, "error": SHORT} | failure
        with captured(self.folder) as printed, failing(root, **failure):
            code = exit_code_of(main)
        end_locks(root)
        return Ended(code, *(path.read_text(errors="replace") for path in printed))


class Made:
    """The data, the state and the step of a program, made once; each start sees a new state."""

    def __init__(self, training):
        from . import helpers  # noqa: PLC0415

        config = training.parse_settings(training.Config, [*SETTINGS, "--max-steps", str(LAST)])
        training.tf.keras.utils.set_random_seed(config.seed)
        data = training.Experiment(config).data()
        batches = list(data.batches(config.seed, 0, LAST))
        task = training.Experiment(config).task(data)
        state = training.TrainState(task, data.element_spec, [], config)
        data.batches = lambda _seed, start, stop: iter(batches[start:stop])
        first = [(variable, variable.read_value()) for variable in helpers.variables_of(state)]

        @training.tf.function
        def step(batch):
            outputs, loss = task.step(batch)
            state.update_means(batch, outputs, loss)
            state.step.assign_add(1)

        def new_state(*_):
            for variable, value in first:
                variable.assign(value)
            return state

        def train_steps(remaining, count):
            for _ in range(int(count)):
                step(next(remaining))

        class Experiment(training.Experiment):
            def data(self):
                return data

            def task(self, _data):
                return task

        self.experiment = Experiment
        training.TrainState = new_state
        training.build_train_steps = lambda *_: train_steps
        training.Validation = lambda *_: SimpleNamespace(
            taken=state.step
        )  # never called: no epoch ends


def end_locks(root):
    """Lets go of the locks below a folder, as the end of a process would."""
    gc.collect()
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the listing's own
            if str(entry.readlink()).startswith(f"{root}/runs/default/train.lock"):
                os.close(int(entry.name))


def exit_code_of(main):
    """Runs what a process would, and gives the exit code that it would have."""
    from ..run.session import run_main  # noqa: PLC0415

    try:
        run_main(main)
    except SystemExit as ended:
        return ended.code
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


@contextmanager
def captured(folder):
    """Puts what this process and its libraries print into two files, which it gives."""
    paths = [folder / "output", folder / "errors"]
    kept = [os.dup(1), os.dup(2)]
    sys.stdout.flush()
    for number, path in enumerate(paths, start=1):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
        os.close(file)
    try:
        yield paths
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, descriptor in enumerate(kept, start=1):
            os.dup2(descriptor, number)
            os.close(descriptor)


class Loss(AssertionError):
    """Something was lost, or was not told as it should be."""


def require(truth, text, *ended):
    """Raises Loss where something is not true."""
    if not truth:
        printed = "".join(f"\n{one.code}\n{one.output}{one.errors}" for one in ended)
        raise Loss(f"{text}{printed}")


# Points at which something was lost before it was mended.
ONCE_LOST = re.compile(
    r"resume: call \d+, \w*stat\w*\(runs/default/checkpoints/ckpt-4_temp/ckpt-4.index\): EIO once"
    r"|resume: call \d+, fsync\(runs/default/metrics.jsonl\): EIO once"
    r"|resume: call \d+, fsync\(runs/default/tensorboard/events[^_]*\): EIO once"
    r"|resume: call \d+, open\(runs/default/checkpoints/ckpt-3.data-.*\): EIO for ever"
    r"|rewind: call \d+, fsync\(runs/default/history.jsonl_temp\): EIO for ever"
    r"|rewind: call \d+, readdir\w*\(runs/default/checkpoints\): EINTR once"
)


class Proof:
    """The scenarios, and what must hold after each failure."""

    def __init__(self, folder):
        self.folder = folder
        self.program = Program(folder)
        self._bases = {name: folder / name for name in ("straight", "begun", "longer")}
        train = self._succeed
        train("straight", "train", "--max-steps", LAST, "--max-to-keep", 99)
        for base, steps, kept in (("begun", BEGUN, 2), ("longer", REWOUND_FROM, 9)):
            train(base, "train", "--max-steps", PINNED)
            train(base, "pin", PINNED)
            train(base, "train", "--max-steps", steps, "--max-to-keep", kept)
        straight = self._bases["straight"] / "runs/default"
        self.values = {
            step: self.program.helpers.saved_values(straight / f"checkpoints/ckpt-{step}")
            for step in range(1, LAST + 1)
        }
        self.log = self.program.helpers.log_of(straight)
        self.points = self.program.helpers.points_of(straight / "tensorboard")
        gc.collect()
        gc.freeze()  # what is there now stays: it need not be looked through after each command

    def _succeed(self, base, *command):
        ended = self.program.run(self._bases[base], *command)
        require(ended.code == 0, f"{command} failed", ended)

    def calls(self, scenario):
        """Every call that a scenario makes where nothing fails."""
        trace = self.folder / "calls"
        root = self._root(scenario)
        descriptor = os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        ended = self.program.run(
            root, *scenario.command, first=NEVER, last=NEVER, error=0, record=descriptor
        )
        os.close(descriptor)
        require(ended.code == 0, f"{scenario.name} failed", ended)
        lines = [line.split(maxsplit=3) for line in trace.read_text().splitlines()]
        return [
            Call(number, name, int(kind), by_path == "1", os.path.relpath(path, root))
            for number, (name, kind, by_path, path) in enumerate(lines, start=1)
        ]

    def _root(self, scenario):
        root = self.folder / "root"
        for used in (root, self.folder / "again"):
            shutil.rmtree(used, ignore_errors=True)
        if scenario.base is None:
            root.mkdir()
        else:
            shutil.copytree(self._bases[scenario.base], root)
        return root

    def check(self, point, chance):
        """Lets calls fail, and raises Loss where anything is not as it should be."""
        root, scenario = self._root(point.scenario), point.scenario
        self.program.saved.clear()
        last = NEVER if point.for_ever else point.call.number
        ended = self.program.run(
            root, *scenario.command, first=point.call.number, last=last, error=point.error
        )
        saved = list(self.program.saved)
        # TensorFlow knows writers of events by their folder: another process has new ones.
        root = root.rename(self.folder / "again")
        run = root / "runs/default"
        self._check_told(point, ended)
        self._check_kept(point, run, saved, ended)
        again = []
        if scenario.name == "rewind" and chance.random() < 0.5:
            again.append(self.program.run(root, "rewind", 2))
            require(again[-1].code == 0, "it cannot be rewound again", ended, *again)
        again.append(self.program.run(root, "train", "--max-steps", LAST))
        require(again[-1].code == 0, "it cannot be resumed", ended, *again)
        self._check_end(point, run, saved, ended, again)

    def _check_told(self, point, ended):
        require("Traceback" not in ended.errors, "a traceback", ended)
        require("Exception ignored" not in ended.errors, "an exception that was ignored", ended)
        require(ended.code in (0, 1, 2, 4), "an exit code that was not promised", ended)
        if ONCE_LOST.fullmatch(str(point)) and "ckpt-3.data" in point.call.path:
            require(ended.code == 4, "the newest cannot be read at present", ended)
        require(ended.code == 0 or ended.errors.strip(), "nothing was told", ended)
        require("damaged" not in ended.output + ended.errors, "called damaged", ended)
        if point.error == SHORT:
            require(ended.code == 0, "a short read or write is no error", ended)
        if point.scenario.name != "rewind" and "/tensorboard/" in point.call.path:
            is_tolerated = not point.for_ever and "_temp" not in point.call.path
            require(not is_tolerated or "Saving" not in ended.errors, "no failed save", ended)

    def _check_kept(self, point, run, saved, ended):
        """What was there before, or was reported as saved since, is there, and nothing is worse."""
        helpers, scenario = self.program.helpers, point.scenario.name
        require(not (run / "checkpoints/damaged").exists(), "set aside as damaged", ended)
        places = [run / "checkpoints", run / "checkpoints/best"]
        places += [
            *run.glob("superseded/*/checkpoints"),
            *run.glob("superseded/*/checkpoints/best"),
        ]
        found = {place: helpers.steps_in(place) for place in places}
        for place, steps in found.items():
            for step in steps:
                values = helpers.saved_values(place / f"ckpt-{step}")
                require(values == self.values[step], f"{place}/ckpt-{step} is another", ended)
        steps = {step for place, steps in found.items() if place.name != "best" for step in steps}
        if not point.for_ever:  # else what failed could not even be removed
            before = {"start": [], "resume": [PINNED, 2, BEGUN]}.get(scenario, steps)
            require(
                steps <= {*before, *saved}, f"{sorted(steps)} are there, and {saved} saved", ended
            )
        kept = {
            "start": saved[-2:],
            "resume": [PINNED, *[2, BEGUN, *saved][-2:]],
            "rewind": range(1, REWOUND_FROM + 1),
        }[scenario]
        require(steps >= set(kept), f"of {list(kept)} there are {sorted(steps)}", ended)
        if point.scenario.base:
            require((run / f"checkpoints/ckpt-{PINNED}.pinned").exists(), "no longer pinned", ended)
            best = set(itertools.chain(*(found[place] for place in places if place.name == "best")))
            require(best and max(best) >= BEGUN, f"of the best there are {best}", ended)

    def _check_end(self, point, run, saved, ended, again):
        helpers, all_ended = self.program.helpers, (ended, *again)
        newest = max([*saved, BEGUN * (point.scenario.base == "begun")], default=0)
        begins = again[-1].output.partition("Restored step ")[2].split(" ")[0]
        require(int(begins or 0) >= newest, f"{newest} was saved, not restored", *all_ended)
        pinned = [PINNED] if point.scenario.base else []
        steps = helpers.steps_in(run / "checkpoints")
        require(steps == [*pinned, LAST - 1, LAST], f"at the end there are {steps}", *all_ended)
        for place in ("", "best/"):
            values = helpers.saved_values(run / f"checkpoints/{place}ckpt-{LAST}")
            require(values == self.values[LAST], f"{place}ckpt-{LAST} is another", *all_ended)
        require(helpers.steps_in(run / "checkpoints/best") == [LAST], "the best", *all_ended)
        require(helpers.log_of(run) == self.log, "the log is another", *all_ended)
        points = helpers.points_of(run / "tensorboard")
        require(points == self.points, f"TensorBoard has {points}", *all_ended)
        left = [str(path.relative_to(run)) for path in run.rglob("*_temp*")]
        require(not left, f"left over: {left}", *all_ended)
        history = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
        require(history, "there is no history", *all_ended)


def admits(call, error):
    """Whether a call can fail with an error, as the library has it.

    Reads of an index by TensorFlow are left out: where one fails, its own reader ends the process
    by a segmentation fault (2.21), which is no more than a kill, and cannot be told in a line.
    """
    if call.name.startswith("pread") and call.path.endswith(".index") and error != SHORT:
        return False
    _, opens, reads, takes_space, syncs, _, locks, _, shortens = (1 << bit for bit in range(9))
    kinds = {
        SHORT: shortens,
        errno.ENOSPC: takes_space | syncs,
        errno.EMFILE: opens,
        errno.EINTR: opens | reads | takes_space | syncs | locks,
    }
    return call.by_path if error == errno.EACCES else bool(call.kind & kinds.get(error, -1))


def points_of(proof, seed):
    """Everything that can fail, in an order that a seed makes, after what once lost something.

    Calls that do the same to files of the same kind come one from each such group, then a second
    one from each, and so on: few points are spread over all of them.
    """
    points = [
        Point(scenario, call, error, for_ever)
        for scenario in SCENARIOS
        for call in proof.calls(scenario)
        for error in ERRORS
        if admits(call, error)
        for for_ever in ((False,) if error in (errno.EINTR, SHORT) else (False, True))
    ]
    random.Random(seed).shuffle(points)
    seen = Counter()
    turns = []
    for point in points:
        if ONCE_LOST.fullmatch(str(point)):
            turns.append(-1)
            continue
        role = re.sub(r"\d+[.\d]*|_temp.*", "", Path(point.call.path).name)
        group = (point.call.name, role)
        turns.append(seen[group])
        seen[group] += 1
    order = sorted(range(len(points)), key=turns.__getitem__)
    return [points[number] for number in order], len(seen)


def work(folder, options, number=0, jobs=1):
    """Tries the points of one of several processes; prints what is found, and gives how many."""
    folder.mkdir()
    proof = Proof(folder)
    points, groups = points_of(proof, options.seed)
    chosen = points[: options.calls][number::jobs]
    began, tried, losses = time.monotonic(), 0, 0
    for point in chosen:
        tried += 1
        try:
            proof.check(point, random.Random(str(point)))
        except Exception as loss:  # what cannot be read is lost, too
            losses += 1
            print(f"LOST {point}\n  {loss!s}", flush=True)
            if options.mutants:
                break
    seconds = time.monotonic() - began
    print(
        f"{tried} of {len(points)} points in {groups} groups, --seed {options.seed}: "
        f"{losses} losses, {seconds:.0f} s",
        flush=True,
    )
    return losses


def in_a_process(function, *arguments):
    """Begins to call a function in a process that ends with this one; gives its number."""
    process = os.fork()
    if process:
        return process
    code = 2
    try:
        end_with_parent()
        code = min(1, function(*arguments))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def ended(process):
    """Waits for a process, and gives its exit code."""
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if code < 0:
        print(f"LOST a process to signal {-code}", flush=True)
    return code


def work_with(mutant, folder, options):
    """Tries the points on code with a mistake in it."""
    package = __package__.split(".")[0]
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        del sys.modules[name]
    sys.path.insert(0, str(project_with(mutant, folder / "code")))
    program = importlib.import_module(f"{__package__}.failing_calls")
    print(f"{mutant.mistake}, in {program.__file__.partition(str(folder))[2] and mutant.file}:")
    return program.work(folder / "work", options)


def try_mutants(folder, options):
    """Tries each mistake, and gives the code to exit with: 1 where one was not found."""
    missed = []
    for number, mutant in enumerate(MUTANTS[: options.mutants]):
        own = folder / f"mutant{number}"
        own.mkdir()
        if ended(in_a_process(work_with, mutant, own, options)) != 1:
            missed.append(mutant.mistake)
        shutil.rmtree(own)
    print(f"{len(MUTANTS[: options.mutants]) - len(missed)} mistakes were found, not: {missed}")
    return 1 if missed else 0


def preload(folder):
    """Makes the library, and starts this program again with it."""
    made = compiled(folder)
    if made is None:
        sys.exit("This needs Linux and a compiler for C.")
    os.environ |= {LIBRARY: str(made), "LD_PRELOAD": str(made), "TF_CPP_MIN_LOG_LEVEL": "2"}
    # Many processes with many threads each would wait for each other.
    os.environ |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
    again = [sys.executable, "-m", __spec__.name, *sys.argv[1:]]
    os.execv(sys.executable, again)  # noqa: S606


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--calls", type=int, help="how many points to try; all by default")
    parser.add_argument("--seed", type=int, default=1, help="chooses and orders them")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes at a time")
    parser.add_argument(
        "--mutants", type=int, nargs="?", const=len(MUTANTS), default=0, metavar="N",
        help="try the code with each of N mistakes in it; all of them by default",
    )  # fmt: skip
    options = parser.parse_args()
    if LIBRARY not in os.environ:
        preload(tempfile.mkdtemp(prefix="failing_calls"))
    folder = Path(os.environ[LIBRARY]).parent
    try:
        import_module_of_tensorflow()
        if options.mutants:
            return try_mutants(folder, options)
        numbers = range(options.jobs)
        processes = [
            in_a_process(work, folder / str(number), options, number, options.jobs)
            for number in numbers
        ]
        return max(map(ended, processes), key=abs)
    finally:
        shutil.rmtree(folder)


def import_module_of_tensorflow():
    """Imports what takes long, once for all processes."""
    from ..run.session import prepare_process  # noqa: PLC0415

    prepare_process()
    from .program import commands, training  # noqa: F401, PLC0415


if __name__ == "__main__":
    sys.exit(main())
