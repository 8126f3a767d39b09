"""Train a model. Run it again to resume: a stopped run ends as if it had never been stopped."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence

from {{ cookiecutter.package_name }}.durable import prepare_process, run_main

if __name__ == "__main__":
    prepare_process()

from {{ cookiecutter.package_name }}.config import Config
from {{ cookiecutter.package_name }}.durable import (
    Agreement,
    Batch,
    Cadence,
    CheckpointManager,
    Data,
    Display,
    FiniteGuard,
    MetricsLog,
    Profiler,
    RunLock,
    Signals,
    TrainState,
    Validation,
    Watchdog,
    Workers,
    agree,
    check_start,
    data_state,
    deal,
    ending_with_others,
    fork,
    limit,
    manager_options,
    name_bad_examples,
    own_place,
    parse_settings,
    record_start,
    send_rest,
    share_of,
    start_strategy,
    with_best_metric,
)
from {{ cookiecutter.package_name }}.experiment import Experiment
from {{ cookiecutter.package_name }}.paths import Paths

import tensorflow as tf

log = logging.getLogger("{{ cookiecutter.package_name }}.train")


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains the run that the command line describes, and returns the exit code."""
    config = parse_settings(Config, arguments)
    strategy = start_strategy(config)  # waits for the other workers, where there are some
    with Signals() as signals, ending_with_others(strategy):
        tf.keras.utils.set_random_seed(config.seed)
        if config.deterministic:
            tf.config.experimental.enable_op_determinism()
        experiment = Experiment(config)
        data = limit(share_of(experiment.data(), strategy), config)
        with strategy.scope():  # a replica of the models on each device
            task = experiment.task(data)
        state = TrainState(task, data.element_spec, experiment.hooks(), config, strategy)
        config = with_best_metric(config, state)
        with (
            own_place(experiment.paths, strategy) as paths,
            RunLock(paths, Workers(strategy)),
        ):
            return train(config, paths, data, state, strategy, signals)


def train(
    config: Config,
    paths: Paths,
    data: Data,
    state: TrainState,
    strategy: tf.distribute.Strategy,
    signals: Signals,
) -> int:
    """Trains to the last step or to a signal, from the newest checkpoint if there is one."""
    manager = start_manager(config, paths, data, state, strategy)
    step, last = int(state.step), config.last_step(data.steps_per_epoch)
    if step >= last or state.ended:
        send_rest(config, paths)
        return complete(config, step, data.steps_per_epoch, state.ended)
    record_start(config, paths, step, manager)
    cadence = Cadence(config, manager.workers.count)
    train_steps = build_train_steps(state, strategy)
    validate = Validation(state.task, data, strategy)
    guard = FiniteGuard(config, paths, state, manager)
    batches = iter(data.batches(config.seed, step, last))
    now = Agreement()  # of all workers, where there are several: save? stop? how far to the next?
    with (
        name_bad_examples(data, config.seed, state.step),
        Watchdog(config, manager.workers, [state.step, validate.taken]),
        MetricsLog(paths, step, state.hooks, config) as metrics_log,
        Display(last, data.steps_per_epoch, step) as display,
        Profiler(config, paths) as profiler,
    ):
        while step < last:
            profiler.at(step)
            # A chunk of steps in one graph, up to the next at which something else is to be done.
            stop_at = cadence.next_stop(step, data.steps_per_epoch, config.log_every, last)
            count = min(now.chunk, stop_at - step)
            began = time.monotonic()
            train_steps(batches, tf.constant(count, tf.int64))
            chunk = max(1, int(count / (time.monotonic() - began)))  # about a second
            guard.check_loss()
            step += count
            display.advance(step)
            epoch, position = divmod(step, data.steps_per_epoch)

            metrics: dict[str, float] = {}
            if position == 0:
                metrics = state.epoch.result() | validate()
                display.epoch(epoch, step, metrics)
            elif step % config.log_every == 0:
                metrics = state.line.result()
            if metrics:
                # Before a save, which keeps the means: a resumed run must not log them again.
                state.reset_means(epoch_ended=position == 0)
                metrics_log.write(step, epoch, metrics, epoch_ended=position == 0)

            manager.collect()  # the error of a background save, if it had one
            due = step == last or cadence.is_due(step, position == 0)
            now = agree(manager.workers, signals, due=due, ended=state.ended, chunk=chunk)
            if now.save:
                began = time.monotonic()
                guard.check_weights()
                # The log first: a checkpoint must not be older than the lines that lead to it.
                manager.save(metrics=metrics, before=metrics_log.flush)
                cadence.saved(time.monotonic() - began)
            if now.stop or now.ended:
                break
        manager.finish()
    if now.ended and step < last:
        log.info("Saved step %d and ended: %s", step, now.ended)
        return 0
    if now.stop and step < last:
        log.info("Saved step %d and stopped by signal %d.", step, now.stop)
        return 128 + now.stop
    return complete(config, step, data.steps_per_epoch)


def start_manager(
    config: Config,
    paths: Paths,
    data: Data,
    state: TrainState,
    strategy: tf.distribute.Strategy,
) -> CheckpointManager:
    """Restores the newest checkpoint, if there is one, or the one that --fork-from names."""
    checkpoint = tf.train.Checkpoint(**state.parts, **data_state(data, config.seed))
    options = manager_options(config, paths, data, strategy)
    manager = CheckpointManager(checkpoint, paths.checkpoints, **options)
    check_start(config, paths, manager)
    if config.fork_from is not None and not manager.has_checkpoints:
        fork(config, paths, manager)
    else:
        manager.restore_or_initialize()
    return manager


def build_train_steps(
    state: TrainState, strategy: tf.distribute.Strategy
) -> Callable[[Iterator[Batch], tf.Tensor], None]:
    """Returns a function that trains on the next () int64 `count` batches, in one graph."""
    task = state.task
    run = task.phased(strategy.run)  # with the optimizers that have begun

    def train_on(part: Batch) -> None:  # on each device, with its part of the batch
        outputs, loss = task.step(part)  # forward, backward and the update of the weights
        state.update_means(part, outputs, loss)

    @tf.function
    def train_steps(batches: Iterator[Batch], count: tf.Tensor) -> None:
        for _ in tf.range(count):
            run(train_on, args=(deal(strategy, next(batches)),))
            state.average_weights()
            state.step.assign_add(1)

    return train_steps


def complete(config: Config, step: int, steps_per_epoch: int, ended: str | None = None) -> int:
    """Says that nothing is left to do, and if so, why the run ended before its last step."""
    log.info("Run %r is complete: step %d, epoch %d.", config.run, step, step // steps_per_epoch)
    if ended:
        log.info("It ended early: %s", ended)
    return 0


if __name__ == "__main__":
    run_main(main)
