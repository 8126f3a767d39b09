"""Getting files safely onto the disk, and texts and JSON into them."""

import errno
import json
import math
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from itertools import takewhile
from pathlib import Path
from typing import Any

from etils import epath

from . import remote
from .errors import ConfigurationError, UnreadableCheckpoint
from .remote import access_errors, is_remote, what_keeps_from

TEMPORARY = "_temp"
LONGEST = 3500  # bytes of a folder's name: systems allow 4096, and the names in it need some


def write_text(path: epath.Path, text: str) -> None:
    """Writes a text file whole or not at all."""
    write_bytes(path, text.encode())


def write_bytes(path: epath.Path, content: bytes) -> None:
    """Writes a file whole or not at all."""
    if is_remote(path):  # an object is there when it is whole
        path.write_bytes(content)
        return
    temporary = path.parent / f"{path.name}{TEMPORARY}"
    try:
        temporary.write_bytes(content)
        synchronize(temporary)
        temporary.replace(path)
    except OSError:
        with suppress(OSError):  # of a disk that fails, the first error says more
            temporary.unlink(missing_ok=True)
        raise
    synchronize(path.parent)


def append_text(path: epath.Path, text: str) -> None:
    """Adds to the end of a text file, all of it or nothing."""
    append_bytes(path, text.encode())


def append_bytes(path: epath.Path, content: bytes) -> None:
    """Adds to the end of a file, all of it or nothing."""
    if is_remote(path):  # to an object nothing can be added
        remote.append(path, content)
        return
    make_folder(path.parent)
    is_new = not exists(path)
    before = 0 if is_new else size_of(path)
    try:
        with path.open("ab") as file:
            file.write(content)
        synchronize(path)
        if is_new:
            synchronize(path.parent)
    except OSError:
        with suppress(OSError):  # it may not be there, or not be writable any more
            os.truncate(path, before)
        raise


def remove(path: epath.Path) -> None:
    """Removes a file, if it is there; a power cut does not bring it back."""
    path.unlink(missing_ok=True)
    synchronize(path.parent)


def exists(path: epath.Path) -> bool:
    """Whether a file or folder is there.

    Raises:
        OSError: that cannot be told at present. It must not count as missing: what is done about
            that may remove what belongs to it.
    """
    if is_remote(path):
        return path.exists()
    with suppress(FileNotFoundError, NotADirectoryError):
        os.stat(path)  # noqa: PTH116
        return True
    return False


def matching(folder: epath.Path, pattern: str) -> list[epath.Path]:
    """The files and folders in a folder whose names have a form, sorted, as `glob` gives them.

    Raises:
        OSError: the folder cannot be read at present; `glob` would find nothing.
    """
    return [folder / name for name in entry_names(folder) if fnmatchcase(name, pattern)]


@contextmanager
def filled_folder(folder: epath.Path) -> Iterator[epath.Path]:
    """Gives a temporary folder to fill; whole and safe on the disk, it becomes `folder`."""
    if is_remote(folder):
        with remote.uploaded_folder(folder) as local:
            yield local
        return
    temporary = temporary_folder(folder)
    if exists(temporary):
        temporary.rmtree()  # of a process that was killed
    make_folder(temporary)
    try:
        yield temporary
        for path in Path(temporary).rglob("*"):
            synchronize(epath.Path(path))
        synchronize(temporary)
        temporary.rename(folder)
        synchronize(folder.parent)
    finally:
        if exists(temporary):
            temporary.rmtree()


def put_in_place(
    written: Iterable[epath.Path], folder: epath.Path, *, overwrite: bool = False
) -> None:
    """Moves files that were written elsewhere to a folder, in their order, safe on the disk.

    One that has a second name is on the disk already, as `link_or_copy` asks for.
    """
    moved = list(written)
    for file in moved:
        if is_remote(file) or os.stat(file).st_nlink == 1:  # noqa: PTH116
            synchronize(file)
    for file in moved:
        move = file.replace if overwrite else file.rename
        move(folder / file.name)
    synchronize(folder)


def link_or_copy(file: epath.Path, target: epath.Path) -> None:
    """Gives a file, which is on the disk, a second name; a copy gets it where links are unknown."""
    try:
        os.link(file, target)
    except OSError:
        file.copy(target, overwrite=True)


def temporary_folder(checkpoint: epath.Path) -> epath.Path:
    """Where a checkpoint is while it is being written."""
    return checkpoint.parent / f"{checkpoint.name}{TEMPORARY}"


def make_temporary_folder(checkpoint: epath.Path) -> epath.Path:
    """Makes that folder, which also tells that a checkpoint is being removed, and gives it."""
    folder = temporary_folder(checkpoint)
    if is_remote(folder):
        remote.mark(folder)
    else:
        folder.mkdir(exist_ok=True)
    return folder


def make_folder(folder: epath.Path) -> None:
    """Makes a folder and those above it, safe on the disk; without that, what is in it is not."""
    if is_remote(folder):
        folder.mkdir(parents=True, exist_ok=True)
        return
    missing = list(takewhile(lambda path: not exists(path), (folder, *folder.parents)))
    folder.mkdir(parents=True, exist_ok=True)
    for made in missing:
        synchronize(made.parent)


def size_of(file: epath.Path) -> int:
    """The size of a file, in bytes. `epath` would look up the name of its owner, who may have none.

    Raises:
        OSError: there is no such file.
    """
    return file.stat().length if is_remote(file) else os.stat(file).st_size  # noqa: PTH116


def time_of(file: epath.Path) -> float:
    """When a file was written last, in seconds since 1970; raises as `size_of`."""
    return file.stat().mtime if is_remote(file) else os.stat(file).st_mtime  # noqa: PTH116


def require_space(directory: epath.Path, size: int) -> None:
    """Raises OSError if a local disk has less than `size` bytes free."""
    if is_remote(directory):
        return
    existing = next(folder for folder in (directory, *directory.parents) if exists(folder))
    free = shutil.disk_usage(existing).free
    if free < size:
        reason = f"{os.strerror(errno.ENOSPC)}: {size} bytes are needed, {free} are free"
        raise OSError(errno.ENOSPC, reason, str(directory))


def synchronize(path: epath.Path) -> None:
    """Waits until a local file or directory is on the disk itself."""
    if is_remote(path) or (os.name != "posix" and path.is_dir()):
        return  # remote storage keeps its own promise; Windows cannot open a directory
    # Windows flushes only what is open for writing.
    descriptor = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def require_usable(path: epath.PathLike) -> None:
    """Sees to it that a folder can hold checkpoints.

    Raises:
        ConfigurationError: it cannot. Where its name is a pattern, TensorFlow would save there, and
            find other files, or none, when it reads. Remote storage may have no file system here.
        UnreadableCheckpoint: it is on remote storage that cannot be reached at present.
    """
    if not is_remote(path) and len(os.fsencode(path)) > LONGEST:
        raise ConfigurationError(
            f"{os.fspath(path)[:80]}… cannot hold checkpoints: its name has more than {LONGEST} "
            "bytes, and what is in it would be out of reach. Give another folder."
        )
    if not is_remote(path) and os.fsencode(path) != os.fspath(path).encode(errors="replace"):
        raise ConfigurationError(
            f"{path} cannot hold checkpoints: for TensorFlow, its name must be UTF-8, and what it "
            "is here depends on the locale. Set PYTHONUTF8=1, or give another folder."
        )
    if found := sorted(set(os.fspath(path)) & set("*?[" + ("\\" if os.name == "posix" else ""))):
        raise ConfigurationError(
            f"{path} cannot hold checkpoints: TensorFlow takes for a pattern what has "
            f"{' or '.join(found)} in its name. Give another folder."
        )
    if not is_remote(path):
        return
    try:
        reason = what_keeps_from(os.fspath(path))
    except access_errors() as error:
        raise UnreadableCheckpoint(path, error) from error
    if reason:
        raise ConfigurationError(f"{path} cannot hold checkpoints: {reason}. Give another folder.")


def absolute(path: str) -> str:
    """A local path that holds from any working directory; remote ones do anyway.

    A local one may be given as file:///runs.
    """
    path = path.removeprefix("file://")
    return path if "://" in path else str(Path(path).expanduser().absolute())


def strict_json(value: Any, *, indent: int | None = None) -> str:
    """A value as JSON, with null for each number that JSON has no word for."""
    return json.dumps(without_nan(value), indent=indent, allow_nan=False)


def without_nan(value: Any) -> Any:
    """The value with None for each NaN and each infinity in it."""
    if isinstance(value, Mapping):
        return {name: without_nan(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def entry_names(folder: epath.Path) -> list[str]:
    """The names of what is in a folder, sorted; none where there is no folder."""
    if is_remote(folder):
        return sorted(entry.name for entry in folder.iterdir()) if folder.exists() else []
    with suppress(FileNotFoundError):
        return sorted(os.listdir(folder))  # noqa: PTH208 - many times as fast as `iterdir`
    return []
