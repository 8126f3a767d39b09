"""The checks that need a GPU, as far as a CPU can run them."""

import pytest
import tensorflow as tf

from .gpu import check_saves, main


@pytest.mark.skipif(tf.config.list_physical_devices("GPU"), reason="there is a GPU")
def test_without_a_gpu_one_line_says_that_nothing_was_checked(capsys):
    assert main([]) == 0
    assert capsys.readouterr().out == "No GPU was found: nothing was checked.\n"


def test_saves_in_the_background_hold_their_step_and_one_copy_of_the_state(tmp_path):
    told, memory = check_saves("CPU:1", 100, tmp_path)
    assert "A save of 101 MB in the background: training stands still for" in told
    assert "of the host's memory, " in memory
