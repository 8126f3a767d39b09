"""Two workers: the same numbers as of one, and what they tell each other and decide together."""

import json
import os

import numpy as np
import pytest
from filelock import FileLock

from ..run.replicas import single_device
from .helpers import files_in, finish, manager_of, start_workers, train
from .pair import STEPS, TASKS
from .replicated import Numbers, arrays_of, require_same, state_of, trained
from .tasks import images

PAIR = f"{__package__}.pair"


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """The folder in which two workers did what `pair` does, and what each of them saw."""
    place = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        place = place.parent  # that of all processes which run tests: the first makes it
    folder = place / "two workers"
    with FileLock(place / "two workers.lock"):
        if not folder.exists():
            train_together(folder)
    texts = [folder / f"seen-{index}.json" for index in range(2)]
    return folder, [json.loads(text.read_text(encoding="utf-8")) for text in texts]


def train_together(folder):
    state = state_of(Numbers, images(), single_device())
    train(state, images(), 0, 4)
    manager_of(state, folder / "elastic").save()
    ended = [finish(process) for process in start_workers(2, folder, module=PAIR)]
    assert [code for code, _, _ in ended] == [0, 0], ended
    for index, (_, output, _) in enumerate(ended):
        (folder / f"printed-{index}.txt").write_text(output, encoding="utf-8")


@pytest.mark.parametrize("name", TASKS)
def test_two_workers_make_the_numbers_of_one(pair, name):
    folder, seen = pair
    task, data = TASKS[name]
    wanted = trained(task, data(), single_device(), STEPS)
    for index in range(2):
        with np.load(folder / f"{name}-{index}.npz") as arrays:
            found = list(arrays.values())
        require_same((found, seen[index]["means"][name]), wanted)


def test_what_they_tell_each_other(pair):
    for seen in (each["talk"] for each in pair[1]):
        assert seen["gathered"] == [[0, 7], [1, 7]]
        assert seen["texts"] == ["", "I am 1: ü"]
        assert seen["told"] == "by 0"
        assert seen["led"] == "the chief's"
        assert seen["error of 1"] == [2, "It is wrong."]
        assert seen["error of 0"] == [4, "Checkpoint ckpt-1 is damaged: cut"]


def test_no_threads_are_left_by_what_they_tell_each_other(pair):
    assert all(seen["threads"] < 50 for seen in pair[1])  # 100 times


def test_what_they_decide(pair):
    for index, seen in enumerate(each["decide"] for each in pair[1]):
        nothing, ended, stopped = seen
        # A save is due by the clock of the chief alone.
        assert nothing == {"stop": None, "save": False, "ended": None, "chunk": 5}
        assert (ended["save"], stopped["save"]) == (True, True)
        assert ended["ended"] == ("mine" if index else "a hook of another worker wants it to.")
        assert stopped["stop"] == 15


def test_only_the_chief_writes_and_tells(pair):
    folder, seen = pair
    printed = [folder / f"printed-{index}.txt" for index in range(2)]
    assert seen[0]["places"][:2] == [True, True]
    assert seen[1]["places"][:2] == [True, False]
    for each in seen:
        code, message = each["places"][2]
        assert code == 5
        assert message.startswith("Run 'place' is being trained by process")
    assert "printed by 0" in printed[0].read_text(encoding="utf-8")
    assert "printed" not in printed[1].read_text(encoding="utf-8")
    assert (folder / "runs/place/file").exists()


def test_data_without_an_order_are_refused(pair):
    for each in pair[1]:
        code, message = each["pipeline"]
        assert code == 2
        assert message.startswith("PipelineData has no order by number")


def test_one_that_does_not_fit_ends_all_and_nothing_is_restored(pair):
    for index, each in enumerate(pair[1]):
        (code, message), variable, unseen = each["misfit"]
        assert code == 3
        assert "Nothing was restored" in message
        assert "(2,)" in message
        assert variable == [1.0] * (2 + index)
        assert unseen[0] == 2
        assert unseen[1].startswith("A worker does not see")
    assert pair[1][0]["misfit"][0] == pair[1][1]["misfit"][0]


def test_the_chief_chooses_what_is_restored(pair):
    folder, seen = pair
    for each in (one["checkpoints"] for one in seen):
        assert each["before"] is False
        assert each["none"] is None
        assert each["restored"].endswith("ckpt-9")
        assert each["older"]
        assert each["same values"]
        assert each["damaged for one"][0] == 4
        assert "it says" in each["damaged for one"][1]
        assert each["kept"] == 8  # nothing was restored
        assert each["full for one"][0] == 1
        assert "No space left" in each["full for one"][1]
    names = {path.name for path in files_in(folder / "checkpoints")}
    assert names == {
        "checkpoint",
        "ckpt-7.data-00000-of-00001",
        "ckpt-7.index",
        "ckpt-9.data-00000-of-00001",  # in damaged/
        "ckpt-9.index",
    }


def test_a_run_goes_on_with_two_workers_and_with_one_again(pair):
    folder, _ = pair
    state = state_of(Numbers, images(), single_device())
    manager = manager_of(state, folder / "elastic")
    assert manager.restore_or_initialize().endswith("ckpt-7")
    train(state, images(), 7, 9)
    straight = state_of(Numbers, images(), single_device())
    train(straight, images(), 0, 9)
    require_same((arrays_of(state), {}), (arrays_of(straight), {}))
