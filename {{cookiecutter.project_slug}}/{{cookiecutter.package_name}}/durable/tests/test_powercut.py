"""A power cut loses nothing that was reported, and mistakes in the code would be found."""

import random

import pytest

from .helpers import PROJECT
from .powercut.mistakes import MUTANTS
from .powercut.proof import first_loss, prove, record, stories_with
from .powercut.states import Disk, Policy
from .powercut.story import SCENES
from .powercut.tracing import ROOT, Link, Rename, Sync, Truncate, Unlink, Write, can_trace

A_FEW = list(MUTANTS)[:3]
POSIX, ORDERED = Policy("posix", "none", "none"), Policy("ordered", "none", "none")
EVERYTHING = Policy("everything", "all", "none")
FILE, FOLDER = 1, 2  # inodes


def left(operations, policy, end=None):
    """The files that are left, and what is in them."""
    end = len(operations) if end is None else end
    state = Disk(operations).state(end, policy, random.Random(1))
    return {name: state.contents[inode] for name, inode in state.files.items()}


def test_a_name_is_that_of_its_folder_and_content_that_of_its_file():
    made, written = Link(ROOT, "a", FILE, False), Write(FILE, 0, b"text")
    assert left([made, written, Sync(FILE, 2)], POSIX) == {}
    assert left([made, written, Sync(ROOT, 2)], POSIX) == {"a": b""}
    assert left([made, written, Sync(FILE, 2), Sync(ROOT, 3)], POSIX) == {"a": b"text"}
    assert left([made, written, Sync(FILE, 2)], ORDERED) == {"a": b"text"}
    assert left([made, written], EVERYTHING) == {"a": b""}
    zeros = Policy("everything", "all", "zeros")
    assert left([made, written], zeros) == {"a": bytes(4)}
    # What was written while the sync was under way may be lost.
    assert left([made, Sync(ROOT, 1), written, Sync(FILE, 2)], POSIX) == {"a": b""}


def test_a_rename_within_a_folder_is_whole_and_into_another_one_is_not():
    begun = [Link(ROOT, "b", FOLDER, True), Link(ROOT, "a", FILE, False), Sync(ROOT, 2)]
    renamed = [*begun, Rename(FILE, ROOT, "a", ROOT, "c")]
    moved = [*begun, Rename(FILE, ROOT, "a", FOLDER, "c")]
    chances = range(200)
    some = Policy("posix", "some", "all")
    names = [
        {frozenset(Disk(operations).state(4, some, random.Random(n)).files) for n in chances}
        for operations in (renamed, moved)
    ]
    assert names == [
        {frozenset({"a"}), frozenset({"c"})},
        {frozenset({"a"}), frozenset({"b/c"}), frozenset({"a", "b/c"}), frozenset()},
    ]
    assert left([*moved, Sync(FOLDER, 4)], POSIX) == {"a": b"", "b/c": b""}
    assert left([*moved, Sync(ROOT, 4)], POSIX) == {}
    assert left([*moved, Sync(ROOT, 4)], ORDERED) == {"b/c": b""}


def test_a_journal_keeps_the_order_of_names():
    names = [Link(ROOT, name, inode, False) for inode, name in enumerate("abc", start=1)]
    assert left([*names, Sync(2, 3)], ORDERED).keys() == {"a", "b"}
    removed = [*names, Unlink(ROOT, "a", 1), Sync(3, 4)]
    assert left(removed, ORDERED).keys() == {"a", "b", "c"}
    some = Policy("ordered", "some", "all")
    kept = {"".join(left([*names], some, end)) for end in range(4)}
    assert kept <= {"", "a", "ab", "abc"}


def test_two_names_of_a_file_have_one_content(tmp_path):
    operations = [
        Link(ROOT, "a", FILE, False),
        Write(FILE, 0, b"text"),
        Link(ROOT, "b", FILE, False),
        Truncate(FILE, 2),
        Sync(FILE, 4),
        Unlink(ROOT, "a", FILE),
        Sync(ROOT, 6),
    ]
    assert left(operations, POSIX) == {"b": b"te"}
    Disk(operations).state(5, EVERYTHING).write(tmp_path)
    assert (tmp_path / "a").samefile(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == b"te"


@pytest.fixture(scope="module")
def stories(tmp_path_factory):
    """The stories that the code tells, and those that it tells with a mistake in it."""
    if not can_trace():
        pytest.skip("strace is not installed, or may not trace here")
    folder = tmp_path_factory.mktemp("stories")
    honest = [(scene, PROJECT) for scene in SCENES]
    told = record(folder, [*honest, *stories_with(A_FEW, folder)])
    return told[: len(SCENES)], told[len(SCENES) :]


def test_nothing_that_was_reported_is_lost(stories):
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    for told in stories[0]:
        tally = prove(told, 4, 2, chance)
        print(f"{told.scene}: {tally.points} points, {tally.states} states, seed {seed}")
        assert tally.losses == []


def test_mistakes_are_found(stories):
    """The program form tries them all: python -m …powercut --mutants."""
    assert len(MUTANTS) >= 12
    for mutant, told in zip(A_FEW, stories[1], strict=True):
        assert first_loss(told, random.Random(1)) is not None, mutant.mistake
