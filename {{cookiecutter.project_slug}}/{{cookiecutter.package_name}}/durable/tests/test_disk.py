"""Disks that are full or read-only, and the order in which things reach the disk."""

import os
import re
import shutil
import subprocess

import pytest

from .. import files
from ..errors import SaveFailed
from .helpers import (
    files_in,
    finish,
    log_of,
    manager_of,
    saved_values,
    small_state,
    start,
    steps_in,
)
from .program import commands, training

resource = pytest.importorskip("resource")  # Windows has none

SETTINGS = ["--model.hidden", "8", "--log-every", "10"]


@pytest.fixture
def disk(tmp_path):
    """A disk of 1 MiB, where the test may mount one; `mount` of the fixture mounts it anew."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)],
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip("a file system may not be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def save(manager, state):
    state.step.assign_add(1)
    return manager.save()


def test_a_full_disk_loses_nothing(disk):
    state = small_state()
    manager = manager_of(state, disk / "checkpoints", max_failures=3)
    first = save(manager, state)
    before = files_in(disk / "checkpoints")
    (disk / "other").write_bytes(b"x" * (shutil.disk_usage(disk).free - 4096))
    assert save(manager, state) is None
    assert save(manager, state) is None
    assert files_in(disk / "checkpoints") == before
    (disk / "other").unlink()
    last = save(manager, state)
    assert manager.checkpoints == [first, last]


@pytest.mark.parametrize("background", [False, True], ids=["blocking", "background"])
def test_a_disk_that_fills_while_a_checkpoint_is_written(disk, monkeypatch, background):
    state = small_state()
    manager = manager_of(state, disk / "checkpoints", background=background)
    save(manager, state)
    manager.finish()
    before = files_in(disk / "checkpoints")
    (disk / "other").write_bytes(b"x" * (shutil.disk_usage(disk).free - 4096))
    monkeypatch.setattr(files, "require_space", lambda *_: None)
    with pytest.raises(SaveFailed):  # noqa: PT012  (either of them may find it)
        save(manager, state)
        manager.finish()
    assert files_in(disk / "checkpoints") == before
    assert not list(disk.rglob("*_temp"))


def test_a_disk_that_becomes_read_only(disk):
    state = small_state()
    manager = manager_of(state, disk / "checkpoints", max_failures=2)
    save(manager, state)
    before = files_in(disk)
    remount = ["mount", "-o", "remount,{}", str(disk)]
    subprocess.run([part.format("ro") for part in remount], check=True)
    try:
        assert save(manager, state) is None
        with pytest.raises(SaveFailed, match="Read-only file system"):
            save(manager, state)
        assert files_in(disk) == before
    finally:
        subprocess.run([part.format("rw") for part in remount], check=True)
    assert save(manager, state).endswith("ckpt-4")


def quota(_checkpoints):
    """Small files only."""
    return {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))}


def no_permission(checkpoints):
    """A directory that may not be written to, not even by a superuser."""
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv is not installed")
    checkpoints.chmod(0o500)
    return {"under": ["setpriv", "--bounding-set=-dac_override"] if os.geteuid() == 0 else []}


@pytest.mark.parametrize("trouble", [quota, no_permission])
def test_a_process_that_may_not_save_reports_retries_ends_and_can_be_resumed(root, trouble):
    assert training.main([*SETTINGS, "--root", str(root), "--epochs", "1"]) == 0
    folder = root / "runs/default"
    before = files_in(folder / "checkpoints")
    limits = trouble(folder / "checkpoints")
    try:
        process = start("--root", root, *SETTINGS, "--epochs", 9, **limits)
        code, output, errors = finish(process)
    finally:
        (folder / "checkpoints").chmod(0o700)
    assert code == 1, errors
    assert "Restored step 44" in output
    assert "failed (1 of 3 in a row)" in errors
    assert "failed (2 of 3 in a row)" in errors
    assert "failed, 3 in a row" in errors
    assert "Traceback" not in errors
    assert files_in(folder / "checkpoints") == before

    settings = [*SETTINGS, "--epochs", "3", "--root"]
    assert training.main([*settings, str(root)]) == 0
    assert training.main([*settings, str(root / "straight")]) == 0
    straight = root / "straight/runs/default"
    last = "checkpoints/ckpt-132"
    assert saved_values(folder / last) == saved_values(straight / last)
    assert log_of(folder) == log_of(straight)


def test_a_run_whose_folder_is_taken_away_goes_on_and_says_so(root):
    process = start("--root", root, *SETTINGS, "--epochs", 10**6, "--max-save-failures", 9)
    next(line for line in process.stdout if line.startswith("epoch 2/"))
    (root / "runs/default").rename(root / "taken away")
    while process.poll() is None and not steps_in(root / "runs/default/checkpoints"):
        process.stdout.readline()
    process.terminate()
    code, _, errors = finish(process)
    assert code == 143, errors
    assert "was saved and is no longer there. Going on." in errors
    assert steps_in(root / "taken away/checkpoints")


def test_everything_is_on_the_disk_before_anything_older_is_removed(root):
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    trace = root / "trace"
    calls = "trace=fsync,rename,renameat,renameat2,unlink,unlinkat"
    strace = ["strace", "--follow-forks", "--decode-fds=path", "-e", calls, "-o", str(trace)]
    settings = [*SETTINGS, "--epochs", 3, "--max-to-keep", 2, "--root", root]
    code, _, errors = finish(start(*settings, under=strace))
    assert code == 0, errors

    checkpoints = "runs/default/checkpoints"
    expected = [
        rf"fsync\(.*{checkpoints}/ckpt-132_temp/ckpt-132\.data-00000-of-00001>\) += 0",
        rf"fsync\(.*{checkpoints}/ckpt-132_temp/ckpt-132\.index>\) += 0",
        r"rename.*ckpt-132\.data.* = 0",
        r"rename.*ckpt-132\.index.* = 0",
        rf"fsync\(.*{checkpoints}>\) += 0",
        rf"unlink.*{checkpoints}/ckpt-44\.index.* = 0",
        rf"unlink.*{checkpoints}/ckpt-44\.data-00000-of-00001.* = 0",
    ]
    lines = iter(trace.read_text().splitlines())
    for pattern in expected:
        assert any(re.search(pattern, line) for line in lines), f"nothing like {pattern} in order"
    written = trace.read_text()
    for name in (" folder", "runs", "runs/default", "checkpoints", "tensorboard", "events.*"):
        assert re.search(rf"fsync\(.*{name}>\) += 0", written), f"{name} is not synchronized"


def test_a_user_without_a_name_or_a_home_trains_and_lists(root, monkeypatch, capsys):
    def no_name(number):
        raise KeyError(f"{number} not found")

    monkeypatch.setattr("pwd.getpwuid", no_name)
    monkeypatch.setattr("grp.getgrgid", no_name)
    monkeypatch.delenv("HOME")
    for epochs in ("2", "3"):
        assert training.main([*SETTINGS, "--epochs", epochs, "--root", str(root)]) == 0
    assert commands.main(["list", "--root", str(root)]) == 0
    assert " 132 " in capsys.readouterr().out


def test_a_group_shares_what_is_made(root):
    before = os.umask(0o002)
    try:
        assert training.main([*SETTINGS, "--epochs", "1", "--root", str(root)]) == 0
    finally:
        os.umask(before)
    run = root / "runs/default"
    for folder in (run.parent, run, run / "tensorboard", run / "checkpoints"):
        assert folder.stat().st_mode & 0o777 == 0o775, folder
