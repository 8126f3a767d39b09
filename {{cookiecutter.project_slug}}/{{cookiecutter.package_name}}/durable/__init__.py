"""Runs that cannot be lost: the template's own zone, never edited and replaced by its updates.

A manager that takes the place of TensorFlow's, for any program:

>>> import tempfile
>>> import tensorflow as tf
>>> checkpoint = tf.train.Checkpoint(step=tf.Variable(0), weights=tf.Variable([1.0, 2.0]))
>>> manager = CheckpointManager(checkpoint, tempfile.mkdtemp())
>>> manager.restore_or_initialize()  # None: there is no checkpoint yet
>>> path = manager.save()
>>> checkpoint.weights.assign([0.0, 0.0]).numpy().tolist()
[0.0, 0.0]
>>> manager.restore_or_initialize() == path
True
>>> checkpoint.weights.numpy().tolist()
[1.0, 2.0]

A project hands over what it learns as an `Experiment`, in terms of a `Task` and of `Data`:

>>> class Line(Task):
...     def __init__(self):
...         layer = tf.keras.layers.Dense(1, name="line")
...         model = tf.keras.Sequential([tf.keras.Input((1,)), layer])
...         self.models = {"model": model}
...         self.optimizers = {"optimizer": tf.keras.optimizers.SGD(0.5)}
...
...     def loss(self, y, outputs):
...         return tf.reduce_mean((y - outputs) ** 2, axis=-1)
...
...     def metrics(self):
...         return {"error": tf.keras.metrics.MeanAbsoluteError()}
>>> import numpy as np
>>> x = np.linspace(0, 1, 64, dtype=np.float32)[:, None]
>>> data = ArrayData(training=(x, 3 * x), validation=(x, 3 * x), batch_size=16)
>>> state = TrainState(Line(), data.element_spec)
>>> validate = Validation(state.task, data)
>>> before = validate()
>>> for batch in data.batches(seed=0, start=0, stop=200):
...     outputs, loss = state.task.step(batch)
>>> after = validate()
>>> sorted(after)
['val_error', 'val_loss']
>>> after["val_loss"] < 0.01 * before["val_loss"]
True

Names are imported when they are first used: importing this package imports no TensorFlow.
"""

import lazy_loader

# The names and where each is defined stand in __init__.pyi, for people, editors and mypy alike.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
