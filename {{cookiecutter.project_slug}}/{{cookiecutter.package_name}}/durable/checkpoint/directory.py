"""A directory of checkpoints: what is in it, whatever its `checkpoint` file says."""

import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TypeVar

from etils import epath

from .. import files
from ..errors import (
    ConfigurationError,
    DamagedCheckpoint,
    NoUsableCheckpoint,
    UnreadableCheckpoint,
)
from ..remote import storage_errors
from ..untrusted import is_regular
from . import bundle, shared
from .reader import condition_of
from .retention import Best, Retention
from .tensor_bundle import index_file

log = logging.getLogger(__name__)

T = TypeVar("T")
STATE_FILE = "checkpoint"


class Directory:
    """The checkpoints of one name in a directory.

    Args:
        folder: the directory; it need not be there yet.
        name: the part of the checkpoints' names before the step.

    Attributes:
        is_tidy: whether nothing is left in it of saves that were killed or failed.

    Raises:
        ConfigurationError: the folder's name is a pattern to TensorFlow, or it is on storage that
            cannot be used here.
    """

    def __init__(self, folder: epath.PathLike, name: str = "ckpt") -> None:
        path = os.fspath(folder).removeprefix("file://")
        files.require_usable(path)
        self.folder = epath.Path(path)
        self.name = name
        self.is_tidy = False
        storage = storage_errors(path)
        self._storage_errors: tuple[type[Exception], ...] = (*storage, UnreadableCheckpoint)

    def found(self) -> list[epath.Path]:
        """Every checkpoint that at least one file belongs to, oldest first."""
        return bundle.find_checkpoints(self.folder, self.name)

    def whole(self) -> list[epath.Path]:
        """The checkpoints whose files are all there, oldest first."""
        return bundle.wholes_of(self.folder, self.found())

    def damaged(self) -> list[epath.Path]:
        """The checkpoints that were set aside because they are damaged, oldest first."""
        return bundle.find_checkpoints(self.folder / bundle.DAMAGED, self.name)

    def missing(self) -> list[epath.Path]:
        """Checkpoints newer than any that is there, of which only the state file knows."""
        found = self.found()
        newest = bundle.step_of(found[-1]) if found else -1
        named = [
            path
            for path in recorded_checkpoints(self.folder)
            if path.name.rpartition("-")[0] == self.name
        ]
        return [path for path in named if bundle.step_of(path) > newest]

    def is_empty(self) -> bool:
        """Whether there is no trace of a checkpoint: no usable, no damaged and no missing one."""
        return not (self.found() or self.missing() or self.damaged())

    def newest_usable(
        self, read: Callable[[epath.Path], T], missing: Sequence[epath.Path]
    ) -> T | None:
        """What reading the newest usable checkpoint gives; None where there never was one.

        Damaged ones that are newer are set aside.

        Args:
            read: raises DamagedCheckpoint for one that is.
            missing: those of which only the state file knew.

        Raises:
            NoUsableCheckpoint: there are checkpoints, and all are damaged; none was touched.
        """
        damaged = [DamagedCheckpoint(path, "its files are missing") for path in missing]
        for path in reversed(self.found()):
            try:
                found = read(path)
            except DamagedCheckpoint as error:
                damaged.append(error)
                continue
            set_all_aside(damaged)
            return found
        if damaged or self.damaged():
            raise NoUsableCheckpoint(self.folder, damaged)
        return None

    def seen(self, name: str) -> epath.Path:
        """The checkpoint of that name, which the chief of several workers sees.

        Raises:
            ConfigurationError: it is not there.
        """
        path = self.folder / name
        if not bundle.files_of(path):
            raise ConfigurationError(
                f"A worker does not see {path}, which the chief has: all workers need the same "
                "folder. Give a --root on storage that they share."
            )
        return path

    def tidy(self) -> None:
        """Removes what killed saves left, and puts the state file right."""
        if files.exists(self.folder):
            self.sweep()
            repair_state(self.folder, self.whole())

    def tidy_for(self, best: Best | None) -> None:
        """Tidies this directory and that of the best, if that is possible."""
        try:
            self.tidy()
            if best is not None:
                Directory(best.directory, self.name).sweep()
        except self._storage_errors as error:
            log.warning("What killed saves left in %s could not be removed: %s", self.folder, error)
        else:
            self.is_tidy = True

    @contextmanager
    def tidying_up(self, saved: epath.Path) -> Iterator[None]:
        """Tells errors of what is done after a save, which does the checkpoint no harm."""
        try:
            yield
        except self._storage_errors as error:
            self.is_tidy = False
            log.warning(
                "Tidying up after %s failed: %s. The next save tries again.", saved.name, error
            )

    def sweep(self) -> None:
        """Removes what killed saves and removals of these checkpoints left, and nothing else."""
        if not files.exists(self.folder):
            return
        name = re.escape(self.name)
        left_over = re.compile(rf"({name}-\d+){files.TEMPORARY}")
        own_file = rf"{STATE_FILE}|{name}-\d+\.(pinned|data-\d+-of-\d+)"
        own_text = re.compile(rf"({own_file}){files.TEMPORARY}")
        for entry in list(self.folder.iterdir()):
            if (match := left_over.fullmatch(entry.name)) and entry.is_dir():
                bundle.clear_unfinished(self.folder / match[1])
            elif own_text.fullmatch(entry.name) and entry.is_file():
                entry.unlink()
        if files.exists(self.folder / shared.FOLDER):
            shared.clear_unfinished(self.folder, self.name)

    def prune(self, retention: Retention, saved: epath.Path) -> None:
        """Removes the checkpoints that the retention does not keep.

        Args:
            retention: chooses.
            saved: has just been saved, and stays, even where its number is not the newest.
        """
        whole = self.whole()
        chosen = {*retention.choose(whole), saved}
        kept = [checkpoint for checkpoint in whole if checkpoint in chosen]
        write_state(self.folder, kept)
        for checkpoint in whole:
            if checkpoint not in chosen and not bundle.is_pinned(checkpoint):  # it may be by now
                bundle.remove(checkpoint)
        self._sweep_shared()

    def _sweep_shared(self) -> None:
        """Removes the shards that nothing in this directory and in those inside of it takes."""
        if not files.exists(self.folder / shared.FOLDER):
            return
        names, used = shared.names_in(self.folder, self.name), set[str]()
        for folder in self._with_those_inside():
            for checkpoint in reversed(bundle.find_checkpoints(folder, self.name)):
                if names <= used:
                    return
                with suppress(DamagedCheckpoint):  # what it takes cannot be told, nor be mended
                    used.update(bundle.attempt(checkpoint, partial(shared.names_of, checkpoint)))
        shared.sweep(self.folder, self.name, used)

    def _with_those_inside(self) -> Iterator[epath.Path]:
        yield self.folder
        inside = (self.folder / name for name in files.entry_names(self.folder))
        yield from (entry for entry in inside if entry.is_dir())

    def bring_back(self, copied: epath.Path) -> bool:
        """Copies a checkpoint that is elsewhere back into the directory, if it is not good there.

        Args:
            copied: a good copy.

        Returns:
            Whether it had to be copied. What was there of it was set aside.
        """
        place = self.folder / copied.name
        condition = condition_of(place)
        if place == copied or condition.state == "good":
            return False
        if condition.state == "unreadable" and condition.damage:
            raise condition.damage
        if bundle.files_of(place):
            bundle.set_aside(place)
        bundle.copy(copied, self.folder)
        return True


def recorded_checkpoints(directory: epath.Path) -> list[epath.Path]:
    """The checkpoints that the state file names, as far as it makes sense.

    Raises:
        UnreadableCheckpoint: it cannot be read at present.
    """
    text = content_of_state(directory).decode(errors="replace")
    named = rf'^all_model_checkpoint_paths: "(?:.*/)?([^"/]+-{bundle.STEP})"'
    return [directory / name for name in re.findall(named, text, re.MULTILINE)]


def content_of_state(directory: epath.Path) -> bytes:
    """What the state file holds: nothing where there is none, or something that is no file.

    Raises:
        UnreadableCheckpoint: it cannot be read at present.
    """
    state = directory / STATE_FILE
    try:
        return state.read_bytes() if files.exists(state) and is_regular(state) else b""
    except storage_errors(state) as error:
        raise UnreadableCheckpoint(state, error) from error


def write_state(directory: epath.Path, checkpoints: list[epath.Path]) -> None:
    """Writes the state file, from which `tf.train.latest_checkpoint` knows the newest."""
    names = [checkpoint.name for checkpoint in checkpoints]
    lines = [f'model_checkpoint_path: "{names[-1]}"'] if names else []
    lines += [f'all_model_checkpoint_paths: "{name}"' for name in names]
    # TensorFlow's own manager takes no checkpoint over without its time.
    with suppress(FileNotFoundError):  # a rewind names what is gone
        times = [files.time_of(index_file(checkpoint)) for checkpoint in checkpoints]
        lines += [f"all_model_checkpoint_timestamps: {time}" for time in times]
    text = "".join(f"{line}\n" for line in lines)
    if not text or content_of_state(directory) != text.encode():
        files.write_text(directory / STATE_FILE, text)


def repair_state(directory: epath.Path, checkpoints: list[epath.Path]) -> None:
    """Makes the state file name the checkpoints that are there, and readable in any case."""
    named = checkpoints or recorded_checkpoints(directory)
    if named or files.exists(directory / STATE_FILE):
        write_state(directory, named)


def set_all_aside(damaged: list[DamagedCheckpoint]) -> None:
    """Tells of damaged checkpoints, and moves what is left of their files out of the way."""
    for error in damaged:
        log.warning("%s", error)
        if bundle.files_of(error.checkpoint):
            folder = bundle.set_aside(error.checkpoint)
            log.warning("Its files were set aside in %s; going on with an older one.", folder)
