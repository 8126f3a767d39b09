"""System calls that fail, in a start, a resume, a save, a prune and a rewind: nothing is lost."""

import shutil
import sys

import pytest

from .helpers import run_module

PROGRAM = f"{__package__}.failing_calls"

if not sys.platform.startswith("linux") or not (shutil.which("cc") or shutil.which("gcc")):
    pytest.skip("it needs Linux and a compiler for C", allow_module_level=True)


def test_calls_that_fail_lose_nothing():
    ended = run_module(PROGRAM, "--calls", 60, "--seed", 1)
    assert ended.returncode == 0, ended.stdout + ended.stderr
