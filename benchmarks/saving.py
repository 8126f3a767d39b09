"""What a save costs: standing still, time added to the run, memory; and what restoring costs."""

import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from statistics import median
from time import process_time, sleep
from typing import Any

import numpy as np
import tensorflow as tf
from frameworks import Way, installed_ways
from my_experiment.durable import CheckpointManager
from my_experiment.durable.checkpoint.unchanged import SAVES
from report import draw_bars, in_turn, seconds, table

ROUNDS = 5
FROZEN_NOTE = (
    "Blocking saves of a body of 302 MB that no step changes and a head of 3 MB that each does. "
    "Nothing is removed meanwhile."
)
keras: Any = tf.keras

# Prepares a way for a state and a folder.
Prepare = Callable[[Any, Path], Way]


class State:
    """A model in training, or variables that are counted up: something to save."""

    def __init__(self, layers: int, units: int) -> None:
        self.model = keras.Sequential([keras.Input((units,))])
        for _ in range(layers):
            self.model.add(keras.layers.Dense(units, kernel_initializer="he_normal"))
        self.model.compile(keras.optimizers.Adam(1e-4), "mse")
        self.model.optimizer.build(self.model.trainable_variables)
        self.step = tf.Variable(0, dtype=tf.int64)
        self.checkpoint = tf.train.Checkpoint(
            model=self.model, optimizer=self.model.optimizer, step=self.step
        )
        self._x = tf.random.normal((8, units))
        self._train = tf.function(self._train_once)

    def _train_once(self) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(self.model(self._x, training=True) ** 2)
        weights = self.model.trainable_variables
        self.model.optimizer.apply_gradients(
            zip(tape.gradient(loss, weights), weights, strict=True)
        )

    def train(self, steps: int) -> None:
        """Changes every variable so many times."""
        for _ in range(steps):
            self._train()
        self.step.assign_add(steps)


class Variables:
    """Many small variables, without a model."""

    def __init__(self, count: int, size: int) -> None:
        variables = [tf.Variable(tf.random.normal((size,))) for _ in range(count)]
        self.model = None
        self.step = tf.Variable(0, dtype=tf.int64)
        self.checkpoint = tf.train.Checkpoint(variables=variables, step=self.step)
        self._change = tf.function(lambda: [value.assign_add(value) for value in variables])

    def train(self, steps: int) -> None:
        """Changes every variable so many times."""
        for _ in range(steps):
            self._change()
        self.step.assign_add(steps)


class Frozen(Variables):
    """A body of 302 MB that no step changes, and a head of 3 MB that each does."""

    def __init__(self) -> None:
        super().__init__(3, 1 << 18)
        body = [tf.Variable(tf.random.normal((1024, 1024))) for _ in range(72)]
        self.checkpoint = tf.train.Checkpoint(body=body, head=self.checkpoint)


STATES: dict[str, tuple[Callable[[], State | Variables], int]] = {
    "302 MB": (lambda: State(24, 1024), 10),
    "1 MB": (lambda: State(10, 92), 100),
    "3000 variables": (lambda: Variables(3000, 1024), 20),
}


def stock(state: State | Variables, folder: Path) -> Way:
    """TensorFlow's own manager."""
    manager = tf.train.CheckpointManager(state.checkpoint, str(folder), 2)
    return manager.save, lambda: None


def stock_with_fsync(state: State | Variables, folder: Path) -> Way:
    """TensorFlow's own manager, and then waiting until the files are on the disk."""
    save, finish = stock(state, folder)

    def save_and_synchronise() -> None:
        checkpoint = Path(save())
        for file in [*checkpoint.parent.glob(f"{checkpoint.name}.*"), checkpoint.parent]:
            descriptor = os.open(file, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)

    return save_and_synchronise, finish


def ours(background: bool) -> Prepare:
    """The generated project's manager."""

    def build(state: State | Variables, folder: Path) -> Way:
        manager = CheckpointManager(state.checkpoint, folder, 2, background=background)
        return manager.save, manager.finish

    return build


def callback(build: Callable[[str], keras.callbacks.Callback]) -> Prepare:
    """One of Keras's callbacks, called as at an epoch's end."""

    def prepare(state: State, folder: Path) -> Way:
        folder.mkdir(parents=True)
        saver = build(str(folder))
        saver.set_model(state.model)
        saver.on_train_begin()
        return lambda: saver.on_epoch_end(int(state.step), {}), lambda: None

    return prepare


def model_checkpoint(folder: str) -> keras.callbacks.Callback:
    """Keras's callback, with its own format of files."""
    return keras.callbacks.ModelCheckpoint(f"{folder}/model.keras")


def raw(state: State | Variables, folder: Path) -> Way:
    """The same number of bytes, written to one file and synchronised: what the disk can do."""
    folder.mkdir(parents=True)
    payload = os.urandom(size_of(state))

    def write() -> None:
        with (folder / "raw").open("wb") as file:
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())

    return write, lambda: None


def of_framework(prepare: Callable[[Mapping[str, np.ndarray], Path], Way]) -> Prepare:
    """A way of another framework, given arrays of the same shapes."""

    def build(state: State | Variables, folder: Path) -> Way:
        with tempfile.TemporaryDirectory() as written:
            reader = tf.train.load_checkpoint(state.checkpoint.write(f"{written}/values"))
            names = set(reader.get_variable_to_shape_map()) - {"_CHECKPOINTABLE_OBJECT_GRAPH"}
            return prepare({name: reader.get_tensor(name) for name in names}, folder)

    return build


SAVERS: dict[str, Prepare] = {
    "stock CheckpointManager": stock,
    "stock, with fsync": stock_with_fsync,
    "Keras ModelCheckpoint": callback(model_checkpoint),
    "Keras BackupAndRestore": callback(keras.callbacks.BackupAndRestore),
    "ours, blocking": ours(background=False),
    "ours, background": ours(background=True),
    "raw write with fsync": raw,
    **{name: of_framework(prepare) for name, prepare in installed_ways().items()},
}


def size_of(state: State | Variables) -> int:
    """The bytes of a state."""
    path = tempfile.mkdtemp()
    state.checkpoint.write(f"{path}/size")
    size = sum(file.stat().st_size for file in Path(path).iterdir())
    shutil.rmtree(path)
    return size


def wait_for_threads() -> None:
    """Waits until no thread of this process works any more."""
    used = None
    while used is None or process_time() - used > 0.05:
        used = process_time()
        sleep(1)


def measure(name: str, folder: Path) -> tuple[list[list[object]], dict[str, float]]:
    """Measures every way to save one state.

    Returns:
        The rows of the table, and the seconds of standing still by way.
    """
    build, steps = STATES[name]
    state = build()
    size = size_of(state)
    usable = {way: SAVERS[way] for way in SAVERS if state.model or not way.startswith("Keras")}
    ways = {way: prepare(state, folder / way) for way, prepare in usable.items()}
    state.train(steps)
    for save, finish in ways.values():  # the first save of each prepares what later ones use
        save()
        finish()
        wait_for_threads()

    def standing_still(way: str) -> float:
        state.train(1)
        os.sync()  # what other ways have left unwritten must not slow this one
        save, finish = ways[way]
        still = seconds(save)
        finish()
        return still

    def added(way: str) -> float:
        save, finish = ways[way]

        def run() -> None:
            save()
            state.train(steps)
            finish()

        state.train(1)
        os.sync()
        return seconds(run) - seconds(lambda: state.train(steps))

    still = in_turn({way: partial(standing_still, way) for way in ways}, ROUNDS)
    total = in_turn({way: partial(added, way) for way in ways}, ROUNDS)
    base_still = still["stock CheckpointManager"]
    base_total = max(total["stock CheckpointManager"], 1e-9)
    rows = [
        [
            name,
            way,
            1000 * still[way],
            still[way] / base_still,
            1000 * total[way],
            total[way] / base_total,
            size / still[way] / 1e6,
        ]
        for way in ways
    ]
    return rows, still


def measure_frozen(folder: Path) -> list[list[object]]:
    """Measures the saves of a state of which little changes, from the first on.

    Returns:
        The rows of the table: the save, its milliseconds, their ratio to those of a full one, and
        what it adds to the disk, in MB.
    """
    numbers = {
        "ours, each of the first": 1,
        "ours, the one that writes the shards": SAVES,
        "ours, the one that writes their second copies": SAVES + 1,
        "ours, each later one": SAVES + 2,
    }
    measured: dict[str, list[tuple[float, float]]] = {}
    for number in range(ROUNDS):
        state, place = Frozen(), folder / f"frozen {number}"
        managers = {
            "stock": tf.train.CheckpointManager(state.checkpoint, str(place / "stock"), None),
            "ours": CheckpointManager(state.checkpoint, place / "ours", None),
        }
        saves = {
            name: [measure_save(state, manager) for _ in range(SAVES + 3)]
            for name, manager in managers.items()
        }
        measured.setdefault("stock CheckpointManager", []).append(saves["stock"][1])
        for name, save in numbers.items():
            measured.setdefault(name, []).append(saves["ours"][save])
        shutil.rmtree(place)
    medians = {name: median(time for time, _ in found) for name, found in measured.items()}
    base = medians["ours, each of the first"]
    return [
        [name, 1000 * time, time / base, median(added for _, added in measured[name])]
        for name, time in medians.items()
    ]


def measure_save(state: Frozen, manager: Any) -> tuple[float, float]:
    """The seconds of a save, and the MB that it adds to the disk."""
    state.train(1)
    folder = Path(manager.directory)
    before = space_of(folder)
    os.sync()  # what others have left unwritten must not slow this one
    taken = seconds(manager.save)
    return taken, (space_of(folder) - before) / 1e6


def space_of(folder: Path) -> int:
    """The bytes on the disk that a folder takes; of several links to one file, once."""
    found = {file.stat().st_ino: file.stat().st_blocks * 512 for file in folder.rglob("*")}
    return sum(found.values())


def measure_first(folder: Path) -> list[list[object]]:
    """Measures making a manager and its first save, of the state with many variables."""
    build, _ = STATES["3000 variables"]
    ways = ["stock, with fsync", "ours, blocking", "ours, background"]
    folders = map(str, itertools.count())

    def first(way: str) -> float:
        state = build()

        def begin() -> None:
            save, finish = SAVERS[way](state, folder / next(folders))
            save()
            finish()

        taken = seconds(begin)
        wait_for_threads()  # of what prepares later saves, which is none of the next one's matter
        return taken

    times = in_turn({way: partial(first, way) for way in ways}, ROUNDS)
    base = times["stock, with fsync"]
    return [[way, 1000 * time, time / base] for way, time in times.items()]


def measure_restore(name: str, folder: Path) -> list[list[object]]:
    """Measures restoring a state, in TensorFlow's way and in ours."""
    build, _ = STATES[name]
    state = build()
    ours_manager = CheckpointManager(state.checkpoint, folder / f"restore {name}", 2)
    path = ours_manager.save()
    os.sync()  # what other ways have left unwritten must not slow the reading
    times = in_turn(
        {
            "stock restore": lambda: seconds(
                lambda: state.checkpoint.restore(path).expect_partial()
            ),
            "ours": lambda: seconds(ours_manager.restore_or_initialize),
        },
        ROUNDS,
    )
    base = times["stock restore"]
    return [[name, way, 1000 * time, time / base] for way, time in times.items()]


def measure_memory() -> list[list[object]]:
    """Measures the memory that a save of the large state takes at its peak, in a new process."""
    rows: list[list[object]] = []
    for way in ("stock CheckpointManager", "ours, blocking", "ours, background"):
        command = [sys.executable, __file__, way]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        between, peak = (int(word) / 1000 for word in told.split()[-2:])
        rows.append([way, between, peak])
    return rows


def memory(field: str) -> int:
    """What Linux says of the memory of this process, in kB: VmRSS now, VmHWM at its peak."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition(f"{field}:")[2].split()[0])


def tell_memory(way: str) -> None:
    """Prints the memory that stays after saves of the large state, and that one takes, in kB."""
    state = STATES["302 MB"][0]()
    state.train(1)
    before = memory("VmRSS")
    with tempfile.TemporaryDirectory() as folder:
        save, finish = SAVERS[way](state, Path(folder) / "saves")
        for _ in range(2):
            save()
            finish()
            state.train(1)
        between = memory("VmRSS")
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # the peak begins anew
        save()
        state.train(1)  # changes every variable while they are written in the background
        finish()
    print(between - before, memory("VmHWM") - between)


def report() -> str:
    """Measures everything and gives the section of the document."""
    folder = Path(tempfile.mkdtemp(prefix="saving-"))
    rows, pictures = [], []
    try:
        for name in STATES:
            measured, still = measure(name, folder / name)
            rows += measured
            slug = f"saving-{name.split()[0]}"
            title = f"Training stands still for one save of {name}"
            pictures.append(draw_bars(slug, title, "seconds", still))
            shutil.rmtree(folder / name)
        first = measure_first(folder)
        frozen = measure_frozen(folder)
        restoring = [row for name in STATES for row in measure_restore(name, folder)]
    finally:
        shutil.rmtree(folder)
    note = (
        f"Medians of {ROUNDS} saves, all ways in turn. *Standing still*: until training may go on. "
        "*Added*: what a save and the steps of training beside it take together, less those steps "
        "alone. MB/s is the size over the time of standing still. Only ours, stock with fsync and "
        "the raw write wait until the bytes are on the disk. Orbax and PyTorch save arrays of the "
        "same shapes; they stand in the table where they are installed (`uv pip install torch` "
        "brings gigabytes of CUDA with it)."
    )
    memory_note = (
        "Of a process that saves 302 MB and changes all of it meanwhile: what has stayed after "
        "two saves, and what the third takes besides at its peak."
    )
    columns = ["state", "way", "standing still, ms", "ratio to stock"]
    columns += ["added, ms", "ratio to stock", "MB/s"]
    return "\n\n".join(
        [
            "## Saving",
            note,
            table(columns, rows),
            *pictures,
            "## The first save",
            "Making a manager of 3000 variables and its first save, until that is on the disk.",
            table(["way", "ms", "ratio to stock"], first),
            "## What does not change",
            FROZEN_NOTE,
            table(["save", "ms", "ratio to a full one", "MB added to the disk"], frozen),
            "## Memory",
            memory_note,
            table(["way", "stays, MB", "peak, MB"], measure_memory()),
            "## Restoring",
            table(["state", "way", "ms", "ratio to stock"], restoring),
        ]
    )


if __name__ == "__main__":
    tell_memory(sys.argv[1])
