"""`train …`, `evaluate …`, `hold ROOT`, and the commands that every project has."""

import signal
import sys

from ...run.session import RunLock, prepare_process, run_main

if __name__ == "__main__":
    prepare_process()

from . import commands, training
from .experiment import Paths


def main():
    command, *arguments = sys.argv[1:]
    if command == "train":
        return training.main(arguments)
    if command == "evaluate":
        return commands.evaluate(arguments)
    if command == "hold":
        hold(*arguments)
    return commands.main([command, *arguments])


def hold(root):
    """Holds the lock of a run until the process is killed."""
    with RunLock(Paths(root)):
        print("locked", flush=True)
        signal.pause()


if __name__ == "__main__":
    run_main(main)
