"""Runs that see everything a run can: story SCENE ROOT. What is done is printed, as JSON.

Each line tells what has begun, what was logged, or what is done, with all that must hold from then
on, whatever happens to the disk: the proof of power cuts reads them.
"""

import contextlib
import hashlib
import json
import os
import struct
import sys

import tensorflow as tf
from google.protobuf.message import DecodeError

from ...checkpoint import bundle, saver, unchanged
from ...checkpoint.retention import card_if_any
from ...files import TEMPORARY
from ...run import log as run_log
from ...run.history import read_history, read_objects
from ...run.references import newest_step
from ...run.settings import read_settings
from ..helpers import saved_values
from ..program import commands, training
from ..program.experiment import Paths

METRIC = "val_accuracy"
# Five steps are an epoch, and each is saved; the log has a line every two.
SMALL = [
    *("--data.batch-size", "256", "--model.hidden", "8"),
    *("--log-every", "2", "--max-to-keep", "2"),
]


class Crash(Exception):
    """Ends training at once, without a save."""


def promise_of(paths):
    """What is in a run, and must be from now on, whatever happens to the disk."""
    checkpoints, best = map(bundle.find_checkpoints, (paths.checkpoints, paths.best))
    cards = filter(None, map(card_if_any, best))
    return {
        "newest": newest_step(paths),
        "kept": sorted({bundle.step_of(path) for path in [*checkpoints, *best]}),
        "pins": [bundle.step_of(path) for path in checkpoints if bundle.is_pinned(path)],
        "best": max((card.metrics[METRIC] for card in cards), default=None),
        "history": [[event["event"], event["step"]] for event in read_history(paths)],
        "config": bool(read_settings(paths.config)),
        "aside": {
            folder.name: set_aside_in(paths.superseded_at(folder.name))
            for folder in sorted(paths.superseded.glob("*"))
        },
        "evaluations": digests_in(paths.folder / "evaluations"),
        "exports": digests_in(paths.exports),
    }


def digests_in(folder):
    """The files in the folders of a folder, and a name for the content of each."""
    files = [file for file in sorted(folder.glob("*/*")) if file.is_file()]
    return {str(file.relative_to(folder)): digest(file.read_bytes()) for file in files}


def digest(content):
    """A name for bytes."""
    return hashlib.sha256(content).hexdigest()[:16]


def set_aside_in(aside):
    """What a rewind has set aside: checkpoints, lines and points."""
    checkpoints = bundle.find_checkpoints(aside.checkpoints)
    return {
        "steps": [bundle.step_of(path) for path in checkpoints],
        "lines": [line["step"] for line in read_objects(aside.metrics)],
        "points": points_in(aside.tensorboard),
    }


def points_in(tensorboard):
    """The steps of the points of all curves, up to where a file was cut short."""
    steps = []
    for file in sorted(tensorboard.glob("events*")):
        if not file.name.endswith(TEMPORARY):
            with contextlib.suppress(struct.error, DecodeError):
                for record in records_in(file.read_bytes()):
                    event = tf.compat.v1.Event.FromString(record)
                    steps += [event.step] if event.HasField("summary") else []
    return sorted(steps)


def records_in(content):
    """The records of a TFRecord file; the program itself has looked at their checksums."""
    place = 0
    while place < len(content):
        (length,) = struct.unpack_from("<Q", content, place)
        yield content[place + 12 : place + 12 + length]
        place += 16 + length


def digest_of(checkpoint):
    """A name for all values in a checkpoint."""
    return digest(repr(sorted(saved_values(checkpoint).items())).encode())


class Story:
    """Tells what the program does in a root."""

    def __init__(self, root):
        self.root = root
        self.crash_at = None
        self._write_checkpoint = saver.write
        self._write_line = run_log.MetricsLog.write
        saver.write = self.write_checkpoint

        def write_line(log, *line, **how):
            self.write_line(log, *line, **how)

        run_log.MetricsLog.write = write_line

    def tell(self, **what):
        """Prints what has happened, by one system call."""
        os.write(1, (json.dumps({"root": self.root, **what}) + "\n").encode())

    def write_checkpoint(self, snapshot, path, card, afterwards):
        paths = Paths(self.root, path.parent.parent.name)
        self.tell(begun="save", run=paths.run, step=card.step)
        self._write_checkpoint(snapshot, path, card, afterwards)
        saved = {"step": card.step, "digest": digest_of(path)}
        self.tell(done="save", run=paths.run, promise=promise_of(paths), **saved)

    def write_line(self, log, step, epoch, metrics, **how):
        self._write_line(log, step, epoch, metrics, **how)
        run = log._path.parent.name
        self.tell(logged=step, run=run, metrics=metrics)
        if self.crash_at == step:
            self.crash_at = None
            raise Crash

    def train(self, run, steps, *arguments, crash_at=None):
        """Trains a run up to a step."""
        self.tell(begun="train", run=run, arguments=[*SMALL, *arguments])
        self.crash_at = crash_at
        given = ["--root", self.root, "--run", run, "--max-steps", str(steps), *SMALL, *arguments]
        with contextlib.suppress(Crash):
            assert training.main(given) == 0
        self.tell(done="train", run=run, promise=promise_of(Paths(self.root, run)))

    def command(self, run, *words, of=None, main=commands.main, **about):
        """Calls a command that changes a run; `of` is the one that it names."""
        self.tell(begun=words[0], run=run, **about)
        assert main([*words, "--run", of or run, "--root", self.root]) == 0
        self.tell(done=words[0], run=run, promise=promise_of(Paths(self.root, run)))

    def put_the_clock_back(self, run):
        """Names TensorBoard's files as if the clock had been ahead when they were begun."""
        for file in Paths(self.root, run).tensorboard.glob("events*"):
            file.rename(file.parent / file.name.replace(".tfevents.1", ".tfevents.9"))

    def beginning(self):
        """A first save, and a pin."""
        self.train("a", 5)
        self.command("a", "pin", "5")

    def training(self):
        """Saves, prunes, best copies, a crash, a pin and a resume."""
        self.train("a", 15, crash_at=14)
        self.put_the_clock_back("a")
        self.command("a", "pin", "5")
        self.train("a", 20)
        self.command("a", "unpin", "5")

    def rewinding(self):
        """A rewind past the best and a pin, and training that goes on from there."""
        self.train("w", 15, "--max-to-keep", "10")
        self.command("w", "pin", "15")
        self.command("w", "rewind", "5", step=5)
        self.train("w", 10)

    def deriving(self):
        """An export, a fork, an average, an import."""
        self.train("p", 10, "--save-mode", "background")
        self.command("p", "export", "latest", "--saver")
        self.train("f", 15, "--fork-from", "p@10", "--seed", "1")
        average = ["--average", "2", "--save-as", "v"]
        self.command("v", *average, of="p", main=commands.evaluate)
        self.tell(done="evaluate", run="p", promise=promise_of(Paths(self.root, "p")))
        source = str(Paths(self.root, "p").checkpoints / "ckpt-10")
        self.command("i", "import", source, "--model.hidden", "8", "--data.batch-size", "256")

    def sharing(self):
        """Shards that checkpoints share; a rewind and a fork take them along."""
        frozen = ["--model.frozen", "--data.noise", "0.1", "--max-to-keep", "3"]
        self.train("s", 30, *frozen)
        self.command("s", "rewind", "25", step=25)
        self.train("s", 30, *frozen)
        self.train("t", 35, *frozen, "--fork-from", "s@30")


SCENES = ("training", "rewinding", "deriving", "sharing")


def main(scene, root):
    unchanged.VARIABLE_BYTES = unchanged.SHARED_BYTES = 64
    getattr(Story(root), scene)()


if __name__ == "__main__":
    main(*sys.argv[1:])
