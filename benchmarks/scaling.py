"""What more devices and more workers cost: steps, saves and resumes, beside Orbit's `Controller`.

Each way is measured in processes of its own, a process for each worker, which
`python benchmarks/scaling.py WAY KIND COUNT FOLDER` is.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from time import time
from typing import Any

import orbit
import tensorflow as tf
import train
from my_experiment.config import Config, DataConfig, ModelConfig
from my_experiment.data import load_data
from my_experiment.durable import TrainState, Workers, own_place, share_of, start_strategy
from my_experiment.durable.run.worker import local_clusters
from my_experiment.experiment import Experiment
from my_experiment.models import build_model
from report import in_turn, seconds, table

ROUNDS = 3
CHUNKS, CHUNK = 8, 50
SAVES = 7
FAR = 1_000_000
BATCH, HIDDEN = 128, (512, 512)
CLASSES = 10
keras: Any = tf.keras

# What steps are run on: the kind, and how many of them.
PLACES = [("device", 1), ("device", 2), ("device", 4), ("worker", 1), ("worker", 2)]


@dataclass
class Program:
    """A training program that has started, from the newest checkpoint if there is one.

    Attributes:
        train: trains so many steps.
        save: saves, and returns when training may go on.
    """

    train: Callable[[int], object]
    save: Callable[[], object]


def settings(kind: str, count: int, folder: Path) -> Config:
    """The settings of a run on so many devices or workers."""
    several: dict[str, Any] = {"strategy": "none", "cpu_devices": count}
    if kind == "worker":
        several = {"strategy": "multi-worker"}
    elif count > 1:
        several["strategy"] = "mirrored"
    model, data = ModelConfig(hidden=HIDDEN), DataConfig(batch_size=BATCH)
    return Config(root=str(folder), model=model, data=data, **several)


@contextmanager
def generated(config: Config, strategy: tf.distribute.Strategy, _: Path) -> Iterator[Program]:
    """The loop of the generated train.py, and its manager."""
    experiment = Experiment(config)
    data = share_of(experiment.data(), strategy)
    with strategy.scope():
        task = experiment.task(data)
    state = TrainState(task, data.element_spec, config=config, strategy=strategy)
    with own_place(experiment.paths, strategy) as paths:
        manager = train.start_manager(config, paths, data, state, strategy)
        train_steps = train.build_train_steps(state, strategy)
        batches = iter(data.batches(config.seed, int(state.step), FAR))
        yield Program(partial(train_in_one_graph, train_steps, batches), manager.save)


def train_in_one_graph(train_steps: Any, batches: Iterator[Any], count: int) -> None:
    """Trains on the next so many batches."""
    train_steps(batches, tf.constant(count, tf.int64))


class Trainer(orbit.StandardTrainer):
    """The same model, optimizer, loss and metrics, as Orbit's users write them."""

    def __init__(self, config: Config, strategy: tf.distribute.Strategy) -> None:
        x, y = load_data(config.data).training.arrays
        batches = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(len(x)).repeat()
        batches = batches.batch(BATCH, drop_remainder=True).prefetch(tf.data.AUTOTUNE)
        super().__init__(strategy.experimental_distribute_dataset(batches))
        self.strategy = strategy
        with strategy.scope():
            self.step = orbit.utils.create_global_step()
            self.model = build_model(config.model, x.shape[1:], CLASSES)
            self.optimizer = keras.optimizers.Adam(config.optimizer.learning_rate)
            self.optimizer.build(self.model.trainable_variables)
            self.loss = keras.metrics.Mean()
            self.accuracy = keras.metrics.SparseCategoricalAccuracy()

    def train_step(self, iterator: Iterator[Any]) -> None:
        """Trains on one batch."""
        self.strategy.run(self._train_on, args=next(iterator))
        self.step.assign_add(1)

    def _train_on(self, x: tf.Tensor, y: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            logits = self.model(x, training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits)
            loss = tf.reduce_mean(losses) / self.strategy.num_replicas_in_sync
        weights = self.model.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        self.loss.update_state(losses)
        self.accuracy.update_state(y, logits)


@contextmanager
def of_orbit(config: Config, strategy: tf.distribute.Strategy, folder: Path) -> Iterator[Program]:
    """Orbit's `Controller`, with TensorFlow's manager; a worker saves to a folder of its own."""
    trainer = Trainer(config, strategy)
    parts = {"model": trainer.model, "optimizer": trainer.optimizer, "step": trainer.step}
    controller = orbit.Controller(
        global_step=trainer.step,
        trainer=trainer,
        strategy=strategy,
        steps_per_loop=CHUNK,
        checkpoint_manager=tf.train.CheckpointManager(
            tf.train.Checkpoint(**parts),
            str(folder / f"orbit-{Workers(strategy).index}"),
            config.max_to_keep,
            step_counter=trainer.step,
            checkpoint_interval=FAR,  # without one, the controller never saves
            last_checkpoint_step=0,  # and with one, else, at the first step
        ),
    )

    def train_steps(count: int) -> None:
        controller.train(int(trainer.step.numpy()) + count, checkpoint_at_completion=False)

    yield Program(train_steps, controller.save_checkpoint)


WAYS = {"generated train.py": generated, "Orbit's Controller": of_orbit}


def measure(way: str, kind: str, count: int, folder: Path) -> dict[str, float]:
    """What one way takes in this process, in seconds.

    Returns:
        When the first step was over, by the clock; and of a run that is new, the `step` and the
        `save`, for which training stands still.
    """
    is_new = not any(folder.rglob("*.index"))
    config = settings(kind, count, folder)
    with WAYS[way](config, start_strategy(config), folder) as program:
        program.train(1)
        found = {"trained at": time()}
        if is_new:
            found |= {"step": measure_step(program), "save": measure_save(program)}
    return found


def measure_step(program: Program) -> float:
    """The seconds of a step."""
    program.train(CHUNK)
    return median(seconds(partial(program.train, CHUNK)) for _ in range(CHUNKS)) / CHUNK


def measure_save(program: Program) -> float:
    """The seconds for which training stands still for a save."""
    taken = []
    for _ in range(SAVES + 1):
        program.train(1)
        os.sync()  # what others have left unwritten must not slow this one
        taken.append(seconds(program.save))
    return median(taken[1:])  # the first one prepares the others


def start(way: str, kind: str, count: int, folder: Path) -> tuple[dict[str, float], float]:
    """Runs a way in its processes: what the first one tells, and when they were started."""
    clusters = local_clusters(count) if kind == "worker" else [""]  # none
    command = [sys.executable, __file__, way, kind, str(count), str(folder)]
    began, processes = time(), []
    for cluster in clusters:
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "TF_CONFIG": cluster}
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        processes.append(process)
    told = [process.communicate() for process in processes]
    for process, (_, errors) in zip(processes, told, strict=True):
        if process.returncode:
            raise RuntimeError(errors)
    return json.loads(told[0][0].splitlines()[-1]), began


def measure_case(way: str, kind: str, count: int) -> dict[str, float]:
    """What a way takes in new processes: `step`, `save` and `resume`, in seconds."""
    with tempfile.TemporaryDirectory() as folder:
        found, _ = start(way, kind, count, Path(folder))
        again, began = start(way, kind, count, Path(folder))
    return {**found, "resume": again["trained at"] - began}


def measure_all() -> dict[tuple[str, str, int], dict[str, float]]:
    """The medians of what each way takes in each place: `step`, `save`, `resume`, in seconds."""
    measured: dict[tuple[str, str, int], list[dict[str, float]]] = {}

    def run(way: str, kind: str, count: int) -> float:
        found = measure_case(way, kind, count)
        measured.setdefault((way, kind, count), []).append(found)
        return found["step"]

    cases = [(way, *place) for place in PLACES for way in WAYS]
    in_turn({str(case): partial(run, *case) for case in cases}, ROUNDS)
    return {
        case: {name: median(each[name] for each in found) for name in ("step", "save", "resume")}
        for case, found in measured.items()
    }


def rows_of(found: dict[tuple[str, str, int], dict[str, float]]) -> Iterator[list[object]]:
    """The rows of the table: each place and way, and what each device after the first adds."""
    for (way, kind, count), times in found.items():
        first, stock = found[way, kind, 1], found["Orbit's Controller", kind, count]
        row: list[object] = [f"{count} {kind}{'s' * (count > 1)}", way]
        for name, unit in (("step", 1000), ("save", 1000), ("resume", 1)):
            more = unit * (times[name] - first[name]) / (count - 1) if count > 1 else ""
            row += [unit * times[name], more, times[name] / stock[name]]
        yield row


def report() -> str:
    """Measures everything and gives the section of the document."""
    found = measure_all()
    note = (
        f"A network of two layers of {HIDDEN[0]}, batches of {BATCH} in all, on logical devices "
        "(`--strategy mirrored`) and by processes of their own (`--strategy multi-worker`), which "
        "share the cores of this machine: what is measured is what more of them cost, not what "
        "they gain. *Step*: in chunks of "
        f"{CHUNK} in one graph. *Save*: standing still in a blocking save of "
        f"{size_of_state() / 1e6:.0f} MB; only ours waits until the bytes are on the disk. "
        "*Resume*: from the start of the process until the first step is over, TensorFlow's import "
        f"included. *Adds*: what each one after the first adds. Medians of {ROUNDS} processes in "
        "turn. Orbit has the same model, optimizer, metrics, strategy and TensorFlow's manager."
    )
    columns = ["on", "way", "step, ms", "adds, ms", "ratio to Orbit", "save, ms", "adds, ms"]
    columns += ["ratio to Orbit", "resume, s", "adds, s", "ratio to Orbit"]
    return "\n\n".join(["## Several devices and workers", note, table(columns, rows_of(found))])


def size_of_state() -> int:
    """The bytes of the weights and of the two slots that Adam has for each."""
    model = build_model(ModelConfig(hidden=HIDDEN), (8, 8), CLASSES)
    return 3 * 4 * int(model.count_params())


if __name__ == "__main__":
    if len(sys.argv) == 5:
        way, kind, count, folder = sys.argv[1:]
        print(json.dumps(measure(way, kind, int(count), Path(folder))))
    else:
        print(report())
