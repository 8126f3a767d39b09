"""Train a model. Run it again to resume: a stopped run ends as if it had never been stopped."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict

from {{ cookiecutter.package_name }} import session

if __name__ == "__main__":
    session.expect_signals()

from {{ cookiecutter.package_name }} import beginning
from {{ cookiecutter.package_name }}.cadence import Cadence
from {{ cookiecutter.package_name }}.checkpoints import Best, CheckpointManager
from {{ cookiecutter.package_name }}.config import Config
from {{ cookiecutter.package_name }}.config_file import record_config
from {{ cookiecutter.package_name }}.data import Data
from {{ cookiecutter.package_name }}.datasets import load_data
from {{ cookiecutter.package_name }}.evaluation.predictions import build_scorer, loss_of
from {{ cookiecutter.package_name }}.metrics import MetricsLog
from {{ cookiecutter.package_name }}.models import build_model
from {{ cookiecutter.package_name }}.optimizers import build_optimizer
from {{ cookiecutter.package_name }}.paths import Paths
from {{ cookiecutter.package_name }}.progress import Display
from {{ cookiecutter.package_name }}.state import TrainState

import tensorflow as tf
import tyro

Batches = Iterator[tuple[tf.Tensor, tf.Tensor]]

log = logging.getLogger("{{ cookiecutter.package_name }}.train")


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains the run that the command line describes, and gives the exit code."""
    config = tyro.cli(Config, args=arguments)
    paths = Paths(config.root, config.run)
    with session.Signals() as signals:
        tf.keras.utils.set_random_seed(config.seed)
        if config.deterministic:
            tf.config.experimental.enable_op_determinism()
        data = load_data(config.data)
        model = build_model(config.model, data.shape, data.classes)
        optimizer = build_optimizer(config.optimizer, data.steps_per_epoch)
        state = TrainState(model, optimizer, data.shape)
        with session.RunLock(paths):
            return train(config, paths, data, state, signals)


def train(
    config: Config, paths: Paths, data: Data, state: TrainState, signals: session.Signals
) -> int:
    """Trains to the last epoch or to a signal, from the newest checkpoint if there is one."""
    checkpoint = tf.train.Checkpoint(**state.parts)
    manager = CheckpointManager(
        checkpoint,
        paths.checkpoints,
        max_to_keep=config.max_to_keep,
        keep_checkpoint_every_n_hours=config.keep_every_hours,
        best=Best(paths.best, config.best_metric, config.best_mode),
        steps_per_epoch=data.steps_per_epoch,
        settings=asdict(config),
        identity=config.identity() | data.identity,
        background=is_background(config.save_mode),
        max_failures=config.max_save_failures,
    )
    beginning.check_resume(config, manager)
    if config.fork_from is None or manager.has_checkpoints:
        beginning.check_origin(config, paths, manager)
        manager.restore_or_initialize()
    else:
        beginning.fork(config.fork_from, paths, manager, partial=config.partial)

    step, last = int(state.step), config.epochs * data.steps_per_epoch
    if step >= last:
        return complete(paths, step, data)
    record_config(config, paths.config)
    beginning.record(paths, step, manager)
    cadence = Cadence(config)
    train_steps = build_train_steps(state)
    score = build_scorer(state.model, data)
    batches = iter(data.batches(config.seed, step, last))
    chunk = 1
    with (
        MetricsLog(paths, step) as metrics_log,
        Display(config.epochs, data.steps_per_epoch, step) as display,
    ):
        while step < last:
            count = min(chunk, next_stop(step, config, cadence, data.steps_per_epoch) - step)
            began = time.monotonic()
            train_steps(batches, tf.constant(count, tf.int64))
            chunk = max(1, int(count / (time.monotonic() - began)))  # about a second
            step += count
            display.advance(step)
            epoch, position = divmod(step, data.steps_per_epoch)

            metrics: dict[str, float] = {}
            if position == 0 or step % config.log_every == 0:
                metrics = state.totals.take()
                if position == 0:
                    metrics |= score()
                    display.epoch(epoch, step, metrics)
                metrics_log.write(step, epoch, metrics)

            manager.collect()
            stop = signals.stop  # looked at once: one that comes later waits for the next chunk
            asked = signals.take_save_request() or stop
            if asked or step == last or cadence.is_due(step, position == 0):
                began = time.monotonic()
                manager.save(metrics=metrics, before=metrics_log.flush)
                cadence.saved(time.monotonic() - began)
            if stop:
                break
        manager.finish()
    if stop and step < last:
        log.info("Saved step %d and stopped by signal %d.", step, stop)
        return 128 + stop
    return complete(paths, step, data)


def complete(paths: Paths, step: int, data: Data) -> int:
    """Says that nothing is left to do."""
    epoch = step // data.steps_per_epoch
    log.info("Run %r is complete: step %d, epoch %d.", paths.run, step, epoch)
    return 0


def build_train_steps(state: TrainState) -> Callable[[Batches, tf.Tensor], None]:
    """Gives a function that trains on the next () int64 `count` batches, in one graph."""
    model, optimizer = state.model, state.optimizer

    @tf.function
    def train_steps(batches: Batches, count: tf.Tensor) -> None:
        for _ in tf.range(count):
            x, y = next(batches)
            with tf.GradientTape() as tape:
                logits = model(x, training=True)
                loss = tf.add_n([tf.reduce_mean(loss_of(y, logits)), *model.losses])
            gradients = tape.gradient(loss, model.trainable_variables)
            optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
            state.totals.add(y, logits, loss)
            state.step.assign_add(1)

    return train_steps


def next_stop(step: int, config: Config, cadence: Cadence, steps_per_epoch: int) -> int:
    """The next step at which an epoch ends, a line is logged or a checkpoint is due."""
    intervals = [steps_per_epoch, config.log_every, cadence.steps or steps_per_epoch]
    return min((step // interval + 1) * interval for interval in intervals)


def is_background(save_mode: str) -> bool:
    """Whether to save in the background. Without an accelerator, writing would slow training."""
    accelerated = any(device.device_type != "CPU" for device in tf.config.list_physical_devices())
    return save_mode == "background" or (save_mode == "auto" and accelerated)


if __name__ == "__main__":
    session.run(main)
