"""What a step cannot change is written once, to shards that checkpoints share."""

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf
from etils import epath

from .. import files
from ..checkpoint import bundle, shared, unchanged
from ..checkpoint.card import read_card
from ..checkpoint.directory import Directory
from ..checkpoint.manager import CheckpointManager
from ..checkpoint.reader import Tensors, condition_of, require_good
from ..checkpoint.restore import Restorer, read_variables
from ..checkpoint.retention import Best
from .helpers import PROJECT, files_in, flip, run_main, saved_values, steps_in
from .program import commands, still, training
from .program.still import State, values_at

KEPT = 3


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(unchanged, "VARIABLE_BYTES", 64)
    monkeypatch.setattr(unchanged, "SHARED_BYTES", 64)


@pytest.fixture
def state(monkeypatch):
    """A state whose body never changes by itself."""
    monkeypatch.setattr(still, "SAME", 1000)
    return State()


def manager_of(state, folder, **settings):
    return CheckpointManager(state.checkpoint, folder, KEPT, **settings)


def save(manager, state, count):
    for _ in range(count):
        state.advance()
        manager.save()
    manager.finish()
    return epath.Path(manager.latest_checkpoint)


def shard_of(checkpoint):
    """The only shard that a checkpoint takes, and its file that is a link to it."""
    ((file, name),) = shared.links_of(checkpoint).items()
    return shared.find(checkpoint.parent, name), checkpoint.parent / file


def inode(path):
    return Path(path).stat().st_ino


def restored(folder):
    """The values that a new process restores, and the step."""
    state = State()
    path = manager_of(state, folder).restore_or_initialize()
    return state.values(), int(path.rpartition("-")[2])


@pytest.mark.parametrize("background", [False, True], ids=["blocking", "background"])
def test_what_does_not_change_is_written_once(tmp_path, state, background):
    manager = manager_of(state, tmp_path, background=background)
    save(manager, state, unchanged.SAVES)
    assert not (tmp_path / "shared").exists()
    first = save(manager, state, 1)
    shard, file = shard_of(first)
    assert not shared.is_whole(shared.spare_of(shard))
    second = save(manager, state, 1)
    newest = save(manager, state, 1)
    assert {inode(shard_of(path)[1]) for path in (first, second, newest)} == {inode(file)}
    assert inode(shared.data_of(shard)) == inode(file)
    spare = shared.data_of(shared.spare_of(shard))
    assert inode(spare) != inode(file)
    assert spare.read_bytes() == file.read_bytes()
    assert len(list((tmp_path / "shared").iterdir())) == 4
    assert read_card(newest).shared == [shard.name]
    assert all(condition_of(path).state == "good" for path in (first, second, newest))

    expected = state.values()
    for path in tmp_path.iterdir():  # each is whole by itself
        if not path.name.startswith(newest.name):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    other = State()
    other.checkpoint.restore(str(newest)).assert_consumed()
    assert other.values() == expected
    assert restored(tmp_path)[0] == expected


HANDS = {
    "assign": lambda v: v.assign(v + 1.0),
    "assign_add": lambda v: v.assign_add(tf.ones_like(v)),
    "in a graph": lambda v: tf.function(lambda: v.assign_add(tf.ones_like(v)))(),
    "compiled": lambda v: tf.function(lambda: v.assign_add(tf.ones_like(v)), jit_compile=True)(),
    "a slice": lambda v: v[3].assign(tf.ones(16)),
    "rows": lambda v: v.scatter_nd_add([[5]], [[1.0] * 16]),
    "sparse": lambda v: v.scatter_sub(tf.IndexedSlices(tf.ones((1, 16)), [2])),
    "an optimizer": lambda v: tf.raw_ops.ResourceApplyGradientDescent(
        var=v.handle, alpha=1.0, delta=tf.ones((8, 16))
    ),
    "a sparse optimizer": lambda v: tf.raw_ops.ResourceSparseApplyAdagrad(
        var=v.handle, accum=tf.Variable(v).handle, lr=1.0, grad=tf.ones((1, 16)), indices=[1]
    ),
    "a single bit": lambda v: v[7, 15].assign(tf.experimental.numpy.nextafter(v[7, 15], 9.0)),
}


@pytest.mark.parametrize("hand", HANDS.values(), ids=HANDS.keys())
def test_what_changed_after_all_is_written_by_whatever_hand(tmp_path, state, hand, monkeypatch):
    monkeypatch.setattr(unchanged, "SAMPLES", 1)  # the buffers must tell
    manager = manager_of(state, tmp_path)
    shard, _ = shard_of(save(manager, state, 5))
    hand(state.body[1])
    newest = save(manager, state, 1)
    assert restored(tmp_path) == (state.values(), 6)
    assert shard.name not in read_card(newest).shared
    older, _ = shard_of(epath.Path(tmp_path / "ckpt-5"))  # the others hold still
    assert shared.is_whole(older)
    save(manager, state, KEPT)
    assert not shared.is_whole(shard)  # it went with its last user
    for step in (7, 8, 9):
        assert condition_of(epath.Path(tmp_path / f"ckpt-{step}")).state == "good"


def test_all_of_it_is_written_again_when_it_is_trained(tmp_path, state, monkeypatch):
    manager = manager_of(state, tmp_path)
    save(manager, state, 5)
    monkeypatch.setattr(still, "SAME", 1)
    for step in range(6, 10):
        newest = save(manager, state, 1)
        assert restored(tmp_path) == (state.values(), step)
        assert read_card(newest).shared == []
    assert list((tmp_path / "shared").iterdir()) == []


def test_nothing_is_held_of_what_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(still, "SAME", 1)
    state = State()
    manager = manager_of(state, tmp_path)
    for _ in range(6):
        save(manager, state, 1)
        held = manager._saver._shards._seen.values()
        assert len(held) == 3
        assert not any(seen.tensor is not None or seen.digest for seen in held)


def test_rows_that_are_gathered_from_are_told_by_a_digest(tmp_path, state):
    tf.nn.embedding_lookup(state.body[0], [1])  # from now on, each read gives a copy
    manager = manager_of(state, tmp_path)
    shard, _ = shard_of(save(manager, state, 6))
    assert len(tf.train.list_variables(str(shard))) == 3
    seen = manager._saver._shards._seen
    assert [entry.tensor is None for entry in seen.values()] == [True, False, False]
    state.body[0].scatter_nd_add([[5]], [[1.0] * 16])
    save(manager, state, 1)
    assert restored(tmp_path)[0] == state.values()


@pytest.mark.parametrize("dtype", [tf.bfloat16, tf.float16, tf.int8, tf.bool, tf.complex64])
def test_every_kind_of_number(tmp_path, state, dtype):
    state.checkpoint.other = other = tf.Variable(tf.cast(tf.ones((128,)), dtype))
    manager = manager_of(state, tmp_path)
    shard, _ = shard_of(save(manager, state, 4))
    assert "other" in {key.partition("/")[0] for key, _ in tf.train.list_variables(str(shard))}
    other[100].assign(tf.cast(0, dtype))
    newest = save(manager, state, 1)
    saved = tf.train.load_checkpoint(str(newest)).get_tensor("other/.ATTRIBUTES/VARIABLE_VALUE")
    assert saved.tobytes() == other.numpy().tobytes()


def test_a_resumed_run_goes_on_with_its_shards(tmp_path, state):
    _, file = shard_of(save(manager_of(state, tmp_path), state, 4))
    again = State()
    manager = manager_of(again, tmp_path)
    manager.restore_or_initialize()
    newest = save(manager, again, 1)
    assert inode(shard_of(newest)[1]) == inode(file)
    assert len(list((tmp_path / "shared").iterdir())) == 4  # and has its second copy now
    assert restored(tmp_path)[0] == again.values()
    other = State()
    manager = manager_of(other, tmp_path)
    manager.restore_or_initialize()
    other.body[2].assign_add(tf.ones((8, 16)))
    assert read_card(save(manager, other, 1)).shared == []
    assert restored(tmp_path)[0] == other.values()


def restore_by_manager(path, folder):
    manager_of(State(), folder).restore_or_initialize()


READERS = {
    "restore_or_initialize": restore_by_manager,
    "condition_of": lambda path, _: condition_of(path),
    "require_good": lambda path, _: require_good(path),
    "partial": lambda path, _: Restorer(State().checkpoint, {}).transfer(path, partial=True),
    "read_variables": lambda path, _: read_variables(path, read_card(path).structure.variables),
    "bring_back": lambda path, folder: Directory(folder).bring_back(path),
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS.keys())
def test_every_reader_mends_a_damaged_link(tmp_path, state, caplog, read):
    newest = save(manager_of(state, tmp_path), state, 6)
    shard, file = shard_of(newest)
    good = file.read_bytes()
    flip(Path(file))  # in place: all the links have it
    read(newest, epath.Path(tmp_path))
    assert f"{shard} was damaged or missing, and was mended from {shard.name}.spare." in caplog.text
    assert file.read_bytes() == good == shared.data_of(shard).read_bytes()
    assert inode(file) != inode(shared.data_of(shared.spare_of(shard)))
    assert restored(tmp_path) == (state.values(), 6)
    assert not list(tmp_path.rglob("*_temp"))
    for path in Directory(tmp_path).whole():
        assert condition_of(path).state == "good"


def test_a_reader_that_was_open_before_the_damage_mends_too(tmp_path, state):
    newest = save(manager_of(state, tmp_path), state, 6)
    tensors = Tensors(newest)
    _, file = shard_of(newest)
    flip(Path(file))
    assert all(tensors.read(key) is not None for key in tensors.keys)


def test_a_link_that_is_cut_short_is_mended_by_who_looks_at_it(tmp_path, state):
    _, file = shard_of(newest := save(manager_of(state, tmp_path), state, 6))
    os.truncate(file, 100)
    assert condition_of(newest).state == "good"


@pytest.mark.parametrize("loss", [flip, Path.unlink, lambda file: file.write_bytes(b"")])
@pytest.mark.parametrize("part", [0, 1], ids=["data", "index"])
def test_a_lost_second_copy_is_mended_by_the_next_to_need_it(tmp_path, state, loss, part):
    newest = save(manager_of(state, tmp_path), state, 6)
    shard, _ = shard_of(newest)
    for copy in (shared.spare_of(shard), shard):
        loss(Path(shared.parts_of(copy)[part]))
        bundle.mend(newest)
        assert shared.is_good(shard)
        assert shared.is_good(shared.spare_of(shard))
        assert condition_of(newest).state == "good"


def test_where_both_are_damaged_what_has_its_own_is_taken(tmp_path, state):
    manager = CheckpointManager(state.checkpoint, tmp_path, None)
    shard, file = shard_of(save(manager, state, 6))
    for copy in (file, shared.data_of(shared.spare_of(shard))):
        flip(Path(copy), 40)
    assert restored(tmp_path)[1] == 3
    assert steps_in(tmp_path / "damaged") == [4, 5, 6]


def test_what_cannot_be_mended_here_is_told(tmp_path, state, monkeypatch, caplog):
    newest = save(manager_of(state, tmp_path), state, 6)
    flip(Path(shard_of(newest)[1]))
    with monkeypatch.context() as patch:
        patch.setattr(shared, "duplicate", refuse)
        assert condition_of(newest).state == "damaged"
    assert "may have a good copy in shared/, but cannot be mended" in caplog.text
    assert condition_of(newest).state == "good"


def refuse(*_):
    raise OSError(30, "Read-only file system")


def test_where_there_are_no_links_copies_are_made(tmp_path, state, monkeypatch):
    monkeypatch.setattr(os, "link", refuse)
    manager = manager_of(state, tmp_path)
    newest = save(manager, state, 8)
    shard, file = shard_of(newest)
    copies = [file, shared.data_of(shard), shared.data_of(shared.spare_of(shard))]
    assert len({inode(copy) for copy in copies}) == 3
    assert len(list((tmp_path / "shared").iterdir())) == 4
    assert all(Path(copy).stat().st_nlink == 1 for copy in copies)
    flip(Path(file))
    assert restored(tmp_path) == (state.values(), 8)
    for copy in copies[1:]:
        flip(Path(copy))
    bundle.mend(newest)  # not from these
    assert condition_of(newest).state == "good"
    state.body[0].assign_add(tf.ones((8, 16)))
    save(manager, state, KEPT)
    assert not shared.is_whole(shard)


def test_a_full_disk_for_the_second_copy_is_no_reason_not_to_save(
    tmp_path, state, monkeypatch, caplog
):
    manager = manager_of(state, tmp_path)
    save(manager, state, 4)
    with monkeypatch.context() as patch:
        patch.setattr(shared, "duplicate", refuse)
        newest = save(manager, state, 1)
    assert "has no second copy: [Errno 30]" in caplog.text
    assert condition_of(newest).state == "good"
    shard, _ = shard_of(save(manager, state, 1))
    assert shared.is_whole(shared.spare_of(shard))


def test_a_shard_that_is_gone_is_written_again(tmp_path, state):
    manager = manager_of(state, tmp_path)
    save(manager, state, 5)
    shutil.rmtree(tmp_path / "shared")
    newest = save(manager, state, 1)
    assert shared.is_whole(shard_of(newest)[0])
    assert restored(tmp_path)[0] == state.values()


def test_all_is_on_the_disk_before_anything_links_to_it(tmp_path, state, monkeypatch):
    safe, linked = set(), []
    synchronize, link = files.synchronize, os.link

    def note(path):
        synchronize(path)
        safe.add(inode(path))

    def look(source, target):
        link(source, target)
        folder = Path(source).parent
        linked.append({inode(source), inode(folder), inode(folder.parent)} <= safe)

    monkeypatch.setattr(files, "synchronize", note)
    monkeypatch.setattr(os, "link", look)
    save(manager_of(state, tmp_path), state, 5)
    assert linked == [True] * 4


def test_the_best_links_too_and_keeps_the_shard(tmp_path, state, monkeypatch):
    best = Best(tmp_path / "best", "score", "max")
    manager = manager_of(state, tmp_path, best=best)
    for step in range(1, 12):
        state.advance()
        if step == 7:
            state.body[0].assign_add(tf.ones((8, 16)))
        manager.save(metrics={"score": -abs(step - 6)})
    kept = epath.Path(tmp_path / "best/ckpt-6")
    shard, file = shard_of(kept)
    assert shard.parent == tmp_path / "shared"
    assert Path(file).stat().st_nlink == 2  # the best alone has it
    flip(Path(file))
    assert condition_of(kept).state == "good"


def test_left_overs_are_swept_and_nothing_else(tmp_path, state):
    manager = manager_of(state, tmp_path)
    save(manager, state, 5)
    folder = tmp_path / "shared"
    before = {path.name for path in folder.iterdir()}
    unused = "ckpt-0123456789abcdef"
    for name in (f"{unused}_temp", f"{unused}.spare_temp"):
        (folder / name).mkdir()
        (folder / name / "half").touch()
    for name in (f"{unused}.index", f"{unused}.spare.data-00000-of-00001", "mine", "other-1.index"):
        (folder / name).touch()
    (tmp_path / "ckpt-5.data-00001-of-00002_temp").touch()
    Directory(tmp_path).tidy()
    save(manager, state, 1)
    assert {path.name for path in folder.iterdir()} == before | {"mine", "other-1.index"}
    assert not list(tmp_path.rglob("*_temp"))


def test_a_kill_at_any_moment_leaves_whole_checkpoints(tmp_path):
    steps = 15
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "-m", still.__name__]

    def run(*arguments):
        whole = [*command, *map(str, arguments)]
        return subprocess.run(whole, env=environment, check=True, capture_output=True, text=True)

    changes = int(run(tmp_path / "whole", steps).stdout)
    assert changes > 150
    limits = random.sample(range(1, changes + 1), 8)
    ends = run(tmp_path, steps, *limits).stdout.splitlines()
    assert ends == [f"{limit} -9" for limit in limits]
    found_shards = 0
    for limit in limits:
        folder = tmp_path / str(limit)
        found_shards += (folder / "shared").exists()
        for path in Directory(folder).found():
            assert condition_of(path).state == "good", (limit, path)
        if Directory(folder).whole():
            values, step = restored(folder)
            assert values == values_at(step), limit
        state = State()
        manager = manager_of(state, folder)
        manager.restore_or_initialize()
        save(manager, state, 2)
        assert restored(folder) == (values_at(int(state.step)), int(state.step))
        assert not list(folder.rglob("*_temp"))
        for path in Directory(folder).whole():
            for name in read_card(path).shared:
                assert shared.is_good(shared.find(path.parent, name))
    assert found_shards > 1


# Runs: the first layer of the model is frozen.
FROZEN = ["--model.hidden", "8", "8", "--model.frozen", "--save-every", "11", "--max-to-keep", "9"]
FROZEN += ["--save-mode", "blocking"]
KERNEL = 8 * 8 * 8 * 4  # bytes


@pytest.fixture(scope="module")
def frozen_once(tmp_path_factory):
    root = tmp_path_factory.mktemp("frozen")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unchanged, "VARIABLE_BYTES", KERNEL)
        patch.setattr(unchanged, "SHARED_BYTES", KERNEL)
        assert run_main(training.main, "--root", root, *FROZEN, "--epochs", 2) == 0
    return root


@pytest.fixture
def frozen(root, frozen_once):
    """The checkpoints of a run, every 11 steps; those from 44 on share the frozen kernel."""
    copy_with_links(frozen_once, root)
    return epath.Path(root / "runs/default/checkpoints")


def copy_with_links(source, target):
    """Copies a folder; what is linked in it is linked in the copy."""
    shutil.copytree(source, target, dirs_exist_ok=True)
    copies = {}
    for path in filter(Path.is_file, source.rglob("*")):
        twin = target / path.relative_to(source)
        first = copies.setdefault(inode(path), twin)
        if first is not twin:
            twin.unlink()
            os.link(first, twin)


def call(folder, *arguments, main=commands.main):
    return run_main(main, *arguments, "--root", folder.parents[2])


def assert_both_copies(folder, step):
    """Looks whether the checkpoint of a step is a link to one of two good copies."""
    shard, file = shard_of(epath.Path(folder) / f"ckpt-{step}")
    spare = shared.spare_of(shard)
    assert inode(file) == inode(shared.data_of(shard)) != inode(shared.data_of(spare))
    assert shared.is_good(shard)
    assert shared.is_good(spare)
    return shard, file


def test_commands_mend_and_count_no_shard(frozen, capsys):
    shard, file = assert_both_copies(frozen, 88)
    assert steps_in(frozen) == [11, 22, 33, 44, 55, 66, 77, 88]
    assert call(frozen, "list") == 0
    assert shard.name not in capsys.readouterr().out
    spare = shared.data_of(shared.spare_of(shard))
    for damaged in (spare, file):
        flip(Path(damaged))
        assert call(frozen, "verify", "--all") == 0
        assert "was damaged or missing, and was mended from" in capsys.readouterr().err
        shard, file = assert_both_copies(frozen, 88)
    flip(Path(file))
    assert call(frozen, "show", "77") == 0
    flip(Path(shard_of(frozen / "ckpt-88")[1]))
    assert call(frozen, "--at", "66", main=commands.evaluate) == 0
    assert call(frozen, "verify", "--all") == 0
    for damaged in (file, spare):
        flip(Path(damaged), 30)
    assert call(frozen, "verify", "88") == 4


def test_a_rewind_takes_links_along(frozen, frozen_once):
    shard, _ = assert_both_copies(frozen, 88)
    flip(Path(shared.data_of(shard)))
    assert call(frozen, "rewind", "55") == 0
    assert_both_copies(frozen, 55)
    (aside,) = (frozen.parent / "superseded").iterdir()
    for step in (66, 77, 88):
        _, file = assert_both_copies(aside / "checkpoints", step)
        assert inode(file) == inode(shared.data_of(shard))
    assert call(frozen, *FROZEN, "--epochs", "2", main=training.main) == 0
    straight = epath.Path(frozen_once / "runs/default/checkpoints/ckpt-88")
    assert saved_values(frozen / "ckpt-88") == saved_values(straight)
    assert_both_copies(frozen, 88)

    shutil.move(aside, frozen.parents[1] / "moved")
    shutil.rmtree(frozen.parent)
    moved = frozen.parents[1] / "moved/checkpoints"
    flip(Path(shared.data_of(shared.place_of(moved, shard.name))))
    assert saved_values(require_good_path(moved / "ckpt-88")) == saved_values(straight)
    assert_both_copies(moved, 88)


def require_good_path(path):
    require_good(path)
    return path


@pytest.mark.parametrize("settings", [[], ["--partial", "--optimizer.name", "sgd"]])
def test_a_fork_links_to_both_copies(frozen, settings):
    parent, file = assert_both_copies(frozen, 66)
    before = files_in(frozen.parent)
    fork = ["--run", "b", "--fork-from", "default@66", *FROZEN, "--epochs", "2", *settings]
    assert call(frozen, *fork, main=training.main) == 0
    assert files_in(frozen.parent) == before
    child = frozen.parents[1] / "b/checkpoints"
    for step in (66, 77, 88):
        shard, linked = assert_both_copies(child, step)
        assert inode(linked) == inode(file)
    assert inode(shared.data_of(shared.spare_of(shard))) == inode(
        shared.data_of(shared.spare_of(parent))
    )
    flip(Path(linked))
    require_good(frozen / "ckpt-66")  # the parent mends itself
    shutil.rmtree(frozen.parent)
    require_good(child / "ckpt-77")  # and the child too, without it
    assert_both_copies(child, 88)


def test_a_pinned_one_keeps_its_shard(frozen):
    shard, _ = assert_both_copies(frozen, 44)
    assert call(frozen, "pin", "44") == 0
    manager = Directory(frozen)
    for step in (55, 66, 77, 88):
        bundle.remove(frozen / f"ckpt-{step}")
    shutil.rmtree(frozen / "best")
    manager._sweep_shared()
    assert_both_copies(frozen, 44)
    flip(Path(shared.data_of(shard)))
    require_good(frozen / "ckpt-44")
    bundle.remove(frozen / "ckpt-44")
    manager._sweep_shared()
    assert list(shard.parent.iterdir()) == []
