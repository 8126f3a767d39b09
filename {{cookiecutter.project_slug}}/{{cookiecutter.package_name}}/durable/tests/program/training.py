"""The training loop of the program."""

import logging
import time

import tensorflow as tf

from ...checkpoint.manager import CheckpointManager
from ...checkpoint.workers import Workers
from ...data.indexed import name_bad_examples
from ...data.protocol import data_state
from ...run.agreement import Agreement, Watchdog, agree, ending_with_others, own_place
from ...run.cadence import Cadence
from ...run.command_line import parse_settings
from ...run.debugging import Profiler, limit
from ...run.log import Display, MetricsLog
from ...run.means import Validation
from ...run.replicas import deal, share_of, start_strategy
from ...run.session import RunLock, Signals
from ...run.start import check_start, fork, manager_options, record_start, with_best_metric
from ...run.state import TrainState
from ...run.stopping import FiniteGuard
from ...run.trackers import send_rest
from .experiment import Config, Experiment

log = logging.getLogger(__name__)


def main(arguments=None, experiment_class=Experiment):
    config = parse_settings(Config, arguments)
    strategy = start_strategy(config)
    with Signals() as signals, ending_with_others(strategy):
        tf.keras.utils.set_random_seed(config.seed)
        if config.deterministic:
            tf.config.experimental.enable_op_determinism()
        experiment = experiment_class(config)
        data = limit(share_of(experiment.data(), strategy), config)
        with strategy.scope():
            task = experiment.task(data)
        state = TrainState(task, data.element_spec, experiment.hooks(), config, strategy)
        config = with_best_metric(config, state)
        with (
            own_place(experiment.paths, strategy) as paths,
            RunLock(paths, Workers(strategy)),
        ):
            return train(config, paths, data, state, signals, strategy)


def train(config, paths, data, state, signals, strategy):
    options = manager_options(config, paths, data, strategy)
    checkpoint = tf.train.Checkpoint(**state.parts, **data_state(data, config.seed))
    manager = CheckpointManager(checkpoint, paths.checkpoints, **options)
    check_start(config, paths, manager)
    if config.fork_from is not None and not manager.has_checkpoints:
        fork(config, paths, manager)
    else:
        manager.restore_or_initialize()
    step, last = int(state.step), config.last_step(data.steps_per_epoch)
    if step < last and not state.ended:
        record_start(config, paths, step, manager)
        now = train_to(last, step, config, data, state, manager, signals, paths, strategy)
        step = int(state.step)
        if now.ended and step < last:
            log.info("Saved step %d and ended: %s", step, now.ended)
            return 0
        if now.stop and step < last:
            log.info("Saved step %d and stopped by signal %d.", step, now.stop)
            return 128 + now.stop
    else:
        send_rest(config, paths)
    epoch = step // data.steps_per_epoch
    log.info("Run %r is complete: step %d, epoch %d.", config.run, step, epoch)
    if state.ended:
        log.info("It ended early: %s", state.ended)
    return 0


def train_to(last, step, config, data, state, manager, signals, paths, strategy):
    cadence = Cadence(config, manager.workers.count)
    validate = Validation(state.task, data, strategy)
    now = Agreement()
    batches = iter(data.batches(config.seed, step, last))
    train_steps = build_train_steps(state, strategy)
    profiler = Profiler(config, paths)
    guard = FiniteGuard(config, paths, state, manager)
    display = Display(last, data.steps_per_epoch, step)
    named = name_bad_examples(data, config.seed, state.step)
    watchdog = Watchdog(config, manager.workers, [state.step, validate.taken])
    with (
        named,
        watchdog,
        MetricsLog(paths, step, state.hooks, config) as metrics_log,
        display,
        profiler,
    ):
        while step < last and not now.stop and not now.ended:
            profiler.at(step)
            stop_at = cadence.next_stop(step, data.steps_per_epoch, config.log_every, last)
            count = min(now.chunk, stop_at - step)
            began = time.monotonic()
            train_steps(batches, tf.constant(count, tf.int64))
            chunk = max(1, int(count / (time.monotonic() - began)))
            guard.check_loss()
            step += count
            display.advance(step)
            epoch, position = divmod(step, data.steps_per_epoch)
            metrics = {}
            if position == 0 or step % config.log_every == 0:
                metrics = (
                    state.epoch.result() | validate() if position == 0 else state.line.result()
                )
                state.reset_means(epoch_ended=position == 0)
                metrics_log.write(step, epoch, metrics, epoch_ended=position == 0)
            if position == 0:
                display.epoch(epoch, step, metrics)
            manager.collect()
            due = step == last or cadence.is_due(step, position == 0)
            now = agree(manager.workers, signals, due=due, ended=state.ended, chunk=chunk)
            if now.save:
                began = time.monotonic()
                guard.check_weights()
                manager.save(metrics=metrics, before=metrics_log.flush)
                cadence.saved(time.monotonic() - began)
        manager.finish()
    return now


def build_train_steps(state, strategy):
    def train_on_part(part):
        outputs, loss = state.task.step(part)
        state.update_means(part, outputs, loss)

    run = state.task.phased(strategy.run)

    @tf.function
    def train_steps(batches, count):
        for _ in tf.range(count):
            run(train_on_part, args=(deal(strategy, next(batches)),))
            state.average_weights()
            state.step.assign_add(1)

    return train_steps
