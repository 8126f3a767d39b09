"""The index of a checkpoint: what its data files hold, where, and under which checksum.

It is read without TensorFlow. It is a sorted table as LevelDB has it (a table of blocks, each with
a checksum, in which a key tells only what differs from the one before it; see
https://github.com/google/leveldb/blob/main/doc/table_format.md), whose values are protocol buffers
(tensorflow/core/protobuf/tensor_bundle.proto).
"""

import struct
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import google_crc32c
import ml_dtypes
import numpy as np
from etils import epath
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from google.protobuf.message import DecodeError

from .. import files

FOOTER_SIZE = 48
MAGIC = bytes.fromhex("57fb808b247547db")
TRAILER_SIZE = 5  # after each block: how it is compressed, and its checksum
LARGEST = 1 << 27  # bytes of an index: each variable takes a few dozen
VERSION = 1  # of the format

# TensorFlow's types, which files have by number, from 1 on.
NAMES = dict(
    enumerate(
        (
            *("float32", "float64", "int32", "uint8", "int16", "int8", "string", "complex64"),
            *("int64", "bool", "qint8", "quint8", "qint32", "bfloat16", "qint16", "quint16"),
            *("uint16", "complex128", "float16", "resource", "variant", "uint32", "uint64"),
            *("float8_e5m2", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e4m3b11fnuz"),
            *("float8_e5m2fnuz", "int4", "uint4", "int2", "uint2", "float4_e2m1fn"),
        ),
        start=1,
    )
)

# What is read of the messages. An enumeration is a number.
SCHEMA = """
name: "index.proto" package: "index" syntax: "proto3"
message_type { name: "Header"
  field { name: "num_shards" number: 1 type: TYPE_INT32 }
  field { name: "endianness" number: 2 type: TYPE_INT32 }
  field { name: "version" number: 3 type: TYPE_MESSAGE type_name: ".index.Version" } }
message_type { name: "Version"
  field { name: "producer" number: 1 type: TYPE_INT32 }
  field { name: "min_consumer" number: 2 type: TYPE_INT32 }
  field { name: "bad_consumers" number: 3 type: TYPE_INT32 label: LABEL_REPEATED } }
message_type { name: "Entry"
  field { name: "dtype" number: 1 type: TYPE_INT32 }
  field { name: "shape" number: 2 type: TYPE_MESSAGE type_name: ".index.Shape" }
  field { name: "shard_id" number: 3 type: TYPE_INT32 }
  field { name: "offset" number: 4 type: TYPE_INT64 }
  field { name: "size" number: 5 type: TYPE_INT64 }
  field { name: "crc32c" number: 6 type: TYPE_FIXED32 }
  field { name: "slices" number: 7 label: LABEL_REPEATED
          type: TYPE_MESSAGE type_name: ".index.Slice" } }
message_type { name: "Shape"
  field { name: "dim" number: 2 label: LABEL_REPEATED
          type: TYPE_MESSAGE type_name: ".index.Length" } }
message_type { name: "Length" field { name: "size" number: 1 type: TYPE_INT64 } }
message_type { name: "Slice"
  field { name: "extent" number: 1 label: LABEL_REPEATED
          type: TYPE_MESSAGE type_name: ".index.Extent" } }
message_type { name: "Extent" oneof_decl { name: "has_length" }
  field { name: "start" number: 1 type: TYPE_INT64 }
  field { name: "length" number: 2 type: TYPE_INT64 oneof_index: 0 } }
"""
POOL = descriptor_pool.DescriptorPool()
POOL.AddSerializedFile(
    text_format.Parse(SCHEMA, descriptor_pb2.FileDescriptorProto()).SerializeToString()
)
Header, EntryMessage = (
    message_factory.GetMessageClass(POOL.FindMessageTypeByName(f"index.{name}"))
    for name in ("Header", "Entry")
)


class Corrupt(ValueError):
    """A file is not what its checksums or its own description say."""


class Unsupported(Exception):
    """A file may be good, and only TensorFlow reads it."""


def masked_checksum(data: bytes) -> int:
    """The CRC-32C of bytes, as it is kept beside them."""
    return mask(google_crc32c.value(data))


def mask(checksum: int) -> int:
    """A CRC-32C as it is kept: that of bytes with a bare one among them would be weak."""
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF


def numpy_type(name: str) -> np.dtype | None:
    """What NumPy keeps a type of TensorFlow in, given by its name; None where it cannot."""
    if name == "string":
        return np.dtype(object)
    try:
        return np.dtype(getattr(ml_dtypes, name, name.removeprefix("q")))  # of a quantized one
    except TypeError:
        return None


def is_real(dtype: np.dtype) -> bool:
    """Whether arrays of a type hold real numbers or truth values: no strings, nothing complex."""
    return dtype.kind in "biuf" or hasattr(ml_dtypes, dtype.name)


@dataclass(frozen=True)
class Entry:
    """A tensor, or a slice of one, in a data file.

    Attributes:
        dtype: its type, by TensorFlow's name; of a type that is not known here, its number.
        shape: its shape.
        shard: the number of the data file.
        offset: where it begins in that file.
        size: of it in that file, in bytes.
        checksum: of it, masked.
        slices: where a tensor is kept in slices, the start and the length of each in each
            dimension, -1 for all of it. Then only its type and its shape mean anything besides.
    """

    dtype: str
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    checksum: int
    slices: tuple[tuple[tuple[int, int], ...], ...] = ()

    @classmethod
    def of(cls, message: Any) -> "Entry":
        """The entry that a message tells of.

        Raises:
            Corrupt: it is none that can be.
        """
        shape = tuple(dim.size for dim in message.shape.dim)
        smallest = min((message.shard_id, message.offset, message.size, *shape))
        if smallest < 0:
            raise Corrupt("a shape or a place in a file is not possible")
        slices = (
            tuple(
                (extent.start, extent.length if extent.HasField("length") else -1)
                for extent in entry.extent
            )
            for entry in message.slices
        )
        return cls(
            NAMES.get(message.dtype, f"type {message.dtype}"),
            shape,
            message.shard_id,
            message.offset,
            message.size,
            message.crc32c,
            tuple(slices),
        )


def read_index(file: epath.Path) -> tuple[int, dict[bytes, Entry]]:
    """The number of data files, and the entries by their keys, in the order of these.

    Raises:
        Corrupt: the file is missing, cut short or altered: no byte of it goes unread.
        Unsupported: another version or another machine has written it.
        OSError: it cannot be read at present.
    """
    try:
        is_possible = FOOTER_SIZE <= files.size_of(file) <= LARGEST  # a pipe, say, has no size
        table = read_table(file.read_bytes() if is_possible else b"")
    except FileNotFoundError as error:
        raise Corrupt(f"{file.name} is missing") from error
    except Corrupt as error:
        raise Corrupt(f"{file.name} is damaged: {error}") from error
    try:
        header = Header.FromString(table.pop(b""))
        entries = {
            key: Entry.of(EntryMessage.FromString(content)) for key, content in table.items()
        }
    except (Corrupt, DecodeError, KeyError) as error:
        raise Corrupt(f"{file.name} has an entry that is not possible") from error
    version = header.version
    if version.min_consumer > VERSION or VERSION in version.bad_consumers:
        raise Unsupported(f"{file.name} is of a newer format")
    if header.endianness != 0:
        raise Unsupported(f"{file.name} was written by a machine with another order of bytes")
    return header.num_shards, entries


def read_table(content: bytes) -> dict[bytes, bytes]:
    """The values in a table by their keys, in the order of these.

    LevelDB lets bytes between its blocks, and some of its last ones, be anything. Here all must be
    as every writer leaves them.

    Raises:
        Corrupt: a byte of it is not as it was written.
        Unsupported: it is compressed.
    """
    footer = content[-FOOTER_SIZE:]
    if len(footer) < FOOTER_SIZE or not footer.endswith(MAGIC):
        raise Corrupt("its end is missing or altered")
    extra, position = read_handle(footer, 0)
    index, position = read_handle(footer, position)
    bounds = read_block(content, index)  # of each block, a key that is not before its last one
    places = [*(read_handle(value, 0)[0] for _, value in bounds), extra, index]
    starts = [*(offset for offset, _ in places), len(content) - FOOTER_SIZE]
    ends = [0, *(offset + size + TRAILER_SIZE for offset, size in places)]
    if starts != ends or any(footer[position : -len(MAGIC)]):
        raise Corrupt("its blocks are not where they should be")
    if read_block(content, extra):
        raise Corrupt("it has a block that no writer of checkpoints makes")
    table: dict[bytes, bytes] = {}
    keys: list[bytes] = []
    for (bound, _), place in zip(bounds, places, strict=False):
        rows = read_block(content, place)
        table |= rows
        keys += [key for key, _ in rows]
        keys += [bound] if keys[-1:] != [bound] else []
    if any(one >= other for one, other in pairwise(keys)):
        raise Corrupt("its keys are not in order")
    return table


def read_block(content: bytes, place: tuple[int, int]) -> list[tuple[bytes, bytes]]:
    """The keys and values of a block, in their order.

    Raises:
        Corrupt, Unsupported: as for `read_table`.
    """
    offset, size = place
    block, trailer = content[offset : offset + size], content[offset + size :][:TRAILER_SIZE]
    if len(trailer) < TRAILER_SIZE:
        raise Corrupt("a block is cut short")
    compression, checksum = struct.unpack("<BI", trailer)
    if masked_checksum(block + trailer[:1]) != checksum:
        raise Corrupt("a block does not agree with its checksum")
    if compression:
        raise Unsupported("the index of the checkpoint is compressed, and only TensorFlow reads it")
    # Its end tells the places of keys that are written in full, for a search.
    count = int.from_bytes(block[-4:], "little")
    end = size - 4 - 4 * count
    if count < 1 or end < 0:
        raise Corrupt("a block does not tell its end")
    in_full = struct.unpack(f"<{count}I", block[end:-4])
    rows: list[tuple[bytes, bytes]] = []
    key, position, possible = b"", 0, {0}
    while position < end:
        start = position
        shared, position = read_varint(block, position)
        added, position = read_varint(block, position)
        length, position = read_varint(block, position)
        if shared > len(key) or position + added + length > end:
            raise Corrupt("a block has an entry that is not possible")
        if shared == 0:
            possible.add(start)
        key = key[:shared] + block[position : position + added]
        position += added
        rows.append((key, block[position : position + length]))
        position += length
    if not possible.issuperset(in_full):
        raise Corrupt("a block has an entry that cannot be found")
    return rows


def read_handle(content: bytes, position: int) -> tuple[tuple[int, int], int]:
    """Where a block is, and its size; and the position after that in what tells it."""
    offset, position = read_varint(content, position)
    size, position = read_varint(content, position)
    return (offset, size), position


def read_varint(content: bytes, position: int) -> tuple[int, int]:
    """A number in groups of seven bits, the lowest first, and the position after it.

    Raises:
        Corrupt: it does not end, is larger than 64 bits, or is longer than it need be.
    """
    number = 0
    for shift, byte in zip(range(0, 64, 7), content[position : position + 10], strict=False):
        number |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80:
            if number >> 64 or (byte == 0 and shift):
                break
            return number, position
    raise Corrupt("a number is not possible")
