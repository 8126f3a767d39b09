"""How many files one must read to follow a save or a restore."""

import gc
import sys
from pathlib import Path

import pytest

from ..checkpoint.manager import CheckpointManager
from .helpers import THREE_EPOCHS, run_main
from .program import training

DURABLE = Path(__file__).resolve().parent.parent


@pytest.fixture
def entered(monkeypatch):
    """The files of the machinery that a call of each of two methods runs through, by its name."""
    files = {"save": set(), "restore_or_initialize": set()}
    for name, found in files.items():
        monkeypatch.setattr(CheckpointManager, name, watched(name, found))
    return files


def watched(name, found):
    method = getattr(CheckpointManager, name)

    def note(frame, event, _):
        file = Path(frame.f_code.co_filename)
        if event == "call" and file.is_relative_to(DURABLE) and "tests" not in file.parts:
            found.add(file.relative_to(DURABLE).as_posix())

    def run(*arguments, **settings):
        gc.collect()
        gc.disable()  # what other tests have left would be finalized, and counted, in between
        sys.setprofile(note)
        try:
            return method(*arguments, **settings)
        finally:
            sys.setprofile(None)
            gc.enable()

    return run


def test_a_save_and_a_restore_run_through_few_files(root, entered):
    for epochs in (1, 2):
        arguments = ["--root", root, *THREE_EPOCHS, "--epochs", epochs, "--save-mode", "blocking"]
        assert run_main(training.main, *arguments) == 0

    assert len(entered["save"]) <= 16, sorted(entered["save"])
    restored = entered["restore_or_initialize"]
    assert len(restored) <= 16, sorted(restored)
    assert entered["save"] >= {"checkpoint/manager.py", "checkpoint/saver.py"}
    assert restored >= {"checkpoint/restore.py", "checkpoint/mismatch.py"}
