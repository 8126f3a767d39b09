"""Remote storage: the same runs, where nothing is locked, added to or moved in one piece."""

import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from etils import epath

from .. import files, remote
from ..checkpoint.manager import CheckpointManager
from ..checkpoint.retention import Best
from .helpers import (
    PROJECT,
    THREE_EPOCHS,
    files_in,
    finish,
    flip,
    log_of,
    manager_of,
    points_of,
    run_main,
    saved_values,
    small_state,
    start,
    start_workers,
    steps_in,
)
from .program import bare, commands, training

SOURCE = Path(__file__).parent / "object_store.cc"
ROOT = "az://bucket/a root"
RUN = "bucket/a root/runs/default"
LOADED = """
import os
import tensorflow as tf

tf.experimental.register_filesystem_plugin(os.environ["OBJECT_STORE_PLUGIN"])
"""


@pytest.fixture(scope="module")
def plugin(tmp_path_factory):
    """A folder with the object store, in a package that stands for tensorflow-io."""
    compiler = shutil.which("c++") or shutil.which("g++")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("the object store needs Linux and a compiler for C++")
    folder = tmp_path_factory.mktemp("plugin")
    package = folder / "tensorflow_io"
    package.mkdir()
    (package / "__init__.py").write_text(LOADED, encoding="utf-8")
    options = [*tf.sysconfig.get_compile_flags(), "-std=c++17", "-shared", "-fPIC"]
    libraries = Path(tf.sysconfig.get_lib()).glob("libtensorflow*.so.2")
    output = package / "object_store.so"
    subprocess.run([compiler, *options, "-o", output, SOURCE, *libraries], check=True)
    return folder


def python_path(plugin):
    """Where a process finds the project and the object store."""
    return os.pathsep.join([str(PROJECT), str(plugin)])


@pytest.fixture
def store(plugin, tmp_path, monkeypatch):
    """The folder in which an empty object store keeps its objects."""
    store = tmp_path / "store"
    store.mkdir()
    monkeypatch.setenv("OBJECT_STORE", str(store))
    monkeypatch.setenv("OBJECT_STORE_PLUGIN", str(plugin / "tensorflow_io/object_store.so"))
    monkeypatch.setenv("OBJECT_STORE_JOURNAL", str(tmp_path / "journal"))
    monkeypatch.syspath_prepend(plugin)
    remote.what_keeps_from.cache_clear()
    assert remote.what_keeps_from("az://bucket") == ""
    (tmp_path / "nothing is made here").mkdir()
    monkeypatch.chdir(tmp_path / "nothing is made here")
    yield store
    assert not list(Path.cwd().iterdir())  # as a folder that is called az: would be
    remote.what_keeps_from.cache_clear()


@pytest.fixture
def trained(store, three_epochs):
    """A run in the store, with checkpoints at the steps 44, 88 and 132."""
    shutil.copytree(three_epochs, store / "bucket/a root")
    return store / RUN


def changes(tmp_path):
    """What was put into the store and deleted from it."""
    return (tmp_path / "journal").read_text(encoding="utf-8").splitlines()


def run(*arguments, code=0):
    """Runs a command on the runs in the store, in this process."""
    assert run_main(commands.main, *arguments, "--root", ROOT) == code


def test_a_killed_run_ends_as_one_that_was_never_stopped(store, plugin, straight, monkeypatch):
    def killed_at(change):
        monkeypatch.setenv("OBJECT_STORE_KILL", f"{change}")
        path = python_path(plugin)
        code, output, errors = finish(start("--root", ROOT, *settings, path=path))
        assert code == -9, errors
        assert errors.count("where no file can be locked") == 1
        return output

    settings = [*THREE_EPOCHS, "--max-to-keep", "2"]
    checkpoints = store / RUN / "checkpoints"
    # The data of the first checkpoint are there, and its index is not.
    killed_at(f"put {RUN}/checkpoints/ckpt-44.index")
    assert (checkpoints / "ckpt-44.data-00000-of-00001").exists()
    # The best one so far has lost its index, and not yet its data.
    output = killed_at(f"delete {RUN}/checkpoints/best/ckpt-44.data-00000-of-00001")
    assert "starting from scratch" in output
    assert steps_in(checkpoints) == [44, 88]
    assert steps_in(checkpoints / "best") == [88]

    monkeypatch.delenv("OBJECT_STORE_KILL")
    assert run_main(training.main, "--root", ROOT, *settings, "--epochs", 4) == 0
    assert steps_in(checkpoints) == [132, 176]
    assert not [*checkpoints.rglob("*_temp"), *checkpoints.rglob("ckpt-44*")]
    assert saved_values(checkpoints / "ckpt-132") == saved_values(straight / "checkpoints/ckpt-132")
    assert [line for line in log_of(store / RUN) if line["step"] <= 132] == log_of(straight)
    assert max(points_of(store / RUN / "tensorboard")) == 176
    assert tf.train.latest_checkpoint(f"{ROOT}/runs/default/checkpoints").endswith("ckpt-176")


def test_two_workers_keep_one_run_there(store, plugin, monkeypatch, tmp_path):
    def started():
        path = python_path(plugin)
        workers = ["--strategy", "multi-worker", "--epochs", "2", "--model.hidden", "8"]
        processes = start_workers(2, "--root", ROOT, *workers, path=path)
        return [finish(process) for process in processes]

    # The chief is killed at its second checkpoint, whose data are there already.
    monkeypatch.setenv("OBJECT_STORE_KILL", f"put {RUN}/checkpoints/ckpt-88.index")
    chief, other = started()
    assert (chief[0], other[0]) == (-9, 1), chief[2] + other[2]
    assert other[2].endswith("start all workers again to resume.\n")
    monkeypatch.delenv("OBJECT_STORE_KILL")
    chief, other = started()
    assert (chief[0], other[0]) == (0, 0), chief[2] + other[2]
    assert "Restored step 44 (epoch 1)" in chief[1]
    assert steps_in(store / RUN / "checkpoints") == [44, 88]
    assert [line["step"] for line in log_of(store / RUN)] == [44, 88]
    index = f"put {RUN}/checkpoints/ckpt-88.index"
    assert changes(tmp_path).count(index) == 1  # only the chief puts anything there


def test_data_come_before_the_index_and_go_after_it(store, tmp_path):
    state = small_state()
    best = Best("az://bucket/best", "loss", "min")
    manager = manager_of(state, "az://bucket", max_to_keep=2, best=best)
    for step in (1, 2, 3):
        state.step.assign(step)
        manager.save(metrics={"loss": 1 / step})
    made = changes(tmp_path)

    def place(change):
        return made.index(change)

    for name in ("ckpt-1", "ckpt-2", "ckpt-3", "best/ckpt-3"):
        data, index = f"bucket/{name}.data-00000-of-00001", f"bucket/{name}.index"
        assert place(f"put {data}") < place(f"put {index}")
    for name in ("ckpt-1", "best/ckpt-1", "best/ckpt-2"):
        data, index = f"bucket/{name}.data-00000-of-00001", f"bucket/{name}.index"
        assert place(f"delete {index}") < place(f"delete {data}")
    assert steps_in(store / "bucket") == [2, 3]
    assert steps_in(store / "bucket/best") == [3]
    assert not [change for change in made if "checkpoint_temp" in change]


def test_a_save_that_is_cut_short_anywhere_leaves_the_newest_whole(store):
    """The store takes no more changes from each of them on, as where the process is killed."""
    v = tf.Variable(0)
    checkpoint = tf.train.Checkpoint(v=v)

    def manager_in(folder):
        best = Best(f"az://bucket/{folder}/best", "loss", "min")
        return CheckpointManager(checkpoint, f"az://bucket/{folder}", 2, max_failures=2, best=best)

    manager = manager_in("base")
    for number in (1, 2):
        v.assign(number)
        manager.save(number, metrics={"loss": 2})
    restored = []
    for count in itertools.count():
        shutil.copytree(store / "bucket/base", store / f"bucket/{count}")
        (store / ".left").write_text(f"{count}")
        v.assign(3)
        manager_in(count).save(3, metrics={"loss": 1})
        was_cut_short = (store / ".left").read_text() == "0"
        (store / ".left").unlink()

        v.assign(-1)
        manager = manager_in(count)
        newest = manager.restore_or_initialize()
        assert newest == f"az://bucket/{count}/ckpt-{v.numpy()}"
        restored.append(int(v))
        manager.save(4, metrics={"loss": 2})  # nothing is in the way of what comes next
        left = {file.name.partition(".")[0] for file in (store / f"bucket/{count}").iterdir()}
        assert left == {"checkpoint", "best", f"ckpt-{restored[-1]}", "ckpt-4"}
        if not was_cut_short:
            break
    assert restored == sorted(restored)
    assert set(restored) == {2, 3}


def test_every_command_works_there(trained, store, capsys):
    run("list", "--json")
    listed = json.loads(capsys.readouterr().out)
    assert [(entry["step"], entry["state"]) for entry in listed] == [
        (44, "good"),
        (88, "good"),
        (132, "good"),
    ]
    assert listed[0]["path"] == f"{ROOT}/runs/default/checkpoints/ckpt-44"
    run("show", "44")
    assert "hidden_1/kernel" in capsys.readouterr().out
    run("verify", "--all")
    run("diff", "44", "88", code=1)
    run("diff", "132", "--model")
    run("report")
    assert (store / "bucket/a root/runs/report-default.png").stat().st_size > 0
    run("pin", "44")
    assert (trained / "checkpoints/ckpt-44.pinned").exists()
    run("unpin", "44")
    assert not (trained / "checkpoints/ckpt-44.pinned").exists()
    assert run_main(commands.evaluate, "--root", ROOT, "--average", "2") == 0
    (scores,) = (trained / "evaluations").glob("*/metrics.json")
    assert json.loads(scores.read_text())["average"]
    fork = ["--run", "fork", "--fork-from", "default@88", *THREE_EPOCHS]
    assert run_main(training.main, "--root", ROOT, *fork) == 0
    assert steps_in(store / "bucket/a root/runs/fork/checkpoints") == [88, 132]


def test_a_rewind_goes_on_as_before(trained, straight):
    run("rewind", "88")
    assert steps_in(trained / "checkpoints") == [44, 88]
    assert max(points_of(trained / "tensorboard")) == 88
    (aside,) = (trained / "superseded").iterdir()
    assert steps_in(aside / "checkpoints") == [132]
    assert log_of(aside) == [line for line in log_of(straight) if line["step"] > 88]
    assert run_main(training.main, "--root", ROOT, *THREE_EPOCHS) == 0
    newest = "checkpoints/ckpt-132"
    assert saved_values(trained / newest) == saved_values(straight / newest)
    assert log_of(trained) == log_of(straight)


def test_an_export_is_uploaded_and_what_names_other_files_goes_last(trained, tmp_path):
    run("export")
    folder = trained / "exports/ckpt-132"
    assert sorted(path.name for path in folder.iterdir()) == [
        "model.keras",
        "saved_model",
        "weights.npz",
    ]
    loaded = tf.saved_model.load(f"{ROOT}/runs/default/exports/ckpt-132/saved_model")
    assert loaded.signatures
    assert changes(tmp_path)[-1] == f"put {RUN}/exports/ckpt-132/saved_model/saved_model.pb"
    run("export", code=2)


def test_an_export_that_fails_leaves_nothing(trained, monkeypatch, capsys):
    path = type(epath.Path(ROOT))
    copy = path.copy

    def fail_at_the_end(file, target):
        if file.name == "saved_model.pb":
            raise OSError("the quota is exceeded")
        copy(file, target)

    monkeypatch.setattr(path, "copy", fail_at_the_end)
    run("export", "--forms", "saved-model", code=1)
    assert "exports/ckpt-132 cannot be written: the quota" in capsys.readouterr().err
    assert not (trained / "exports").exists()


def test_a_damaged_checkpoint_is_set_aside(trained, capsys):
    flip(trained / "checkpoints/ckpt-132.data-00000-of-00001")
    run("verify", "132", code=4)
    assert run_main(training.main, "--root", ROOT, *THREE_EPOCHS) == 0
    output = capsys.readouterr()
    assert "Restored step 88" in output.out
    assert f"set aside in {ROOT}/runs/default/checkpoints/damaged" in output.err
    assert [*(trained / "checkpoints/damaged").glob("ckpt-132.*")]


@pytest.mark.parametrize("command", ["show", "verify", "rewind", "train"])
def test_a_store_that_does_not_answer_is_no_damage(command, trained, store, capsys, monkeypatch):
    before = files_in(trained)
    (store / ".unreachable").touch()
    main, arguments = (
        (training.main, THREE_EPOCHS) if command == "train" else (commands.main, [command, "88"])
    )
    assert run_main(main, *arguments, "--root", ROOT) == 4
    (line,) = capsys.readouterr().err.splitlines()
    assert "cannot be read at present: the store does not answer" in line

    monkeypatch.setattr(files, "what_keeps_from", lambda _: "")  # it has just answered
    assert run_main(main, *arguments, "--root", ROOT) in (1, 4)
    *_, line = capsys.readouterr().err.splitlines()
    assert "the store does not answer" in line
    assert files_in(trained) == before


def test_a_store_that_takes_nothing_is_told(store, capsys):
    (store / ".left").write_text("0")
    assert run_main(training.main, "--root", ROOT, *THREE_EPOCHS) == 1
    assert "the store takes no changes" in capsys.readouterr().err


def test_commands_that_import_no_tensorflow_reach_it(trained, plugin):
    path = python_path(plugin)
    process = subprocess.run(
        [sys.executable, "-m", bare.__name__, "list", "--root", ROOT, "--json"],
        env=os.environ | {"PYTHONPATH": path, "PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert [entry["step"] for entry in json.loads(process.stdout)] == [44, 88, 132]


def test_what_needs_a_local_disk_says_so(store, capsys, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("WANDB_DIR", raising=False)
    for tracker, variable in (("mlflow", "MLFLOW_TRACKING_URI"), ("wandb", "WANDB_DIR")):
        assert run_main(training.main, "--root", ROOT, "--track", tracker) == 2
        assert f"set {variable}" in capsys.readouterr().err.splitlines()[-1]


def test_any_program_saves_there(store):
    variable = tf.Variable(np.arange(3.0))
    checkpoint = tf.train.Checkpoint(v=variable)
    manager = CheckpointManager(checkpoint, "az://bucket/x", background=True)
    saved = manager.save(7)
    manager.finish()
    assert saved == "az://bucket/x/ckpt-7"
    manager = CheckpointManager(checkpoint, epath.Path("az://bucket/x"))
    variable.assign([0.0, 0.0, 0.0])
    assert manager.restore_or_initialize() == saved
    assert variable.numpy().tolist() == [0, 1, 2]


def test_a_run_whose_checkpoints_share_files_goes_on_there(store, tmp_path):
    frozen, step = tf.Variable(tf.random.normal([1 << 19])), tf.Variable(0)
    checkpoint = tf.train.Checkpoint(frozen=frozen, step=step)
    manager = CheckpointManager(checkpoint, tmp_path / "local", 2)
    for number in range(1, 6):
        step.assign(number)
        manager.save()
    assert (tmp_path / "local/shared").exists()
    shutil.copytree(tmp_path / "local", store / "bucket/moved")

    manager = CheckpointManager(checkpoint, "az://bucket/moved", 2)
    step.assign(0)
    assert manager.restore_or_initialize() == "az://bucket/moved/ckpt-5"
    for number in (6, 7):
        step.assign(number)
        manager.save()
    assert steps_in(store / "bucket/moved") == [6, 7]
    assert not (store / "bucket/moved/shared").exists()  # nothing takes it any more
