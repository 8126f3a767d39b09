"""Runs commands beside a trainer that saves every step, and lets trainers begin at one instant.

    python -m <package>.durable.tests.beside_a_trainer --rounds 1000 --pairs 1000 --seed 7

Retention keeps two checkpoints and the best, so that what a command has just found may be removed
before it is read. No command may call damaged or missing what was only removed, nor disturb the
trainer. Of two processes that begin to train a run at the same instant one does, and the other
ends with exit code 5.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import traceback
from pathlib import Path
from typing import NamedTuple

from .helpers import end_with_parent

SETTINGS = [
    *["--save-every", "1", "--log-every", "1", "--max-to-keep", "2", "--model.hidden", "8"],
    *["--best-metric", "accuracy", "--max-save-failures", "1"],
]
# Each command, the exit codes that it may end with, and how often it is chosen.
COMMANDS = {
    ("list",): ((0,), 3),
    ("list", "--quick"): ((0,), 2),
    ("list", "--json"): ((0,), 2),
    ("show",): ((0,), 2),
    ("show", "best"): ((0,), 2),
    ("verify", "latest"): ((0,), 3),
    ("verify", "best"): ((0,), 2),
    ("verify", "--all"): ((0,), 4),
    ("diff", "best", "latest"): ((0, 1), 3),
    ("diff", "latest", "latest"): ((0, 1), 2),
    ("pin", "latest", "--json"): ((0,), 4),
    ("pin", "best", "--json"): ((0,), 2),
    ("rewind", "latest"): ((5,), 1),
    ("report",): ((0,), 1),
    ("export", "--forms", "arrays"): ((0,), 1),
    ("evaluate", "--at", "latest"): ((0,), 1),
    ("evaluate", "--at", "best"): ((0,), 1),
}


class Ended(NamedTuple):
    """How a command ended, and what it printed."""

    code: int
    output: str
    errors: str


class Process:
    """A function in a process of its own, which ends with this one, as `run_main` runs it.

    Args:
        function: called without arguments; gives the exit code.
        folder: where what it prints is put, in files of a name.
        name: of the files.
    """

    def __init__(self, function, folder, name):
        from ..run.session import run_main  # noqa: PLC0415

        self._files = [folder / f"{name}.{stream}" for stream in ("output", "errors")]
        self.number = os.fork()
        if self.number:
            return
        code = 70  # of no command
        try:
            end_with_parent()
            for descriptor, file in enumerate(self._files, start=1):
                os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
            run_main(function)
        except SystemExit as ended:
            code = ended.code
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def end(self):
        """Waits until it has ended, and tells how."""
        code = os.waitstatus_to_exitcode(os.waitpid(self.number, 0)[1])
        return Ended(code, *(file.read_text(errors="replace") for file in self._files))


def run_beside(folder, rounds, seed):
    """Runs commands beside a trainer; gives what went wrong, and how many steps it trained."""
    from .program import commands, training  # noqa: PLC0415

    chance, losses, pins = random.Random(seed), [], set[str]()
    root = folder / "root"
    arguments = [*SETTINGS, "--root", str(root), "--max-steps"]
    require_ended(Process(lambda: training.main([*arguments, "2"]), folder, "begun"), 0)
    reading, writing = os.pipe()

    def train():
        class Log(training.MetricsLog):
            def __init__(self, *values):
                super().__init__(*values)
                os.write(writing, b".")  # it trains

        training.MetricsLog = Log
        return training.main([*arguments, str(10**9)])

    trainer = Process(train, folder, "trainer")
    os.close(writing)
    if not os.read(reading, 1):
        return [f"the trainer did not begin: {trainer.end()}"], 0
    chosen = chance.choices(list(COMMANDS), [often for _, often in COMMANDS.values()], k=rounds)
    for command in chosen:
        name, *words = ("unpin", pins.pop()) if pins and chance.random() < 0.2 else command
        codes = COMMANDS.get((name, *words), ((0,), 0))[0]
        call = [*words, "--root", str(root)]
        main = commands.evaluate if name == "evaluate" else commands.main
        given = call if name == "evaluate" else [name, *call]
        ended = Process(lambda: main(given), folder, "command").end()  # noqa: B023
        told = f"{ended.output}{ended.errors}".replace('"damaged": null', "")
        wrong = [word for word in ("Traceback", "damaged", "missing") if word in told]
        if ended.code not in codes or wrong:
            losses.append(f"{name} {' '.join(words)}: {ended.code}\n{ended.output}{ended.errors}")
        elif name == "pin":
            pins |= {json.loads(ended.output)["path"].rpartition("-")[2]}
    os.kill(trainer.number, signal.SIGTERM)
    ended = trainer.end()
    if ended.code != 143 or ended.errors.replace("Saving, and then stopping.", "").count("\n") > 1:
        losses.append(f"the trainer: {ended.code}\n{ended.output}{ended.errors}")
    folder_of_run = root / "runs/default/checkpoints"
    losses += [
        f"{pin} is gone" for pin in pins if not (folder_of_run / f"ckpt-{pin}.index").exists()
    ]
    verified = Process(
        lambda: commands.main(["verify", "--all", "--root", str(root)]), folder, "verified"
    ).end()
    if verified.code:
        losses.append(f"at the end: {verified}")
    return losses, int(ended.output.partition("Saved step ")[2].split(" ")[0] or 0)


def require_ended(process, code):
    ended = process.end()
    assert ended.code == code, ended


def run_pair(folder, number, main):
    """Lets two processes begin at one instant; gives how they ended."""
    reading, writing = os.pipe()

    def begin():
        os.close(writing)
        os.read(reading, 1)  # until the other end is closed by everyone
        return main(folder / f"pair{number}")

    both = [Process(begin, folder, name) for name in ("first", "second")]
    os.close(reading)
    os.close(writing)
    return [process.end() for process in both]


def hold_lock(root):
    """Takes the lock of a run, and lets it go at once, with nothing done."""
    from ..run.session import RunLock  # noqa: PLC0415
    from .program.experiment import Paths  # noqa: PLC0415

    with RunLock(Paths(str(root))):
        return 0


def train_two_steps(root):
    """Trains a run, which is new, to its end."""
    from .program import training  # noqa: PLC0415

    return training.main([*SETTINGS, "--root", str(root), "--max-steps", "2"])


def run_pairs(folder, pairs, trainers):
    """Lets processes begin in pairs; gives what went wrong, and how often one was refused."""
    losses, refused = [], 0
    for number in range(pairs + trainers):
        ended = run_pair(folder, number, hold_lock if number < pairs else train_two_steps)
        codes = sorted(one.code for one in ended)
        refused += codes == [0, 5]
        told = "".join(one.errors for one in ended)
        # The one may be done before the other one looks.
        if codes not in ([0, 0], [0, 5]) or told.count("\n") != codes.count(5):
            losses.append(f"pair {number}: {ended}")
    return losses, refused


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=300, help="commands beside a trainer")
    parser.add_argument("--pairs", type=int, default=1000, help="pairs that want one lock")
    parser.add_argument("--trainers", type=int, default=20, help="pairs that train one new run")
    parser.add_argument("--seed", type=int, default=1, help="chooses the commands")
    options = parser.parse_args()
    from ..run.session import prepare_process  # noqa: PLC0415

    prepare_process()
    from .program import commands, training  # noqa: F401, PLC0415

    with tempfile.TemporaryDirectory() as folder:
        losses, steps = run_beside(Path(folder), options.rounds, options.seed)
        print(f"{options.rounds} commands beside {steps} steps, --seed {options.seed}", flush=True)
        more, refused = run_pairs(Path(folder), options.pairs, options.trainers)
        print(f"{options.pairs} pairs and {options.trainers} of trainers: {refused} refused")
    for loss in [*losses, *more]:
        print(f"LOST {loss}")
    print(f"{len(losses) + len(more)} losses")
    return 1 if losses or more else 0


if __name__ == "__main__":
    sys.exit(main())
