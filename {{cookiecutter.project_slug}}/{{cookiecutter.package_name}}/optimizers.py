"""The optimizers, by name, and the schedule of the learning rate."""

from .config import Config, OptimizerConfig
from .durable import DataSpec, WarmUp, keras


def build_optimizer(config: Config, data: DataSpec) -> keras.optimizers.Optimizer:
    """Builds the optimizer that the configuration names.

    Its learning rate is a schedule object: a number would become a variable, be saved, and win
    over the configuration when it is restored.
    """
    chosen, steps_per_epoch = config.optimizer, data.steps_per_epoch
    rate = build_schedule(chosen, steps_per_epoch, config.last_step(steps_per_epoch))
    clipping = {"global_clipnorm": chosen.clip_norm, "clipvalue": chosen.clip_value}
    if chosen.name == "sgd":
        optimizer = keras.optimizers.SGD(rate, momentum=0.9, **clipping)
    elif chosen.name == "adamw":
        optimizer = keras.optimizers.AdamW(rate, **clipping)
    else:
        optimizer = keras.optimizers.Adam(rate, **clipping)
    if config.model.dtype == "mixed_float16":
        # Small gradients would be 0 in float16: the loss is multiplied, and they are divided.
        return keras.mixed_precision.LossScaleOptimizer(optimizer)
    return optimizer


def build_schedule(
    config: OptimizerConfig, steps_per_epoch: int, last_step: int
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Builds the schedule of the learning rate, a function of the step."""
    rate, schedules = config.learning_rate, keras.optimizers.schedules
    if config.schedule == "cosine":
        schedule = schedules.CosineDecay(rate, last_step)
    elif config.schedule == "steps":
        # The last step, counted from 0, that has each rate.
        ends = [epoch * steps_per_epoch - 1 for epoch in config.milestones]
        rates = [rate * config.decay**passed for passed in range(len(ends) + 1)]
        schedule = schedules.PiecewiseConstantDecay(ends, rates)
    else:
        decay = config.decay if config.schedule == "exponential" else 1.0
        schedule = schedules.ExponentialDecay(rate, steps_per_epoch, decay, staircase=True)
    warmup = config.warmup_steps + round(config.warmup_epochs * steps_per_epoch)
    return WarmUp(schedule, warmup) if warmup else schedule
