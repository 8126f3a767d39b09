"""The reader without TensorFlow, judged by TensorFlow's own."""

import tracemalloc

import pytest
import tensorflow as tf
from etils import epath

from ..checkpoint.graph import write_values
from ..checkpoint.index import Corrupt, Unsupported, read_index
from ..checkpoint.reader import condition_of
from ..checkpoint.tensor_bundle import TensorBundle
from . import reading
from .helpers import run_module

LARGE = 1 << 26  # bytes


def test_both_readers_judge_alike_and_no_mistake_stays_unfound():
    """Of good, damaged and forged checkpoints, whatever is drawn."""
    process = run_module(reading.__name__, "--points", 250, "--seed", 4, "--mutants")
    print(process.stdout)
    assert process.returncode == 0, process.stdout + process.stderr


def test_a_large_tensor_is_checked_in_parts(tmp_path):
    write_values(str(tmp_path / "ckpt-1"), {"large": tf.zeros(LARGE // 4)})
    tracemalloc.start()
    assert condition_of(epath.Path(tmp_path / "ckpt-1")).state == "no card"
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < LARGE * 3 / 4


@pytest.mark.parametrize("size", [0, 10, reading.FOOTER_SIZE, 1 << 40])
def test_an_index_of_a_size_that_cannot_be_is_not_read(tmp_path, size):
    index = epath.Path(tmp_path / "ckpt.index")
    with index.open("wb") as file:
        file.truncate(size)
    with pytest.raises(Corrupt, match=r"ckpt\.index is damaged"):
        read_index(index)


def test_what_is_compressed_is_refused_clearly(tmp_path):
    write_values(str(tmp_path / "ckpt-1"), {"a": tf.zeros(3)})
    index = tmp_path / "ckpt-1.index"
    rows = list(reading.read_table(index.read_bytes()).items())
    index.write_bytes(reading.write_table(rows, reading.changed("compression", lambda _: b"\1")))
    with pytest.raises(Unsupported, match="compressed, and only TensorFlow reads it"):
        TensorBundle(epath.Path(tmp_path / "ckpt-1"))
    condition = condition_of(epath.Path(tmp_path / "ckpt-1"))
    assert condition.state == "unreadable"
    assert "only TensorFlow reads it" in condition.reason
