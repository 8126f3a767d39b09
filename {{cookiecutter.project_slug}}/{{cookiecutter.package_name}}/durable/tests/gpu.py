"""Checks on a GPU what no CPU can show.

    python -m <package>.durable.tests.gpu

A run that is killed and goes on ends bit for bit like one that never stopped, with --deterministic.
A save of 1 GB in the background holds the values of its step, whatever is trained meanwhile, and
takes at most one copy of the state in the memory of the host. For how long training stands still
for it is told, beside TensorFlow's own manager.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

from .helpers import finish, require_exact_after_a_kill, start

SAVES = 5
VARIABLE = 1 << 20  # numbers in each variable: 4 MB
SLACK = 50  # MB that TensorFlow may take for something else
DETERMINISTIC = ["--deterministic", "--model.name", "cnn"]


def train_to_the_end(*arguments):
    """Trains in a process of its own, which leaves the memory of the GPU to the next one."""
    code, _, errors = finish(start(*arguments))
    assert code == 0, errors
    return code


def memory(field):
    """What Linux says of the memory of this process, in MB: VmRSS now, VmHWM at its peak."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition(f"{field}:")[2].split()[0]) / 1000


def memory_from_now():
    """The memory of this process in MB, whose peak begins anew; None where that is not told."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    except OSError:
        return None
    return memory("VmRSS")


class State:
    """Variables on a device, all of which hold the number of the step."""

    def __init__(self, tf, device, megabytes):
        with tf.device(device):
            count = max(1, round(megabytes * 1e6 / 4 / VARIABLE))
            self.variables = [tf.Variable(tf.zeros((VARIABLE,))) for _ in range(count)]
        self.step = tf.Variable(0, dtype=tf.int64)
        self.checkpoint = tf.train.Checkpoint(variables=self.variables, step=self.step)
        self.size = 4 * VARIABLE * count / 1e6
        self._add_one = tf.function(
            lambda: [each.assign_add(tf.ones((VARIABLE,))) for each in self.variables]
        )

    def train(self):
        self._add_one()
        self.step.assign_add(1)


def still_for(manager, state, finish_saving=lambda: None):
    """For how many seconds training stands still for a save, at the median."""
    taken = []
    for _ in range(SAVES + 1):
        state.train()
        state.variables[-1][0].numpy()  # an accelerator is done with it
        os.sync()
        began = perf_counter()
        manager.save()
        taken.append(perf_counter() - began)
        finish_saving()
    return median(taken[1:])  # the first save prepares the others


def check_saves(device, megabytes, folder):
    """Saves in the background while all is changed; gives what to tell."""
    import tensorflow as tf  # noqa: PLC0415

    from ..checkpoint.manager import CheckpointManager  # noqa: PLC0415

    def prepare(name, size):
        state = State(tf, device, size)
        manager = CheckpointManager(state.checkpoint, folder / name, 2, background=True)
        return state, manager, still_for(manager, state, manager.finish)

    prepare("first", 1)  # a device takes memory of its own when it is first used
    before = memory_from_now()  # and what a process has had may stay with it: not after a save
    state, manager, still = prepare("ours", megabytes)
    paths = {}
    for _ in range(2):  # the second one waits for the first, and must not copy before
        state.train()
        paths[int(state.step)] = manager.save()
        state.train()
    manager.finish()
    held = state.size if "CPU" in device else 0  # by the variables themselves
    copied = None if before is None else memory("VmHWM") - before - held
    for step, path in paths.items():
        reader = tf.train.load_checkpoint(path)
        for number in range(len(state.variables)):
            value = reader.get_tensor(f"variables/{number}/.ATTRIBUTES/VARIABLE_VALUE")
            assert (value == step).all(), f"{path} does not hold the state of step {step}."
    stock = tf.train.CheckpointManager(state.checkpoint, str(folder / "stock"), 2)
    usual = still_for(stock, state)
    yield (
        f"A save of {state.size:.0f} MB in the background: training stands still for "
        f"{1000 * still:.0f} ms, and for {1000 * usual:.0f} ms with TensorFlow's manager "
        f"({usual / still:.0f} times as long)."
    )
    if copied is not None:
        times, limit = copied / state.size, 1.75 * state.size + SLACK  # of memory in large pieces
        yield f"It takes at most {copied:.0f} MB of the host's memory, {times:.2f} times the state."
        assert copied <= limit, f"That is more than one copy of the state ({limit:.0f} MB)."


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--device", default="GPU", help="CPU, to try the program itself")
    parser.add_argument("--megabytes", type=int, default=1000, help="the size of the state")
    options = parser.parse_args(arguments)
    from ..run.session import prepare_process  # noqa: PLC0415

    prepare_process()
    import tensorflow as tf  # noqa: PLC0415

    if not tf.config.list_physical_devices(options.device):
        print(f"No {options.device} was found: nothing was checked.")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        require_exact_after_a_kill(Path(folder), train_to_the_end, *DETERMINISTIC)
        print(
            "Killed and resumed, a run ended bit for bit like one that never stopped.", flush=True
        )
        for line in check_saves(f"{options.device}:0", options.megabytes, Path(folder)):
            print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
