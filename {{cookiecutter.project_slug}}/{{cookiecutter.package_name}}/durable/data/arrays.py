"""Examples in memory: arrays, and the windows of a series."""

import lzma
import math
import os
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf
from etils import epath

from ..errors import in_one_line
from ..untrusted import require_plausible, require_regular
from .indexed import IndexedData, shuffle

# Its own constant seed: every run, whatever its seed, holds out the same examples.
SPLIT_SEED = (1797, 64)

HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
# What a damaged archive, or the header of an array in it, shows as.
ARCHIVE_ERRORS = (
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    lzma.LZMAError,
    MemoryError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True)
class ArrayExamples:
    """Examples in memory.

    Attributes:
        arrays: (x, y) or (x, y, weight), each any nest of arrays whose first axis counts the
            examples.
    """

    arrays: Any

    def __len__(self) -> int:
        return length(self.arrays)

    def take(self, indices: tf.Tensor) -> Any:
        """The batch of the examples with these numbers."""
        return tf.nest.map_structure(lambda array: tf.gather(array, indices), self._tensors)

    def content(self) -> Iterator[bytes | memoryview]:
        """The bytes of each array, or its texts."""
        for array in tf.nest.flatten(self.arrays):
            if array.dtype == object:
                yield "\0".join(map(str, array.ravel())).encode()
            else:
                yield np.ascontiguousarray(array).data

    def where(self, number: int) -> str:
        """Its number: it is in no file that is known here."""
        return f"Example {number}"

    @cached_property
    def _tensors(self) -> Any:
        with tf.init_scope():  # once, and not as constants in each graph
            return tf.nest.map_structure(tf.constant, self.arrays)


@dataclass(frozen=True)
class WindowExamples:
    """Every window of a part of a series, by the place where it begins; `Examples`.

    A series is held in memory once, and a window cut out of it when it is asked for.

    Attributes:
        values: the part of the series: (times, columns), of a floating type. No window reaches
            beyond it, so that parts without a common row have no common window either.
        history: how many times a window knows, at least one.
        horizon: how many follow, which are to be found, at least one.
        target: the column that is to be found.
    """

    values: np.ndarray
    history: int
    horizon: int
    target: int = 0

    def __len__(self) -> int:
        return max(0, len(self.values) - self.history - self.horizon + 1)

    def take(self, indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The windows with these numbers.

        Returns:
            All columns of the past (batch, history, columns), and the target's values from then on
            (batch, horizon).
        """
        first = indices[:, None]
        past = first + tf.range(self.history, dtype=indices.dtype)
        future = first + self.history + tf.range(self.horizon, dtype=indices.dtype)
        return tf.gather(self._series, past), tf.gather(self._series[:, self.target], future)

    def content(self) -> Iterator[bytes | memoryview]:
        """The bytes of the series, and how windows are cut out of it."""
        yield np.ascontiguousarray(self.values).data
        yield repr((self.history, self.horizon, self.target)).encode()

    def where(self, number: int) -> str:
        """The place where it begins."""
        return f"The window that begins at row {number}"

    @cached_property
    def _series(self) -> tf.Tensor:
        with tf.init_scope():  # once, and not as a constant in each graph
            return tf.constant(self.values)


def load_arrays(path: epath.PathLike, *names: str) -> dict[str, np.ndarray]:
    """The arrays of an `.npz` file, or those of some names; never anything pickled.

    Raises:
        OSError: there is no such file, or it cannot be read.
        ValueError: it is no `.npz` file, has no array of a name, or claims to hold what it cannot.
    """
    require_regular(path)
    try:
        with zipfile.ZipFile(path) as archive:
            infos = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            if missing := [name for name in names if name not in infos]:
                raise ValueError(
                    f"it has no array {missing[0]!r}, but {', '.join(infos) or 'none'}"
                )
            chosen = {name: infos[name] for name in names or infos}
            size = sum(info.file_size for info in chosen.values())
            require_plausible(size, os.stat(path).st_size, os.fspath(path))  # noqa: PTH116
            return {name: load_array(archive, info) for name, info in chosen.items()}
    except ARCHIVE_ERRORS as error:
        raise ValueError(f"it is no .npz file that can be read: {in_one_line(error)}") from error


def load_array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    """An array of an `.npz` file, whose header may tell of more than there is."""
    with archive.open(info) as content:
        version = np.lib.format.read_magic(content)
        if version not in HEADERS:
            raise ValueError(f"{info.filename} is of a version that holds no plain numbers")
        shape, _, dtype = HEADERS[version](content)
    if math.prod(shape) * dtype.itemsize > info.file_size:
        raise ValueError(f"{info.filename} is shorter than its header says")
    with archive.open(info) as content:
        return np.lib.format.read_array(content, allow_pickle=False)


class ArrayData(IndexedData):
    """Examples in memory, split for training and validation; a `Data`.

    Args:
        training: the examples to learn from: (x, y) or (x, y, weight), each any nest of arrays
            whose first axis counts the examples.
        validation: the examples held out, of the same form.
        batch_size: examples per step.
        details: more of what one run must keep of its data, as JSON can hold it.
        augment: changes a training example at random, given it and a seed; see `IndexedData`.

    Raises:
        ConfigurationError: there are fewer training examples than one batch needs.
    """

    training: ArrayExamples
    validation: ArrayExamples

    def __init__(
        self,
        training: Any,
        validation: Any,
        batch_size: int,
        details: Mapping[str, Any] | None = None,
        augment: Callable[[Any, tf.Tensor], Any] | None = None,
    ) -> None:
        examples = ArrayExamples(training), ArrayExamples(validation)
        super().__init__(*examples, batch_size, dict(details or {}), augment)


def hold_out(examples: Any, share: float) -> tuple[Any, Any]:
    """Splits examples at random, always in the same way.

    Args:
        examples: any nest of arrays whose first axis counts the examples; at least two.
        share: of the examples to hold out, between 0 and 1; at least one is.

    Returns:
        Those to train on, and those held out.
    """
    held_out, rest = hold_out_numbers(length(examples), share)
    return (
        tf.nest.map_structure(lambda array: array[rest], examples),
        tf.nest.map_structure(lambda array: array[held_out], examples),
    )


def hold_out_numbers(size: int, share: float) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the examples to hold out, and of the others: (examples,) int64 each.

    The same for one size and share, whatever the seed of the run.
    """
    order = shuffle(tf.range(size, dtype=tf.int64), SPLIT_SEED, size).numpy()
    count = max(1, int(size * share))
    return order[:count], order[count:]


def length(examples: Any) -> int:
    """How many examples there are."""
    return len(tf.nest.flatten(examples)[0])
