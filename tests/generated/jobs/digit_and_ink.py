"""Two things to be learned at once: a class, and a number."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from ..config import Config
from ..durable import ConfigurationError, DataSpec, Task, keras
from ..models import two_heads
from ..optimizers import build_optimizer


class DigitAndInk(Task):
    """Cross-entropy of the digit, and squared error of the ink."""

    best_metric = "val_accuracy"
    best_mode = "max"

    def __init__(self, config: Config, data: DataSpec) -> None:
        specs = data.element_spec[0]
        if not isinstance(specs, dict):
            raise ConfigurationError(f"DigitAndInk needs inputs by name, and not {specs}.")
        classes = data.identity["data.classes"]
        self.models = {"model": two_heads.build(config.model, specs, classes)}
        self.optimizers = {"optimizer": build_optimizer(config, data)}

    def loss(self, y: dict[str, tf.Tensor], outputs: dict[str, tf.Tensor]) -> tf.Tensor:
        """The sum of both losses for each example: (batch,) float32."""
        digit = tf.nn.sparse_softmax_cross_entropy_with_logits(y["digit"], outputs["digit"])
        return digit + (outputs["ink"][:, 0] - y["ink"]) ** 2

    def metrics(self) -> dict[str, keras.metrics.Metric]:
        """The share of right digits, and the mean error of the ink."""
        return {
            "accuracy": keras.metrics.SparseCategoricalAccuracy(),
            "ink_error": keras.metrics.MeanAbsoluteError(),
        }

    def update_metrics(
        self, metrics: Mapping[str, keras.metrics.Metric], batch: Any, outputs: Any
    ) -> None:
        """Takes one batch into the metrics."""
        y = batch[1]
        metrics["accuracy"].update_state(y["digit"], outputs["digit"])
        metrics["ink_error"].update_state(y["ink"][:, None], outputs["ink"])
