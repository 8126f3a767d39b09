"""How fast the generated project trains, and how soon after a start."""

import contextlib
import io
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import tensorflow as tf
import train
from my_experiment.config import Config
from my_experiment.data import load_data
from my_experiment.durable import ArrayData, CheckpointManager, TrainState
from my_experiment.experiment import Experiment
from report import draw_bars, in_turn, seconds, table

ROUNDS = 3
EPOCHS = 20
STEPS_PER_EXECUTION = (8, 44)
FAR = 1_000_000
keras: Any = tf.keras


def generated(*, saving: bool) -> Callable[[], float]:
    """The project's own train.py, start-up left out by taking a short run from a long one."""

    def run(epochs: int) -> float:
        with tempfile.TemporaryDirectory() as root, contextlib.redirect_stdout(io.StringIO()):
            cadence = "epoch" if saving else "1000h"
            arguments = ["--root", root, "--epochs", str(epochs), "--save-every", cadence]
            return seconds(lambda: train.main(arguments))

    return lambda: EPOCHS * 44 / (run(EPOCHS + 2) - run(2))


def prepare(steps_per_execution: int = 1) -> tuple[keras.Model, ArrayData]:
    """The default model, compiled as its users would."""
    config = Config()
    data = load_data(config.data)
    task = Experiment(config).task(data)
    model = task.model
    model.compile(
        task.optimizer,
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        steps_per_execution=steps_per_execution,
    )
    return model, data


def fit(steps_per_execution: int = 1, *, saving: bool) -> Callable[[], float]:
    """Keras's fit, with validation after every epoch as in train.py."""
    model, data = prepare(steps_per_execution)
    folder = tempfile.mkdtemp()
    size = data.steps_per_epoch * 32

    def run(epochs: int) -> None:
        callbacks = [keras.callbacks.ModelCheckpoint(f"{folder}/m.keras")] if saving else []
        model.fit(
            *(array[:size] for array in data.training.arrays),
            batch_size=32,
            epochs=epochs,
            validation_data=data.validation.arrays,
            validation_batch_size=32,
            callbacks=callbacks,
            verbose=0,
        )

    run(2)
    return lambda: EPOCHS * data.steps_per_epoch / seconds(lambda: run(EPOCHS))


def plain_loop(*, saving: bool) -> Callable[[], float]:
    """The loop of TensorFlow's guides: one call of a `tf.function` for each step."""
    model, data = prepare()
    optimizer = model.optimizer
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    batches = tf.data.Dataset.from_tensor_slices(data.training.arrays)
    batches = batches.shuffle(2000).batch(32, drop_remainder=True).prefetch(tf.data.AUTOTUNE)
    manager = tf.train.CheckpointManager(
        tf.train.Checkpoint(model=model, optimizer=optimizer), tempfile.mkdtemp(), 5
    )

    @tf.function
    def step(x: tf.Tensor, y: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            loss = loss_of(y, model(x, training=True))
        weights = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))

    def run(epochs: int) -> None:
        for _ in range(epochs):
            for x, y in batches:
                step(x, y)
            model.evaluate(*data.validation.arrays, verbose=0)
            if saving:
                manager.save()

    run(2)
    return lambda: EPOCHS * data.steps_per_epoch / seconds(lambda: run(EPOCHS))


def measure_speed(*, saving: bool) -> dict[str, float]:
    """Steps per second of each way, validation included."""
    tuned = {f"fit, {n} steps per execution": fit(n, saving=saving) for n in STEPS_PER_EXECUTION}
    ways = {
        "generated train.py": generated(saving=saving),
        "fit": fit(saving=saving),
        **tuned,
        "one-step tf.function loop": plain_loop(saving=saving),
    }
    return in_turn(ways, ROUNDS)


def measure_start() -> dict[str, float]:
    """Seconds from the start of the process to the first epoch's end, fresh and far out."""

    def first_epoch(root: str) -> float:
        began = perf_counter()
        with subprocess.Popen(
            [sys.executable, train.__file__, "--root", root, "--epochs", str(FAR)],
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            next(line for line in process.stdout or () if line.startswith("epoch"))
            taken = perf_counter() - began
            process.kill()
        return taken

    def fresh() -> float:
        with tempfile.TemporaryDirectory() as root:
            return first_epoch(root)

    def far() -> float:
        with tempfile.TemporaryDirectory() as root:
            write_far_checkpoint(root)
            return first_epoch(root)

    return in_turn({"fresh start": fresh, f"resume at step {FAR:,}": far}, ROUNDS)


def write_far_checkpoint(root: str) -> None:
    """Writes a checkpoint of the default run at a step far out."""
    config = Config()
    data = load_data(config.data)
    state = TrainState(Experiment(config).task(data), data.element_spec)
    state.step.assign(FAR)
    CheckpointManager(
        tf.train.Checkpoint(**state.parts),
        Path(root) / "runs/default/checkpoints",
        identity=config.identity() | data.identity,
    ).save()


def report() -> str:
    """Measures everything and gives the section of the document."""
    off, on = measure_speed(saving=False), measure_speed(saving=True)
    ours = off["generated train.py"], on["generated train.py"]
    rows = [[way, off[way], ours[0] / off[way], on[way], ours[1] / on[way]] for way in off]
    start = measure_start()
    base = start["fresh start"]
    note = (
        f"The default model and data, batches of 32, validation after every epoch; {EPOCHS} "
        f"epochs, medians of {ROUNDS} rounds in turn. Saving is once an epoch, which is here 44 "
        "steps: `ModelCheckpoint` for `fit`, `CheckpointManager` for the loop."
    )
    columns = ["way", "steps/s", "ours: times faster", "steps/s, saving", "ours: times faster"]
    starts = [[way, time, time / base] for way, time in start.items()]
    return "\n\n".join(
        [
            "## Training",
            note,
            table(columns, rows),
            draw_bars("training", "Steps per second, without saving", "steps per second", off),
            "## Starting",
            "From the start of the process to the end of the first epoch.",
            table(["", "seconds", "ratio to fresh"], starts),
        ]
    )
