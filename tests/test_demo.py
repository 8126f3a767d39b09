"""The demo itself: it shows what it claims, and fails if it cannot."""

import os
from pathlib import Path

import demo
import pytest
from claim import Outcome


@pytest.mark.skipif(os.name != "posix", reason="it needs make")
def test_the_demo_shows_that_nothing_is_lost(capfd: pytest.CaptureFixture[str], tmp_path: Path):
    demo.main(tmp_path / "a folder")

    printed = capfd.readouterr().out
    assert "starting from scratch" in printed
    assert "stopped by SIGTERM at step" in printed
    assert printed.endswith("Nothing was lost.\n")


def test_the_demo_catches_a_lie(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    outputs = {
        True: "Saved step 220 and stopped by signal 15.\n",
        False: "Restored step 220 (epoch 5) from ckpt-220.\n",
    }
    metrics = [{"step": 44}]
    monkeypatch.setattr(demo, "set_up", lambda folder: folder)
    monkeypatch.setattr(demo, "train", lambda *_, interrupt=False: outputs[interrupt])
    monkeypatch.setattr(
        demo, "read_outcome", lambda _project, run, _output: Outcome(1320, 30, run, metrics)
    )

    with pytest.raises(SystemExit, match="final weights are interrupted and uninterrupted"):
        demo.main(tmp_path)
