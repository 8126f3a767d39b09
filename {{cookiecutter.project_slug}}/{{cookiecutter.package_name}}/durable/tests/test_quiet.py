"""Tests of quiet.py. Most need no TensorFlow: what it would print is written here."""

import importlib.util
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from .. import quiet

HERE = Path(quiet.__file__).parent
LONG = 60  # seconds after which something has gone wrong


def absl(level, text):
    """A record in the log as absl writes it."""
    return f"{level}0000 00:00:1795636708.116990    2815 {text}\n".encode()


def own(level, text):
    """A record in the log as TensorFlow itself wrote it before version 2.21."""
    return f"2026-11-25 20:00:11.341975: {level} {text}\n".encode()


ONEDNN = (
    "port.cc:153] oneDNN custom operations are on. You may see slightly different numerical "
    "results due to floating-point round-off errors from different computation orders. To turn "
    "them off, set the environment variable `TF_ENABLE_ONEDNN_OPTS=0`."
)
FEATURES = (
    "cpu_feature_guard.cc:227] This TensorFlow binary is optimized to use available CPU "
    "instructions in performance-critical operations.\nTo enable the following instructions: AVX2 "
    "FMA, in other operations, rebuild TensorFlow with the appropriate compiler flags."
)
NO_DRIVER = "cudart_stub.cc:31] Could not find cuda drivers on your machine, GPU will not be used."
REGISTER = (
    "cuda_{}.cc:477] Unable to register cu{} factory: Attempting to register factory for plugin "
    "cu{} when one has already been registered"
)
PLACER = (
    "computation_placer.cc:177] computation placer already registered. Please check linkage and "
    "avoid linking the same target more than once."
)
CUINIT = "failed call to cuInit: INTERNAL: CUDA error: Failed call to cuInit: UNKNOWN ERROR (303)"
TRACE = "\n=== Source Location Trace: === \nexternal/xla/xla/stream_executor/cuda_status.cc:50\n"

# As TensorFlow 2.15 to 2.22.0rc0 printed it, for CPUs and for GPUs.
CHATTER = [
    b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n",
    absl("I", ONEDNN),
    own("I", "tensorflow/core/util/" + ONEDNN),
    absl("I", FEATURES),
    own("I", "tensorflow/core/platform/" + FEATURES),
    absl("I", NO_DRIVER),
    own("I", "external/local_tsl/tsl/cuda/" + NO_DRIVER),
    own("E", "external/local_xla/xla/stream_executor/cuda/" + REGISTER.format("fft", *["FFT"] * 2)),
    absl("E", REGISTER.format("dnn", *["DNN"] * 2)),
    absl("E", REGISTER.format("blas", *["BLAS"] * 2)),
    absl("W", PLACER),
    own("W", "tensorflow/compiler/py_utils.cc:38] TF-TRT Warning: Could not find TensorRT"),
    own("E", "external/local_xla/xla/stream_executor/cuda/cuda_driver.cc:152] " + CUINIT),
    absl("E", "cuda_platform.cc:52] " + CUINIT),
    absl("E", "cuda_platform.cc:57] " + CUINIT + TRACE),
]
ALL = b"".join(CHATTER)

# What looks like it, and what else there may be.
REAL = [
    b"\n",
    b" " + CHATTER[1],
    b"x" + CHATTER[0],
    CHATTER[1].replace(b"I0000", b"F0000"),
    CHATTER[1].replace(b"port.cc", b"report.cc"),
    CHATTER[1].replace(b"operations are on", b"operations are not available"),
    CHATTER[2].replace(b": I ", b": F "),
    CHATTER[7].replace(b"one has already been registered", b"the plugin is not there"),
    CHATTER[12].replace(b"UNKNOWN ERROR (303)", b"CUDA_ERROR_NO_DEVICE: no CUDA-capable device"),
    absl("E", "cuda_blas.cc:1418] failed to create cublas handle"),
    b"WARNING: All log messages are lost\n",
    b"To enable the following instructions: AVX2 FMA, in other operations, rebuild TensorFlow\n",
    b"=== Source Location Trace: ===\n",
    b"quiet.py:1: UserWarning: oneDNN custom operations are on. \n",
    b"epoch 1\repoch 2\r\n",
    "größer\n".encode(),
    bytes(range(256)) + b"\n",
    b"\n\n\x00\xff\xfe\n",
]


def begin(script, *under, before="", **options):
    """Starts a script, in which `put` writes to file descriptor 2 as C++ does."""
    head = f"import os, signal, sys\nimport quiet\nput = lambda text: os.write(2, text)\n{before}\n"
    command = [*under, sys.executable, "-W", "error", "-c", head + script]
    options = {
        "stdin": subprocess.PIPE,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
    } | options
    unset = ("TF_CPP_MIN_LOG_LEVEL", "PYTHONUNBUFFERED")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    environment |= {"PYTHONPATH": str(HERE)} | options.pop("env", {})
    return subprocess.Popen(command, env=environment, **options)


def outcome(process):
    """Waits for a process, and returns its exit code and what it printed."""
    output, errors = process.communicate(timeout=LONG)
    return process.returncode, output, errors


def inside(*lines, after=""):
    """A script that runs lines while chatter is dropped."""
    return "\n    ".join(["with quiet.chatter_dropped():", *lines]) + "\n" + after


def is_ready(descriptor):
    """Whether there is something to read, if need be after a while."""
    return bool(select.select([descriptor], [], [], LONG)[0])


def sifted(monkeypatch, *parts):
    """What the filter writes when it reads these parts, one at a time."""
    written = []
    reads = iter([part for part in parts if part] + [b""])
    monkeypatch.setattr(os, "read", lambda *_: next(reads))
    monkeypatch.setattr(os, "write", lambda _, text: written.append(text))
    quiet._sift()
    monkeypatch.undo()
    return written


@pytest.fixture
def fake(tmp_path):
    """Makes a package `tensorflow` of the given code; gives the environment to import it."""

    def make(code):
        (tmp_path / "tensorflow.py").write_text(code)
        return {"PYTHONPATH": f"{tmp_path}:{HERE}"}

    return make


@pytest.mark.parametrize("line", CHATTER)
def test_chatter_is_dropped(monkeypatch, line):
    assert b"".join(sifted(monkeypatch, line)) == b""
    assert b"".join(sifted(monkeypatch, b"a\n" + line + b"b\n")) == b"a\nb\n"


@pytest.mark.parametrize("line", REAL)
def test_all_else_passes_unchanged(monkeypatch, line):
    assert b"".join(sifted(monkeypatch, ALL + line + ALL)) == line


@pytest.mark.parametrize("line", [line for line in CHATTER if line.count(b"\n") == 1])
def test_chatter_may_come_in_two_parts(monkeypatch, line):
    for place in range(12, len(line)):
        assert b"".join(sifted(monkeypatch, b"a\n" + line[:place], line[place:] + b"b")) == b"a\nb"
    for place in range(12):  # so short a beginning may pass: then all of it does
        got = b"".join(sifted(monkeypatch, b"a\n" + line[:place], line[place:] + b"b"))
        assert got in (b"a\nb", b"a\n" + line + b"b")


@pytest.mark.parametrize("line", REAL)
def test_all_else_may_come_in_two_parts(monkeypatch, line):
    for place in range(len(line)):
        parts = (CHATTER[0] + line[:place], line[place:] + CHATTER[1])
        assert b"".join(sifted(monkeypatch, *parts)) == line


def test_a_line_without_an_end_passes_at_once(monkeypatch):
    assert sifted(monkeypatch, b"50%", b" 60%", b"\nend")[:2] == [b"", b"50%"]
    assert b"".join(sifted(monkeypatch, ALL, b"50%", b" 60%\n", ALL, b"end")) == b"50% 60%\nend"
    assert b"".join(sifted(monkeypatch, b"I0000 at last")) == b"I0000 at last"


def test_what_is_printed_is_there_before_the_next_is():
    process = begin(inside("put(b'50%')", "sys.stdin.read()", "put(b' 60%')"))
    assert is_ready(process.stderr)
    assert os.read(process.stderr.fileno(), 99) == b"50%"
    assert outcome(process) == (0, b"", b" 60%")


def test_it_is_in_order_and_whole_however_much_it_is():
    lines = [
        "for number in range(2000):",
        f"    put({ALL!r})",
        "    put(b'%d ' % number * 99 + b'\\n')",
    ]
    expected = b"".join(b"%d " % number * 99 + b"\n" for number in range(2000))
    code, _, errors = outcome(begin("put(b'first\\n')\n" + inside(*lines, after="put(b'last\\n')")))
    assert code == 0
    assert errors == b"first\n" + expected + b"last\n"


def test_afterwards_standard_error_and_the_descriptors_are_what_they_were():
    before = "state = lambda: (os.fstat(2), sorted(os.listdir('/dev/fd'))); before = state()"
    check = "print(state() == before, os.get_inheritable(2))"
    process = begin(inside("pass", after=f"put({ALL!r})\n{check}"), before=before)
    assert outcome(process) == (0, b"True True\n", ALL)


def test_a_traceback_comes_through_whole(fake):
    error = "libcudart.so.12: cannot open shared object file"
    broken = fake(f"import os\nos.write(2, {ALL!r})\nraise ImportError({error!r})\n")
    code, _, errors = outcome(begin("quiet.import_tensorflow()", env=broken))
    plain = outcome(begin("import tensorflow", env=broken))[2].removeprefix(ALL)
    assert code == 1
    assert errors.startswith(b"Traceback (most recent call last):\n")
    assert errors.splitlines()[-3:] == plain.splitlines()[-3:]
    assert errors.endswith(f"ImportError: {error}\n".encode())


def test_warnings_come_through(fake):
    warns = fake(
        "import warnings\nwarnings.simplefilter('always')\nwarnings.warn('old')\n" + CONFIG
    )
    code, _, errors = outcome(begin("quiet.import_tensorflow()", env=warns))
    assert code == 0
    assert b"UserWarning: old\n" in errors


CONFIG = """
class config:
    def list_physical_devices():
        import os
        os.write(2, b"looked\\n")
"""


@pytest.mark.parametrize("driver", [False, True])
def test_gpus_are_looked_for_at_once_only_where_there_is_no_driver(fake, driver):
    before = "import ctypes\ndef load(name):\n" + ("    pass" if driver else "    raise OSError")
    before += "\nctypes.CDLL = load"
    looked = outcome(begin("quiet.import_tensorflow()", before=before, env=fake(CONFIG)))[2]
    assert looked == (b"" if driver else b"looked\n")


CRASHES = {
    "os.abort()": -signal.SIGABRT,
    "import ctypes; ctypes.string_at(0)": -signal.SIGSEGV,
    "os.kill(os.getpid(), signal.SIGKILL)": -signal.SIGKILL,
    "os._exit(7)": 7,
}


@pytest.mark.parametrize("last", [b"F0000 Check failed\n", b"Aborted", b"I0000 00:00:1.1 2 por"])
@pytest.mark.parametrize("crash", CRASHES)
def test_last_words_come_through(crash, last):
    write = f"ctypes.CDLL(None).write(2, {last!r}, {len(last)})"
    process = begin(inside(f"put({ALL!r})", "import ctypes", write, crash))
    assert outcome(process) == (CRASHES[crash], b"", last)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGTSTP"])
def test_a_signal_to_all_leaves_the_last_words(name):
    lines = [
        f"signal.pthread_sigmask(signal.SIG_BLOCK, [signal.{name}])",
        "print('ready', flush=True)",
        f"signal.sigwait([signal.{name}])",
        "put(b'last words\\n')",
        "os.kill(os.getpid(), signal.SIGKILL)",
    ]
    process = begin(inside(*lines), start_new_session=True)
    assert process.stdout.readline() == b"ready\n"
    os.killpg(process.pid, getattr(signal, name))
    assert outcome(process) == (-signal.SIGKILL, b"", b"last words\n")


def test_this_process_hears_signals_as_ever():
    # A shell lets what runs in the background ignore SIGINT, and so would this.
    before = "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    before += "mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])"
    check = "print(signal.pthread_sigmask(signal.SIG_BLOCK, []) == mask)"
    process = begin(inside(check, "signal.raise_signal(signal.SIGINT)"), before=before)
    code, output, errors = outcome(process)
    assert (code, output) == (-signal.SIGINT, b"True\n")
    assert errors.endswith(b"KeyboardInterrupt\n")


def test_the_filter_holds_nothing_but_standard_error_open():
    """A process in the background keeps the filter alive: what else does that one keep?"""
    mine, theirs = os.pipe()
    background = (
        "subprocess.Popen(['sh', '-c', 'read line; echo $line >&2'], stdout=subprocess.DEVNULL)"
    )
    script = inside("import subprocess", background)
    before = "quiet._PATIENCE = 0\nimport warnings; warnings.simplefilter('ignore')"
    process = begin(script, before=before, pass_fds=[theirs])
    os.close(theirs)
    assert process.wait(LONG) == 0
    assert is_ready(process.stdout)
    assert process.stdout.read() == b""
    assert is_ready(mine)
    assert os.read(mine, 1) == b""
    os.close(mine)
    assert not select.select([process.stderr], [], [], 0)[0]
    assert outcome_of_line(process, b"late words\n") == b"late words\n"


def outcome_of_line(process, line):
    """What a process prints on standard error once it is told a line."""
    process.stdin.write(line)
    process.stdin.close()
    assert is_ready(process.stderr)
    return process.stderr.read()


def test_a_process_in_the_background_does_not_hold_up_this_one():
    background = "subprocess.Popen(['sh', '-c', 'read line'], stdout=subprocess.DEVNULL)"
    lines = ["import subprocess", background]
    before = "quiet._PATIENCE = 0.01\nimport warnings; warnings.simplefilter('ignore')"
    process = begin(inside(*lines, after="print('on', flush=True)"), before=before)
    assert is_ready(process.stdout)
    assert process.stdout.readline() == b"on\n"
    assert outcome(process)[0] == 0


def test_a_pipeline_ends_with_it():
    script = inside("put(b'err\\n')", after="print('out')")
    shell = ["sh", "-c", '"$@" 2>&1 | cat', "sh"]
    assert outcome(begin(script, *shell)) == (0, b"err\nout\n", b"")


def test_no_process_is_left():
    left = (
        "try:\n    print(os.waitpid(-1, os.WNOHANG))\nexcept ChildProcessError:\n    print('none')"
    )
    assert outcome(begin(inside("put(b'x')", after=left))) == (0, b"none\n", b"x")


def test_a_system_that_reaps_processes_itself():
    before = "signal.signal(signal.SIGCHLD, signal.SIG_IGN)"
    assert outcome(begin(inside("put(b'x')", after="print(1)"), before=before)) == (0, b"1\n", b"x")


def test_nothing_of_this_process_is_printed_twice():
    before = "import atexit; atexit.register(print, 'bye'); print('unflushed')"
    assert outcome(begin(inside("put(b'x')"), before=before)) == (0, b"unflushed\nbye\n", b"x")


@pytest.mark.parametrize("closed", ["2>&-", "0<&- 2>&-", "0<&- 1>&- 2>&-"])
def test_standard_error_may_be_closed(closed, tmp_path):
    script = inside(f"open({str(tmp_path / 'file')!r}, 'w').write('there')")
    code, output, _ = outcome(begin(script, "sh", "-c", f'exec "$@" {closed}', "sh"))
    assert (code, output) == (0, b"")
    assert (tmp_path / "file").read_text() == "there"


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "0<&- 1>&-"])
def test_others_may_be_closed(closed):
    script = inside(f"put({ALL!r} + b'real\\n')", after="put(b'end')")
    code, _, errors = outcome(begin(script, "sh", "-c", f'exec "$@" {closed}', "sh"))
    assert (code, errors) == (0, b"real\nend")


def test_the_reader_of_standard_error_may_be_gone():
    mine, theirs = os.pipe()
    os.close(mine)
    tries = ["try:", "    while True: put(b'x' * 999)", "except BrokenPipeError: print('told')"]
    process = begin(inside(*tries, after="print('on')"), stderr=theirs)
    os.close(theirs)
    assert outcome(process)[:2] == (0, b"told\non\n")


@pytest.mark.parametrize(
    "before",
    [
        "from threading import *; Thread(target=Event().wait, daemon=True).start()",
        "sys.modules['tensorflow'] = None",
        "del os.fork",
        "def fork(): raise BlockingIOError\nos.fork = fork",
    ],
)
def test_where_it_cannot_work_nothing_is_dropped(before):
    process = begin(inside(f"put({ALL!r})", after="print('on')"), before=before)
    assert outcome(process) == (0, b"on\n", ALL)


@pytest.mark.parametrize(("level", "expected"), [(None, b"2"), ("0", b"0")])
def test_the_log_level_is_that_of_errors_unless_it_is_set(level, expected):
    script = inside("print(os.environ['TF_CPP_MIN_LOG_LEVEL'])")
    process = begin(script, env={} if level is None else {"TF_CPP_MIN_LOG_LEVEL": level})
    assert outcome(process)[1].split() == [expected]


def test_a_keras_that_is_asked_for_and_not_installed_ends_in_one_line(monkeypatch, capsys):
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", "1")
    monkeypatch.setattr(quiet, "find_spec", lambda _: None)
    with pytest.raises(SystemExit) as caught:
        quiet.import_tensorflow()
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("TF_USE_LEGACY_KERAS is set, and tf_keras is not installed")


needs_tensorflow = pytest.mark.skipif(
    not importlib.util.find_spec("tensorflow"), reason="TensorFlow is not installed"
)
QUIETLY = "import warnings; warnings.simplefilter('default')\nquiet.import_tensorflow()\n"


@needs_tensorflow
@pytest.mark.parametrize("level", [None, "0"])
def test_tensorflow_starts_in_silence(level):
    script = QUIETLY + "import tensorflow as tf\nprint(int(tf.reduce_sum(tf.constant([1, 2]))))"
    process = begin(script, env={} if level is None else {"TF_CPP_MIN_LOG_LEVEL": level})
    assert outcome(process) == (0, b"3\n", b"")


@needs_tensorflow
def test_tensorflow_can_still_be_configured():
    script = QUIETLY + (
        "import tensorflow as tf\n"
        "cpu = tf.config.list_physical_devices('CPU')[0]\n"
        "two = [tf.config.LogicalDeviceConfiguration()] * 2\n"
        "tf.config.set_logical_device_configuration(cpu, two)\n"
        "tf.config.set_visible_devices(cpu)\n"
        "tf.config.threading.set_inter_op_parallelism_threads(1)\n"
        "tf.config.threading.set_intra_op_parallelism_threads(1)\n"
        "tf.config.experimental.enable_op_determinism()\n"
        "print(len(tf.config.list_logical_devices('CPU')))\n"
    )
    assert outcome(begin(script)) == (0, b"2\n", b"")
