"""Hostile files and texts do no harm: the short form of `fuzz`, and that it finds mistakes."""

import sys

import pytest

from .helpers import run_module

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what Linux tells of processes")
FUZZ = f"{__package__}.fuzz"  # not imported: what it needs is for the tests of a project alone


def test_hostile_texts_files_and_commands_do_no_harm():
    pytest.importorskip("hypothesis")
    process = run_module(FUZZ)
    assert process.returncode == 0, process.stdout + process.stderr
    print(process.stdout)


@pytest.mark.parametrize("mistake", ["events of any kind", "any archive", "pipes"])
def test_mistakes_are_found(mistake):
    pytest.importorskip("hypothesis")
    process = run_module(FUZZ, "--mutants", mistake)
    assert process.returncode == 0, process.stdout + process.stderr
    assert "1 of 1 mistakes were found" in process.stdout
