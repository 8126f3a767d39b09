"""Programs that were not made by this template: others.py save|restore DIRECTORY.

To save, each is trained a little and saved by TensorFlow's manager and by ours. To restore, each is
made anew for either. What it prints is the state of each: its variables by key, as bytes, and what
comes next of iterators, tables and Python state.
"""

import json
import sys

import tensorflow as tf

from ...checkpoint.graph import ObjectGraph
from ...checkpoint.manager import CheckpointManager
from ...compat import keras

layers, optimizers = keras.layers, keras.optimizers
SCHEDULE = optimizers.schedules.ExponentialDecay(1e-2, 2, 0.5)
OPTIMIZERS = {
    "sgd": lambda: optimizers.SGD(0.01, momentum=0.9, nesterov=True),
    "adam": lambda: optimizers.Adam(amsgrad=True),
    "adamw": optimizers.AdamW,
    "adamax": optimizers.Adamax,
    "nadam": optimizers.Nadam,
    "adagrad": optimizers.Adagrad,
    "adadelta": optimizers.Adadelta,
    "rmsprop": lambda: optimizers.RMSprop(centered=True, momentum=0.5),
    "ftrl": optimizers.Ftrl,
    "lion": optimizers.Lion,
    "adafactor": optimizers.Adafactor,
    "averaged": lambda: optimizers.Adam(use_ema=True, ema_momentum=0.5),
    "scheduled": lambda: optimizers.Adam(SCHEDULE),
    "scaled": lambda: keras.mixed_precision.LossScaleOptimizer(optimizers.Adam()),
}


class Text(tf.train.experimental.PythonState):
    """A text that is saved."""

    def __init__(self):
        super().__init__()
        self.text = "new"

    def serialize(self):
        return self.text

    def deserialize(self, string_value):
        self.text = string_value.decode()


class Counters(tf.Module):
    """Variables in a list and in a dictionary."""

    def __init__(self):
        super().__init__()
        self.listed = [tf.Variable(0), tf.Variable([0.0, 0.0])]
        self.named = {"a/b": tf.Variable(0), "c.d": tf.Variable(0)}


def net():
    """A model with dropout and batch normalisation."""
    stack = [layers.Dense(4, "relu"), layers.Dropout(0.5), layers.BatchNormalization()]
    return keras.Sequential([keras.Input((3,)), *stack, layers.Dense(1)])


def step(model, optimizer):
    """Trains a model on one batch."""
    x = tf.random.normal((8, 3))
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((model(x, training=True) - 1) ** 2)
    weights = model.trainable_variables
    optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))


def with_optimizer(build):
    """A model and an optimizer."""
    model, optimizer = net(), build()
    optimizer.build(model.trainable_variables)
    checkpoint = tf.train.Checkpoint(model=model, optimizer=optimizer)
    return checkpoint, lambda: step(model, optimizer)


def guide():
    """As in TensorFlow's guide: a step, an optimizer, a net and an iterator."""
    checkpoint, train = with_optimizer(lambda: optimizers.Adam(0.1))
    checkpoint.step = tf.Variable(1)
    checkpoint.iterator = iter(tf.data.Dataset.range(50).shuffle(20, seed=1))

    def go_on():
        next(checkpoint.iterator)
        checkpoint.step.assign_add(1)
        train()

    return checkpoint, go_on


def gan():
    """Two models and two optimizers."""
    (one, train_one), (two, train_two) = (with_optimizer(optimizers.Adam) for _ in range(2))
    checkpoint = tf.train.Checkpoint(
        generator=one.model,
        judge=two.model,
        generator_optimizer=one.optimizer,
        judge_optimizer=two.optimizer,
    )
    return checkpoint, lambda: (train_one(), train_two())


def module():
    """A `tf.Module`."""
    counters = Counters()
    checkpoint = tf.train.Checkpoint(counters=counters)
    return checkpoint, lambda: [one.assign_add(one + 1) for one in counters.variables]


def mirrored():
    """A model on two devices."""
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        model, optimizer = keras.Sequential([keras.Input((3,)), layers.Dense(2)]), optimizers.Adam()
        optimizer.build(model.trainable_variables)
        only_one = tf.VariableAggregation.ONLY_FIRST_REPLICA
        count = tf.Variable(0, dtype=tf.int64, aggregation=only_one)
    checkpoint = tf.train.Checkpoint(model=model, optimizer=optimizer, count=count)

    @tf.function
    def train():
        strategy.run(lambda: step(model, optimizer))

    return checkpoint, lambda: (train(), count.assign_add(1))


def tables():
    """Tables and Python state."""
    checkpoint = tf.train.Checkpoint(
        words=tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1),
        dense=tf.lookup.experimental.DenseHashTable(tf.int64, tf.int64, -1, -2, -3),
        text=Text(),
    )

    def go_on():
        checkpoint.words.insert(tf.constant(["a", "b"]), tf.constant([5, 6], tf.int64))
        checkpoint.dense.insert(tf.constant([1], tf.int64), tf.constant([2], tf.int64))
        checkpoint.text.text += "er"

    return checkpoint, go_on


PROGRAMS = {
    "guide": guide,
    "gan": gan,
    "module": module,
    "mirrored": mirrored,
    "tables": tables,
    **{name: lambda build=build: with_optimizer(build) for name, build in OPTIMIZERS.items()},
}


def state_of(checkpoint):
    """What of a state can be compared. It takes some elements of an iterator."""
    values = {
        key: tf.convert_to_tensor(variable).numpy().tobytes().hex()
        for key, variable in ObjectGraph(checkpoint).variables.items()
        if not key.startswith("save_counter")
    }
    if hasattr(checkpoint, "iterator"):
        values["iterator"] = [int(next(checkpoint.iterator)) for _ in range(25)]
    if hasattr(checkpoint, "words"):
        values["words"] = checkpoint.words.lookup(tf.constant(["a", "b", "c"])).numpy().tolist()
        values["dense"] = checkpoint.dense.lookup(tf.constant([1, 4], tf.int64)).numpy().tolist()
        values["text"] = checkpoint.text.text
    return values


def save(program, folder):
    """Trains, saves with both managers, and gives the state."""
    checkpoint, go_on = program()
    for _ in range(3):
        go_on()
    tf.train.CheckpointManager(checkpoint, f"{folder}/stock", 3).save()
    CheckpointManager(checkpoint, f"{folder}/ours").save(1)
    return state_of(checkpoint)


def restore(program, folder):
    """The states that each manager restores, and what TensorFlow restores of ours."""
    states = {}
    for name in ("stock", "ours", "ours by stock"):
        checkpoint, go_on = program()
        go_on()
        if name == "ours":
            CheckpointManager(checkpoint, f"{folder}/ours").restore_or_initialize()
        elif name == "stock":
            tf.train.CheckpointManager(checkpoint, f"{folder}/stock", 3).restore_or_initialize()
        else:
            checkpoint.restore(tf.train.latest_checkpoint(f"{folder}/ours"))
        states[name] = state_of(checkpoint)
    return states


def main(action, directory):
    """Saves or restores all programs."""
    (device,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(device, [tf.config.LogicalDeviceConfiguration()] * 2)
    keras.utils.set_random_seed(1 if action == "save" else 2)
    act = save if action == "save" else restore
    found = {name: act(program, f"{directory}/{name}") for name, program in PROGRAMS.items()}
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
