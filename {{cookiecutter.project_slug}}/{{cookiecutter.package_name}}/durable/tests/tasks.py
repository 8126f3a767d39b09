"""Tasks of other kinds than classes: an adversarial pair, two inputs and two heads, a weight."""

import numpy as np
import tensorflow as tf

from ..compat import apply_gradients, keras
from ..data.arrays import ArrayData, hold_out
from ..run.experiment import Task

layers = keras.layers


def images(size=64):
    """Images of 4 x 4 pixels, and a number for each."""
    random = np.random.default_rng(5)
    x = random.random((size, 4, 4)).astype(np.float32)
    return ArrayData(*hold_out((x, x.mean(axis=(1, 2))), 0.25), 8)


class Adversarial(Task):
    """Two models whose layers share their names, two optimizers, and a step of its own."""

    replicable = True

    def __init__(self):
        self.models = {"generator": self._model(3, 16), "discriminator": self._model(16, 1)}
        self.optimizers = {
            "generator_optimizer": keras.optimizers.Adam(1e-3),
            "discriminator_optimizer": keras.optimizers.Adam(1e-3),
        }
        self._noise = tf.random.Generator.from_seed(7)

    @staticmethod
    def _model(inputs, outputs):
        stack = [layers.Dense(8, name="hidden"), layers.BatchNormalization(name="norm")]
        stack += [layers.Dropout(0.5, name="dropout"), layers.Dense(outputs, name="out")]
        return keras.Sequential([keras.Input((inputs,)), *stack])

    def draw(self, size):
        return self._noise.normal((size, 3))

    def forward(self, batch, *, training):
        size = tf.shape(batch[0])[0]
        noise = self.draw(size) if training else tf.ones((size, 3))
        false = self.models["generator"](noise, training=training)
        true = tf.reshape(batch[0], (-1, 16))
        judge = self.models["discriminator"]
        return judge(true, training=training), judge(false, training=training)

    def loss(self, y, outputs):
        true, false = outputs
        return tf.nn.softplus(-true)[:, 0] + tf.nn.softplus(false)[:, 0]

    def metrics(self):
        return {"fooled": keras.metrics.Mean()}

    def update_metrics(self, metrics, batch, outputs):
        metrics["fooled"].update_state(tf.cast(outputs[1] > 0, tf.float32))

    def step(self, batch):
        with tf.GradientTape(persistent=True) as tape:
            outputs = self.forward(batch, training=True)
            losses = {
                "discriminator": self.mean_loss(batch, outputs),
                "generator": tf.reduce_mean(tf.nn.softplus(-outputs[1])),
            }
            shares = {name: self.share(loss) for name, loss in losses.items()}
        for name, share in shares.items():
            variables = self.trained_variables(f"{name}_optimizer")
            gradients = tape.gradient(share, variables)
            apply_gradients(self.optimizers[f"{name}_optimizer"], gradients, variables)
        return outputs, losses["discriminator"]

    def inference(self, element_spec):
        return self.models["generator"], tf.TensorSpec((None, 3))


def two_inputs(size=64):
    """Two inputs, two labels and a weight, by name."""
    random = np.random.default_rng(6)
    left, right = random.random((2, size, 3)).astype(np.float32)
    y = {"sum": (left + right).sum(axis=1), "larger": (left > right)[:, 0].astype(np.int32)}
    x = {"left": left, "right": right}
    return ArrayData(*hold_out((x, y, (np.arange(size) % 3).astype(np.float32)), 0.25), 8)


class TwoHeads(Task):
    """Dictionaries as inputs, outputs and labels."""

    def __init__(self):
        inputs = {name: keras.Input((3,), name=name) for name in ("left", "right")}
        x = layers.Dense(4, "relu", name="body")(layers.Concatenate()([*inputs.values()]))
        outputs = {name: layers.Dense(1, name=name)(x) for name in ("sum", "larger")}
        self.models = {"model": keras.Model(inputs, outputs)}
        self.optimizers = {"optimizer": keras.optimizers.SGD(0.1)}

    def loss(self, y, outputs):
        apart = outputs["sum"][:, 0] - tf.cast(y["sum"], tf.float32)
        labels = tf.cast(y["larger"], tf.float32)
        logits = outputs["larger"][:, 0]
        return apart**2 + tf.nn.sigmoid_cross_entropy_with_logits(labels, logits)

    def metrics(self):
        return {
            "error": keras.metrics.MeanAbsoluteError(),
            "right": keras.metrics.BinaryAccuracy(threshold=0),
        }

    def update_metrics(self, metrics, batch, outputs):
        _, y, weight = batch
        for metric, head in (("error", "sum"), ("right", "larger")):
            labels = tf.expand_dims(y[head], 1)
            metrics[metric].update_state(labels, outputs[head], sample_weight=weight)
