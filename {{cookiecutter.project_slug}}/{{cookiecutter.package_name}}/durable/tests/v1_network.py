"""A network as TensorFlow 1 had them: a graph, a session and a Saver, without Keras."""

from contextlib import contextmanager

import numpy as np
import tensorflow as tf

from .program.experiment import DataConfig, load_data

v1 = tf.compat.v1


def batches(start, stop):
    """The batches that training gets at these steps, with its default settings, as arrays."""
    return list(load_data(DataConfig()).batches(0, start, stop).as_numpy_iterator())


def loss_of(y, logits):
    """The loss of each example, as the task of the program has it."""
    return tf.nn.sparse_softmax_cross_entropy_with_logits(y, tf.cast(logits, tf.float32))


def adam():
    """With the epsilon that Keras has."""
    return v1.train.AdamOptimizer(1e-3, epsilon=1e-7)


def momentum():
    return v1.train.MomentumOptimizer(0.01, 0.9)


def loss_on(x, y):
    """The network of `models.mlp` with `--model.hidden 8`, and its loss."""
    random = np.random.default_rng(0)
    values = tf.reshape(x, (-1, 64))
    for layer, shape in (("hidden_1", (64, 8)), ("logits", (8, 10))):
        kernel = (random.normal(size=shape) / shape[0] ** 0.5).astype(np.float32)
        values = values @ v1.get_variable(f"{layer}/kernel", initializer=kernel)
        values += v1.get_variable(f"{layer}/bias", initializer=tf.zeros(shape[1]))
        values = tf.nn.relu(values) if layer == "hidden_1" else values
    return tf.reduce_mean(loss_of(y, values))


@contextmanager
def session(optimizer, scope=""):
    """Gives a session, and a function that trains on one batch and gives its loss."""
    with tf.Graph().as_default(), v1.Session() as running:
        x, y = v1.placeholder(tf.float32, (None, 8, 8)), v1.placeholder(tf.int32, (None,))
        with v1.variable_scope(scope):
            loss = loss_on(x, y)
        step = optimizer().minimize(loss, v1.train.get_or_create_global_step())
        running.run(v1.global_variables_initializer())

        def train_on(batch):
            before, _ = running.run([loss, step], dict(zip((x, y), batch, strict=True)))
            return float(before)

        yield running, train_on


def save(running, path):
    """Saves all variables, in the way of TensorFlow 1."""
    v1.train.Saver().save(running, str(path), write_meta_graph=False, write_state=False)


def restore(running, path):
    """Restores all variables, in the way of TensorFlow 1."""
    v1.train.Saver().restore(running, str(path))
