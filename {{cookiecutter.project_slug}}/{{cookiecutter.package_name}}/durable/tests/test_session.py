"""Sessions: the lock, the signals and the exit codes, with real processes."""

import errno
import io
import os
import signal
from pathlib import Path

import pytest

from ..checkpoint.card import read_card
from ..checkpoint.reader import condition_of
from ..errors import ConfigurationError, RunLocked
from ..run import session
from ..run.history import read_objects
from .helpers import finish, log_of, read_until, saved_values, start
from .program import training
from .program.experiment import Paths

LONG = ["--epochs", 1000, "--model.hidden", 8, "--save-every", "1h"]


@pytest.mark.skipif(os.name != "posix", reason="Windows ends a process without asking it")
def test_a_signal_saves_and_ends_with_its_code_and_the_resume_is_exact(root):
    process = start("--root", root, *LONG)
    read_until(process, "epoch 2/")
    process.send_signal(signal.SIGTERM)
    code, output, errors = finish(process)
    assert code == 128 + signal.SIGTERM, errors
    (index,) = (root / "runs/default/checkpoints").glob("ckpt-*.index")
    step = read_card(index.with_suffix("")).step
    assert f"Saved step {step} and stopped by signal 15." in output

    epochs = step // 44 + 2
    settings = ["--epochs", epochs, *LONG[2:], "--root"]
    for folder in (root, root / "straight"):
        assert training.main([*map(str, settings), str(folder)]) == 0
    resumed, straight = root / "runs/default", root / "straight/runs/default"
    last = f"checkpoints/ckpt-{epochs * 44}"
    assert saved_values(resumed / last) == saved_values(straight / last)
    assert log_of(resumed) == log_of(straight)


def test_a_second_trainer_ends_with_code_5_and_names_the_first(root):
    holder = start(root, command="hold")
    read_until(holder, "locked")
    code, _, errors = finish(start("--root", root, *LONG))
    assert code == 5
    assert f"Run 'default' is being trained by process {holder.pid} on " in errors
    holder.kill()
    finish(holder)
    with session.RunLock(Paths(root)):  # a killed process leaves no lock behind
        pass


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no SIGHUP")
def test_a_closed_terminal_asks_to_stop_but_not_under_nohup():
    before = signal.getsignal(signal.SIGHUP)  # the tests may run under nohup themselves
    try:
        for handler, heard in ((signal.SIG_DFL, signal.SIGHUP), (signal.SIG_IGN, None)):
            signal.signal(signal.SIGHUP, handler)
            with session.Signals() as signals:
                signal.raise_signal(signal.SIGHUP)
                assert signals.stop == heard
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_second_signal_ends_at_once():
    signals = session.Signals()
    ended = []
    with pytest.MonkeyPatch.context() as patch, signals:
        patch.setattr("os._exit", ended.append)
        signal.raise_signal(signal.SIGTERM)
        assert (signals.stop, ended) == (signal.SIGTERM, [])
        signal.raise_signal(signal.SIGINT)
        assert ended == [128 + signal.SIGINT]


def test_signal_handlers_are_put_back():
    before = signal.getsignal(signal.SIGTERM)
    with session.Signals():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_lock_is_held_once_and_can_be_taken_again(root):
    with session.RunLock(Paths(root)), pytest.raises(RunLocked), session.RunLock(Paths(root)):
        pass
    with session.RunLock(Paths(root)), session.RunLock(Paths(root, "another")):
        pass


def test_a_run_of_which_nothing_came_leaves_no_folder(root):
    paths = Paths(root / "new", "fork")
    with session.RunLock(paths):
        (paths.best / "ckpt-3_temp").mkdir(parents=True)  # where a save failed
    assert list(root.iterdir()) == []


@pytest.mark.parametrize("name", ["metrics.jsonl", "checkpoints/ckpt-3.index"])
def test_a_run_of_which_anything_came_keeps_its_folder(root, name):
    paths = Paths(root)
    with session.RunLock(paths):
        (paths.folder / name).parent.mkdir(exist_ok=True)
        (paths.folder / name).write_text("")
    assert (paths.folder / name).exists()
    assert not paths.lock_holder.exists()


def test_a_folder_that_was_there_before_stays(root):
    paths = Paths(root)
    paths.folder.mkdir(parents=True)
    with session.RunLock(paths):
        pass
    assert paths.folder.exists()
    with session.RunLock(paths.of("another")):
        pass
    assert [folder.name for folder in paths.runs.iterdir()] == ["default"]


def test_the_refused_trainer_leaves_the_folder_to_the_other(root):
    paths = Paths(root)
    with session.RunLock(paths):
        with pytest.raises(RunLocked), session.RunLock(paths):
            pass
        assert paths.lock.exists()
    assert list(root.iterdir()) == []


def assert_held(paths):
    """A lock on a file that is gone would not keep anyone out."""
    with pytest.raises(RunLocked), session.RunLock(paths):
        pass


def test_a_folder_that_is_removed_before_the_lock_is_taken_is_made_again(root, monkeypatch):
    paths = Paths(root)
    other, lock = session.RunLock(paths), session.RunLock(paths)
    other.__enter__()
    acquire = lock._lock.acquire

    def end_and_acquire():
        other.__exit__()
        return acquire()

    monkeypatch.setattr(lock._lock, "acquire", end_and_acquire)
    with lock:
        assert_held(paths)


@pytest.mark.skipif(os.name != "posix", reason="Windows removes no file that is open")
def test_a_lock_that_is_removed_between_its_opening_and_its_locking_is_made_again(
    root, monkeypatch
):
    fcntl = pytest.importorskip("fcntl")
    paths = Paths(root)
    flock = fcntl.flock

    def remove_and_lock(*arguments):
        monkeypatch.setattr(fcntl, "flock", flock)
        paths.lock.unlink()
        return flock(*arguments)

    monkeypatch.setattr(fcntl, "flock", remove_and_lock)
    with session.RunLock(paths):
        assert fcntl.flock is flock
        assert_held(paths)


def test_a_full_disk_keeps_no_run_from_going_on(root, monkeypatch):
    lock = session.RunLock(Paths(root))
    monkeypatch.setattr(lock, "_holder", root)  # it cannot be written as a file, nor removed
    with lock:
        assert Paths(root).lock.exists()


def test_errors_of_the_user_end_in_one_line(capsys, monkeypatch):
    def main():
        raise ConfigurationError("The line.")

    for arguments, traceback in ([], False), (["--debug"], True):
        monkeypatch.setattr("sys.argv", ["train.py", *arguments])
        with pytest.raises(SystemExit) as caught:
            session.run_main(main)
        assert caught.value.code == 2
        errors = capsys.readouterr().err
        assert errors.endswith("The line.\n")
        assert ("Traceback" in errors) == traceback


def test_a_terminal_without_a_character_does_no_harm(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding="ascii"))
    with pytest.raises(SystemExit, match="0"):
        session.run_main(lambda: print("30 → 40", flush=True) or 0)
    assert written.getvalue() == rb"30 \u2192 40" + os.linesep.encode()


@pytest.mark.skipif(os.name != "posix", reason="pipes break in another way on Windows")
@pytest.mark.parametrize("output", ["a closed pipe", "/dev/full"])
def test_output_that_nobody_reads_does_not_end_the_training(root, output):
    settings = ["--root", root, "--epochs", 3, *LONG[2:]]
    if output == "/dev/full":
        if not Path(output).exists():
            pytest.skip("there is no /dev/full")
        process = start(*settings, under=["sh", "-c", 'exec "$@" >/dev/full 2>/dev/full', "sh"])
    else:
        process = start(*settings)
        process.stdout.close()
        process.stderr.close()
    assert process.wait(timeout=300) == 0
    assert (root / "runs/default/checkpoints/ckpt-132.index").exists()


def test_where_no_file_can_be_locked_it_is_told_and_gone_on(root, monkeypatch, caplog):
    def refuse(*_, **__):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(session.FileLock, "acquire", refuse)
    with session.RunLock(Paths(root)):
        assert (root / "runs/default").is_dir()
    assert "is where no file can be locked" in caplog.text


def test_what_the_system_refuses_ends_in_one_line(capsys):
    def main():
        raise OSError(errno.ENOSPC, "No space left on device", "runs")

    with pytest.raises(SystemExit) as caught:
        session.run_main(main)
    assert caught.value.code == 1
    errors = capsys.readouterr().err
    assert errors.startswith("The system refused: [Errno 28] No space left on device: 'runs'.")
    assert errors.count("\n") == 1


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such descriptors")
def test_streams_that_are_closed_take_no_file(tmp_path):
    def close():
        os.closerange(0, 3)

    root = tmp_path / "root"
    process = start("--root", root, "--max-steps", 2, "--model.hidden", 8, preexec_fn=close)
    code, output, errors = finish(process)
    assert (code, output, errors) == (0, "", "")
    assert condition_of(Paths(root).checkpoints / "ckpt-2").state == "good"
    assert [line["step"] for line in read_objects(Paths(root).history)] == [0]
