"""Saves what does not change for a while, again and again: still.py FOLDER STEPS [KILL_AT ...].

For each number it does so in a process of its own, in FOLDER/NUMBER, which ends by SIGKILL at the
change to a file of that number; without any, it prints how many changes there are.
"""

import os
import signal
import sys

import tensorflow as tf

from ...checkpoint import unchanged
from ...checkpoint.manager import CheckpointManager

SAME = 7  # steps


class State:
    """Values that are a function of the step; the body changes with every seventh alone."""

    def __init__(self):
        self.body = [tf.Variable(tf.zeros((8, 16))) for _ in range(3)]
        self.head = tf.Variable(tf.zeros((8,)))
        self.step = tf.Variable(0, dtype=tf.int64)
        self.checkpoint = tf.train.Checkpoint(body=self.body, head=self.head, step=self.step)

    def advance(self):
        """Makes one step."""
        step = int(self.step.assign_add(1))
        self.head.assign(tf.random.stateless_normal((8,), (0, step)))
        if (step - 1) % SAME == 0:
            for number, variable in enumerate(self.body, start=1):
                variable.assign(tf.random.stateless_normal((8, 16), (number, step)))

    def values(self):
        """All of it as bytes."""
        return [variable.numpy().tobytes() for variable in (*self.body, self.head, self.step)]


def values_at(step):
    """The values of a step."""
    state = State()
    for _ in range(step):
        state.advance()
    return state.values()


def save(folder, steps):
    """Makes steps, and saves each."""
    state = State()
    manager = CheckpointManager(state.checkpoint, folder, 2)
    manager.restore_or_initialize()
    for _ in range(steps):
        state.advance()
        manager.save()


class Killer:
    """Ends the process at a change to a file below a folder."""

    def __init__(self, folder, limit):
        self.folder, self.limit, self.changes = folder, limit, 0
        sys.addaudithook(self.look)

    def look(self, event, arguments):
        changing = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate"}
        if event == "open":
            is_change = isinstance(arguments[1], str) and set(arguments[1]) & set("wa+x")
        else:
            is_change = event in changing
        if is_change and str(arguments[0]).startswith(self.folder):
            self.changes += 1
            if self.changes == self.limit:
                os.kill(os.getpid(), signal.SIGKILL)


def main(folder, steps, *limits):
    unchanged.VARIABLE_BYTES = unchanged.SHARED_BYTES = 64
    if not limits:
        killer = Killer(folder, None)
        save(folder, int(steps))
        print(killer.changes)
    for limit in limits:
        child = os.fork()  # TensorFlow is imported once, and has not run anything yet
        if not child:
            Killer(f"{folder}/{limit}", int(limit))
            save(f"{folder}/{limit}", int(steps))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(limit, -os.WTERMSIG(status) if os.WIFSIGNALED(status) else status)


if __name__ == "__main__":
    main(*sys.argv[1:])
