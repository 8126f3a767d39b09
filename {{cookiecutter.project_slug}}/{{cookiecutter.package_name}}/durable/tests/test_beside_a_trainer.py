"""Commands beside a trainer that saves every step, and trainers that begin at one instant."""

import os

import pytest

from .helpers import run_module

PROGRAM = f"{__package__}.beside_a_trainer"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot be forked here")
def test_no_command_takes_what_was_removed_for_damaged_and_one_trainer_wins():
    arguments = ["--rounds", 20, "--pairs", 60, "--trainers", 1, "--seed", 1]
    ended = run_module(PROGRAM, *arguments)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "0 losses" in ended.stdout
