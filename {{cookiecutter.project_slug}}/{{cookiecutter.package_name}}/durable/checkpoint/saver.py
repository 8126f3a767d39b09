"""Blocking and background saves: whole and on the disk, or not there."""

import logging
import os
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from dataclasses import replace

import tensorflow as tf
from etils import epath
from google.protobuf import text_format

from .. import files
from ..compat import whole_number
from ..errors import SaveFailed
from ..untrusted import require_regular
from . import bundle, shared, unchanged
from .bundle import SHARD_BYTES
from .card import Card
from .directory import STATE_FILE, Directory, repair_state
from .graph import (
    SAVING_ERRORS,
    ObjectGraph,
    attribute_names,
    write_values,
)
from .tensor_bundle import CARD_KEY, GRAPH_KEY, index_file

log = logging.getLogger(__name__)

MANY = 200  # fewer variables are read one by one in less than two milliseconds


class Saver:
    """Writes checkpoints, one at a time.

    Args:
        graph: of what to save.
        background: write in a thread, while the live variables go on changing.
    """

    def __init__(self, graph: ObjectGraph, *, background: bool) -> None:
        self._graph = graph
        has_large = max(graph.sizes.values(), default=0) >= unchanged.VARIABLE_BYTES
        self._shards = unchanged.Shards(graph) if has_large else None
        self._thread = ThreadPoolExecutor(1, "checkpoint-writer")
        self._background = background
        self._preparing: Future[None] | None = None
        self._pending: Future[None] | None = None

    def save(self, path: epath.Path, card: Card, afterwards: Callable[[], None]) -> bool:
        """Saves the state as the checkpoint `path`; on an error nothing is left of it.

        Args:
            path: of the checkpoint.
            card: its description.
            afterwards: called once it is on the disk; its temporary folder is still there.

        Returns:
            Whether it is there already; in the background it is not.

        Raises:
            OSError, tf.errors.OpError: it cannot be written. In the background, `collect` raises
                it.
        """
        snapshot = Snapshot(self._graph, self._shards)
        files.require_space(path.parent, snapshot.size)
        if self._background:
            self._pending = self._thread.submit(write, snapshot, path, card, afterwards)
        else:
            write(snapshot, path, card, afterwards)
        self._prepare()
        return not self._background

    def read(self) -> None:
        """Reads all values and drops them: what replicas add up for that, all of them must."""
        self._graph.read_variables()

    def _prepare(self) -> None:
        """Has many variables read by a traced function in later saves; traced beside the training.

        Of variables on several devices, each has a way of its own to be read.
        """
        if self._preparing is not None:
            if self._preparing.done():
                self._preparing.result()  # its error, if it has one, must be heard
        elif len(self._graph.variables) >= MANY and not self._graph.is_distributed:
            self._preparing = self._thread.submit(self._graph.prepare)

    def collect(self, *, wait: bool) -> bool:
        """Tells whether a background save has ended since the last call, and raises its error.

        Args:
            wait: until the one that is under way has ended.
        """
        if self._pending is None or not (wait or self._pending.done()):
            return False
        ended, self._pending = self._pending, None
        ended.result()
        return True


class Snapshot:
    """Every value that a checkpoint saves, as it was at the time of making this.

    Of the variables, only what changes before it is written takes memory of its own.

    Args:
        graph: of what to save.
        shards: of what does not change; None where nothing is large enough for that.

    Attributes:
        size: how many bytes are to be written, but for those of what is no variable.
    """

    def __init__(self, graph: ObjectGraph, shards: unchanged.Shards | None) -> None:
        others = graph.read_others()
        self._values = graph.read_variables() | others
        self._graph = graph.serialized(attribute_names(others))
        self._sizes = graph.sizes | dict.fromkeys(others, 0)
        self._shards = shards
        self.size = sum(graph.sizes.values()) - (shards.size if shards else 0)

    def write(self, checkpoint: epath.Path, card: Card) -> None:
        """Writes the values, with a card, as `checkpoint.index` and `checkpoint.data-…`.

        The card has a key of its own, and is no object of the graph: `assert_consumed()` of a
        restore by TensorFlow does not miss it. What does not change is linked, not written.
        """
        taken = self._take_shards(checkpoint)
        card = replace(card, shared=list(taken))
        described = {GRAPH_KEY: tf.constant(self._graph), CARD_KEY: tf.constant(card.to_json())}
        shared_keys = {key for keys in taken.values() for key in keys}
        sizes = {key: size for key, size in self._sizes.items() if key not in shared_keys}
        count = min(os.cpu_count() or 1, 1 + sum(sizes.values()) // SHARD_BYTES)
        keys = bundle.split(sizes, count)
        shards = [{key: self._values[key] for key in shard} for shard in keys]
        shards[0] |= described
        if count == 1 and not taken:
            write_values(str(checkpoint), shards[0])
            return
        prefixes = [f"{checkpoint}_shard{number}" for number in range(count)]
        with ThreadPoolExecutor(count) as threads:
            list(threads.map(write_shard, prefixes, shards))
        prefixes += [str(checkpoint.parent / name) for name in taken]
        tf.raw_ops.MergeV2Checkpoints(
            checkpoint_prefixes=prefixes, destination_prefix=str(checkpoint), delete_old_dirs=False
        )

    def _take_shards(self, checkpoint: epath.Path) -> dict[str, list[str]]:
        """Links what does not change into the folder of the checkpoint; gives the keys of it."""
        if self._shards is None:
            return {}
        folder = checkpoint.parent
        shards = self._shards.update(
            folder.parent, checkpoint.name.rpartition("-")[0], self._values
        )
        for name in shards:
            shared.take(folder.parent, name, folder)
        return shards


def write(snapshot: Snapshot, path: epath.Path, card: Card, afterwards: Callable[[], None]) -> None:
    """Writes a checkpoint into its temporary folder, and moves it to its place."""
    files.make_folder(path.parent)
    temporary = files.make_temporary_folder(path)
    try:
        snapshot.write(temporary / path.name, card)
        bundle.put_in_place(temporary / path.name, path)
    except BaseException:  # it may be there, and not be safe on the disk
        with suppress(*SAVING_ERRORS):  # what is left goes with the next save
            index_file(path).unlink(missing_ok=True)
            bundle.clear_unfinished(path)
        raise
    afterwards()


def write_shard(prefix: str, values: Mapping[str, tf.Tensor]) -> None:
    """Writes a shard, and waits until it is on the disk: several at a time are faster."""
    write_values(prefix, values)
    for file in bundle.data_files(epath.Path(prefix)):
        files.synchronize(file)


def make_readable(directory: Directory) -> None:
    """Puts a state file right that TensorFlow could not read, and changes nothing else."""
    try:
        require_regular(directory.folder / STATE_FILE)
        tf.train.get_checkpoint_state(str(directory.folder))
    except (OSError, ValueError, tf.errors.OpError, text_format.ParseError):
        repair_state(directory.folder, directory.whole())


class Failures(AbstractContextManager["Failures"]):
    """Tolerates some failures in a row: save inside of it.

    Args:
        directory: where is saved.
        limit: how many failures in a row are an error.
    """

    def __init__(self, directory: epath.Path, limit: int) -> None:
        self._directory = directory
        self._limit = limit
        self._errors: list[BaseException] = []

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        if not isinstance(error, SAVING_ERRORS):
            return False
        self._errors.append(error)
        if len(self._errors) >= self._limit:
            self.raise_last()
        log.warning(
            "Saving to %s failed (%d of %d in a row): %s. Going on; the next save tries again.",
            self._directory,
            len(self._errors),
            self._limit,
            error,
        )
        return True

    def end(self) -> None:
        """Ends the row: a save has succeeded."""
        self._errors.clear()

    def raise_last(self) -> None:
        """Raises SaveFailed if the last save failed."""
        if self._errors:
            error = self._errors[-1]
            raise SaveFailed(self._directory, len(self._errors), error) from error


class Steps:
    """The numbers of checkpoints, and the interval between them.

    Args:
        counter: tells the step, if anything does.
        interval: the steps that saves leave between two; None where each is due.
        last: the step of the last save, where one is known.
    """

    def __init__(self, counter: tf.Variable | None, interval: int | None, last: int | None) -> None:
        self._counter = counter
        self._interval = interval
        self._last = last

    @property
    def now(self) -> int | None:
        """The present step."""
        return None if self._counter is None else whole_number(self._counter)

    def is_due(self, *, check_interval: bool) -> bool:
        """Whether the interval has passed, or, where that is not asked for, a step."""
        if self._interval is None or self.now is None or self._last is None:
            return True
        return self.now >= self._last + (self._interval if check_interval else 1)

    def number(self, given: int | tf.Variable | None, files: Directory) -> int:
        """The number of the next checkpoint: what is given, or the step, or the next free one."""
        if given is not None:
            return whole_number(given)
        if self.now is not None:
            return self.now
        return max(map(bundle.step_of, files.whole()), default=0) + 1

    def saved(self) -> None:
        """Takes note of a save at the present step."""
        self._last = self.now
