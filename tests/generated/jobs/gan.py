"""A generator of images against a discriminator that tells them from real ones."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from ..config import Config
from ..durable import (
    ConfigurationError,
    DataSpec,
    Task,
    apply_gradients,
    draw_by_example,
    keras,
)
from ..models import adversaries
from ..optimizers import build_optimizer

NOISE = 16


class GAN(Task):
    """Two models, each with its optimizer: logits of real and of false images, (batch, 1) each."""

    replicable = True
    best_metric = "val_fooled"
    best_mode = "max"

    def __init__(self, config: Config, data: DataSpec) -> None:
        images = data.element_spec[0]
        if not isinstance(images, tf.TensorSpec) or images.shape.rank != 3:
            raise ConfigurationError(f"A GAN needs images (height, width), and not {images}.")
        shape = tuple(images.shape[1:])
        self.models = {
            "generator": adversaries.build_generator(config.model, NOISE, shape),
            "discriminator": adversaries.build_discriminator(config.model, shape),
        }
        self.optimizers = {
            f"{name}_optimizer": build_optimizer(config, data) for name in self.models
        }
        self._seed = config.seed

    def forward(self, batch: Any, *, training: bool) -> tuple[tf.Tensor, tf.Tensor]:
        """What the discriminator makes of the images, and of as many false ones."""
        step = tf.convert_to_tensor(self.steps_trained)
        seed = tf.stack([tf.constant(self._seed, tf.int64), step]) if training else (0, 0)

        def draw(count: tf.Tensor) -> tf.Tensor:
            return tf.random.stateless_normal((count, NOISE), seed)

        noise = draw_by_example(draw, tf.shape(batch[0])[0])
        false = self.models["generator"](noise, training=training)
        judge = self.models["discriminator"]
        return judge(batch[0], training=training), judge(false, training=training)

    def loss(self, y: tf.Tensor, outputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """The loss of the discriminator for each pair of images: (batch,) float32."""
        true, false = outputs
        return tf.nn.softplus(-true)[:, 0] + tf.nn.softplus(false)[:, 0]

    def metrics(self) -> dict[str, keras.metrics.Metric]:
        """The share of false images that are taken for real ones."""
        return {"fooled": keras.metrics.Mean()}

    def update_metrics(
        self, metrics: Mapping[str, keras.metrics.Metric], batch: Any, outputs: Any
    ) -> None:
        """Takes one batch into the metric."""
        metrics["fooled"].update_state(tf.cast(outputs[1] > 0, tf.float32))

    def step(self, batch: Any) -> tuple[Any, tf.Tensor]:
        """Trains both on one batch."""
        with tf.GradientTape(persistent=True) as tape:
            outputs = self.forward(batch, training=True)
            losses = {
                "discriminator_optimizer": self.mean_loss(batch, outputs),
                "generator_optimizer": tf.reduce_mean(tf.nn.softplus(-outputs[1])),
            }
            shares = {name: self.share(loss) for name, loss in losses.items()}
        for name, share in shares.items():
            variables = self.trained_variables(name)
            apply_gradients(self.optimizers[name], tape.gradient(share, variables), variables)
        return outputs, losses["discriminator_optimizer"]

    def inference(self, element_spec: Any) -> tuple[keras.Model, Any]:
        """The generator, which is given noise."""
        return self.models["generator"], tf.TensorSpec((None, NOISE))
