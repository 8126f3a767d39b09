"""CheckpointManager: tf.train.CheckpointManager made strict, atomic and fault-tolerant."""

import logging
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any

import tensorflow as tf
from etils import epath

from ..compat import versions
from ..errors import CheckpointExists
from . import bundle
from .card import Card, Origin
from .directory import Directory
from .restore import Readied, Restorer
from .retention import Best, Retention
from .saver import Failures, Saver, Steps, make_readable
from .structure import complete_graph, find_counter
from .workers import Workers

log = logging.getLogger(__name__)


class CheckpointManager(tf.train.CheckpointManager):
    """Saves checkpoints named `ckpt-<step>`, keeps those worth keeping, and restores them.

    It takes the place of `tf.train.CheckpointManager`, and differs in this:

    - what is in the directory counts, not what the `checkpoint` file says;
    - a checkpoint appears in the directory whole, and safe on the disk, or not at all;
    - a restore puts back everything, or changes nothing and says why;
    - a damaged checkpoint is set aside in `damaged/`, and the next older one is taken.

    Args:
        checkpoint: what to save.
        directory: where to save it.
        max_to_keep: how many of the newest to keep, at least 2; None keeps all.
        keep_checkpoint_every_n_hours: keep the first of every so many hours besides.
        checkpoint_name: the part of the name before the step.
        step_counter: tells the step; `checkpoint.step` where it is not given.
        checkpoint_interval: steps that `save` lets pass between two saves.
        init_fn: called by `restore_or_initialize` where there is no checkpoint.
        last_checkpoint_step: the step of the last save, from which `checkpoint_interval` counts.
        best: keeps a copy of the checkpoint with the best metrics.
        steps_per_epoch: lets cards and messages tell the epoch.
        element_spec: what a batch is, for the cards, as JSON can hold it.
        settings: the configuration, for the cards.
        code: more of the card: the commit of the code, and whether it was changed.
        identity: the settings that must be the same when a checkpoint is restored.
        background: write in a thread, while training goes on.
        max_failures: how many saves in a row may fail before that is an error.
        strategy: of `tf.distribute`, where several workers train together: all of them save and
            restore at the same steps. The files are those of the chief.

    Attributes:
        workers: those that train together; often one.
        origin: what the run was started from, for the cards; a restored checkpoint tells its own.
        card: of the checkpoint that was restored or saved last, or None.

    Raises:
        ConfigurationError: checkpoints cannot be saved in such a place, or not of these objects.
    """

    def __init__(
        self,
        checkpoint: tf.train.Checkpoint,
        directory: epath.PathLike,
        max_to_keep: int | None = 5,
        keep_checkpoint_every_n_hours: float | None = None,
        checkpoint_name: str = "ckpt",
        step_counter: tf.Variable | None = None,
        checkpoint_interval: int | None = None,
        init_fn: Callable[[], None] | None = None,
        last_checkpoint_step: int | None = None,
        *,
        best: Best | None = None,
        steps_per_epoch: int | None = None,
        element_spec: Any = None,
        settings: Mapping[str, Any] | None = None,
        code: Mapping[str, Any] | None = None,
        identity: Mapping[str, Any] | None = None,
        background: bool = False,
        max_failures: int = 1,
        strategy: tf.distribute.Strategy | None = None,
    ) -> None:
        self.workers = Workers(strategy)
        self._files = Directory(directory, checkpoint_name)
        self._retention = Retention(max_to_keep, keep_checkpoint_every_n_hours)
        self._counter = find_counter(checkpoint, step_counter)
        self._steps = Steps(self._counter, checkpoint_interval, last_checkpoint_step)
        self._initialize = init_fn
        self._best = best
        self._steps_per_epoch = steps_per_epoch
        self._make_card = partial(
            Card,
            versions=versions(),
            settings=dict(settings or {}),
            steps_per_epoch=steps_per_epoch,
            element_spec=element_spec,
            **(code or {}),
        )
        self._identity = dict(identity or {})
        self._background = background
        self._describe(checkpoint)
        self._failures = Failures(self._files.folder, max_failures)
        self._missing = self._files.missing()
        self.origin: Origin | None = None
        self.card: Card | None = None
        self._newest: epath.Path | None = None
        if self.workers.is_chief:
            make_readable(self._files)
        super().__init__(
            checkpoint,
            str(self._files.folder),
            max_to_keep,
            keep_checkpoint_every_n_hours,
            checkpoint_name,
            self._counter,
            checkpoint_interval,
        )

    def _describe(self, checkpoint: tf.train.Checkpoint) -> None:
        _ = checkpoint.save_counter  # made when it is first asked for; it is a part of the graph
        self._graph = complete_graph(checkpoint)
        self._restorer = Restorer(checkpoint, self._identity, self._graph)
        self._saver = Saver(self._graph, background=self._background)

    def _refresh(self) -> None:
        """Takes in objects that were made or replaced since, as an optimizer's slots may be."""
        if not self._graph.is_still_that_of(self.checkpoint):
            known = self._restorer.rates
            self._describe(self.checkpoint)
            self._restorer.rates |= known

    @property
    def checkpoints(self) -> list[str]:
        """The paths of the checkpoints in the directory, oldest first."""
        return [str(checkpoint) for checkpoint in self._files.whole()]

    @property
    def latest_checkpoint(self) -> str | None:
        """The path of the newest checkpoint, or None."""
        return next(reversed(self.checkpoints), None)

    @property
    def has_checkpoints(self) -> bool:
        """Whether there is any trace of a checkpoint: a usable, a damaged or a missing one."""
        found = self._files.found() or self._missing or self._files.damaged()
        return bool(self.workers.tell("yes" if found else ""))

    def save(
        self,
        checkpoint_number: int | tf.Variable | None = None,
        check_interval: bool = True,
        options: None = None,  # noqa: ARG002
        *,
        metrics: Mapping[str, float] | None = None,
        epoch: int | None = None,
        batch: int = 0,
        before: Callable[[], None] | None = None,
    ) -> str | None:
        """Saves a checkpoint, and then removes what retention does not keep.

        A save in the background is waited for by the next one, by `collect` and by `finish`.

        Args:
            checkpoint_number: its number; by default the step.
            check_interval: save nothing while `checkpoint_interval` has not passed.
            options: has no effect; it is there because TensorFlow's manager has it.
            metrics: the latest metrics, for the card and for the choice of the best.
            epoch: whole epochs trained, for the card; by default from `steps_per_epoch`.
            batch: batches trained of the epoch after those, for the card.
            before: called first, to write what must not be younger; if it fails, so does this.

        Returns:
            The path of the checkpoint, or None where the interval had not passed or saving failed.

        Raises:
            CheckpointExists: there is one of this number; it is not overwritten.
            SaveFailed: saving failed for the last time that is tolerated, since the disk is full,
                say. Nothing is left of the failed checkpoint.
        """
        self.collect(wait=True)
        if not self._steps.is_due(check_interval=check_interval):
            return None
        number = self._steps.number(checkpoint_number, self._files)
        # TensorFlow's own `Checkpoint.save` goes on counting from here.
        self.checkpoint.save_counter.assign(number)
        self._refresh()
        if epoch is None and self._steps_per_epoch:
            epoch = number // self._steps_per_epoch
        card = self._make_card(
            step=number,
            epoch=epoch,
            metrics=dict(metrics or {}),
            structure=self._restorer.structure,
            origin=self.origin,
            batch=batch,
            rates=self._restorer.rates,
            counter=self._restorer.path_of(self._counter) if number == self._steps.now else None,
        )
        saved = self.workers.lead(partial(self._write, card, before), self._saver.read)
        if saved is not None:
            self.card = card
            self._steps.saved()
        return saved

    def _write(self, card: Card, before: Callable[[], None] | None) -> str | None:
        """Writes a checkpoint, and gives its path; None where that failed and is tolerated."""
        path = self._files.folder / f"{self._files.name}-{card.step}"
        if not self._files.is_tidy:  # here and not sooner: who only reads must not disturb
            self._files.tidy_for(self._best)
        with self._failures:
            if bundle.files_of(path):
                raise CheckpointExists(path)
            if before is not None:
                before()
            if self._saver.save(path, card, partial(self._after_save, path, card.metrics)):
                self._failures.end()
            return str(path)
        self._files.is_tidy = False
        return None

    def collect(self, *, wait: bool = False) -> None:
        """Looks at a save in the background that has ended; call it now and then.

        Args:
            wait: until it has ended.

        Raises:
            SaveFailed: it failed, for the last time that is tolerated.
        """
        # In the foreground, it has failed already.
        with self.workers.together() if self._background else nullcontext(), self._failures:
            if self._saver.collect(wait=wait):
                self._failures.end()

    def sync(self) -> None:
        """Waits for the save that is under way in the background."""
        self.collect(wait=True)

    def finish(self) -> None:
        """Waits for the last save; raises SaveFailed if it failed, whatever is tolerated."""
        self.collect(wait=True)
        with self.workers.together():
            self._failures.raise_last()

    def _after_save(self, path: epath.Path, metrics: Mapping[str, float]) -> None:
        with self._files.tidying_up(path):
            bundle.clear_unfinished(path)
            newest, self._newest = self._newest, path
            if newest is not None and not bundle.is_whole(newest):
                log.warning("%s was saved and is no longer there. Going on.", newest)
            if self._best is not None:
                self._best.keep_if_better(path, metrics)
            self._files.prune(self._retention, saved=path)

    def restore_or_initialize(self) -> str | None:
        """Restores the newest usable checkpoint.

        Returns:
            The path of the restored checkpoint, or None where there never was one.

        Raises:
            CheckpointMismatch: the checkpoint does not fit; nothing was restored.
            CardMissing: something else wrote the checkpoint; nothing was restored.
            NoUsableCheckpoint: there are checkpoints, and all are damaged; none was touched.
            UnreadableCheckpoint: the newest cannot be read at present; none was touched.
        """
        self._refresh()
        readied = self._read_newest()
        if readied is None:
            log.info("No checkpoint in %s: starting from scratch.", self._files.folder)
            if self._initialize is not None:
                self._initialize()
            return None
        self._restorer.put_back(readied)
        path, card = readied.path, readied.card
        self.card, self.origin, self._newest, self._missing = card, card.origin, path, []
        self._steps.saved()
        self.checkpoint.save_counter.assign(card.step)
        log.info("Restored %s from %s.", card.place, path)
        self._restorer.put_in_rates(path, card)
        self._restorer.tell_fresh_means(path, card)
        self._restorer.tell_added(path, card)
        return str(path)

    def _read_newest(self) -> Readied | None:
        """Reads the newest usable checkpoint: the chief's choice, which all workers can read."""
        readied: Readied | None = None
        with self.workers.together():
            if self.workers.is_chief:
                readied = self._files.newest_usable(self._restorer.read, self._missing)
        name = self.workers.tell(readied.path.name if readied else "")
        with self.workers.together():
            if name and readied is None:
                readied = self._restorer.read(self._files.seen(name))
        return readied
