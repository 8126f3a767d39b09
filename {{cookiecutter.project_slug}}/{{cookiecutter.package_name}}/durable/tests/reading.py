"""Two readers of the same files, TensorFlow's and the one without it: do they judge alike?

Checkpoints of all kinds are written by TensorFlow, and then damaged or forged at random. Each such
point is read by both. The values must be the same, and so must be what they refuse; where one
refuses what the other reads, the kind of the point is one of EXPLAINED.

    python -m <package>.durable.tests.reading --points 2000 --seed 7 --mutants
"""

import argparse
import json
import math
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from itertools import takewhile
from pathlib import Path

import ml_dtypes
import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import tensor_bundle_pb2

from ..checkpoint import index, tensor_bundle
from ..checkpoint.graph import read_keys, write_values
from ..checkpoint.index import (
    FOOTER_SIZE,
    MAGIC,
    masked_checksum,
    read_handle,
    read_table,
    read_varint,
)
from . import readers
from .helpers import PROJECT
from .mutants import Mutant
from .readers import PREFIX, fingerprint

READERS = f"{__package__}.readers"
# Where the reader without TensorFlow refuses what TensorFlow reads: why that is right.
# TensorFlow cannot hand such an array to NumPy where the other lengths are beyond all memory.
NO_VALUES = "a shape of no values"
UNREAD = "flip in what TensorFlow leaves unread"
EXPLAINED = {
    UNREAD: "every byte is as it was written, or that is told",
    "bytes between blocks": "the same",
    "restart points": "TensorFlow lists all keys, and finds them by these or does not",
    "bounds of blocks": "the same",
    "order of keys": "the same: which keys are found depends on their order",
    "a key twice": "TensorFlow takes the first; no writer makes two",
    "shape of a slice": "TensorFlow copies as many values as it has, in another order",
    "place of a tensor in slices": "it has none, and every writer leaves that 0",
    "endianness": "TensorFlow swaps the bytes; no machine that it supports needs it",
    "size of texts or variants": "TensorFlow goes by their lengths; here the size must be theirs",
}
MUTANTS = (
    Mutant(
        "no checksum of numbers",
        "checkpoint/tensor_bundle.py",
        "            yield chunk\n        self._compare(entry, checksum)",
        "            yield chunk",
    ),
    Mutant(
        "no checksum of texts",
        "checkpoint/tensor_bundle.py",
        "            start += 4\n        self._compare(entry, checksum)",
        "            start += 4",
    ),
    Mutant(
        "no checksum of the lengths of texts",
        "checkpoint/tensor_bundle.py",
        'if content[start : start + 4] != struct.pack("<I", mask(checksum)):',
        "if False:",
    ),
    Mutant(
        "no checksum of blocks",
        "checkpoint/index.py",
        "if masked_checksum(block + trailer[:1]) != checksum:",
        "if False:",
    ),
    Mutant(
        "a checksum that is not masked",
        "checkpoint/index.py",
        "+ 0xA282EAD8",
        "+ 0xA282EAD9",
    ),
    Mutant(
        "no look at the size of a tensor",
        "checkpoint/tensor_bundle.py",
        "if not is_possible:",
        "if False:",
    ),
    Mutant(
        "no look at the end of the file",
        "checkpoint/index.py",
        "if starts != ends or any(footer[position : -len(MAGIC)]):",
        "if starts != ends:",
    ),
    Mutant(
        "prefixes of keys are forgotten",
        "checkpoint/index.py",
        "key = key[:shared] + block",
        "key = block",
    ),
    Mutant(
        "a slice of another place",
        "checkpoint/tensor_bundle.py",
        "boxes = [box_of(entry, sides) for sides in entry.slices]",
        "boxes = [box_of(entry, sides) for sides in sorted(entry.slices, reverse=True)]",
    ),
    Mutant(
        "slices that do not cover the tensor",
        "checkpoint/tensor_bundle.py",
        "if sum(map(prod, shapes)) != prod(entry.shape) or any_overlap(boxes):",
        "if any_overlap(boxes):",
    ),
    Mutant(
        "slices that overlap",
        "checkpoint/tensor_bundle.py",
        "if sum(map(prod, shapes)) != prod(entry.shape) or any_overlap(boxes):",
        "if sum(map(prod, shapes)) != prod(entry.shape):",
    ),
    Mutant(
        "impossible shapes and places",
        "checkpoint/index.py",
        "if smallest < 0:",
        "if False:",
    ),
    Mutant(
        "a newer format",
        "checkpoint/index.py",
        "if version.min_consumer > VERSION or VERSION in version.bad_consumers:",
        "if version.min_consumer > VERSION + 1:",
    ),
    Mutant(
        "the other order of bytes",
        "checkpoint/index.py",
        "if header.endianness != 0:",
        "if False:",
    ),
    Mutant(
        "the wrong shard",
        "checkpoint/tensor_bundle.py",
        "{self._checkpoint.name}.data-{entry.shard:05}-",
        "{self._checkpoint.name}.data-{0:05}-",
    ),
    Mutant(
        "lengths of variants have 32 bits",
        "checkpoint/tensor_bundle.py",
        'struct.pack("<Q", length) + body',
        'struct.pack("<I", length) + body',
    ),
)


def in_child(function, *arguments):
    """What a function returns in a process of its own; None where TensorFlow ends the process."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.close(reading)
        try:
            result = json.dumps(function(*arguments))
            with os.fdopen(writing, "w") as file:
                file.write(result)
        except Exception:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as file:
        result = file.read()
    os.wait()
    return json.loads(result) if result else None


def as_tensorflow_reads(folder):
    """The fingerprints of all tensors; a text where TensorFlow does not read the checkpoint."""
    prefix = str(folder / PREFIX)
    try:
        reader = tf.train.load_checkpoint(prefix)
        types = reader.get_variable_to_dtype_map()
        found = {}
        for key in sorted(types):
            if types[key] == tf.variant:
                read_keys(prefix, [key], types)
                found[key] = fingerprint(np.empty(0, object))
            else:
                found[key] = fingerprint(reader.get_tensor(key))
    except Exception as error:  # it raises many kinds
        return f"{type(error).__name__}: {error}"
    return found


def write_samples(folder):
    """Checkpoints of all kinds, each in a folder of its own."""
    numbers = np.arange(1, 25)
    types = [tf.float32, tf.float64, tf.float16, tf.bfloat16, tf.bool, tf.complex64, tf.complex128]
    types += [tf.int8, tf.int16, tf.int32, tf.int64, tf.uint8, tf.uint16, tf.uint32, tf.uint64]
    values = {f"number/{kind.name}": tf.cast(numbers, kind) for kind in types}
    values |= {
        "quantized": tf.quantization.quantize([0.0, 1.0], -1.0, 1.0, tf.qint8).output,
        "float8": tf.constant(np.array([1, 2, 3], ml_dtypes.float8_e5m2)),
        "int4": tf.constant(np.array([1, 2, -3], ml_dtypes.int4)),
        "scalar": tf.constant(3.0),
        "matrix": tf.reshape(tf.range(12.0), (3, 4)),
        "nothing": tf.zeros((0, 3)),
        "text": tf.constant("one text of bytes \xff"),
        "texts": tf.constant([["", "a"], ["b" * 200, "\0"]]),
        "no texts": tf.zeros((0,), tf.string),
        "iterator": state_of_an_iterator(),
    }
    save(folder / "kinds", values)
    parts = {"0,3": [0, 1, 2], "3,1": [3]}
    rows = tf.reshape(tf.range(8.0), (4, 2))
    for number, (part, chosen) in enumerate(parts.items()):
        save_slices(folder / "sliced", number, f"4 2 {part}:-", tf.gather(rows, chosen))
    merge(folder / "sliced", 2)
    corners = {"2,2:0,1": rows[2:, :1], "0,2:-": rows[:2], "2,2:1,1": rows[2:, 1:]}
    for number, (part, value) in enumerate(corners.items()):
        save_slices(folder / "corners", number, f"4 2 {part}", value)
    merge(folder / "corners", 3)
    for number, name in enumerate(("first", "second", "third")):
        made = {f"{name}/{key}": values[key] for key in ("texts", "matrix", "scalar")}
        (folder / "shards").mkdir(exist_ok=True)
        write_values(str(folder / "shards" / f"part{number}"), made)
    merge(folder / "shards", 3)
    many = {f"a long name of a variable/{number}": tf.constant(number) for number in range(9000)}
    save(folder / "many", many)


def state_of_an_iterator():
    """A variant: what a checkpoint has of an iterator."""
    iterator = iter(tf.data.Dataset.range(5))
    next(iterator)
    return tf.raw_ops.SerializeIterator(
        resource_handle=iterator._iterator_resource, external_state_policy=0
    )


def save(folder, values):
    folder.mkdir()
    write_values(str(folder / PREFIX), values)


def save_slices(folder, number, part, value):
    folder.mkdir(exist_ok=True)
    tf.raw_ops.SaveV2(
        prefix=str(folder / f"part{number}"),
        tensor_names=["sliced", f"whole{number}"],
        shape_and_slices=[part, ""],
        tensors=[value, tf.constant([number, number])],
    )


def merge(folder, count):
    tf.raw_ops.MergeV2Checkpoints(
        checkpoint_prefixes=[str(folder / f"part{number}") for number in range(count)],
        destination_prefix=str(folder / PREFIX),
        delete_old_dirs=False,
    )


def damage(folder, choose):
    """Flips, cuts, lengthens, swaps or removes something in the files; tells which kind it was."""
    files = sorted(folder.iterdir())
    file = choose.choice([path for path in files if path.stat().st_size])
    content = bytearray(file.read_bytes())
    kind = choose.choice(["flip"] * 6 + ["cut", "lengthened", "swapped", "removed", "zeros"])
    if kind == "flip":
        place = choose.choice(places_of(file, content, choose))
        if file.suffix == ".index" and place >= unread_from(content):
            kind = UNREAD
        content[place] ^= 1 << choose.randrange(8)
    elif kind == "cut":
        del content[choose.randrange(len(content)) :]
    elif kind == "lengthened":
        content += choose.randbytes(choose.randrange(1, 60))
    elif kind == "zeros":  # as a power cut leaves a file
        start = choose.randrange(len(content))
        content[start:] = bytes(len(content) - start)
        if file.suffix == ".index" and start >= len(content) - FOOTER_SIZE:
            kind = UNREAD
    elif kind == "swapped":
        other = choose.choice(files)
        content = bytearray(other.read_bytes())
        other.write_bytes(file.read_bytes())
    file.write_bytes(content)
    if kind == "removed":
        file.unlink()
    return kind


def places_of(file, content, choose):
    """Places in a file, so that each part of an index has its turn."""
    anywhere = [choose.randrange(len(content)) for _ in range(3)]
    if file.suffix != ".index":
        return [*anywhere, 0, len(content) - 1]
    size = len(content)
    footer = [choose.randrange(size - FOOTER_SIZE, size) for _ in range(2)]
    end = unread_from(content)
    return [*anywhere, *footer, end, end - 1, end - 2, end - 6, 0, 1]


def unread_from(content):
    """Where the block begins that TensorFlow does not read, before the index of blocks and the end.

    Nor does it read a part of the end: what tells where that block is, and what fills it up.
    """
    return read_handle(bytes(content[-FOOTER_SIZE:]), 0)[0][0]


def write_table(rows, change=lambda part, content: content):
    """A table with some rows of (key, value), in blocks of 16, as TensorFlow writes it.

    Args:
        rows: of the table.
        change: is given the name of each part before its checksum is made, and may change it.
    """
    table, bounds = b"", []

    def add(content, compression=b"\0"):
        nonlocal table
        table = change("between", table)
        place = varint(len(table)) + varint(len(content))
        table += content + compression
        table += struct.pack("<I", masked_checksum(content + compression))
        return place

    for start in range(0, len(rows), 16):
        part = rows[start : start + 16]
        content = change("block", block_of(part, change))
        bounds.append((change("bound", part[-1][0]), add(content, change("compression", b"\0"))))
    places = add(block_of([], lambda _, content: content)) + add(block_of(bounds, change))
    return table + places.ljust(FOOTER_SIZE - len(MAGIC), b"\0") + MAGIC


def block_of(rows, change):
    """A block: each key with what differs from the one before it, and every fourth in full."""
    content, in_full, before = b"", [], b""
    for number, (key, value) in enumerate(rows):
        shared = 0
        if number % 4 == 0:
            in_full.append(len(content))
        else:
            pairs = zip(key, before, strict=False)
            shared = len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))
        content += varint(shared) + varint(len(key) - shared) + varint(len(value))
        content, before = content + key[shared:] + value, key
    in_full = change("restarts", in_full or [0])
    return content + struct.pack(f"<{len(in_full) + 1}I", *in_full, len(in_full))


def varint(number):
    """A number in groups of seven bits, the lowest first."""
    groups = []
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*groups, number])


def forge(kind, folder, choose):
    """Writes an index that tells something else, with checksums that agree; tells the kind."""
    file = folder / f"{PREFIX}.index"
    table = read_table(file.read_bytes())
    header = tensor_bundle_pb2.BundleHeaderProto.FromString(table.pop(b""))
    entries = {
        key: tensor_bundle_pb2.BundleEntryProto.FromString(value) for key, value in table.items()
    }
    if kind in HEADERS:
        HEADERS[kind](header, choose)
    elif kind in EDITS:
        EDITS[kind](entries, choose)
    elif kind == LENGTHS:
        forge_lengths(folder, entries, choose)
    elif kind in ENTRIES:
        kind = change_entry(kind, entries, choose)
    rows = [(b"", header.SerializeToString())]
    rows += [(name, entry.SerializeToString()) for name, entry in sorted(entries.items())]
    change = TABLES.get(kind, lambda rows, _: (rows, None))
    rows, part = change(rows, choose)
    file.write_bytes(write_table(rows, part) if part else write_table(rows))
    return kind


HEADERS = {
    "number of shards": lambda header, choose: setattr(
        header, "num_shards", choose.choice([0, -1, 1, 2, 7, 2**31 - 1])
    ),
    "endianness": lambda header, _: setattr(header, "endianness", 1),
    "a newer format": lambda header, choose: setattr(
        header.version, "min_consumer", choose.choice([2, 99])
    ),
    "a bad format": lambda header, _: header.version.bad_consumers.append(1),
}
# All that this TensorFlow knows, and some that none knows.
TEXT, VARIANT = tf.string.as_datatype_enum, tf.variant.as_datatype_enum
KNOWN_TYPES = [*types_pb2.DataType.values(), 99]
FAR = [0, 1, -1, 2**31, 2**62, 2**63 - 1, -(2**63)]
ENTRIES = ["dtype", "shape", "shard", "offset", "size", "checksum", "entry"]


def change_entry(kind, entries, choose):
    """Changes an entry of an index; tells the kind."""
    key = choose.choice([*entries])
    entry = entries[key]
    if kind == "dtype":
        entry.dtype = choose.choice(KNOWN_TYPES)
    elif kind == "shape":
        change_shape(entry, choose)
    elif kind == "shard":
        entry.shard_id = choose.choice([0, 1, 2, 3, -1, 2**31 - 1])
    elif kind in ("offset", "size"):
        old = getattr(entry, kind)
        setattr(entry, kind, choose.choice([*FAR, old + 1, old - 1, 2 * old]))
    elif kind == "checksum":
        entry.crc32c ^= 1 << choose.randrange(32)
    elif kind == "entry":
        if choose.random() < 0.5:
            del entries[key]
        else:
            entries[choose.choice([b"new", b"z" * 300, b"\xc3\xa9"])] = entry
    return precisely(kind, key, entry)


def precisely(kind, key, entry):
    """The kind of a change to an entry, apart where the readers may differ."""
    if kind == "shape" and key.startswith(b"\0"):
        return "shape of a slice"
    if kind == "shape" and any(dim.size == 0 for dim in entry.shape.dim):
        return NO_VALUES
    if kind in ("shard", "offset", "size") and entry.slices:
        return "place of a tensor in slices"
    if kind == "size" and entry.dtype in (TEXT, VARIANT):
        return "size of texts or variants"
    return kind


def change_shape(entry, choose):
    sizes = [dim.size for dim in entry.shape.dim]
    far = choose.choice(FAR)
    others = [sizes[::-1], [*sizes, 1], [*sizes, 0], [*sizes, far], [*sizes, -1, -1], [2**40] * 3]
    new = choose.choice([*others, []])
    del entry.shape.dim[:]
    for size in new:
        entry.shape.dim.add(size=size)
    entry.shape.unknown_rank = choose.random() < 0.1


def shrink(entries, choose):
    """A tensor of numbers has a smaller shape than it has bytes."""
    large = [entry for entry in entries.values() if entry.dtype == 1 and entry.size > 8]
    choose.choice(large).shape.dim[0].size -= 1


def sliced_in(entries):
    """The key and the entry of a tensor in slices."""
    return next((key, entry) for key, entry in entries.items() if entry.slices)


def tell_other_slices(entries, choose):
    """The slices of a tensor are others than those that are there."""
    _, entry = sliced_in(entries)
    extent = choose.choice(choose.choice(entry.slices).extent)
    setattr(extent, choose.choice(["start", "length"]), choose.choice([2, 3, 4, *FAR]))


def remove_slice(entries, choose):
    """A tensor has one slice less, and nothing hints at it but its shape."""
    key, entry = sliced_in(entries)
    chosen = choose.choice(entry.slices)
    del entries[tensor_bundle.key_of(key.decode(), sides_of(chosen))]
    entry.slices.remove(chosen)


def move_slice(entries, choose):
    """A slice is where another one is too, and leaves a hole where it was."""
    key, entry = sliced_in(entries)
    chosen, other = choose.sample(list(entry.slices), 2)
    part = entries.pop(tensor_bundle.key_of(key.decode(), sides_of(chosen)))
    for extent, beside in zip(chosen.extent, other.extent, strict=True):
        if extent.HasField("length"):
            extent.start = min(beside.start, 4 - extent.length)
    entries[tensor_bundle.key_of(key.decode(), sides_of(chosen))] = part


def sides_of(extents):
    """The sides of a slice, as an `Entry` has them."""
    return tuple(
        (extent.start, extent.length if extent.HasField("length") else -1)
        for extent in extents.extent
    )


def forge_lengths(folder, entries, choose):
    """The checksum of the lengths of texts is another, and that of the whole agrees with it."""
    entry = next(e for e in entries.values() if e.dtype == TEXT and e.size > 8)
    count = math.prod(dim.size for dim in entry.shape.dim)
    file = next(folder.glob(f"*.data-{entry.shard_id:05}-of-*"))
    content = bytearray(file.read_bytes())
    texts = bytes(content[entry.offset : entry.offset + entry.size])
    lengths, start = [], 0
    for _ in range(count):
        length, start = read_varint(texts, start)
        lengths.append(length)
    content[entry.offset + start] ^= 1
    after = bytes(content[entry.offset + start : entry.offset + entry.size])
    entry.crc32c = masked_checksum(struct.pack(f"<{count}I", *lengths) + after)
    file.write_bytes(content)


def changed(name, change):
    """What changes each part of a name, as `write_table` asks for it."""
    return lambda part, content: change(content) if part == name else content


def out_of_order(rows, choose):
    rows = list(rows)
    place = choose.randrange(1, len(rows) - 1)
    rows[place], rows[place + 1] = rows[place + 1], rows[place]
    return rows, None


def twice(rows, choose):
    place = choose.randrange(1, len(rows))
    return [*rows[: place + 1], *rows[place:]], None


TABLES = {
    "order of keys": out_of_order,
    "a key twice": twice,
    "no header": lambda rows, _: (rows[1:], None),
    "restart points": lambda rows, choose: (
        rows,
        changed("restarts", lambda found: [*found[:-1], found[-1] + choose.choice([1, 7, 2**20])]),
    ),
    "no restart points": lambda rows, _: (rows, changed("restarts", lambda _: [])),
    "bounds of blocks": lambda rows, choose: (
        rows,
        changed("bound", lambda _: choose.choice([b"", b"a", b"\xff"])),
    ),
    "compression": lambda rows, choose: (
        rows,
        changed("compression", lambda _: choose.choice([b"\1", b"\2", b"\xff"])),
    ),
    "bytes between blocks": lambda rows, _: (
        rows,
        changed("between", lambda content: content + b"\0"),
    ),
    "a block cut short": lambda rows, choose: (
        rows,
        changed("block", lambda content: content[: choose.randrange(len(content))]),
    ),
    "a block of noise": lambda rows, choose: (
        rows,
        changed("block", lambda content: choose.randbytes(len(content))),
    ),
}


EDITS = {
    "a smaller shape": shrink,
    "other slices": tell_other_slices,
    "a slice less": remove_slice,
    "a slice elsewhere": move_slice,
}
LENGTHS = "lengths of texts"
# The samples that some forgeries need.
FITTING = {**dict.fromkeys(EDITS, ("sliced", "corners")), LENGTHS: ("kinds", "shards")}
FITTING["a smaller shape"] = FITTING[LENGTHS]


def make_points(samples, folder, count, seed):
    """Damaged and forged copies of the samples, each in a folder; gives their kinds by name."""
    choose = random.Random(seed)
    names = sorted(path.name for path in samples.iterdir())
    few = [name for name in names if name != "many"]
    forgeries = [*HEADERS, *TABLES, *ENTRIES, *ENTRIES, *FITTING]
    kinds = {}
    for name in names:
        shutil.copytree(samples / name, folder / name)
        kinds[name] = "good"
    for number in range(count):
        forged = None if number % 2 else forgeries[number // 2 % len(forgeries)]
        name = choose.choice(FITTING.get(forged, names if number % 10 == 0 else few))
        point = folder / f"{number:05}-{name}"
        shutil.copytree(samples / name, point)
        kinds[point.name] = forge(forged, point, choose) if forged else damage(point, choose)
    return kinds


def read_without_tensorflow(folder):
    """What the other reader says of all points, in a process of its own."""
    process = subprocess.run(
        [sys.executable, "-m", READERS, str(folder)],
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


def find_mistake(mutant, points, kinds, judged):
    """A point at which a reader with a mistake in it is found out; None where there is none."""
    for module in (index, tensor_bundle, readers):
        file = Path(module.__file__)
        code = file.read_text(encoding="utf-8")
        if file.as_posix().endswith(mutant.file):
            assert code.count(mutant.right) == 1, f"{mutant.right!r} is not once in {mutant.file}"
            code = code.replace(mutant.right, mutant.wrong)
        exec(compile(code, file, "exec"), vars(module))  # noqa: S102
    small_first = sorted(kinds, key=lambda name: "many" in name)
    return next(
        (
            f"{name} ({kinds[name]})"
            for name in small_first
            if not agree(kinds[name], judged[name], readers.read_all(points / name))
        ),
        None,
    )


def disagreements(kinds, judged, found):
    """The points of which the readers say different things, without those that are explained."""
    return [
        f"{name} ({kind}): {difference(judged[name], found[name])}"
        for name, kind in kinds.items()
        if not agree(kind, judged[name], found[name])
    ]


def agree(kind, judged, found):
    """Whether two verdicts are alike: the same values, or both a refusal."""
    if kind == UNREAD:
        return isinstance(found, str)
    if kind == NO_VALUES and isinstance(judged, str) and "allocate" in judged:
        return True
    if isinstance(judged, dict) and isinstance(found, str):
        return kind in EXPLAINED
    return isinstance(found, str) if not isinstance(judged, dict) else judged == found


def difference(judged, found):
    """How two verdicts differ, for a message."""
    if isinstance(judged, dict) and isinstance(found, dict):
        keys = sorted({*judged, *found})
        first = next(key for key in keys if judged.get(key) != found.get(key))
        return f"{first!r} is {judged.get(first)} to TensorFlow, and {found.get(first)} without it"
    shown = ("the tensors" if isinstance(verdict, dict) else verdict for verdict in (judged, found))
    return "TensorFlow reads {}, the other one {}".format(*shown)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=1000, help="damaged and forged checkpoints")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--mutants", action="store_true", help="must be found too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        samples, points = Path(temporary) / "samples", Path(temporary) / "points"
        samples.mkdir()
        points.mkdir()
        in_child(write_samples, samples)
        kinds = make_points(samples, points, options.points, options.seed)
        judged = {name: in_child(as_tensorflow_reads, points / name) for name in kinds}
        found = read_without_tensorflow(points)
        problems = disagreements(kinds, judged, found)
        good = sum(isinstance(verdict, dict) for verdict in judged.values())
        ended = sum(verdict is None for verdict in judged.values())
        print(
            f"{len(kinds)} points, seed {options.seed}: TensorFlow reads {good}, refuses "
            f"{len(kinds) - good - ended}, and crashes on {ended}."
        )
        for kind, count in sorted(Counter(kinds.values()).items()):
            print(f"  {count:5} {kind}")
        for mutant in MUTANTS if options.mutants else ():
            finding = in_child(find_mistake, mutant, points, kinds, judged)
            print(f"mutant, {mutant.mistake}: found by {finding}", flush=True)
            if finding is None:
                problems.append(f"no point finds the mutant: {mutant.mistake}")
    print("\n".join([f"{len(problems)} disagreements", *problems]))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
