"""Holds the lock of a run until it is killed: `python holder.py ROOT`."""

import signal
import sys

from {{ cookiecutter.package_name }}.paths import Paths
from {{ cookiecutter.package_name }}.session import RunLock

if __name__ == "__main__":
    with RunLock(Paths(sys.argv[1])):
        print("locked", flush=True)
        signal.pause()
