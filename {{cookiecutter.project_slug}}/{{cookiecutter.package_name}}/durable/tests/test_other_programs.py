"""Other people's programs: saved in one process and restored in another, as TensorFlow does it."""

import json

import pytest

from .helpers import run_module
from .program.others import PROGRAMS

OTHERS = f"{__package__}.program.others"


@pytest.fixture(scope="module")
def states(tmp_path_factory):
    """What was saved, and what was restored, of each program."""
    directory = tmp_path_factory.mktemp("others")
    return [run(action, directory) for action in ("save", "restore")]


def run(action, directory):
    process = run_module(OTHERS, action, directory)
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_is_restored_whole_where_tensorflow_restores_what_it_knows(states, name):
    saved, restored = (found[name] for found in states)
    assert len(saved) > 2
    assert restored["ours"] == saved
    for other in ("stock", "ours by stock"):
        # TensorFlow may leave out what Keras 3 does not track.
        known = {key: value for key, value in saved.items() if not key.startswith("unlisted/")}
        assert {key: restored[other][key] for key in known} == known
