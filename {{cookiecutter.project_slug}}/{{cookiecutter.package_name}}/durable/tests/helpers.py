"""Small states, real processes, and what is on the disk."""

import ctypes
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from ..checkpoint.card import read_card
from ..checkpoint.manager import CheckpointManager
from ..compat import as_variable, keras
from ..data.protocol import SavedSpec
from ..run import session
from ..run.replicas import deal, single_device
from ..run.state import TrainState
from ..run.worker import local_clusters
from .program.experiment import Classes, Config, ModelConfig, OptimizerConfig
from .program.models import build_model

# What `python -m` finds the package from.
PROJECT = Path(__file__).resolve().parents[len(__package__.split("."))]
PROGRAM = f"{__package__}.program"
SHAPE = (4, 4)
THREE_EPOCHS = ["--epochs", "3", "--model.hidden", "8", "--log-every", "10"]


def small_model(**settings):
    """A model for examples of SHAPE, in three classes."""
    return build_model(ModelConfig(**({"hidden": (5, 6)} | settings)), SHAPE, 3)


def small_task(model=None, optimizer="adam", seed=1, learning_rate=1e-3):
    """A task with such a model, and the specs of its batches."""
    keras.utils.set_random_seed(seed)
    config = Config(
        model=ModelConfig(hidden=(5, 6)), optimizer=OptimizerConfig(optimizer, learning_rate)
    )
    element_spec = (tf.TensorSpec((None, *SHAPE)), tf.TensorSpec((None,), tf.int32))
    task = Classes(config, SavedSpec(element_spec, {"data.classes": 3}, 10))
    if model is not None:
        task.models = {"model": model}
    return task, element_spec


def small_state(*arguments, **settings):
    """The state of such a task."""
    return TrainState(*small_task(*arguments, **settings))


def manager_of(state, directory, **settings):
    return CheckpointManager(tf.train.Checkpoint(**state.parts), directory, **settings)


def variables_of(state):
    """Every variable of a state."""
    checkpoint = tf.train.Checkpoint(**state.parts)
    nodes = tf.train.TrackableView(checkpoint).descendants()
    variables = [as_variable(node) for node in nodes]
    return [variable for variable in variables if variable is not None]


def values_of(state):
    """The bytes of every variable of a state."""
    return [variable.numpy().tobytes() for variable in variables_of(state)]


def disturb(state):
    """Changes every variable."""
    for variable in variables_of(state):
        variable.assign(variable + tf.ones_like(variable))


def train_a_little(state, steps=2):
    """Trains on random examples, so that every part of the state moves."""
    random = np.random.default_rng(0)
    for _ in range(steps):
        x = tf.constant(random.random((8, *SHAPE)), tf.float32)
        batch = (x, tf.constant(random.integers(0, 3, 8), tf.int32))
        outputs, loss = state.task.step(batch)
        state.update_means(batch, outputs, loss)
        state.step.assign_add(1)


def train(state, data, start, stop, strategy=None):
    """Trains a state on the batches of some steps."""
    strategy = strategy or single_device()
    run = state.task.phased(strategy.run)

    def train_on(part):
        outputs, loss = state.task.step(part)
        state.update_means(part, outputs, loss)

    batches = data.batches(0, start, stop)

    @tf.function(input_signature=[batches.element_spec])
    def step(batch):
        run(train_on, args=(deal(strategy, batch),))
        state.average_weights()
        state.step.assign_add(1)

    for batch in batches:
        step(batch)


def run_main(main, *arguments):
    """Runs a command in this process and returns its exit code."""
    with pytest.raises(SystemExit) as caught:
        session.run_main(lambda: main([*map(str, arguments)]))
    return caught.value.code


def saved_values(checkpoint):
    """The bytes of everything in a checkpoint but its card, which tells the time.

    The state of an iterator has no form in NumPy; its batches show in all other values.
    """
    reader = tf.train.load_checkpoint(str(checkpoint))
    return {
        key: np.asarray(reader.get_tensor(key)).tobytes()
        for key, dtype in reader.get_variable_to_dtype_map().items()
        if not key.startswith("card/") and dtype != tf.variant
    }


def files_in(folder):
    """The bytes of every file below a folder."""
    return {path: path.read_bytes() for path in sorted(Path(folder).rglob("*")) if path.is_file()}


def log_of(run):
    """The lines of metrics.jsonl without their times."""
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [{name: value for name, value in line.items() if name != "time"} for line in lines]


def steps_in(folder):
    """The steps of the checkpoints in a folder."""
    return sorted(int(file.stem.partition("-")[2]) for file in folder.glob("ckpt-*.index"))


def points_of(folder):
    """The steps of the curves in TensorBoard's files."""
    events = [
        tf.compat.v1.Event.FromString(record)
        for file in sorted(folder.glob("events*"))
        if not file.name.endswith("_temp")  # the next start removes it
        for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator()
    ]
    return sorted(event.step for event in events if event.HasField("summary"))


def place_of(checkpoint, path):
    """Where the data file of a checkpoint holds a variable."""
    (entry,) = [entry for entry in read_card(checkpoint).structure.variables if entry.path == path]
    value = tf.train.load_checkpoint(str(checkpoint)).get_tensor(entry.key)
    return data_of(checkpoint).read_bytes().index(value.tobytes())


def rewrite(checkpoint, change):
    """Changes the tensors of a checkpoint, whose checksums are right again."""
    reader = tf.train.load_checkpoint(str(checkpoint))
    tensors = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
    change(tensors)
    tf.raw_ops.SaveV2(
        prefix=str(checkpoint),
        tensor_names=list(tensors),
        shape_and_slices=[""] * len(tensors),
        tensors=[tf.constant(value) for value in tensors.values()],
    )


def data_of(checkpoint):
    """The data file of a checkpoint."""
    return checkpoint.parent / f"{checkpoint.name}.data-00000-of-00001"


def flip(file, position=None):
    """Flips the bits of one byte of a file, any one by default."""
    contents = bytearray(file.read_bytes())
    position = random.randrange(len(contents)) if position is None else position
    print(f"flipped byte {position} of {file.name}")
    contents[position] ^= 0xFF
    file.write_bytes(contents)


def start(*arguments, command="train", path=PROJECT, cwd=None, preexec_fn=None, **settings):
    """Starts a command of the program in a process of its own.

    Its settings may be a command `under` which it is run, another `module`, and more of the
    `environment`. The function `preexec_fn` is called first.
    """
    module = [settings["module"]] if "module" in settings else [PROGRAM, command]
    more = {"PYTHONPATH": str(path), "PYTHONUTF8": "1"} | settings.get("environment", {})
    return subprocess.Popen(
        [*settings.get("under", ()), sys.executable, "-m", *module, *map(str, arguments)],
        preexec_fn=preexec_fn,  # noqa: PLW1509  (nothing else runs in the child)
        cwd=cwd,
        env=os.environ | more,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def start_workers(count, *arguments, **settings):
    """Starts so many workers, each of which trains its part of a run on this machine."""
    return [
        start(*arguments, environment={"TF_CONFIG": cluster}, **settings)
        for cluster in local_clusters(count)
    ]


def run_module(module, *arguments):
    """Runs a module of the tests in a process of its own, to its end."""
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
    )


def require_exact_after_a_kill(folder, run, *arguments):
    """Kills a run that saves every 7 steps, lets it go on, and compares it with a straight one.

    `run` trains with such arguments to its end and returns the exit code.
    """
    arguments = [*arguments, "--model.hidden", "8", "--log-every", "10", "--save-every", "7"]
    killed, straight = ([*arguments, "--root", folder / name] for name in ("killed", "straight"))
    process = start(*killed, "--epochs", "100")
    read_until(process, "epoch 1/")
    process.send_signal(signal.SIGKILL)
    finish(process)
    last = max(steps_in(folder / "killed/runs/default/checkpoints"))
    assert last >= 42
    for each in (killed, straight):
        assert run(*each, "--max-steps", last + 10) == 0
    require_same_run(folder / "killed", folder / "straight", last + 10)


def require_same_run(root, other, step):
    """The runs of two roots have the same values at a step, bit for bit, and the same log."""
    runs = [folder / "runs/default" for folder in (root, other)]
    saved = [saved_values(run / f"checkpoints/ckpt-{step}") for run in runs]
    assert saved[0] == saved[1]
    assert log_of(runs[0]) == log_of(runs[1])


def end_with_parent():
    """Sees to it that this process, which was forked, is killed where its parent ends."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def finish(process):
    """Waits for a process, and returns its exit code and what it printed."""
    output, errors = process.communicate(timeout=300)
    return process.returncode, output, errors


def read_until(process, text):
    """Reads the lines that a process prints, up to one with the text in it."""
    for line in process.stdout:
        if text in line:
            return line
    raise AssertionError(f"{text!r} was never printed: {process.stderr.read()}")
