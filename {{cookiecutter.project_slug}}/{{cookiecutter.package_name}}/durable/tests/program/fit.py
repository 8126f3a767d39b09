"""A program that trains with `model.fit`: fit.py DIRECTORY epochs|steps [KILL_AT].

By epochs it saves at their ends; by steps every three, and goes on from any with `ArrayData`.
"""

import json
import os
import signal
import sys

import numpy as np
import tensorflow as tf

from ...checkpoint.callback import Checkpointing
from ...checkpoint.manager import CheckpointManager
from ...compat import keras, variables_of
from ...data.arrays import ArrayData

EPOCHS, SEED = 4, 5


class Kill(keras.callbacks.Callback):
    """Kills the process once so many steps are trained, before anything is saved of the last."""

    def __init__(self, model, at):
        super().__init__()
        self._trained, self._at = model, at

    def on_train_batch_end(self, batch, logs=None):
        if int(tf.convert_to_tensor(self._trained.optimizer.iterations)) == self._at:
            os.kill(os.getpid(), signal.SIGKILL)


def main(directory, mode, kill_at="0"):
    """Trains, and prints the final state."""
    keras.utils.set_random_seed(SEED)
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dropout(0.3), keras.layers.Dense(4), keras.layers.Dense(1)]
    )
    model.compile("adam", "mse")
    manager = CheckpointManager(tf.train.Checkpoint(model=model), directory)
    x = np.random.default_rng(0).random((40, 3), np.float32)
    data = ArrayData((x, x.sum(axis=1)), (x[:4], x[:4].sum(axis=1)), batch_size=4)
    callback = Checkpointing(manager, "epoch" if mode == "epochs" else 3)
    callbacks = [Kill(model, int(kill_at)), callback]
    if mode == "epochs":
        batches = data.batches(SEED, 0, data.steps_per_epoch)  # the same in each epoch
        model.fit(batches, epochs=EPOCHS, callbacks=callbacks, verbose=0)
    else:
        callback.restore(model)
        for epoch in range(callback.epoch, EPOCHS):
            batches = data.batches(SEED, callback.step, (epoch + 1) * data.steps_per_epoch)
            settings = {"initial_epoch": epoch, "epochs": epoch + 1, "verbose": 0}
            model.fit(batches, callbacks=callbacks, **settings)
    owners = (model, model.optimizer)
    state = [variable.numpy().tolist() for owner in owners for variable in variables_of(owner)]
    print(json.dumps(state))


if __name__ == "__main__":
    main(*sys.argv[1:])
