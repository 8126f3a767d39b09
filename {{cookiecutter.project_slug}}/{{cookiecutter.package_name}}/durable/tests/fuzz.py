"""Hostile files and texts: each has its line and its exit code, soon and in little memory.

    python -m <package>.durable.tests.fuzz --examples 5000 --seed 7

Cards, logs, settings and other texts are made by a grammar, and files by changes to honest ones;
files that have once done harm are given to whole commands. All of it happens in child processes,
which have limits and are forked from one that has imported TensorFlow, so that each begins at once.
"""

import argparse
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ..run import session
from . import fuzz_commands, fuzz_parts
from .mutants import Mutant, project_with

MORE_MEMORY = 200 << 20  # bytes, than with an honest file
MORE_TIME = 2  # seconds of computing, than with an honest file
FEW = 6  # hostile files, of which the short form calls commands
LONGEST_LINE, MOST_TEXT = 5_000, 100_000  # letters printed
RESERVED = 8 << 30  # bytes of addresses, which threads take without using them
CARD, UNTRUSTED = "checkpoint/card.py", "untrusted.py"
KERAS = "convert/keras_file.py"
# What acts on a terminal.
CONTROL = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f]")


class Outcome(NamedTuple):
    """How a child ended: its exit code, or the signal below zero, and what it printed and took."""

    code: int
    output: str
    errors: str
    seconds: float
    memory: int


def in_child(work, folder, seconds):
    """Calls something in a child process with limits, in a folder that is then its own."""
    child = os.fork()
    if not child:
        os.chdir(folder)
        for name, number in (("output", 1), ("errors", 2)):
            os.dup2(os.open(f"{folder}.{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        used = (
            int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
            * resource.getpagesize()
        )
        resource.setrlimit(resource.RLIMIT_AS, (used + RESERVED,) * 2)
        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, int(seconds) + 5))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.alarm(fuzz_parts.HANGS)
        os._exit(exit_code_of(work))
    _, status, usage = os.wait4(child, 0)
    output, errors = (
        Path(f"{folder}.{name}").read_text(encoding="utf-8", errors="replace")
        for name in ("output", "errors")
    )
    code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    return Outcome(code, output, errors, usage.ru_utime + usage.ru_stime, usage.ru_maxrss << 10)


def exit_code_of(work):
    """What a program that does this ends with."""
    try:
        work()
    except SystemExit as error:
        sys.stdout.flush()
        sys.stderr.flush()
        return error.code or 0
    except BaseException:
        traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        return 1
    sys.stdout.flush()
    return 0


def problem_with(case, outcome, honest):
    """What is wrong with how a command ended that was given something hostile; None if nothing."""
    text = outcome.output + outcome.errors
    longest = max(map(len, text.splitlines()), default=0)
    taken = f"{outcome.memory >> 20} MB, {outcome.seconds:.1f} s"
    usual = f"{honest.memory >> 20} MB, {honest.seconds:.1f} s"
    problems = {
        f"ended by signal {-outcome.code}, after {taken}": outcome.code < 0,
        "a traceback": "Traceback (most recent" in text,
        f"exit code {outcome.code}, not {sorted(case.codes)}": outcome.code not in case.codes,
        "characters that act on a terminal": CONTROL.search(text),
        "too much is printed": longest > LONGEST_LINE or len(text) > MOST_TEXT,
        f"{taken}; with an honest file {usual}": outcome.memory > honest.memory + MORE_MEMORY
        or outcome.seconds > honest.seconds + MORE_TIME,
    }
    return next((problem for problem, is_there in problems.items() if is_there), None)


class Fuzzer:
    """Runs examples and gathers what is wrong.

    Args:
        folder: a new one, to work in.
        seed: of what is chosen.
    """

    def __init__(self, folder, seed):
        self.home = Path(folder) / "home"
        self.home.mkdir()
        self._folder = Path(folder)
        self._seed = seed
        self._count = 0
        self.failures = []
        prepared = in_child(lambda: fuzz_commands.prepare(self.home), self.home, 120)
        if prepared.code:
            raise SystemExit(f"Nothing could be prepared:\n{prepared.errors}")

    def run_commands(self, names=None):
        """Gives each hostile file to its commands; returns how many were run."""
        cases = [case for case in fuzz_commands.cases() if names is None or case.name in names]
        honest = {}
        for case in cases:
            key = tuple(case.command)
            if key not in honest:
                honest[key] = self._call(case, lambda _folder: None, 60)
            hostile = self._call(case, case.arrange, honest[key].seconds + MORE_TIME)
            problem = problem_with(case, hostile, honest[key])
            if problem:
                told = (hostile.errors or hostile.output)[-600:]
                self.failures.append(f"{case.name}: {' '.join(case.command)}: {problem}\n{told}")
        return len(cases)

    def _call(self, case, arrange, seconds):
        self._count += 1
        folder = self._folder / f"{self._count}"
        shutil.copytree(self.home, folder)
        try:
            arranged = in_child(lambda: arrange(folder), folder, 60)  # it may take memory
            assert arranged.code == 0, arranged.errors
            work = partial(session.run_main, lambda: fuzz_commands.call(case.command))
            return in_child(work, folder, seconds + 3)
        finally:
            shutil.rmtree(folder)

    def run_parts(self, examples, names=None):
        """Gives parts of the code many examples each; returns how many were tried."""
        tried = 0
        for name, part in fuzz_parts.PARTS.items():
            if names is not None and name not in names:
                continue
            folder = self._folder / f"part {name}"
            shutil.copytree(self.home, folder)
            limit = 60 + examples  # seconds; it is the single example that is measured
            outcome = in_child(lambda part=part: part(self._seed, examples), folder, limit)
            counted = folder / "tried"
            count = int(counted.read_text()) if counted.exists() else 0
            tried += count
            print(f"{name}: {count} examples, {outcome.seconds:.1f} s", flush=True)
            if outcome.code or (folder / "code was run").exists():
                last = folder / "example"
                example = last.read_bytes()[:300] if last.exists() else b""
                told = outcome.errors[-1500:]
                self.failures.append(f"{name}: code {outcome.code} with {example!r}\n{told}")
            shutil.rmtree(folder)
        return tried


# A mistake, and the part of the short form that finds it.
MUTANTS = (
    (
        Mutant("any metrics", UNTRUSTED, '"metrics": {ANY: NUMBER}', '"metrics": dict'),
        "card",
    ),
    (Mutant("shards of any name", UNTRUSTED, "Maybe([SHARD])", "Maybe([str])"), "card"),
    (Mutant("times without a zone", UNTRUSTED, ".tzinfo is not None", " is not None"), "card"),
    (Mutant("variables of any size", CARD, ">= FARTHEST", "< 0"), "card"),
    (Mutant("any type", CARD, 'known_type(entry["dtype"])', 'entry["dtype"]'), "card"),
    (Mutant("numbers of any size", UNTRUSTED, ", parse_int=parse_whole", ""), "log"),
    (Mutant("any depth", UNTRUSTED, "    require_shallow(value)\n", ""), "card"),
    (Mutant("no escapes", "cli/console.py", "printable(text), style", "text, style"), "card"),
    (Mutant("steps of any length", "checkpoint/bundle.py", "{1,19}", "+"), "state"),
    (
        Mutant("events of any kind", "run/history.py", "if fits(entry, EVENT)", "if entry"),
        "history",
    ),
    (
        Mutant("any .npz", "data/arrays.py", "            require_plausible(", "            ("),
        "arrays",
    ),
    (Mutant("pickles", "data/arrays.py", "allow_pickle=False", "allow_pickle=True"), "arrays"),
    (
        Mutant("any image", "data/images.py", "            require_plausible(", "            ("),
        "images",
    ),
    (Mutant("records of any length", "data/records.py", ".take(len(told))", ""), "records"),
    (
        Mutant("any index", "data/records.py", "if is_possible(index, stamps[:, 0])", "if index"),
        "index of records",
    ),
    (
        Mutant("any archive", KERAS, "require_plausible(size, len(content), WEIGHTS)", "..."),
        "weights",
    ),
    (
        Mutant("any weights", KERAS, 'require_plausible(size, self._stored, "its arrays")', "..."),
        "weights",
    ),
    (
        Mutant("any names", KERAS, "if name not in self.specs]", "if not name]"),
        "weights: weights that are not there",
    ),
    (Mutant("pipes", UNTRUSTED, "if not stat.S_ISREG(mode)", "if False"), "pipe to import"),
    (
        Mutant(
            "another step",
            CARD,
            "is not None and np.asarray(counted).tolist() != card.step",
            "is ...",
        ),
        "another step",
    ),
    (Mutant("any model", "run/rebuild.py", " or size > largest", ""), "a model of 1 GB"),
    (
        Mutant(
            "formulas",
            "report/drawing.py",
            "size=11, parse_math=False)\n    axes.grid",
            "size=11)\n    axes.grid",
        ),
        "metrics with odd names",
    ),
)


def run_with(mutant, part, *arguments):
    """Runs one part of the short form on the code with a mistake: its exit code, and its output."""
    with tempfile.TemporaryDirectory() as folder:
        path = project_with(mutant, Path(folder) / "project")
        process = subprocess.run(
            [sys.executable, "-m", __spec__.name, "--only", part, *arguments],
            env=os.environ | {"PYTHONPATH": str(path)},
            cwd=path,
            capture_output=True,
            text=True,
            check=False,
        )
    return process.returncode, process.stdout + process.stderr


def run_mutants(mistakes):
    """Runs what is to find each mistake, of some or all; returns how many were not found."""
    missed = 0
    chosen = [pair for pair in MUTANTS if not mistakes or pair[0].mistake in mistakes]
    for mutant, part in chosen:
        code, output = run_with(mutant, part)
        found = code == 1 and "Wrong: " in output
        missed += not found
        print(f"{mutant.mistake}: {'found' if found else 'MISSED'} by {part}", flush=True)
        if not found:
            print(output[-2000:])
    print(f"{len(chosen) - missed} of {len(chosen)} mistakes were found.")
    return missed


def run(examples, seed, only, every):
    """Runs parts and commands; returns how many went wrong.

    Args:
        examples: to give each part.
        seed: of what is chosen.
        only: the parts and cases to run, by name; None runs all.
        every: whether all commands are run; else some, which the seed chooses.
    """
    with tempfile.TemporaryDirectory() as folder:
        fuzzer = Fuzzer(folder, seed)
        tried = fuzzer.run_parts(examples, only)
        names = [case.name for case in fuzz_commands.cases()]
        if only is None and not every:
            names = random.Random(seed).sample(names, FEW)
        called = fuzzer.run_commands(names if only is None else only)
    for failure in fuzzer.failures:
        print(f"Wrong: {failure}\n", flush=True)
    print(f"{tried} examples and {called} commands with seed {seed}: {len(fuzzer.failures)} wrong.")
    return len(fuzzer.failures)


def main():
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--examples", type=int, default=30, help="to give each part of the code")
    parser.add_argument("--seed", type=int, default=0, help="of what is chosen")
    parser.add_argument("--only", nargs="+", help="run these parts and hostile files alone")
    parser.add_argument("--all", action="store_true", help="call all commands, and not only some")
    parser.add_argument(
        "--mutants", nargs="*", help="find mistakes that are put into the code, these or all"
    )
    given = parser.parse_args()
    if given.mutants is not None:
        sys.exit(run_mutants(given.mutants) > 0)
    sys.exit(run(given.examples, given.seed, given.only, given.all) > 0)


if __name__ == "__main__":
    main()
