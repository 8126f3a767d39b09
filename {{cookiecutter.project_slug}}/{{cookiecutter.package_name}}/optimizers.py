"""The optimizers, by name."""

from .config import OptimizerConfig
from .durable import keras


def build_optimizer(config: OptimizerConfig, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """Builds the optimizer that the configuration names.

    Its learning rate is a schedule object: a number would become a variable, be saved, and win
    over the configuration when it is restored.
    """
    rate = build_schedule(config, steps_per_epoch)
    if config.name == "sgd":
        return keras.optimizers.SGD(rate, momentum=0.9)
    if config.name == "adamw":
        return keras.optimizers.AdamW(rate)
    return keras.optimizers.Adam(rate)


def build_schedule(
    config: OptimizerConfig, steps_per_epoch: int
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Builds the schedule of the learning rate, a function of the step."""
    return keras.optimizers.schedules.ExponentialDecay(
        config.learning_rate, decay_steps=steps_per_epoch, decay_rate=config.decay, staircase=True
    )
