"""What ends a run before its last step, and which optimizers begin in the course of it."""

import logging
import math
import shlex
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Literal, NoReturn

import tensorflow as tf
from etils import epath

from ..checkpoint import bundle
from ..checkpoint.manager import CheckpointManager
from ..compat import loss_scale, variables_of, whole_number
from ..errors import ConfigurationError, NotFinite
from ..files import write_text
from .experiment import Hook, Task
from .paths import RunPaths
from .settings import RunSettings, flat, usual_mode

if TYPE_CHECKING:
    from .state import TrainState

log = logging.getLogger(__name__)


class EarlyStopping(Hook):
    """Ends a run whose metric gets no better; what it has seen is saved and restored with the run.

    Args:
        metric: the metric that is looked at, at every epoch's end.
        mode: whether its largest or its smallest value is the best.
        patience: how many epochs in a row may bring nothing better.
    """

    name = "early_stopping"

    def __init__(self, metric: str, mode: Literal["max", "min"], patience: int) -> None:
        self._metric = metric
        self._mode = mode
        self._patience = patience
        # All begin with 0, as they do where a checkpoint does not have them.
        self._seen = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._waited = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._best = tf.Variable(0, dtype=tf.float64, trainable=False)
        self.variables = {
            "epochs_seen": self._seen,
            "epochs_without_improvement": self._waited,
            "best": self._best,
        }

    @property
    def stop(self) -> str | None:  # type: ignore[override]  # it follows from what is restored
        """Why the run should end, once the patience is over."""
        waited = int(self._waited)
        if waited < self._patience:
            return None
        best = f" than {float(self._best):.4g}" if int(self._seen) else ""
        return f"no better {self._metric}{best} for {waited} epochs (--patience {self._patience})."

    def on_epoch_end(self, step: int, epoch: int, metrics: Mapping[str, float]) -> None:  # noqa: ARG002
        """Compares the epoch's metric with the best so far."""
        value = metrics[self._metric]
        if math.isnan(value) or (int(self._seen) and not self._is_better(value)):
            self._waited.assign_add(1)
            return
        self._waited.assign(0)
        self._seen.assign_add(1)
        self._best.assign(value)

    def _is_better(self, value: float) -> bool:
        best = float(self._best)
        return value > best if self._mode == "max" else value < best


def early_stopping(config: RunSettings, task: Task) -> list[Hook]:
    """The hook that stops a run early, if its settings have a patience."""
    if config.patience is None:
        return []
    return [EarlyStopping(*best_metric(config, task), config.patience)]


def best_metric(config: RunSettings, task: Task) -> tuple[str, Literal["max", "min"]]:
    """The metric that decides which checkpoint is the best, and its mode."""
    metric = config.best_metric or task.best_metric
    usual = task.best_mode if metric == task.best_metric else usual_mode(metric)
    return metric, config.best_mode or usual


class FiniteGuard:
    """Ends a run whose loss or weights are no numbers, before such a state is saved.

    The newest checkpoint, the last good state, is pinned: retention leaves it alone.

    Args:
        config: of the run.
        paths: likewise.
        state: what is trained.
        manager: of its checkpoints.
    """

    def __init__(
        self, config: RunSettings, paths: RunPaths, state: "TrainState", manager: CheckpointManager
    ) -> None:
        self._config = config
        self._paths = paths
        self._state = state
        self._manager = manager

    def check_loss(self) -> None:
        """Looks at the losses since the last call; nearly free.

        Raises:
            NotFinite: that of a step is infinite or not a number.
        """
        step = self._state.first_bad_step
        if step is not None:
            self._end(f"The loss of step {step} is not a finite number.")

    def check_weights(self) -> None:
        """Looks at every weight of the models, as is due before a save.

        A bad gradient shows in the loss one step later, which may be after the save.

        Raises:
            NotFinite: there is an infinite one, or one that is not a number.
        """
        models = self._state.task.models.values()
        weights = [weight for model in models for weight in variables_of(model)]
        floats = [weight for weight in weights if weight.dtype.is_floating]
        # On the device: only one truth value is copied from there.
        finite = [tf.reduce_all(tf.math.is_finite(weight)) for weight in floats]
        if not tf.reduce_all(tf.stack(finite)):
            step = int(self._state.step)
            self._end(f"The weights after step {step} are not all finite numbers.")

    def _end(self, what: str) -> NoReturn:
        self._manager.sync()
        newest = self._manager.latest_checkpoint
        if newest is None:
            raise NotFinite(f"{what} There is no checkpoint yet: start again with other settings.")
        good = epath.Path(newest)
        if self._manager.workers.is_chief:
            write_text(bundle.pin_file(good), "")
        raise NotFinite(
            f"{what} Nothing was saved since {good.name}, which is pinned: it is kept, however "
            f"many newer ones there are.\nGo back to it with another rate: {self._command(good)}"
        )

    def _command(self, good: epath.Path) -> str:
        """The command that starts a fork of the run from a checkpoint with a tenth of its rate."""
        run, config = self._config.run, self._paths.config
        words = ["python", "train.py", "--config", str(config), "--run", f"{run}-lower-rate"]
        words += ["--fork-from", f"{run}@{bundle.step_of(good)}"]
        for name, value in flat(asdict(self._config)).items():
            if name.rpartition(".")[2] == "learning_rate" and isinstance(value, float):
                words += [f"--{name.replace('_', '-')}", f"{value / 10:g}"]
        return shlex.join(words)


class Freezing(Hook):
    """Tells when an optimizer begins, and that it does so with zeros. It has nothing to save.

    Args:
        task: whose optimizers they are.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._waiting: set[str] = set()

    def on_start(self, step: int) -> None:
        """Tells of those that are still to begin, and of those that begin with this step."""
        self._waiting = {
            name
            for name, begin in self._task.frozen_until.items()
            if step <= begin or whole_number(self._task.optimizers[name].iterations) == 0
        }
        for name in sorted(self._waiting):
            begin, count = self._task.frozen_until[name], len(self._task.trained_variables(name))
            if step < begin:
                log.info(
                    "%s begins after step %d: the %d variables that it trains stay as they are.",
                    name,
                    begin,
                    count,
                )
        self._tell_begun(step)

    def on_log(self, step: int, epoch: int, metrics: Mapping[str, float]) -> None:  # noqa: ARG002
        """Tells of those that have begun since the last line."""
        self._tell_begun(step)

    def _tell_begun(self, step: int) -> None:
        begun = {name for name in self._waiting if self._task.frozen_until[name] <= step}
        for name in sorted(begun):
            log.info(
                "%s has begun after step %d, with slots of zeros: it trains %d variables.",
                name,
                max(step, self._task.frozen_until[name]),
                len(self._task.trained_variables(name)),
            )
        self._waiting -= begun


def freezing(task: Task) -> list[Hook]:
    """The hook that tells when optimizers begin, where some begin later.

    Raises:
        ConfigurationError: there is no such optimizer, or a step of the task's own decides.
    """
    for name in task.frozen_until:
        if name not in task.optimizers:
            raise ConfigurationError(
                f"{type(task).__name__}.frozen_until names {name!r}. Its optimizers are: "
                f"{', '.join(task.optimizers)}."
            )
    if task.frozen_until and task.has_own_step:
        raise ConfigurationError(
            f"{type(task).__name__} has a step of its own, which would have to leave alone what "
            "is frozen: frozen_until is for the default step."
        )
    return [Freezing(task)] if any(task.frozen_until.values()) else []


def require_apart(task: Task) -> None:
    """Raises ConfigurationError if two optimizers of the default step train the same variable."""
    owners: dict[int, str] = {}
    for name in () if task.has_own_step else task.optimizers:
        for variable in task.trained_variables(name):
            other = owners.setdefault(id(variable), name)
            if other != name:
                raise ConfigurationError(
                    f"{other} and {name} of {type(task).__name__} both train {variable.name}: "
                    "call them after what each trains, as in body_optimizer for the layer body."
                )


def is_at_its_end(task: Task, step: tf.Tensor) -> tf.Tensor:
    """Whether no scale of the loss can be lowered any more: () bool, inside a `tf.function`.

    A step whose gradients are no numbers is dropped and the scale halved, down to 1.
    """
    ended = tf.constant(value=True)
    for name, optimizer in task.optimizers.items():
        scale = loss_scale(optimizer)
        if scale is not None:
            ended &= (scale <= 1) | (step < task.frozen_until.get(name, 0))
    return ended
