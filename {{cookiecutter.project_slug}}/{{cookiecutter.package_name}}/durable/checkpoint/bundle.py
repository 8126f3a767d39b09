"""The files of checkpoints: their names, their order, and getting them safely onto the disk.

A checkpoint `ckpt-280` is `ckpt-280.data-…` and `ckpt-280.index`. While it is being written, both
are in the folder `ckpt-280_temp`; it exists once its index stands beside its data. An empty file
`ckpt-280.pinned` keeps it from being removed by retention. What does not change stands in shards
that checkpoints share; see `shared.py`.
"""

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from etils import epath

from .. import files, untrusted
from ..errors import DamagedCheckpoint, UnreadableCheckpoint
from ..remote import storage_errors
from . import shared
from .index import Unsupported
from .tensor_bundle import index_file

T = TypeVar("T")
DAMAGED = "damaged"
STEP = "[0-9]{1,19}"  # what TensorFlow can count to
# Damage shows in many ways: what is raised depends on which byte is met first.
DAMAGE = (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError)
READ_AT_ONCE = 1 << 24  # bytes
SHARD_BYTES = 1 << 26  # a smaller shard is written faster than a thread for it starts

log = logging.getLogger(__name__)


def step_of(checkpoint: epath.Path) -> int:
    """The step in the name of a checkpoint."""
    return int(checkpoint.name.rpartition("-")[2])


def find_checkpoints(directory: epath.Path, name: str = "ckpt") -> list[epath.Path]:
    """Every checkpoint that at least one file in the directory belongs to, oldest first.

    One that is being saved or removed at present, or was when its process ended, is none.

    Raises:
        UnreadableCheckpoint: the directory cannot be read at present.
    """
    pattern = re.compile(rf"({re.escape(name)}-{STEP})\.(index|data-\d+-of-\d+)")
    try:
        entries = set(files.entry_names(directory))
    except storage_errors(directory) as error:
        raise UnreadableCheckpoint(directory, error) from error
    found = {match[1] for entry in entries if (match := pattern.fullmatch(entry))}
    finished = (
        directory / checkpoint
        for checkpoint in found
        if f"{checkpoint}.index" in entries or f"{checkpoint}{files.TEMPORARY}" not in entries
    )
    return sorted(finished, key=step_of)


def wholes_of(directory: epath.Path, checkpoints: Iterable[epath.Path]) -> list[epath.Path]:
    """Those of some checkpoints whose files are all there, with one look at the directory."""
    names = set(files.entry_names(directory))
    with_data = {name.rpartition(".data-")[0] for name in names if ".data-" in name}
    return [
        checkpoint
        for checkpoint in checkpoints
        if checkpoint.name in with_data and f"{checkpoint.name}.index" in names
    ]


def data_files(checkpoint: epath.Path) -> list[epath.Path]:
    """The files that hold the values, as far as they are there."""
    return files.matching(checkpoint.parent, f"{checkpoint.name}.data-*")


def files_of(checkpoint: epath.Path) -> list[epath.Path]:
    """The data files and then the index, as far as they are there."""
    index = index_file(checkpoint)
    return [*data_files(checkpoint), *([index] if files.exists(index) else [])]


def size_of(checkpoint: epath.Path) -> int:
    """The size of a checkpoint, in bytes."""
    return sum(files.size_of(file) for file in files_of(checkpoint))


def require_readable(checkpoint: epath.Path) -> None:
    """Raises UnreadableCheckpoint where a file of the checkpoint is there and cannot be read."""
    try:
        for file in filter(untrusted.is_regular, files_of(checkpoint)):
            with file.open("rb") as opened:
                while opened.read(READ_AT_ONCE):
                    continue
    except FileNotFoundError:  # removed meanwhile
        return
    except storage_errors(checkpoint) as error:
        raise UnreadableCheckpoint(checkpoint, error) from error


def attempt(
    checkpoint: epath.PathLike,
    read: Callable[[], T],
    errors: tuple[type[Exception], ...] = DAMAGE,
) -> T:
    """Calls what opens a checkpoint; again, where it fails and its files can be read.

    Args:
        checkpoint: its path.
        read: opens and reads it.
        errors: that it raises where files are damaged, besides those of the storage.

    Raises:
        DamagedCheckpoint: files are missing, are none, or what is in them is damaged.
        UnreadableCheckpoint: its files cannot be read at present, or by TensorFlow alone.
    """
    path = epath.Path(checkpoint)
    require_files(path)
    return read_again(path, read, errors)


def read_again(
    checkpoint: epath.Path,
    read: Callable[[], T],
    errors: tuple[type[Exception], ...] = DAMAGE,
) -> T:
    """Calls what reads a checkpoint that is open already; else as `attempt`.

    A disk or a server that fails for a moment must not count as damage. What is damaged of what
    checkpoints share is mended first, from its second copy.
    """
    failures = (*errors, *storage_errors(checkpoint))
    try:
        return read()
    except Unsupported as error:
        raise UnreadableCheckpoint(checkpoint, error) from error
    except failures:
        mend(checkpoint)
        require_readable(checkpoint)
    try:
        return read()
    except failures as error:
        require_readable(checkpoint)
        raise damage_from(checkpoint, error) from error


def require_files(checkpoint: epath.Path) -> None:
    """Raises DamagedCheckpoint where a file is none: to open a pipe may take for ever."""
    for file in files_of(checkpoint):
        try:
            untrusted.require_regular(file)
        except OSError as error:
            raise DamagedCheckpoint(checkpoint, f"{file.name}: {error.strerror}") from error


def mend(checkpoint: epath.Path) -> None:
    """Mends what a checkpoint shares with others, where it can be written to."""
    try:
        shared.mend(checkpoint)
    except (OSError, DamagedCheckpoint) as error:
        log.warning(
            "What %s shares with others may have a good copy in %s/, but cannot be mended: %s. "
            "Verify it from where its folder can be written to.",
            checkpoint,
            shared.FOLDER,
            error,
        )


def damage_from(checkpoint: epath.PathLike, error: Exception) -> DamagedCheckpoint:
    """What an error in reading says of the checkpoint, in one line, without TensorFlow's notes."""
    reason = re.sub(r"\{\{.*?\}\}|\[Op:.*?\]", "", str(error))
    reason = " ".join(reason.split()) or type(error).__name__
    return DamagedCheckpoint(epath.Path(checkpoint), reason[:200])


def is_whole(checkpoint: epath.Path) -> bool:
    """Whether all files are there; what is in them is another question."""
    return files.exists(index_file(checkpoint)) and bool(data_files(checkpoint))


def pin_file(checkpoint: epath.Path) -> epath.Path:
    """The file that pins a checkpoint."""
    return checkpoint.parent / f"{checkpoint.name}.pinned"


def is_there(checkpoint: epath.Path) -> bool:
    """Whether a checkpoint has files, and is not one that is being saved or removed."""
    return checkpoint in find_checkpoints(checkpoint.parent, checkpoint.name.rpartition("-")[0])


def is_pinned(checkpoint: epath.Path) -> bool:
    """Whether retention leaves a checkpoint alone."""
    return files.exists(pin_file(checkpoint))


def split(sizes: Mapping[str, int], count: int) -> list[list[str]]:
    """Deals keys out to shards of about the same size, to be written or read in parallel.

    Args:
        sizes: of the values, in bytes, by key.
        count: of the shards.
    """
    if count == 1:  # their order is kept
        return [list(sizes)]
    shards: list[list[str]] = [[] for _ in range(count)]
    totals = [0] * count
    for key in sorted(sizes, key=lambda key: -sizes[key]):
        smallest = totals.index(min(totals))
        shards[smallest].append(key)
        totals[smallest] += sizes[key]
    return shards


def put_in_place(written: epath.Path, checkpoint: epath.Path) -> None:
    """Moves a checkpoint that was written elsewhere to its place, safe on the disk."""
    files.put_in_place(files_of(written), checkpoint.parent)  # with the index, it exists


def copy(checkpoint: epath.Path, directory: epath.Path) -> epath.Path:
    """Copies a checkpoint into another directory, whole or not at all. What it shares is linked."""
    target = directory / checkpoint.name
    files.make_folder(directory)
    temporary = files.make_temporary_folder(target)
    around = (checkpoint.parent, checkpoint.parent.parent)
    is_sharing = any(files.exists(folder / shared.FOLDER) for folder in around)
    links = shared.bring(checkpoint, directory) if is_sharing else {}
    for file in files_of(checkpoint):
        if file.name in links:
            files.link_or_copy(file, temporary / file.name)
        else:
            file.copy(temporary / file.name, overwrite=True)
    put_in_place(temporary / checkpoint.name, target)
    clear_unfinished(target)
    return target


def move(checkpoint: epath.Path, directory: epath.Path) -> None:
    """Moves a checkpoint with its pin; interrupted, it is whole in one place or in both."""
    target = copy(checkpoint, directory)
    if is_pinned(checkpoint):
        files.write_text(pin_file(target), "")
    remove(checkpoint)
    files.synchronize(checkpoint.parent)


def clear_unfinished(checkpoint: epath.Path) -> None:
    """Removes what an interrupted save or removal left of a checkpoint; a finished one stays."""
    if not files.exists(index_file(checkpoint)):
        for file in data_files(checkpoint):
            file.unlink()
        pin_file(checkpoint).unlink(missing_ok=True)
    if files.exists(files.temporary_folder(checkpoint)):
        files.temporary_folder(checkpoint).rmtree()


def remove(checkpoint: epath.Path) -> None:
    """Deletes a checkpoint. Its temporary folder tells the next sweep if this was interrupted."""
    files.make_temporary_folder(checkpoint)
    index_file(checkpoint).unlink(missing_ok=True)
    clear_unfinished(checkpoint)


def set_aside(checkpoint: epath.Path) -> epath.Path:
    """Moves a checkpoint's files to the folder for damaged ones, and gives that folder."""
    folder = checkpoint.parent / DAMAGED
    files.make_folder(folder)
    pin = pin_file(checkpoint)
    for file in [*files_of(checkpoint), *([pin] if files.exists(pin) else [])]:
        target, number = folder / file.name, 0
        while files.exists(target):
            number += 1
            target = folder / f"{file.name}.{number}"
        file.rename(target)
    files.synchronize(folder)
    files.synchronize(checkpoint.parent)
    return folder
