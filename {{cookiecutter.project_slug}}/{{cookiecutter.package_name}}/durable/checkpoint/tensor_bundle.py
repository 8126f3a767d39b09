"""The tensors in the files of a checkpoint, read without TensorFlow.

The form is TensorFlow's own, which it calls a tensor bundle (tensorflow/core/util/tensor_bundle).
An index says where in the data files each tensor is. Numbers are there as they are in memory, texts
behind their lengths. Before memory is taken for anything, the sizes of the files must allow it.
"""

import struct
from collections.abc import Iterator
from itertools import combinations
from math import prod

import google_crc32c
import numpy as np
from etils import epath

from .. import files
from .index import (
    NAMES,
    Corrupt,
    Entry,
    Unsupported,
    mask,
    numpy_type,
    read_index,
    read_varint,
)

GRAPH_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"
CARD_KEY = "card/.ATTRIBUTES/VARIABLE_VALUE"
AT_ONCE = 1 << 24  # bytes
SLICE = b"\0"  # how the key of a slice begins

Box = tuple[slice, ...]
Sides = tuple[tuple[int, int], ...]


class TensorBundle:
    """The tensors of a checkpoint.

    Attributes:
        entries: each tensor by its key, in the order of the keys.

    Raises:
        Corrupt: on making it and by its methods, if a file is missing, cut short or altered.
        Unsupported: on making it and by its methods, if only TensorFlow reads such a checkpoint.
        OSError: on making it and by its methods, if a file cannot be read at present.
    """

    def __init__(self, checkpoint: epath.Path) -> None:
        self._checkpoint = checkpoint
        self._shards, entries = read_index(index_file(checkpoint))
        self._slices = {key: entry for key, entry in entries.items() if key.startswith(SLICE)}
        self.entries = {
            key.decode(): entry for key, entry in entries.items() if key not in self._slices
        }
        told = {key_of(key, at) for key, entry in self.entries.items() for at in entry.slices}
        if told != self._slices.keys():
            raise Corrupt(f"{checkpoint.name}.index has other slices than it tells")

    def require_possible(self, key: str) -> None:
        """Raises Corrupt where a tensor cannot be what the index says, by sizes alone."""
        for _ in self._parts(key):
            pass

    def check(self, key: str) -> None:
        """Reads every byte of a tensor against its checksum; of numbers, a part at a time."""
        for part, _ in self._parts(key):
            if part.dtype == "string":
                self._read_texts(part)
            elif part.dtype == "variant":
                self._check_variants(part)
            else:
                for _ in self._checked(part):
                    pass

    def read(self, key: str) -> np.ndarray:
        """Reads a tensor, of any shape and type, against its checksum.

        What has no form in NumPy, such as the state of an iterator, is checked, and an empty array
        stands for it.
        """
        entry = self.entries[key]
        dtype = numpy_type(entry.dtype)
        if dtype is None:
            self.check(key)
            return np.empty(0, object)
        parts = list(self._parts(key))
        if not entry.slices:
            return self._read_part(entry, dtype)
        whole = np.empty(entry.shape, dtype)
        for part, box in parts:
            whole[box] = self._read_part(part, dtype)
        return whole

    def _parts(self, key: str) -> Iterator[tuple[Entry, Box]]:
        """What a tensor is kept in: itself, or its slices; and where in it each of them is."""
        entry = self.entries[key]
        parts, boxes = [entry], [tuple(slice(length) for length in entry.shape)]
        if entry.slices:
            parts = [self._slices[key_of(key, sides)] for sides in entry.slices]
            boxes = [box_of(entry, sides) for sides in entry.slices]
            shapes = [tuple(side.stop - side.start for side in box) for box in boxes]
            if [(part.dtype, part.shape) for part in parts] != [(entry.dtype, s) for s in shapes]:
                raise Corrupt(f"{key} has a slice of another size than it tells")
            if sum(map(prod, shapes)) != prod(entry.shape) or any_overlap(boxes):
                raise Corrupt(f"{key} has slices that do not make the whole of it")
        for part in parts:
            self._require_possible(key, part)
        yield from zip(parts, boxes, strict=True)

    def _require_possible(self, key: str, entry: Entry) -> None:
        """Raises Corrupt where a tensor is not as large as its shape, or not inside of its file."""
        if entry.dtype == "resource":
            raise Corrupt(f"{key} is a resource, which no file holds")
        if entry.dtype not in NAMES.values():
            raise Unsupported(f"{key} is of {entry.dtype}, which is not known here")
        count, dtype = prod(entry.shape), numpy_type(entry.dtype)
        if entry.dtype in ("string", "variant"):
            is_possible = entry.size >= count
        else:
            is_possible = dtype is None or entry.size == count * dtype.itemsize
        file = self._file(entry)
        try:  # at each look: a file may have been mended since
            is_inside = entry.offset + entry.size <= files.size_of(file)
        except FileNotFoundError as error:
            raise Corrupt(f"{file.name} is missing") from error
        if not is_possible:
            raise Corrupt(f"{key} is not as large as its shape")
        if not is_inside:
            raise Corrupt(f"{file.name} ends before {key} does")

    def _file(self, entry: Entry) -> epath.Path:
        """The data file that a tensor is in."""
        name = f"{self._checkpoint.name}.data-{entry.shard:05}-of-{self._shards:05}"
        return self._checkpoint.parent / name

    def _read_part(self, entry: Entry, dtype: np.dtype) -> np.ndarray:
        """Reads a tensor or a slice of one."""
        if entry.dtype == "string":
            texts = np.empty(prod(entry.shape), object)
            texts[:] = self._read_texts(entry)
            return texts.reshape(entry.shape)
        content = np.empty(entry.size, np.uint8)
        position = 0
        for chunk in self._checked(entry):
            content[position : position + len(chunk)] = np.frombuffer(chunk, np.uint8)
            position += len(chunk)
        return content.view(dtype).reshape(entry.shape)

    def _checked(self, entry: Entry) -> Iterator[bytes]:
        """The bytes of a tensor, a part at a time; at their end, their checksum is compared."""
        checksum = 0
        for chunk in self._chunks(entry):
            checksum = google_crc32c.extend(checksum, chunk)
            yield chunk
        self._compare(entry, checksum)

    def _chunks(self, entry: Entry) -> Iterator[bytes]:
        """The bytes of a tensor in its file, a part at a time."""
        file, left = self._file(entry), entry.size
        with file.open("rb") as opened:
            opened.seek(entry.offset)
            while left and (chunk := opened.read(min(left, AT_ONCE))):
                left -= len(chunk)
                yield chunk
        if left:
            raise Corrupt(f"{file.name} is cut short")

    def _compare(self, entry: Entry, checksum: int) -> None:
        """Raises Corrupt where a checksum is not that of an entry."""
        if mask(checksum) != entry.checksum:
            raise Corrupt(
                f"bytes {entry.offset} to {entry.offset + entry.size} of {self._file(entry).name} "
                "do not agree with their checksum"
            )

    def _read_texts(self, entry: Entry) -> list[bytes]:
        """Reads texts: their lengths, a checksum of these, and then all texts."""
        content = b"".join(self._chunks(entry))
        lengths, start = [], 0
        for _ in range(prod(entry.shape)):
            length, start = read_varint(content, start)
            lengths.append(length)
        # Of the lengths as numbers: each has 32 bits where it fits into them.
        told = b"".join(struct.pack("<Q" if length >> 32 else "<I", length) for length in lengths)
        checksum = google_crc32c.value(told)
        if content:
            if content[start : start + 4] != struct.pack("<I", mask(checksum)):
                raise Corrupt(f"lengths of texts in {self._file(entry).name} are altered")
            checksum = google_crc32c.extend(checksum, content[start:])
            start += 4
        self._compare(entry, checksum)
        if start + sum(lengths) != entry.size:
            raise Corrupt(f"texts in {self._file(entry).name} are not as long as they tell")
        texts = []
        for length in lengths:
            texts.append(content[start : start + length])
            start += length
        return texts

    def _check_variants(self, entry: Entry) -> None:
        """Reads variants: of each its length, itself, and a checksum of all up to there."""
        content = b"".join(self._chunks(entry))
        checksum, position = 0, 0
        for _ in range(prod(entry.shape)):
            length, start = read_varint(content, position)
            position = start + length + 4
            body, told = content[start : position - 4], content[position - 4 : position]
            checksum = google_crc32c.extend(checksum, struct.pack("<Q", length) + body)
            if told != struct.pack("<I", mask(checksum)):
                raise Corrupt(f"a variant in {self._file(entry).name} is altered")
            checksum = google_crc32c.extend(checksum, told)
        self._compare(entry, checksum)
        if position != entry.size:
            raise Corrupt(f"variants in {self._file(entry).name} are not as long as they tell")


def index_file(checkpoint: epath.Path) -> epath.Path:
    """The file that says what the data files hold; a checkpoint exists with it."""
    return checkpoint.parent / f"{checkpoint.name}.index"


def key_of(name: str, sides: Sides) -> bytes:
    """The key of a slice, as TensorFlow makes it: in an order that is that of their places."""
    escaped = name.encode().replace(b"\xff", b"\xff\0").replace(b"\0", b"\0\xff")
    numbers = (ordered(number) for side in sides for number in side)
    return SLICE + escaped + b"\0\1\1" + bytes([len(sides)]) + b"".join(numbers)


def ordered(number: int) -> bytes:
    """A number as bytes in whose order numbers are; as many of its first bits tell their count."""
    length = (number if number >= 0 else ~number).bit_length() // 7 + 1
    count = ((1 << length) - 1) << 7 * length
    return ((number ^ count) & ((1 << 8 * length) - 1)).to_bytes(length, "big")


def box_of(entry: Entry, sides: Sides) -> Box:
    """Where in a tensor a slice of it is.

    Raises:
        Corrupt: it is not inside of it.
    """
    if len(sides) != len(entry.shape):
        raise Corrupt("a slice has other dimensions than its tensor")
    box = tuple(
        slice(start, whole if length < 0 else start + length)
        for (start, length), whole in zip(sides, entry.shape, strict=True)
    )
    ends = zip(box, entry.shape, strict=True)
    if any(not 0 <= side.start <= side.stop <= end for side, end in ends):
        raise Corrupt("a slice is not inside of its tensor")
    return box


def any_overlap(boxes: list[Box]) -> bool:
    """Whether two of some boxes have a place in common."""
    return any(
        all(a.start < b.stop and b.start < a.stop for a, b in zip(one, other, strict=True))
        for one, other in combinations(boxes, 2)
    )


def require_possible(checkpoint: epath.Path) -> None:
    """Looks at the index before TensorFlow does, which may end the process over a forged one.

    The first format of `tf.compat.v1.train.Saver` has none.

    Raises:
        Corrupt: the index is damaged, or a tensor cannot be what it says.
        Unsupported: only TensorFlow reads such a checkpoint.
    """
    if files.exists(index_file(checkpoint)):
        tensors = TensorBundle(checkpoint)
        for key in tensors.entries:
            tensors.require_possible(key)
