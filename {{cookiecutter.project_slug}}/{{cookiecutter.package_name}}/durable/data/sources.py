"""Examples that Python finds by number: arrays on disk, and the sequences of other libraries."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import tensorflow as tf

from ..errors import ConfigurationError, in_one_line
from ..untrusted import require_regular
from .arrays import ARCHIVE_ERRORS
from .indexed import describe_files

SAMPLES = 64  # elements that tell a sequence from others


class Source(Protocol):
    """A sequence of elements: a grain `MapDataset`, a TFDS data source, a Hugging Face `Dataset`.

    An element is any nest of numbers, texts, bytes and arrays, each always of the same shape and
    type; lists are part of the nest. It must depend on its number alone. Where there is a method
    `__getitems__`, which takes several numbers, that one is called.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, number: int, /) -> Any: ...


@runtime_checkable
class FileSource(Protocol):
    """What a source has besides that knows its files."""

    def gather(self, numbers: np.ndarray) -> Any:
        """The elements with these numbers: a nest of arrays whose first axis counts them."""
        ...

    def where(self, number: int) -> str:
        """Where an element is, for messages."""
        ...

    def content(self) -> Iterator[bytes]:
        """What tells the files from others, piece by piece."""
        ...


@dataclass(frozen=True, eq=False)
class SourceExamples:
    """The elements of a sequence; `Examples`.

    Attributes:
        source: where they come from.
        decode: makes the batch (x, y) or (x, y, weight) of stacked elements, in a graph; of bytes,
            one that calls `tf.io.parse_example`. By default they are that batch.
        numbers: which elements are meant, (examples,) int64; all unless given.

    Raises:
        ConfigurationError: the source is empty, or its elements are no nests of arrays.
    """

    source: Source
    decode: Callable[[Any], Any] | None = None
    numbers: np.ndarray | None = None

    def __post_init__(self) -> None:
        kind = type(self.source).__name__
        if len(self.source) == 0:
            raise ConfigurationError(f"{kind} has no elements.")
        try:
            _ = self._specs
        except (TypeError, ValueError) as error:
            raise ConfigurationError(
                f"The elements of {kind} are to be nests of numbers, texts and arrays: "
                f"{in_one_line(error)}."
            ) from error

    def __len__(self) -> int:
        return len(self.source) if self.numbers is None else len(self.numbers)

    def subset(self, numbers: np.ndarray) -> "SourceExamples":
        """The examples with these numbers, (examples,) int64, as `hold_out_numbers` gives them."""
        return replace(self, numbers=self._chosen(numbers))

    def take(self, indices: tf.Tensor) -> Any:
        """The batch of the elements with these numbers."""
        specs = tf.nest.flatten(self._specs)

        def gather(indices: np.ndarray) -> list[np.ndarray]:
            arrays = tf.nest.flatten(self._gather(self._chosen(indices)))
            for array, spec in zip(arrays, specs, strict=True):
                require_like(array, spec)
            return arrays

        found = tf.numpy_function(gather, [indices], [spec.dtype for spec in specs])
        arrays = tf.nest.flatten(found)  # eagerly, of a single array there is no list
        for array, spec in zip(arrays, specs, strict=True):
            array.set_shape([*indices.shape, *spec.shape])
        batch = tf.nest.pack_sequence_as(self._specs, arrays)
        return batch if self.decode is None else self.decode(batch)

    def where(self, number: int) -> str:
        """What the source tells, or which of its elements it is, from 0."""
        number = number if self.numbers is None else int(self.numbers[number])
        if isinstance(self.source, FileSource):
            return self.source.where(number)
        return f"Element {number} of {type(self.source).__name__}"

    def content(self) -> Iterator[bytes | memoryview]:
        """How many there are, which are meant, and what the source tells or some of them."""
        yield str(len(self.source)).encode()
        yield b"" if self.numbers is None else np.ascontiguousarray(self.numbers).data
        if isinstance(self.source, FileSource):
            yield from self.source.content()
            return
        some = np.arange(0, len(self.source), max(1, len(self.source) // SAMPLES))
        for array in tf.nest.flatten(self._gather(some)):
            yield repr(array.tolist()).encode() if array.dtype == object else array.data

    def _chosen(self, indices: np.ndarray) -> np.ndarray:
        return indices if self.numbers is None else self.numbers[indices]

    def _gather(self, numbers: np.ndarray) -> Any:
        if isinstance(self.source, FileSource):
            return self.source.gather(numbers)
        if hasattr(self.source, "__getitems__"):
            return stack(self.source.__getitems__(numbers.tolist()))
        return stack([self.source[number] for number in numbers.tolist()])

    @cached_property
    def _specs(self) -> Any:
        """What an element is: a nest of specs."""
        return tf.nest.map_structure(spec_of, self._gather(np.array([0])))


def stack(elements: Sequence[Any]) -> Any:
    """Nests of values as one nest of arrays, whose first axis counts them."""
    return tf.nest.map_structure(lambda *values: np.stack(list(map(as_array, values))), *elements)


def as_array(value: Any) -> np.ndarray:
    """A value as an array; texts and bytes as objects, which keep every byte."""
    is_text = isinstance(value, str | bytes)
    array = np.array(value, object) if is_text else np.asarray(value)
    return array.astype(object) if array.dtype.kind in "SU" else array


def spec_of(array: np.ndarray) -> tf.TensorSpec:
    """What one element of an array is.

    Raises:
        TypeError: nothing that a tensor can hold.
    """
    if array.dtype != object:
        return tf.TensorSpec(array.shape[1:], array.dtype)
    for value in array.ravel():
        if not isinstance(value, str | bytes):
            raise TypeError(f"there is {value!r} in the first one")
    return tf.TensorSpec(array.shape[1:], tf.string)


def require_like(array: np.ndarray, spec: tf.TensorSpec) -> None:
    """Raises ValueError for elements of another shape or type than the first one has."""
    found = spec_of(array)
    if found != spec:
        raise ValueError(
            f"it is {found.dtype.name} {found.shape}, and the first one {spec.dtype.name} "
            f"{spec.shape}"
        )


class ArrayFiles:
    """Arrays in `.npy` files, of which only what is asked for is read; a `Source`.

    Args:
        files: any nest of `.npy` files whose first axes count the examples, such as
            (folder / "x.npy", folder / "y.npy"); all in one folder.

    Raises:
        ConfigurationError: a file holds no array, or the arrays have different lengths.
    """

    def __init__(self, files: Any) -> None:
        self._files = [Path(file) for file in tf.nest.flatten(files)]
        self._arrays = list(map(open_array, self._files))
        self._structure = files
        lengths = list(map(len, self._arrays))
        if len(set(lengths)) > 1:
            told = ", ".join(map("{1} in {0}".format, self._files, lengths))
            raise ConfigurationError(f"The arrays have different numbers of examples: {told}.")

    def __len__(self) -> int:
        return len(self._arrays[0])

    def __getitem__(self, number: int) -> Any:
        return tf.nest.map_structure(lambda array: array[0], self.gather(np.array([number])))

    def gather(self, numbers: np.ndarray) -> Any:
        """The examples with these numbers."""
        return tf.nest.pack_sequence_as(self._structure, [array[numbers] for array in self._arrays])

    def where(self, number: int) -> str:
        """The files, and the place in them, from 0."""
        return f"Example {number} of {', '.join(map(str, self._files))}"

    def content(self) -> Iterator[bytes]:
        """The names and sizes of the files, and a part of each."""
        return describe_files(self._files[0].parent, self._files)


def open_array(file: Path) -> np.ndarray:
    """Maps an array from a `.npy` file, without reading it.

    Raises:
        ConfigurationError: it is not there, cut short, or no array of examples.
    """
    try:
        require_regular(file)
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, *ARCHIVE_ERRORS) as error:
        raise ConfigurationError(f"{file} cannot be read: {in_one_line(error)}.") from error
    if not isinstance(array, np.ndarray) or array.ndim == 0:
        raise ConfigurationError(f"{file} is no .npy file of several examples.")
    return array


class ArrayRecords:
    """The records of ArrayRecord files, as bytes; a `Source`.

    Args:
        files: all in one folder.

    Raises:
        ConfigurationError: a file cannot be read, or the package array_record is not installed.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = list(files)
        self._records = open_records(self._files)

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, number: int) -> bytes:
        return self._records[number]

    def gather(self, numbers: np.ndarray) -> np.ndarray:
        """The records with these numbers: bytes."""
        return np.array(self._records.__getitems__(numbers.tolist()), object)

    def where(self, number: int) -> str:
        """The file, and which of its records it is, from 0."""
        ends = list(accumulate(len(open_records([file])) for file in self._files))
        place = bisect_right(ends, number)
        return f"{self._files[place]}, record {number - [0, *ends][place]},"

    def content(self) -> Iterator[bytes]:
        """The names and sizes of the files, and a part of each."""
        return describe_files(self._files[0].parent, self._files)


def open_records(files: Sequence[Path]) -> Any:
    """Opens ArrayRecord files as one sequence of bytes.

    Raises:
        ConfigurationError: as `ArrayRecords`.
    """
    try:
        from array_record.python.array_record_data_source import (  # noqa: PLC0415
            ArrayRecordDataSource,
        )
    except ImportError as error:
        raise ConfigurationError(
            "ArrayRecord files are read by array_record, which is not installed: "
            "pip install array-record"
        ) from error
    for file in files:
        if not file.is_file():
            raise ConfigurationError(f"There is no record file {file}.")
    return ArrayRecordDataSource(list(map(str, files)))
