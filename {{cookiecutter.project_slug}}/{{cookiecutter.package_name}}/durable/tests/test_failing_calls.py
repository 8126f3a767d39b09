"""System calls that fail, in a start, a resume, a save, a prune and a rewind: nothing is lost."""

import shutil
import sys

import pytest

from .helpers import run_module

PROGRAM = f"{__package__}.failing_calls"
SHORT_FORM = ["--calls", 60, "--seed", 1]
FEW = 3  # the mistakes that are tried here; the program tries all

if not sys.platform.startswith("linux") or not (shutil.which("cc") or shutil.which("gcc")):
    pytest.skip("it needs Linux and a compiler for C", allow_module_level=True)


def test_calls_that_fail_lose_nothing():
    ended = run_module(PROGRAM, *SHORT_FORM, "--jobs", 2)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.count(" losses, ") == 2


def test_mistakes_are_found():
    ended = run_module(PROGRAM, *SHORT_FORM, "--mutants", FEW)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"{FEW} mistakes were found" in ended.stdout
