"""The launcher: real processes and real signals, and workers that need no TensorFlow."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ..cli import launch
from .helpers import PROJECT, finish, read_until, run_main
from .program import bare, commands, hiding

pty = pytest.importorskip("pty", reason="Windows has no such terminals, nor such signals")

# What the workers have in common.
WORKER = r"""
import json, os, pathlib, signal, subprocess, sys, time
told = json.loads(os.environ["TF_CONFIG"])
index = told["task"]["index"]
got = []
def tell(*words, to=1):
    # Not by print, which a signal may interrupt.
    os.write(to, f"{' '.join(map(str, words))}\n".encode())
def listen(*numbers, ended_by=(), to=1):
    # Tells of each signal and, when one of some comes, of all of them.
    def receive(number, frame):
        got.append(number)
        tell("got", number, to=to)
        if number in ended_by:
            tell("in all", *got, to=to)
            sys.exit(128 + number)
    for number in numbers:
        signal.signal(number, receive)
    tell("listens", os.getpid(), to=to)
    while True:
        signal.pause()
signal.signal(signal.SIGALRM, lambda *_: tell("was left alone") or os._exit(99))
signal.alarm(100)
"""
WAIT = "listen(1, 2, 10, 15, ended_by=(1, 2, 15))"
STUBBORN = "listen(1, 2, 15)"


@pytest.fixture
def script(tmp_path):
    """Writes what the workers run: script(text) → its path, which needs quoting."""
    folder = tmp_path / "a [b] folder"
    folder.mkdir()

    def write(text):
        file = folder / "tr ain.py"
        file.write_text(WORKER + text, encoding="utf-8")
        return str(file)

    return write


@pytest.fixture
def start_launcher(tmp_path, monkeypatch):
    """Starts it in a process that finds no TensorFlow: start_launcher(*words) → the process."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    shutil.copy(hiding.__file__, hidden / "sitecustomize.py")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(hidden), str(PROJECT)]))
    processes = []
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup

    def start(*words, **settings):
        command = [sys.executable, "-m", bare.__name__, "launch", "--workers", "2", *words]
        pipe = subprocess.PIPE
        settings = {"stdout": pipe, "stderr": pipe, "text": True, "cwd": tmp_path} | settings
        processes.append(subprocess.Popen(command, **settings))
        return processes[-1]

    yield start
    signal.signal(signal.SIGHUP, before)
    for process in processes:
        process.kill()
        process.communicate()


def launch_here(*words):
    """Launches in this process, which is quick, and returns the exit code."""
    return run_main(commands.main, "launch", *words)


def pids_of(process):
    """Reads until both workers listen, and returns the numbers of their processes."""
    return [int(read_until(process, "listens").split()[-1]) for _ in range(2)]


def is_alive(pid):
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_workers_are_told_of_each_other_and_given_the_words(start_launcher, script):
    text = """
print(json.dumps([told["cluster"], index, os.getcwd(), sys.argv[1:]]))
print("an error", file=sys.stderr)
"""
    words = ["--workers", "3", "--", script(text), "--run", "ein läuf [1]", "--root", "gs://none"]
    process = start_launcher(*words)
    code, output, errors = finish(process)
    assert code == 0, errors

    lines = dict(line.split("] ", 1) for line in output.splitlines())
    assert sorted(lines) == ["[worker 0", "[worker 1", "[worker 2"]
    told = [json.loads(line) for _, line in sorted(lines.items())]
    addresses = told[0][0]["worker"]
    assert len(set(addresses)) == 3
    assert all(re.fullmatch(r"localhost:\d+", address) for address in addresses)
    given = [*words[words.index("--") + 2 :], "--strategy", "multi-worker"]
    folder = str(Path(words[3]).parents[1])
    assert told == [[{"worker": addresses}, index, folder, given] for index in range(3)]
    assert sorted(errors.splitlines()) == [f"[worker {index}] an error" for index in range(3)]


@pytest.mark.parametrize("given", [["--strategy", "none"], ["--strategy=none"]])
def test_a_strategy_that_is_given_stays(given):
    words = ["-m", "some.train", *given, "--run", "a"]
    assert launch.worker_command(words) == [sys.executable, *words]


def test_lines_are_whole_and_none_is_lost(script, capfd, monkeypatch):
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    text = r"""
for number in range(300):
    for part in (f"{number} ", "x" * (number * 7 % 900), f" ä {number}"):
        sys.stdout.write(part)  # in several writes, as print does
    print()
print("50%\r100%\r\nraw", end=" ", flush=True)
os.write(1, b"\xff")
print("unfinished", end="")
subprocess.Popen(["sh", "-c", "sleep 0.2; printf ' words of a child'"])
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert launch_here("--workers", 2, "--", script(text)) == 137
    lines = capfd.readouterr().out.splitlines()
    wanted = [f"{number} {'x' * (number * 7 % 900)} ä {number}" for number in range(300)]
    wanted += ["50%", "100%", r"raw \xffunfinished words of a child"]
    for index in range(2):
        prefix = f"[worker {index}] "
        own = [line.removeprefix(prefix) for line in lines if line.startswith(prefix)]
        assert own == wanted
    assert len(lines) == 2 * len(wanted)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_reaches_each_worker_once(start_launcher, script, number):
    process = start_launcher("--restarts", "3", "--", script(WAIT))
    pids_of(process)
    process.send_signal(signal.SIGUSR1)
    for _ in range(2):
        read_until(process, f"got {signal.SIGUSR1:d}")
    process.send_signal(number)
    code, output, errors = finish(process)
    assert code == 128 + number
    assert output.count(f"in all {signal.SIGUSR1:d} {number:d}\n") == 2
    assert errors == ""  # and nothing is started again


def test_ctrl_c_in_a_terminal_reaches_each_worker_once(start_launcher, script):
    screen, terminal = pty.openpty()
    own_terminal = {"stdin": terminal, "stdout": terminal, "stderr": terminal}
    process = start_launcher(
        "--", script("listen(1, 2, ended_by=(2,))"), **own_terminal, preexec_fn=take_terminal
    )
    os.close(terminal)
    with os.fdopen(screen, "r+b", buffering=0) as keyboard:
        listening = read_screen(keyboard, rb"listens (\d+)\r\n")
        process.send_signal(signal.SIGSTOP)  # it passes nothing on for now
        keyboard.write(b"\x03")
        read_screen(keyboard, rb"\^C", count=1)
        for pid in listening:
            os.kill(int(pid), signal.SIGHUP)
        process.send_signal(signal.SIGCONT)
        assert read_screen(keyboard, rb"in all (.*)\r\n") == [b"1 2", b"1 2"]
        assert process.wait(60) == 130


def take_terminal():
    """Makes standard input the terminal of this process, which was forked."""
    os.setsid()
    os.close(os.open(os.ttyname(0), os.O_RDWR))  # the first that a session opens is its own


def read_screen(screen, pattern, count=2):
    """Reads from a terminal until a pattern has come so often, and returns what it has matched."""
    seen = b""
    while len(found := re.findall(pattern, seen)) < count:
        seen += os.read(screen.fileno(), 1000)
    return found


def test_a_second_signal_leaves_nothing(start_launcher, script):
    process = start_launcher("--", script(STUBBORN))
    pids = pids_of(process)
    process.send_signal(signal.SIGUSR1)  # for which these do not listen
    process.send_signal(signal.SIGTERM)
    for _ in pids:
        read_until(process, f"got {signal.SIGTERM:d}")
    assert all(map(is_alive, pids))
    process.send_signal(signal.SIGINT)
    code, output, errors = finish(process)
    assert (code, output, errors) == (128 + signal.SIGINT, "", "")
    assert not any(map(is_alive, pids))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of a parent's end")
def test_workers_stop_where_the_launcher_is_killed(start_launcher, script, tmp_path):
    os.mkfifo(tmp_path / "words")
    text = """
listen(15, ended_by=(15,), to=os.open("words", os.O_WRONLY))
"""
    process = start_launcher("--", script(text))
    with (tmp_path / "words").open() as words:  # ends when both workers have
        assert all("listens" in words.readline() for _ in range(2))
        process.kill()
        assert words.read().count("in all 15\n") == 2


def test_when_one_is_killed_the_others_get_a_moment(start_launcher, script):
    text = f"""
if index == 1:
    os.kill(os.getpid(), 9)
{STUBBORN}
"""
    process = start_launcher("--grace", "1s", "--", script(text))
    pid = int(read_until(process, "listens").split()[-1])
    code, output, errors = finish(process)
    assert code == 128 + signal.SIGKILL
    assert output == "[worker 0] got 15\n"  # and SIGKILL after it
    assert errors == "[launch] Worker 1 was killed by signal 9. The others have 1 seconds to end.\n"
    assert not is_alive(pid)


def test_the_first_failure_gives_the_code(script, tmp_path, capfd, monkeypatch):
    text = """
told = pathlib.Path(sys.argv[1], "told")
if index == 0:
    while not told.exists(): time.sleep(0.01)
    print("has lost a worker", file=sys.stderr)
sys.exit(3 + index)
"""
    say = launch.say

    def say_and_note(text):
        say(text)
        (tmp_path / "told").touch()

    monkeypatch.setattr(launch, "say", say_and_note)
    assert launch_here("--workers", 2, "--", script(text), tmp_path) == 4
    lines = capfd.readouterr().err.splitlines()
    assert lines == [
        "[launch] Worker 1 ended with code 4. The others have 30 seconds to end.",
        "[worker 0] has lost a worker",
    ]


END = """
with open(os.path.join(sys.argv[1], f"starts-{index}"), "a") as starts:
    print(told["cluster"]["worker"], file=starts)
end = int(sys.argv[2])
if index == 0:
    sys.exit()
if end < 0:
    os.kill(os.getpid(), -end)
sys.exit(end)
"""


@pytest.mark.parametrize(
    ("end", "starts", "code"),
    [(0, 1, 0), (1, 3, 1), (7, 3, 7), (200, 3, 200), (-9, 3, 137), (-11, 3, 139)]
    + [(code, 1, code) for code in (2, 3, 4, 5, 143)],
)
def test_what_may_be_mended_is_started_again(script, tmp_path, capfd, end, starts, code):
    words = ["--workers", 2, "--restarts", 2, "--", script(END), tmp_path, end]
    assert launch_here(*words) == code
    for index in range(2):
        told = (tmp_path / f"starts-{index}").read_text().splitlines()
        assert len(told) == starts
        assert len(set(told)) == starts  # other ports each time
    assert capfd.readouterr().err.count("Starting all workers again") == starts - 1


def test_after_a_signal_nothing_is_started_again(script, capfd):
    text = """
if index == 1:
    os.kill(os.getppid(), signal.SIGTERM)
signal.pause()  # which it kills: TensorFlow, say, is still being imported
"""
    assert launch_here("--workers", 2, "--restarts", 2, "--", script(text)) == 143
    assert "Starting all workers again" not in capfd.readouterr().err


def test_a_restart_may_succeed(script, tmp_path, capfd):
    text = """
tried = pathlib.Path(sys.argv[1], f"tried-{index}")
if not tried.exists():
    tried.touch()
    sys.exit(1)
"""
    assert launch_here("--workers", 2, "--restarts", 5, "--", script(text), tmp_path) == 0
    assert "Starting all workers again: restart 1 of 5.\n" in capfd.readouterr().err


def test_what_a_worker_leaves_behind_is_ended(script, tmp_path, monkeypatch):
    monkeypatch.setattr(launch, "PATIENCE", 0.2)
    text = """
words = os.open(sys.argv[1] + "/words", os.O_WRONLY)
subprocess.Popen(["sh", "-c", f"sleep 60; echo lives on >&{words}"], pass_fds=[words])
"""
    os.mkfifo(tmp_path / "words")
    words = os.fdopen(os.open(tmp_path / "words", os.O_RDONLY | os.O_NONBLOCK))
    assert launch_here("--workers", 1, "--", script(text), tmp_path) == 0
    os.set_blocking(words.fileno(), True)
    with words:
        assert words.read() == ""  # it has ended


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--workers", "0", "--", "x.py"], "--workers 0 is not possible: give at least 1."),
        (["--workers", "2", "--restarts", "-1"], "--restarts -1 is not possible"),
        (["--workers", "2", "--grace", "3"], "--grace '3' is not possible"),
        (["--workers", "2"], "There is nothing to launch: give it after --"),
        (["--workers", "2", "--"], "There is nothing to launch: give it after --"),
        (["--workers", "2", "--", "no such.py"], "There is no script 'no such.py' in "),
    ],
)
def test_wrong_usage_is_one_clear_line(words, message, capsys):
    assert launch_here(*words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
