"""What files may hold that nobody would write by mistake: values, changes to bytes, whole files."""

import copy
import io
import json
import os
import pickle
import zipfile
import zlib
from contextlib import suppress
from functools import cache
from pathlib import Path
from struct import pack

import h5py
import numpy as np
from hypothesis import strategies as st

DEEP = {}
for _ in range(400):
    DEEP = {"in": DEEP}

DEEPER = '{"in": ' * 800 + "{}" + "}" * 800

# Each has once ended in a traceback, or passed for what it is not.
VALUES = [
    None,
    True,
    -1,
    10**30,
    10**400,
    2**63,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "[/]",
    "[bold",
    "\x1b[2J\x07",
    "\ud800",
    "$\\frac{$",
    "../../../etc/passwd",
    "a\nb",
    "x" * 100_000,
    "9" * 5000,
    "2026-01-01T00:00:00",
    "float12",
    "resource",
    "string",
    [],
    {},
    [None],
    [10**12, 10**12],
    [[[]]],
    {"nest": 5},
    {"class_name": None, "config": {}},
    DEEP,
    [{}] * 1000,
]

MOST_DEEP = 7

values = st.sampled_from(list(map(json.dumps, VALUES))).map(json.loads) | st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(st.characters(codec=None), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


def places(value, path=()):
    """The path of everything in a JSON value, the value itself first, down to some depth."""
    yield path
    if len(path) == MOST_DEEP:
        return
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in inside:
        yield (*path, key)
        if isinstance(inner, dict | list):
            yield from list(places(inner, (*path, key)))[1:]


@st.composite
def changed(draw, honest):
    """An honest JSON value with something in it replaced, removed or added, as a text."""
    value = copy.deepcopy(honest)
    for _ in range(draw(st.integers(1, 3))):
        *outer, key = draw(st.sampled_from([place for place in places(value) if place] or [(0,)]))
        inside = value
        for step in outer:
            inside = inside[step]
        action = draw(st.sampled_from(["replace", "replace", "remove", "add"]))
        with suppress(IndexError, KeyError):
            if action == "remove":
                del inside[key]
            elif action == "add" and isinstance(inside, dict):
                inside[draw(st.text(max_size=10))] = draw(values)
            else:
                inside[key] = draw(values)
    text = json.dumps(value)
    return draw(st.sampled_from([text] * 9 + [text[: len(text) // 2]]))


@st.composite
def damaged(draw, honest):
    """Honest bytes with some of them changed, removed, repeated, or taken for large numbers."""
    content = bytearray(honest)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(0, len(content) - 1)))
        action = draw(st.sampled_from(["flip", "number", "number", "cut", "remove", "repeat"]))
        if action == "flip":
            content[place : place + 1] = bytes([draw(st.integers(0, 255))])
        elif action == "number":
            width = draw(st.sampled_from([1, 2, 4, 8]))
            number = draw(st.sampled_from([0, 1, -1, 2**31 - 1, 2**40, 2**62]))
            content[place : place + width] = pack("<q", number)[:width]
        elif action == "cut":
            del content[place:]
        elif action == "remove":
            del content[place : place + draw(st.integers(1, 16))]
        else:
            content[place:place] = content[place : place + draw(st.integers(1, 64))]
    return bytes(content)


class Code:
    """Leaves a trace where it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("code was run",)


def npz(**members):
    """An archive with these members, deflated."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("_npy", ".npy"), content)
    return file.getvalue()


def npy(array, shape=None):
    """An array as a `.npy` file, whose header tells another shape."""
    file = io.BytesIO()
    np.lib.format.write_array(file, array)
    told = str(tuple(array.shape)).encode()
    content = file.getvalue()
    lie = content.replace(told, str(shape).encode(), 1) if shape else content
    return lie.replace(b" " * (len(lie) - len(content)) + b"\n", b"\n", 1) if shape else content


BOMB = 300 << 20  # bytes


def zeros(size):
    """So many zero bytes of a `.npy` file."""
    header = io.BytesIO()
    about = {"descr": "|u1", "fortran_order": False, "shape": (size,)}
    np.lib.format.write_array_header_1_0(header, about)
    return header.getvalue() + bytes(size)


@cache
def hostile_arrays(honest):
    """`.npz` files by name."""
    code = io.BytesIO()
    np.lib.format.write_array(code, np.array([Code()], object), allow_pickle=True)
    return {
        "honest": honest,
        "a bomb": npz(x_npy=zeros(BOMB), y_npy=npy(np.zeros(3))),
        "code": npz(x_npy=code.getvalue(), y_npy=code.getvalue()),
        "a header that lies": npz(x_npy=npy(np.zeros(3), (10**12,)), y_npy=npy(np.zeros(3))),
        "a header of brackets": npz(x_npy=b"\x93NUMPY\x01\x00\x76\x00" + b"(" * 118, y_npy=b""),
        "a pickle": pickle.dumps(Code()),
        "no archive": b"PK\x05\x06" + bytes(18),
        "nothing": b"",
    }


def png(width, height):
    """An image that claims a size, and has one row of zeros at most."""

    def chunk(name, content):
        return pack(">I", len(content)) + name + content + pack(">I", zlib.crc32(name + content))

    header = pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(min(width, 100) * 3 + 1))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(name, content)
        for name, content in ((b"IHDR", header), (b"IDAT", rows), (b"IEND", b""))
    )


def hostile_images():
    """Image files by name."""
    sizes = {
        "honest": (8, 8),
        "large": (9000, 9000),
        "huge": (10**6, 10**6),
        "wide": (2**31 - 1, 1),
    }
    return {name: png(*size) for name, size in sizes.items()} | {"nothing": b"", "text": b"[/]"}


@cache
def hostile_weights(honest, archive):
    """Files of Keras by name, given an honest `.weights.h5` and an honest `.keras`."""

    def with_change(change):
        file = io.BytesIO(honest)
        with h5py.File(file, "r+") as opened:
            change(opened)
        return file.getvalue()

    def replaced(**settings):
        def change(file):
            del file["layers/dense/vars/0"]
            file.create_dataset("layers/dense/vars/0", **settings)

        return with_change(change)

    def attribute(name, value):
        return with_change(lambda file: file.attrs.__setitem__(name, value))

    def link(name, to):
        return with_change(lambda file: file.__setitem__(name, to))

    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("model.weights.h5", honest + bytes(BOMB))
    layers = np.array(["elsewhere"], "S20")
    outside = h5py.ExternalLink("pipe", "x")  # a pipe in the working directory
    return {
        "honest": honest,
        "honest archive": archive,
        "a bomb": bomb.getvalue(),
        "4 GB of nothing": replaced(shape=(1 << 30,), dtype="f4", chunks=(1 << 20,)),
        "64 TB": replaced(shape=(1 << 44,), dtype="f4"),
        "much, packed": replaced(
            shape=(1 << 27,), dtype="f4", chunks=(1 << 20,), compression="gzip", fillvalue=1
        ),
        "texts": replaced(shape=(3,), dtype=h5py.string_dtype()),
        "parts": replaced(shape=(3,), dtype=np.dtype([("a", "f4"), ("b", "i8")])),
        "nothing in it": replaced(data=h5py.Empty("f4")),
        "layers that are numbers": attribute("layer_names", np.arange(3)),
        "layers that are not there": attribute("layer_names", ["a", "../b", "dense"]),
        "one layer": attribute("layer_names", "layers"),
        "layers in bytes": attribute("layer_names", layers),
        "weights that are not there": with_change(
            lambda file: (
                file.attrs.__setitem__("layer_names", ["layers"]),
                file["layers"].attrs.__setitem__("weight_names", ["kernel"]),
            )
        ),
        "a layer elsewhere": with_change(
            lambda file: (
                file.attrs.__setitem__("layer_names", ["outside"]),
                file.__setitem__("outside", outside),
            )
        ),
        "a model elsewhere": link("model_weights", outside),
        "a link in a circle": link("model_weights", h5py.SoftLink("/model_weights")),
        "itself": with_change(lambda file: file.__setitem__("layers/again", file["layers"])),
        "a lying type": with_change(
            lambda file: file["layers/dense/vars/0"].attrs.__setitem__("dtype", "float64")
        ),
        "a type that there is not": with_change(
            lambda file: file["layers/dense/vars/0"].attrs.__setitem__("dtype", "[/]")
        ),
        "half an archive": archive[: len(archive) // 2],
        "an archive with a wrong list": archive[:-30] + bytes(8) + archive[-22:],
    }


def mask(checksum):
    """A checksum as TensorFlow's files have it."""
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF


TABLE = []
for _number in range(256):
    for _ in range(8):
        _number = _number >> 1 ^ (0x82F63B78 if _number & 1 else 0)
    TABLE.append(_number)


def crc32c(content):
    """The CRC-32C of some bytes."""
    checksum = 0xFFFFFFFF
    for byte in content:
        checksum = checksum >> 8 ^ TABLE[(checksum ^ byte) & 0xFF]
    return checksum ^ 0xFFFFFFFF


def record(content, size=None):
    """A record of a TFRecord file, which claims a size; all its checksums are right."""
    size = pack("<Q", len(content) if size is None else size)
    return b"".join(part + pack("<I", mask(crc32c(part))) for part in (size, content))


def hostile_records():
    """TFRecord files by name."""
    honest = record(b"first") + record(b"second")
    return {
        "honest": honest,
        "a length of 2**60": honest + record(b"third", 1 << 60),
        "a length of 2**63": record(b"first", 1 << 63),
        "a length of 64 GB": honest + record(b"third", 1 << 36),
        "a length one too long": record(b"first", 6),
        "cut": honest[:-3],
        "no checksum": honest[:-1] + b"x",
    }


def pipe(path):
    """Puts a pipe that nobody writes to in the place of a file."""
    path = Path(path)
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path)
