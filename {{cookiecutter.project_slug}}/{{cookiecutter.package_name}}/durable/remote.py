"""Remote storage, such as gs://bucket/runs: what holds on a disk and not there.

TensorFlow's file systems reach it, and `etils.epath` calls them. It is an object store:

- a file is there when it is whole, and then it is safe: nothing is synchronized;
- nothing can be added to a file: it is read, and written anew with what is added;
- a file has one name: what could be a link is a copy;
- a folder is there while a file is in it;
- a file is moved by copying and removing it, and a folder file by file: where their order matters,
  they are moved one by one, as for a checkpoint its data first and its index last;
- nothing can be locked.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from etils import epath

from .errors import in_one_line

# What names other files goes up after them: the index of a checkpoint, then a SavedModel's graph.
ORDER = {".index": 1, ".pb": 2}


def is_remote(path: epath.PathLike) -> bool:
    """Whether a path is one of remote storage, such as gs://bucket/runs."""
    return "://" in os.fspath(path)


def storage_errors(path: epath.PathLike) -> tuple[type[Exception], ...]:
    """What a disk that is full, gone or read-only shows as; remote storage has its own errors."""
    if not is_remote(path):
        return (OSError,)
    import tensorflow as tf  # noqa: PLC0415  (a local disk needs none)

    return (OSError, tf.errors.OpError)


def access_errors() -> tuple[type[Exception], ...]:
    """What any storage shows as that does not answer, or refuses.

    Not every error of TensorFlow: those of a model are to be seen with their traceback.
    """
    if (tensorflow := sys.modules.get("tensorflow")) is None:
        return (OSError,)
    errors = tensorflow.errors
    return (
        OSError,
        errors.DeadlineExceededError,
        errors.NotFoundError,
        errors.PermissionDeniedError,
        errors.UnauthenticatedError,
        errors.UnavailableError,
    )


@cache
def what_keeps_from(storage: str) -> str:
    """Why remote storage cannot be used; empty where it can.

    TensorFlow itself knows gs://; where tensorflow-io is installed, it adds others.

    Raises:
        OSError, tf.errors.OpError: it cannot be reached at present; see `access_errors`.
    """
    import tensorflow as tf  # noqa: PLC0415  (a local disk needs none)

    scheme = storage.partition("://")[0]
    try:
        if scheme not in tf.io.gfile.get_registered_schemes() and find_spec("tensorflow_io"):
            import_module("tensorflow_io")
        (epath.Path(storage) / "runs").exists()  # some cannot say it of a bucket alone
    except access_errors():
        raise
    except Exception as error:  # each kind of storage has its own
        if isinstance(error, KeyError | ImportError) or "not implemented" in str(error):
            return f"there is no file system for {scheme}:// here"
        return in_one_line(error)[:200].rstrip(".")
    return ""


def append(path: epath.Path, content: bytes) -> None:
    """Adds to the end of a file, all of it or nothing."""
    path.write_bytes((path.read_bytes() if path.exists() else b"") + content)


def mark(folder: epath.Path) -> None:
    """Makes a folder that is there until it is removed: something has to be in it."""
    (folder / "unfinished").write_bytes(b"")


@contextmanager
def uploaded_folder(folder: epath.Path) -> Iterator[epath.Path]:
    """Gives a local folder to fill, and then writes what is in it; what names other files last."""
    with TemporaryDirectory() as local:
        yield epath.Path(local)
        written = sorted(path for path in Path(local).rglob("*") if path.is_file())
        try:
            for path in sorted(written, key=lambda path: ORDER.get(path.suffix, 0)):
                target = folder / path.relative_to(local).as_posix()
                target.parent.mkdir(parents=True, exist_ok=True)
                epath.Path(path).copy(target)
        except BaseException:
            folder.rmtree(missing_ok=True)
            raise
