"""Digits from record files in an order of their own, as a log gives them: by a pipeline."""

import tensorflow as tf

from ..config import DataConfig
from ..durable import Data, PipelineData, find_files
from ..paths import PROJECT
from .shards import decode


def load(config: DataConfig) -> Data:
    """Opens the record files, of which one is held out."""
    *training, validation = map(str, find_files(PROJECT / "shards", "*.tfrecord"))

    def batches(seed: int) -> tf.data.Dataset:
        files = tf.data.Dataset.from_tensor_slices(training).shuffle(len(training), seed=seed)
        records = files.interleave(tf.data.TFRecordDataset, cycle_length=2)
        shuffled = records.shuffle(200, seed=seed).batch(config.batch_size, drop_remainder=True)
        return shuffled.map(decode)

    held_out = tf.data.TFRecordDataset(validation).batch(config.batch_size).map(decode)
    return PipelineData(batches, held_out, 42, {"data": "three shards", "data.classes": 10})
