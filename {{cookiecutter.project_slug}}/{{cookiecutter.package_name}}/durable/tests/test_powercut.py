"""A power cut loses nothing that was reported, and mistakes in the code would be found."""

import random

import pytest

from . import powercut
from .disk_states import Disk, Policy
from .helpers import PROJECT
from .powercut import MUTANTS, SCENES, Told, mutants, prove, record, resume
from .tracing import HAS_STRACE, ROOT, Link, Rename, Sync, Truncate, Unlink, Write

needs_strace = pytest.mark.skipif(not HAS_STRACE, reason="strace is not installed")
SEED = random.randrange(1 << 32)


@needs_strace
def test_nothing_that_was_reported_is_lost(tmp_path):
    chance = random.Random(SEED)
    print(f"seed {SEED}")
    recordings = record(tmp_path, [(scene, PROJECT) for scene in SCENES])
    stories = [Told(*both) for both in zip(SCENES, recordings, strict=True)]
    for told in stories:
        tally = prove(told, 6, 2, chance)
        print(told.scene, len(told.operations), tally.points, tally.states, tally.judged)
        assert tally.losses == []
    assert resume(chance.choice(stories), chance) == []


@needs_strace
def test_mistakes_are_found():
    assert len(MUTANTS) >= 12
    for mistake, loss in mutants(3, random.Random(SEED)):
        print(mistake, loss)
        assert loss is not None, mistake
