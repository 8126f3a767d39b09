"""Data larger than memory: throughput, memory and seeking, against the usual `tf.data` pipeline.

Each way is measured in a process of its own, which `python benchmarks/data.py WAY FOLDER` is.
"""

import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import tensorflow as tf
from my_experiment.durable import (
    ImageExamples,
    IndexedData,
    RecordExamples,
    find_files,
    hold_out_numbers,
)
from report import draw_bars, in_turn, table

ROUNDS = 3
STEPS = {"records": 1500, "images": 150}
BATCH = 64
SHAPE = (64, 64, 3)
SHARDS, RECORDS = 8, 160_000  # of 12.5 kB: 2 GB
IMAGES, IMAGE_SIZE = 2000, (256, 256)
FAR = 1_000_000
PARALLEL = 4
keras: Any = tf.keras
FEATURES = {
    "image": tf.io.FixedLenFeature((), tf.string),
    "label": tf.io.FixedLenFeature((), tf.int64),
}


def write_records(folder: Path) -> None:
    """Writes 2 GB of record files: random images as bytes, and labels."""
    folder.mkdir()
    random = np.random.default_rng(0)
    for shard in range(SHARDS):
        with tf.io.TFRecordWriter(str(folder / f"{shard}.tfrecord")) as writer:
            for _ in range(RECORDS // SHARDS):
                image = tf.train.BytesList(value=[random.bytes(int(np.prod(SHAPE)))])
                label = tf.train.Int64List(value=[random.integers(10)])
                feature = {
                    "image": tf.train.Feature(bytes_list=image),
                    "label": tf.train.Feature(int64_list=label),
                }
                features = tf.train.Features(feature=feature)
                writer.write(tf.train.Example(features=features).SerializeToString())


def write_images(folder: Path) -> None:
    """Writes JPEG files of smooth random images, which are as hard to decode as photographs."""
    random = np.random.default_rng(0)
    folder.mkdir()
    for number in range(IMAGES):
        rough = tf.constant(random.integers(0, 256, (16, 16, 3)), tf.float32)
        image = tf.cast(tf.image.resize(rough, IMAGE_SIZE), tf.uint8)
        tf.io.write_file(str(folder / f"{number:05}.jpg"), tf.io.encode_jpeg(image))


def decode_records(serialized: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Images (batch, 64, 64, 3) float32 from 0 to 1, and labels (batch,) int64."""
    parsed = tf.io.parse_example(serialized, FEATURES)
    pixels = tf.io.decode_raw(parsed["image"], tf.uint8)
    return tf.reshape(tf.cast(pixels, tf.float32) / 255, (-1, *SHAPE)), parsed["label"]


def our_records(folder: Path) -> IndexedData:
    """By number, as the generated project has them."""
    records = RecordExamples(find_files(folder, "*.tfrecord"), decode_records)
    held_out, rest = hold_out_numbers(len(records), 0.01)
    return IndexedData(records.subset(rest), records.subset(held_out), BATCH, parallel=PARALLEL)


def usual_records(folder: Path) -> tf.data.Dataset:
    """Interleaved files, a shuffle buffer and parallel parsing, as TensorFlow's guide has them."""
    files = tf.data.Dataset.list_files(str(folder / "*.tfrecord"), seed=0)
    records = files.interleave(tf.data.TFRecordDataset, num_parallel_calls=tf.data.AUTOTUNE)
    batches = records.shuffle(10_000, seed=0).repeat().batch(BATCH, drop_remainder=True)
    return batches.map(decode_records, tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def our_images(folder: Path) -> IndexedData:
    """By number, as the generated project has them."""
    files = find_files(folder, "*.jpg")
    examples = ImageExamples(folder, files, np.zeros(len(files), np.int32), SHAPE[:2])
    return IndexedData(examples, examples, BATCH, parallel=PARALLEL)


def usual_images(folder: Path) -> tf.data.Dataset:
    """A shuffled list of files, decoded in parallel."""

    def decode(file: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image = tf.io.decode_jpeg(tf.io.read_file(file), 3)
        image = tf.image.resize(tf.cast(image, tf.float32) / 255, SHAPE[:2], antialias=True)
        return image, tf.constant(0)

    files = tf.data.Dataset.list_files(str(folder / "*.jpg"), seed=0).repeat()
    decoded = files.map(decode, tf.data.AUTOTUNE)
    return decoded.batch(BATCH, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


WAYS: dict[str, Callable[[Path], IndexedData | tf.data.Dataset]] = {
    "generated, records": our_records,
    "tf.data, records": usual_records,
    "generated, images": our_images,
    "tf.data, images": usual_images,
}


def build_step() -> Callable[[Iterator[Any], tf.Tensor], None]:
    """A small network in training, and the loop over some batches in one graph."""
    model = keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Conv2D(8, 5, strides=4, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(10),
        ]
    )
    optimizer = keras.optimizers.SGD(0.01)
    optimizer.build(model.trainable_variables)
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    @tf.function
    def train(batches: Iterator[Any], count: tf.Tensor) -> None:
        for _ in tf.range(count):
            x, y = next(batches)
            with tf.GradientTape() as tape:
                loss = loss_of(y, model(x, training=True))
            weights = model.trainable_variables
            optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))

    return train


def measure(way: str, folder: Path) -> dict[str, float]:
    """What one way achieves in this process: examples a second, and the largest memory in bytes."""
    steps = STEPS[way.rpartition(" ")[2]]
    data = WAYS[way](folder)
    batches = iter(data if isinstance(data, tf.data.Dataset) else data.batches(0, 0, 10 * steps))
    train = build_step()
    train(batches, tf.constant(10))
    began = perf_counter()
    train(batches, tf.constant(steps))
    speed = steps * BATCH / (perf_counter() - began)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    found = {"speed": speed, "memory": memory}
    if isinstance(data, IndexedData):
        for name, step in (("first", 0), ("far", FAR)):
            began = perf_counter()
            next(iter(data.batches(0, step, step + 1)))
            found[name] = perf_counter() - began
    return found


def run_ways(kind: str, folder: Path) -> dict[str, dict[str, float]]:
    """The medians of what each way of a kind achieves, in turn."""
    measured: dict[str, list[dict[str, float]]] = {}

    def run(way: str) -> float:
        process = subprocess.run(
            [sys.executable, __file__, way, str(folder)], check=True, capture_output=True, text=True
        )
        measured.setdefault(way, []).append(json.loads(process.stdout.splitlines()[-1]))
        return measured[way][-1]["speed"]

    in_turn({way: partial(run, way) for way in WAYS if way.endswith(kind)}, ROUNDS)
    return {
        way: {name: float(np.median([each[name] for each in found])) for name in found[0]}
        for way, found in measured.items()
    }


def report() -> str:
    """Measures everything and gives the section of the document."""
    with tempfile.TemporaryDirectory() as parent:
        records, images = Path(parent) / "records", Path(parent) / "images"
        write_records(records)
        write_images(images)
        size = sum(file.stat().st_size for file in records.iterdir()) / 1e9
        began = perf_counter()
        our_records(records)
        index = perf_counter() - began
        found = run_ways("records", records) | run_ways("images", images)
    rows = []
    for way, each in found.items():
        usual = found[f"tf.data, {way.rpartition(' ')[2]}"]["speed"]
        rows.append([way, each["speed"], each["speed"] / usual, each["memory"] / 1e6])
    ours = found["generated, records"]
    note = (
        f"{size:.1f} GB of records in {SHARDS} files, and {IMAGES} JPEG images of {IMAGE_SIZE[0]} "
        f"by {IMAGE_SIZE[1]} pixels, trained on by a small network in batches of {BATCH}; against "
        f"interleaved files, a shuffle buffer of 10,000 records and parallel maps. Medians of "
        f"{ROUNDS} processes in turn. The index of the records is built once, in {index:.0f} s. "
        f"The batch of step 0 takes {1000 * ours['first']:.0f} ms from nothing, that of step "
        f"{FAR:,} {1000 * ours['far']:.0f} ms."
    )
    columns = ["way", "examples/s", "ratio to tf.data", "largest resident memory, MB"]
    speeds = {way: each["speed"] for way, each in found.items()}
    return "\n\n".join(
        [
            "## Data larger than memory",
            note,
            table(columns, rows),
            draw_bars("data", "Examples per second, in training", "examples per second", speeds),
        ]
    )


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(json.dumps(measure(sys.argv[1], Path(sys.argv[2]))))
    else:
        print(report())
