"""What two workers do together, each in a process of its own; each writes down what it saw."""

import json
import logging
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import tensorflow as tf

from ..checkpoint.manager import CheckpointManager
from ..checkpoint.workers import Workers
from ..compat import keras
from ..data.arrays import ArrayData
from ..errors import ConfigurationError, DamagedCheckpoint, UserError
from ..run.agreement import agree, own_place
from ..run.layers import ExampleDropout
from ..run.paths import RunPaths
from ..run.replicas import share_of, start_strategy
from ..run.session import RunLock, Signals
from ..run.settings import RunSettings
from .helpers import data_of, manager_of, train
from .program.experiment import digits, pipeline_of
from .replicated import Numbers, arrays_of, scaled, state_of, trained
from .tasks import images

STEPS = 6


def noisy_images():
    """Images, each with noise of its own whenever it is trained on."""

    def add_noise(example, seed):
        x, y = example
        return x + tf.random.stateless_normal(tf.shape(x), seed, stddev=0.1), y

    plain = images(76)  # of the 19 held out, the last 3 have no equal parts
    arrays = plain.training.arrays, plain.validation.arrays
    return ArrayData(*arrays, plain.batch_size, augment=add_noise)


def with_dropout():
    return Numbers([ExampleDropout(0.4, seed=3)])


def scaled_and_clipped():
    return Numbers(optimizer=scaled(keras.optimizers.Adam(0.01, global_clipnorm=0.5)))


TASKS = {"dropout": (with_dropout, noisy_images), "scaled": (scaled_and_clipped, images)}


def error_of(function):
    """The exit code and the message of the error that a function raises."""
    try:
        function()
    except UserError as error:
        return error.exit_code, str(error)
    return None


def failing(error):
    def fail(*_, **__):
        raise error

    return fail


def talk(workers):
    """What they tell each other, and how one's error is that of all."""

    def fail(index, error):
        with workers.together():
            if workers.index == index:
                raise error

    return {
        "gathered": workers.gather([workers.index, 7]).tolist(),
        "texts": workers.texts(f"I am {workers.index}: ü" if workers.index else ""),
        "told": workers.tell(f"by {workers.index}"),
        "led": workers.lead(lambda: "the chief's"),
        "error of 1": error_of(lambda: fail(1, ConfigurationError("It is wrong."))),
        "error of 0": error_of(lambda: fail(0, DamagedCheckpoint(Path("ckpt-1"), "cut"))),
    }


def decide(workers):
    """What is done where each wants something else."""
    signals, first = Signals(), workers.is_chief
    nothing = agree(workers, signals, due=not first, ended=None, chunk=5 + workers.index)
    ended = agree(workers, signals, due=False, ended=None if first else "mine", chunk=1)
    if not first:
        signals.stop = 15
    stopped = agree(workers, signals, due=False, ended=None, chunk=1)
    return [vars(agreement) for agreement in (nothing, ended, stopped)]


def places(workers, strategy, folder):
    """Where each of them writes what is no checkpoint, and what it prints."""
    paths = RunPaths(folder, "place")
    with own_place(paths, strategy) as own:
        own.folder.mkdir(parents=True)
        (own.folder / "file").write_text("written")
        print(f"printed by {workers.index}", flush=True)
        kept = own.checkpoints == paths.checkpoints
        # A process that is none of them trains the run.
        with RunLock(own) if workers.is_chief else nullcontext():
            locked = error_of(RunLock(own, workers).__enter__)
    return kept, own.folder.exists(), locked


def save_and_restore(workers, strategy, folder):
    """Goes on from what one process has saved, and saves, restores and fails to do either."""
    data = share_of(images(), strategy)
    state = state_of(Numbers, data, strategy)
    elastic = manager_of(state, folder / "elastic", strategy=strategy)
    elastic.restore_or_initialize()
    train(state, data, 4, 7, strategy)
    elastic.save()
    manager = manager_of(state, folder / "checkpoints", strategy=strategy)
    seen = {"before": manager.has_checkpoints, "none": manager.restore_or_initialize()}
    saved, path = arrays_of(state), manager.save()
    train(state, data, 7, 9, strategy)
    manager.save()
    seen["restored"] = manager.restore_or_initialize()
    if workers.is_chief:
        newest = data_of(folder / "checkpoints/ckpt-9")
        newest.write_bytes(newest.read_bytes()[:100])
    workers.gather([0])  # not before it is cut short
    seen["older"] = manager.restore_or_initialize() == path
    seen["same values"] = all(map(np.array_equal, saved, arrays_of(state)))
    state.step.assign(8)
    if not workers.is_chief:
        manager._restorer.read = failing(DamagedCheckpoint(Path("ckpt-7"), "it says"))
    seen["damaged for one"] = error_of(manager.restore_or_initialize)
    seen["kept"] = int(state.step)
    if workers.is_chief:
        manager._saver.save = failing(OSError(28, "No space left on device"))
    seen["full for one"] = error_of(manager.save)
    return seen


def misfit(workers, strategy, folder):
    """What becomes of a variable where a checkpoint fits one of them only."""
    variable = tf.Variable(tf.zeros(2))
    checkpoint = tf.train.Checkpoint(step=tf.Variable(1), variable=variable)
    CheckpointManager(checkpoint, folder / "misfit", strategy=strategy).save()
    other = tf.Variable(tf.ones(2 + workers.index))
    checkpoint = tf.train.Checkpoint(step=tf.Variable(0), variable=other)
    manager = CheckpointManager(checkpoint, folder / "misfit", strategy=strategy)
    mismatch = error_of(manager.restore_or_initialize), other.numpy().tolist()
    place = folder / ("misfit" if workers.is_chief else "a folder of its own")
    checkpoint = tf.train.Checkpoint(step=tf.Variable(0), variable=variable)
    manager = CheckpointManager(checkpoint, place, strategy=strategy)
    return *mismatch, error_of(manager.restore_or_initialize)


def threads_kept(workers):
    """How many threads are left by exchanges, such as of timeouts that are not over (on Linux)."""
    threads = Path("/proc/self/task")
    counts = []
    for _ in range(2):
        counts.append(len(list(threads.glob("*"))))
        for _ in range(100):
            workers.gather([0])
    return counts[1] - counts[0]


def main(place):
    folder = Path(place)
    logging.getLogger(__package__.partition(".")[0]).setLevel(logging.ERROR)
    strategy = start_strategy(RunSettings(strategy="multi-worker", worker_timeout="2m"))
    workers = Workers(strategy)
    digit_pipeline = pipeline_of(digits(), digits(), 32, {})
    seen = {
        "talk": talk(workers),
        "threads": threads_kept(workers),
        "decide": decide(workers),
        "places": places(workers, strategy, folder),
        "pipeline": error_of(lambda: share_of(digit_pipeline, strategy)),
        "misfit": misfit(workers, strategy, folder),
        "checkpoints": save_and_restore(workers, strategy, folder),
        "means": {},
    }
    for name, (task, data) in TASKS.items():
        values, seen["means"][name] = trained(task, data(), strategy, STEPS)
        np.savez(folder / f"{name}-{workers.index}.npz", *values)
    (folder / f"seen-{workers.index}.json").write_text(json.dumps(seen), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
