"""Records of TFRecord files, found by number.

An index of their offsets is built once, by TensorFlow's own reader, which checks every byte against
its checksum. It is kept beside the files, and built anew where a file has changed since.
"""

import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from mmap import ACCESS_READ, mmap
from pathlib import Path
from struct import Struct
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.progress import track

from ..errors import ConfigurationError
from .arrays import load_arrays
from .indexed import describe_files

T = TypeVar("T")
INDEX = "records.index.npz"
READ_AT_ONCE = 1024  # records: several times as fast as one by one
PARTS = ("offsets", "sizes", "owners")  # of the index
LENGTH = Struct("<Q")  # at the head of a record
HEADER, FOOTER = 12, 4  # bytes around a record: its length and that one's checksum, its checksum
COMPRESSED = (b"\x1f\x8b", b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")  # gzip, zlib


@dataclass(frozen=True, eq=False)
class RecordExamples:
    """The examples of TFRecord files, of which none is ever read as a whole; `Examples`.

    Attributes:
        files: uncompressed TFRecord files, all in one folder.
        decode: makes the batch (x, y) or (x, y, weight) of serialized records, (batch,) strings; a
            function of TensorFlow's operations, such as one that calls `tf.io.parse_example`.
        numbers: which records are meant, of all in the order of the files; all unless given.

    Raises:
        ConfigurationError: a file is not there, compressed, cut short or damaged.
    """

    files: Sequence[Path]
    decode: Callable[[tf.Tensor], Any]
    numbers: np.ndarray | None = None
    offsets: np.ndarray = field(init=False, repr=False)
    sizes: np.ndarray = field(init=False, repr=False)
    owners: np.ndarray = field(init=False, repr=False)
    firsts: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        index = load_index([Path(file) for file in self.files])
        firsts = np.searchsorted(index["owners"], np.arange(len(self.files)))
        object.__setattr__(self, "firsts", firsts)
        for name, values in index.items():
            chosen = values if self.numbers is None else values[self.numbers]
            object.__setattr__(self, name, chosen)

    def __len__(self) -> int:
        return len(self.offsets)

    def subset(self, numbers: np.ndarray) -> "RecordExamples":
        """The examples with these numbers, (examples,) int64, as `hold_out_numbers` gives them."""
        return replace(self, numbers=numbers if self.numbers is None else self.numbers[numbers])

    def take(self, indices: tf.Tensor) -> Any:
        """The batch of the records with these numbers."""
        records = tf.numpy_function(self._read, [indices], tf.string)
        return self.decode(tf.ensure_shape(records, indices.shape))

    def content(self) -> Iterator[bytes | memoryview]:
        """The names and sizes of the files, a part of each, and which records are meant."""
        files = [Path(file) for file in self.files]
        yield from describe_files(files[0].parent, files)
        yield np.ascontiguousarray(self.offsets).data
        yield np.ascontiguousarray(self.owners).data

    def where(self, number: int) -> str:
        """The file, and which of its records it is, from 0."""
        owner = self.owners[number]
        number = number if self.numbers is None else self.numbers[number]
        return f"{self.files[owner]}, record {number - self.firsts[owner]},"

    def damaged_files(self) -> Iterator[str]:
        """The files that do not agree with their checksums, each with what is wrong."""
        for found in map(sizes_or_damage, map(Path, self.files)):
            if isinstance(found, ConfigurationError):
                yield str(found)

    def _read(self, indices: np.ndarray) -> np.ndarray:
        """The bytes of the records with these numbers."""
        records = np.empty(len(indices), object)
        for place, index in enumerate(indices):
            file = self.files[self.owners[index]]
            with Path(file).open("rb") as opened:  # each time: no state that threads would share
                opened.seek(self.offsets[index] - HEADER)
                size = opened.read(HEADER)[: LENGTH.size]
                records[place] = opened.read(self.sizes[index])
            if size != LENGTH.pack(self.sizes[index]) or len(records[place]) < self.sizes[index]:
                raise ConfigurationError(
                    f"{file} is not what it was: there is no whole record at byte "
                    f"{self.offsets[index]}. Restore the file, and start the run again."
                )
        return records


def load_index(files: Sequence[Path]) -> dict[str, np.ndarray]:
    """Where each record is: `offsets` and `sizes` in bytes, and `owners`, the number of its file.

    (records,) int64 each, in the order of the files. The index is read from beside the files where
    they have not changed since it was built; where it cannot be written there, it is built each
    time.

    Raises:
        ConfigurationError: a file is not there, compressed, cut short or damaged.
    """
    if missing := [file for file in files if not file.is_file()]:
        raise ConfigurationError(f"There is no record file {missing[0]}.")
    stats = [file.stat() for file in files]
    names = np.array([file.name for file in files])
    stamps = np.array([(stat.st_size, stat.st_mtime_ns) for stat in stats], np.int64)
    kept = files[0].parent / INDEX
    if (index := read_index(kept, names, stamps)) is not None:
        return index
    with ThreadPoolExecutor() as pool:  # TensorFlow reads outside of Python's lock
        told = f"Indexing {len(files)} record files"
        found = list(progress(pool.map(sizes_or_damage, files), told, len(files)))
    if damaged := [each for each in found if isinstance(each, ConfigurationError)]:
        raise ConfigurationError(" ".join(map(str, damaged)))
    sizes = [each for each in found if isinstance(each, np.ndarray)]
    starts = [np.cumsum(each + HEADER + FOOTER) - each - FOOTER for each in sizes]
    index = {
        "offsets": np.concatenate(starts),
        "sizes": np.concatenate(sizes),
        "owners": np.repeat(np.arange(len(files)), [len(each) for each in sizes]),
    }
    write_index(kept, index | {"names": names, "stamps": stamps})
    return index


def progress(values: Iterable[T], told: str, total: int) -> Iterable[T]:
    """The values, with a bar on standard error while a terminal looks on."""
    console = Console(stderr=True)
    hidden = not console.is_terminal
    return track(values, told, total, console=console, transient=True, disable=hidden)


def sizes_or_damage(file: Path) -> np.ndarray | ConfigurationError:
    """What `sizes_in` gives or raises: all files are looked at, so that all can be named."""
    try:
        return sizes_in(file)
    except ConfigurationError as error:
        return error


def sizes_in(file: Path) -> np.ndarray:
    """The size of each record of a file, in bytes: (records,) int64. All checksums are checked.

    Raises:
        ConfigurationError: it is compressed, cut short or damaged.
    """
    with file.open("rb") as opened:
        head = opened.read(HEADER)
    if head[:2] in COMPRESSED:
        raise ConfigurationError(
            f"{file} is compressed, and no record in it can be found by its number: write it "
            "anew without compression."
        )
    told = sizes_told(file)
    # One that claims more than the file has would be given memory before it is found out.
    whole = tf.data.TFRecordDataset(str(file)).take(len(told))
    lengths = whole.map(tf.strings.length)
    good = 0
    with suppress(tf.errors.DataLossError, tf.errors.OutOfRangeError):
        for some in lengths.batch(READ_AT_ONCE).as_numpy_iterator():
            good += len(some)
    if good < len(told):
        good = count_good(lengths)
    if good < len(told) or told.sum() + len(told) * (HEADER + FOOTER) < file.stat().st_size:
        raise ConfigurationError(
            f"{file} is damaged or cut short in record {good}: restore the file, or leave it out."
        )
    return told


def sizes_told(file: Path) -> np.ndarray:
    """The sizes of records that their headers tell, up to one that is cut short: (records,) int64.

    A record is its size in 8 bytes, their checksum, its content, and the checksum of that. See
    https://www.tensorflow.org/tutorials/load_data/tfrecord.
    """
    end, place, sizes = file.stat().st_size, 0, array("q")
    with file.open("rb") as opened, ExitStack() as stack:
        if end == 0:  # which cannot be mapped
            return np.zeros(0, np.int64)
        content = stack.enter_context(mmap(opened.fileno(), 0, access=ACCESS_READ))
        while place + HEADER <= end:
            (size,) = LENGTH.unpack_from(content, place)
            place += HEADER + size + FOOTER
            if place > end:
                break
            sizes.append(size)
    return np.array(sizes, np.int64)


def count_good(lengths: tf.data.Dataset) -> int:
    """How many records of a file can be read before the first that cannot."""
    count = 0
    with suppress(tf.errors.DataLossError, tf.errors.OutOfRangeError):
        for _ in lengths:
            count += 1
    return count


def read_index(kept: Path, names: np.ndarray, stamps: np.ndarray) -> dict[str, np.ndarray] | None:
    """The index that is kept, where it is that of files with these names, sizes and times."""
    try:
        index = load_arrays(kept)
    except (OSError, ValueError):
        return None
    parts = [index.pop(name, np.zeros(0)) for name in ("names", "stamps", *PARTS)]
    same = all(map(np.array_equal, parts, (names, stamps)))
    sizes = parts[2:]
    known = [part.dtype == np.int64 and part.ndim == 1 for part in sizes]
    if not (same and all(known) and len({*map(len, sizes)}) == 1):
        return None
    index = dict(zip(PARTS, sizes, strict=True))
    return index if is_possible(index, stamps[:, 0]) else None


def is_possible(index: dict[str, np.ndarray], ends: np.ndarray) -> bool:
    """Whether the records of an index fill files of these sizes, one after the other."""
    sizes, owners = index["sizes"], index["owners"]
    if len(sizes) and not (sizes.min() >= 0 and owners.min() >= 0 and owners.max() < len(ends)):
        return False
    if (np.diff(owners) < 0).any() or (sizes > ends[owners]).any():
        return False
    whole = sizes + HEADER + FOOTER
    filled = np.zeros(len(ends), np.int64)
    np.add.at(filled, owners, whole)
    befores = np.concatenate([[0], np.cumsum(filled)])[owners]
    starts = np.cumsum(whole) - whole - befores + HEADER
    return np.array_equal(filled, ends) and np.array_equal(index["offsets"], starts)


def write_index(kept: Path, index: dict[str, np.ndarray]) -> None:
    """Keeps an index, whole or not at all; a folder that cannot be written to has none."""
    temporary = kept.with_name(f"{kept.stem}.{os.getpid()}.npz")
    try:
        np.savez(temporary, **index)
        temporary.replace(kept)
    except OSError:
        temporary.unlink(missing_ok=True)
