"""Whether a text is a good review."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from ..config import Config
from ..durable import ConfigurationError, DataSpec, Task, keras
from ..models import reader
from ..optimizers import build_optimizer


class Opinion(Task):
    """Logistic loss of weighted texts."""

    best_metric = "val_accuracy"
    best_mode = "max"

    def __init__(self, config: Config, data: DataSpec) -> None:
        vocabulary = data.identity.get("data.vocabulary")
        if vocabulary is None:
            raise ConfigurationError("Opinion needs texts with a vocabulary.")
        self.models = {"model": reader.build(config.model, vocabulary)}
        self.optimizers = {"optimizer": build_optimizer(config, data)}

    def loss(self, y: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """The loss of each text in nats: (batch,) float32."""
        return tf.nn.sigmoid_cross_entropy_with_logits(y, outputs[:, 0])

    def metrics(self) -> dict[str, keras.metrics.Metric]:
        """The share of right ones, by their weights."""
        return {"accuracy": keras.metrics.BinaryAccuracy(threshold=0)}

    def update_metrics(
        self, metrics: Mapping[str, keras.metrics.Metric], batch: Any, outputs: Any
    ) -> None:
        """Takes one batch into the metric."""
        _, y, weight = batch
        metrics["accuracy"].update_state(y[:, None], outputs, sample_weight=weight)
