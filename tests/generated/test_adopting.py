"""The programs of docs/adopting.md: each runs, saves, and is restored when it runs again."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

PAGE = Path(__file__).resolve().parents[2] / "docs" / "adopting.md"
PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
FOLDERS = ["guide", "fit", "steps", "controller", "gan", "module", "mirrored"]
ENDS = {"fit", "steps"}  # after some epochs, while the others go on with each run


@pytest.mark.parametrize(("folder", "program"), zip(FOLDERS, PROGRAMS, strict=True), ids=FOLDERS)
def test_a_program_saves_and_is_restored(tmp_path: Path, folder: str, program: str):
    if folder == "controller":
        pytest.importorskip("orbit", reason="Orbit is not there for this TensorFlow")
    newest = []
    for _ in range(2):
        process = subprocess.run(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert process.returncode == 0, process.stderr
        newest.append(tf.train.latest_checkpoint(str(tmp_path / folder)))

    assert newest[0] is not None
    assert (newest[0] == newest[1]) == (folder in ENDS)
