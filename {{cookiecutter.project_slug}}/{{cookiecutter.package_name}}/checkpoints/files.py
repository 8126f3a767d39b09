"""The files of checkpoints: their names, their order, and getting them safely onto the disk.

A checkpoint `ckpt-280` is `ckpt-280.data-…` and `ckpt-280.index`. While it is being written, both
are in the folder `ckpt-280_temp`; it exists once its index stands beside its data. An empty file
`ckpt-280.pinned` keeps it from being removed by retention.
"""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from etils import epath

STATE_FILE = "checkpoint"
DAMAGED = "damaged"
TEMPORARY = "_temp"


def step_of(checkpoint: epath.Path) -> int:
    """The step in the name of a checkpoint."""
    return int(checkpoint.name.rpartition("-")[2])


def index_file(checkpoint: epath.Path) -> epath.Path:
    """The file that says what the data files hold; a checkpoint exists with it."""
    return checkpoint.parent / f"{checkpoint.name}.index"


def data_files(checkpoint: epath.Path) -> list[epath.Path]:
    """The files that hold the values, as far as they are there."""
    return sorted(checkpoint.parent.glob(f"{checkpoint.name}.data-*"))


def files_of(checkpoint: epath.Path) -> list[epath.Path]:
    """The data files and then the index, as far as they are there."""
    index = index_file(checkpoint)
    return [*data_files(checkpoint), *([index] if index.exists() else [])]


def size_of(checkpoint: epath.Path) -> int:
    """The size of a checkpoint, in bytes."""
    return sum(file.stat().length for file in files_of(checkpoint))


def is_whole(checkpoint: epath.Path) -> bool:
    """Whether all files are there; what is in them is another question."""
    return index_file(checkpoint).exists() and bool(data_files(checkpoint))


def pin_file(checkpoint: epath.Path) -> epath.Path:
    """The file that pins a checkpoint."""
    return checkpoint.parent / f"{checkpoint.name}.pinned"


def is_pinned(checkpoint: epath.Path) -> bool:
    """Whether retention leaves a checkpoint alone."""
    return pin_file(checkpoint).exists()


def find_checkpoints(directory: epath.Path, name: str = "ckpt") -> list[epath.Path]:
    """Every checkpoint that at least one file in the directory belongs to, oldest first."""
    if not directory.exists():
        return []
    pattern = re.compile(rf"({re.escape(name)}-\d+)\.(index|data-\d+-of-\d+)")
    names = {match[1] for file in directory.iterdir() if (match := pattern.fullmatch(file.name))}
    return sorted((directory / name for name in names), key=step_of)


def recorded_checkpoints(directory: epath.Path) -> list[epath.Path]:
    """The checkpoints that the state file names, as far as it can be read."""
    state = directory / STATE_FILE
    if not state.exists():
        return []
    text = state.read_bytes().decode(errors="replace")
    names = re.findall(r'^all_model_checkpoint_paths: "(?:.*/)?([^"/]+-\d+)"', text, re.MULTILINE)
    return [directory / name for name in names]


def write_state(directory: epath.Path, checkpoints: list[epath.Path]) -> None:
    """Writes the state file, from which `tf.train.latest_checkpoint` knows the newest."""
    names = [checkpoint.name for checkpoint in checkpoints]
    lines = [f'model_checkpoint_path: "{names[-1]}"'] if names else []
    lines += [f'all_model_checkpoint_paths: "{name}"' for name in names]
    text = "".join(f"{line}\n" for line in lines)
    state = directory / STATE_FILE
    if not state.exists() or state.read_bytes() != text.encode():
        write_text(state, text)


def repair_state(directory: epath.Path, checkpoints: list[epath.Path]) -> None:
    """Makes the state file name the checkpoints that are there, and readable in any case."""
    named = checkpoints or recorded_checkpoints(directory)
    if named or (directory / STATE_FILE).exists():
        write_state(directory, named)


def write_text(path: epath.Path, text: str) -> None:
    """Writes a text file whole or not at all."""
    write_bytes(path, text.encode())


def write_bytes(path: epath.Path, content: bytes) -> None:
    """Writes a file whole or not at all."""
    temporary = path.parent / f"{path.name}{TEMPORARY}"
    temporary.write_bytes(content)
    synchronise(temporary)
    temporary.replace(path)


def append_text(path: epath.Path, text: str) -> None:
    """Adds to the end of a file, all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    before = path.stat().length if path.exists() else 0
    try:
        with path.open("a") as file:
            file.write(text)
        synchronise(path)
    except OSError:
        if path.exists():
            os.truncate(path, before)
        raise


def require_space(directory: epath.Path, size: int) -> None:
    """Raises OSError if a local disk has less than `size` bytes free."""
    if is_remote(directory):
        return
    existing = next(folder for folder in (directory, *directory.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    if free < size:
        reason = f"{os.strerror(errno.ENOSPC)}: {size} bytes are needed, {free} are free"
        raise OSError(errno.ENOSPC, reason, str(directory))


def put_in_place(written: epath.Path, checkpoint: epath.Path) -> None:
    """Moves a checkpoint that was written elsewhere to its place, safe on the disk."""
    for file in files_of(written):
        synchronise(file)
    for file in files_of(written):  # the index last: with it, the checkpoint exists
        file.rename(checkpoint.parent / file.name)
    synchronise(checkpoint.parent)


def copy(checkpoint: epath.Path, directory: epath.Path) -> epath.Path:
    """Copies a checkpoint into another directory, whole or not at all."""
    target = directory / checkpoint.name
    temporary = temporary_folder(target)
    temporary.mkdir(parents=True, exist_ok=True)
    for file in files_of(checkpoint):
        file.copy(temporary / file.name, overwrite=True)
    put_in_place(temporary / checkpoint.name, target)
    clear_unfinished(target)
    return target


def move(checkpoint: epath.Path, directory: epath.Path) -> None:
    """Moves a checkpoint with its pin; interrupted, it is whole in one place or in both."""
    target = copy(checkpoint, directory)
    if is_pinned(checkpoint):
        write_text(pin_file(target), "")
    remove(checkpoint)


def temporary_folder(checkpoint: epath.Path) -> epath.Path:
    """Where a checkpoint is while it is being written."""
    return checkpoint.parent / f"{checkpoint.name}{TEMPORARY}"


def clear_unfinished(checkpoint: epath.Path) -> None:
    """Removes what an interrupted save or removal left of a checkpoint; a finished one stays."""
    if not index_file(checkpoint).exists():
        for file in data_files(checkpoint):
            file.unlink()
        pin_file(checkpoint).unlink(missing_ok=True)
    if temporary_folder(checkpoint).exists():
        temporary_folder(checkpoint).rmtree()


def sweep(directory: epath.Path) -> None:
    """Removes what killed saves and removals left in the directory."""
    for left_over in directory.glob(f"*{TEMPORARY}"):
        if left_over.is_dir():
            clear_unfinished(directory / left_over.name.removesuffix(TEMPORARY))
        else:
            left_over.unlink()


def remove(checkpoint: epath.Path) -> None:
    """Deletes a checkpoint. Its temporary folder tells the next sweep if this was interrupted."""
    temporary_folder(checkpoint).mkdir(exist_ok=True)
    index_file(checkpoint).unlink(missing_ok=True)
    clear_unfinished(checkpoint)


def set_aside(checkpoint: epath.Path) -> epath.Path:
    """Moves a checkpoint's files to the folder for damaged ones, and gives that folder."""
    folder = checkpoint.parent / DAMAGED
    folder.mkdir(exist_ok=True)
    pin = pin_file(checkpoint)
    for file in [*files_of(checkpoint), *([pin] if pin.exists() else [])]:
        target, number = folder / file.name, 0
        while target.exists():
            number += 1
            target = folder / f"{file.name}.{number}"
        file.rename(target)
    return folder


def is_remote(path: epath.Path) -> bool:
    """Whether a path is one of remote storage, such as gs://bucket/runs."""
    return "://" in os.fspath(path)


def synchronise(path: epath.Path) -> None:
    """Waits until a local file or directory is on the disk itself."""
    if is_remote(path) or (os.name != "posix" and path.is_dir()):
        return  # remote storage keeps its own promise; Windows cannot open a directory
    # Windows flushes only what is open for writing.
    descriptor = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def filled_folder(folder: epath.Path) -> Iterator[epath.Path]:
    """Gives a temporary folder to fill; whole and safe on the disk, it becomes `folder`."""
    temporary = temporary_folder(folder)
    if temporary.exists():
        temporary.rmtree()  # of a process that was killed
    temporary.mkdir(parents=True)
    try:
        yield temporary
        for path in Path(temporary).rglob("*"):
            synchronise(epath.Path(path))
        temporary.rename(folder)
        synchronise(folder.parent)
    finally:
        if temporary.exists():
            temporary.rmtree()
