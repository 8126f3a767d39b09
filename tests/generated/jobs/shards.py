"""Digits in TFRecord files, of which none is read as a whole."""

from pathlib import Path

import tensorflow as tf

from ..config import DataConfig
from ..durable import Data, IndexedData, RecordExamples, find_files, hold_out_numbers

FEATURES = {
    "image": tf.io.FixedLenFeature((8, 8), tf.float32),
    "label": tf.io.FixedLenFeature((), tf.int64),
}


def load(config: DataConfig) -> Data:
    """Opens the data set."""
    records = RecordExamples(find_files(Path("shards").resolve(), "*.tfrecord"), decode)
    held_out, rest = hold_out_numbers(len(records), config.validation)
    training, validation = records.subset(rest), records.subset(held_out)
    return IndexedData(training, validation, config.batch_size, {"data.classes": 10})


def decode(serialized: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The images (batch, 8, 8) float32 and labels (batch,) int64 of serialized records."""
    parsed = tf.io.parse_example(serialized, FEATURES)
    return parsed["image"], parsed["label"]
