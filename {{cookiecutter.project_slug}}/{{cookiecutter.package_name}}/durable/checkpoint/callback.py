"""Checkpointing: what `model.fit` needs to be ended at any moment and run again."""

import logging
from collections.abc import Mapping
from typing import Any, Literal

from ..compat import begin_fit_at, keras, variables_of
from ..errors import ConfigurationError
from .manager import CheckpointManager
from .structure import complete_graph

log = logging.getLogger(__name__)


class Checkpointing(keras.callbacks.Callback):
    """Saves and resumes `model.fit`, in the place of `BackupAndRestore`.

    When `fit` begins, it restores the newest checkpoint, and `fit` goes on with the epoch after
    it; so `fit` is called as for a fresh start. Where the manager has restored or saved before,
    nothing is restored again. It saves by epoch or step, and when `fit` ends.

    A checkpoint from inside an epoch is gone on from exactly where `fit` is given the rest of that
    epoch: call `restore` first, and give it the batches from `step` on.

    Args:
        manager: whose checkpoint holds the model and its optimizer, as
            `tf.train.Checkpoint(model=model)` of a compiled model does.
        save_every: epoch, or a number of steps.

    Attributes:
        step: how many steps were trained.
        epoch: how many whole epochs were trained.

    Raises:
        ConfigurationError: `save_every` is neither.
    """

    def __init__(
        self, manager: CheckpointManager, save_every: int | Literal["epoch"] = "epoch"
    ) -> None:
        super().__init__()
        if save_every != "epoch" and not (isinstance(save_every, int) and save_every > 0):
            raise ConfigurationError(
                f"save_every is to be 'epoch' or a number of steps above 0, not {save_every!r}."
            )
        self._manager = manager
        self._interval = None if save_every == "epoch" else save_every
        self.step = self.epoch = 0
        self._is_restored = False
        self._epoch_began_at = 0
        self._first_step = 0  # of what `fit` is given for this epoch
        self._saved_at = 0

    def restore(self, model: keras.Model) -> str | None:
        """Restores the newest checkpoint into a compiled model, whose optimizer it builds.

        Returns:
            The path of the restored checkpoint, or None where there never was one.

        Raises:
            ConfigurationError: the manager's checkpoint does not hold all of the model.
            CheckpointMismatch, CardMissing, NoUsableCheckpoint: as `restore_or_initialize` of the
                manager.
        """
        self._prepare(model)
        restored = self._manager.restore_or_initialize()
        self._go_on()
        return restored

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:  # noqa: ARG002
        """Restores the newest checkpoint, unless that was done before."""
        if self._is_restored:
            self._prepare(self.model)
        elif self._manager.card is not None:
            self._prepare(self.model)
            self._go_on()
        else:
            self.restore(self.model)
            if self.step > self._epoch_began_at:
                log.warning(
                    "Step %d is inside epoch %d, which fit begins again: %d steps of it are "
                    "trained twice. Save by epoch, or call Checkpointing.restore before fit and "
                    "give it the batches from Checkpointing.step on.",
                    self.step,
                    self.epoch + 1,
                    self.step - self._epoch_began_at,
                )
        begin_fit_at(self.model, self.epoch)

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:  # noqa: ARG002
        """Takes note of where the epoch begins."""
        if epoch < self.epoch:
            raise ConfigurationError(
                f"{self.epoch} epochs are trained already, and fit begins with number {epoch}: "
                "give fit initial_epoch=Checkpointing.epoch after Checkpointing.restore."
            )
        self.epoch, self._first_step = epoch, self.step

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:  # noqa: ARG002
        """Saves where a multiple of the interval has been passed."""
        count = self.params.get("steps")  # None where Keras does not know it yet
        # Several steps in one execution may count beyond the end of the epoch.
        done = batch + 1 if count is None else min(batch + 1, count)
        self.step = self._first_step + done
        is_last = done == count  # which is left to the end of the epoch
        if self._interval and not is_last and self._is_due():
            self._save({})

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Saves at the end of an epoch, or where a multiple of the interval has been passed."""
        self.epoch, self._epoch_began_at = epoch + 1, self.step
        if self._is_due():
            self._save(logs or {})

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Saves what was trained since the last save, and waits for that."""
        begin_fit_at(self.model, None)
        self._save(logs or {})
        self._manager.finish()

    def _prepare(self, model: keras.Model) -> None:
        """Builds the optimizer, and sees to it that nothing is left out of the checkpoint.

        Keras builds it in its first step, when it is too late to restore it.
        """
        # Keras 2 does not tell whether it is built, and building it again changes nothing there.
        if model.built and not getattr(model.optimizer, "built", False):
            with model.distribute_strategy.scope():
                model.optimizer.build(model.trainable_variables)
        graph = complete_graph(self._manager.checkpoint)
        held = {id(variable) for variable in graph.variables.values()}
        owners = {"model": model, "optimizer": model.optimizer}
        for name, owner in owners.items():
            if any(id(variable) not in held for variable in variables_of(owner)):
                raise ConfigurationError(
                    f"The checkpoint of the manager does not hold the {name} that fit trains: make "
                    "it as tf.train.Checkpoint(model=model, optimizer=model.optimizer)."
                )

    def _go_on(self) -> None:
        self._is_restored = True
        if (card := self._manager.card) is not None:
            self.step = self._saved_at = card.step
            self.epoch = card.epoch or 0
            self._epoch_began_at = card.step - card.batch

    def _is_due(self) -> bool:
        """Whether a multiple of the interval was passed since the last save."""
        interval = self._interval or 1
        return self.step // interval > self._saved_at // interval

    def _save(self, metrics: Mapping[str, Any]) -> None:
        if self.step > self._saved_at:
            numbers = {name: float(value) for name, value in metrics.items()}
            batch = self.step - self._epoch_began_at
            self._manager.save(self.step, metrics=numbers, epoch=self.epoch, batch=batch)
            self._saved_at = self.step
