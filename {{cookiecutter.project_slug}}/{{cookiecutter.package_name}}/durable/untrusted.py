"""Reading what anyone may have written: kinds come first, and sizes before memory is taken."""

import errno
import json
import os
import re
import stat
from datetime import datetime
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple

from etils import epath

from .remote import is_remote

DEEPEST = 100  # lists and objects inside of each other; settings of layers have a few
LARGEST = 1 << 64
FARTHEST = 1 << 63  # TensorFlow counts steps in 64 bits
MOST_PARTS = 1000  # of a batch
LONGEST_TEXT = 1 << 25  # bytes of a text that is read as a whole
# What is larger must not be packed more tightly: no file of weights, examples or an image is.
SMALL = 1 << 25  # bytes
TIGHTEST = 100  # bytes, in each of the file

# What acts on a terminal, or on the direction of a line, and halves of characters.
UNPRINTABLE = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""The text with \x1b and the like for the characters that would act on a terminal."""
    return UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)


def require_regular(path: epath.PathLike) -> None:
    """Raises OSError for what is no regular file: a pipe or a device can be waited for for ever.

    What is not there is left to whatever opens it.
    """
    if is_remote(path):
        return
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - `epath` looks up the owner's name
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "It is no regular file", os.fspath(path))


def is_regular(path: epath.PathLike) -> bool:
    """Whether there is a regular file; `epath` takes a pipe for one."""
    return is_remote(path) or Path(path).is_file()


def read_bytes(path: epath.PathLike) -> bytes:
    """The bytes of a regular file.

    Raises:
        OSError: it cannot be read, or is none.
    """
    require_regular(path)
    return epath.Path(path).read_bytes()


def read_text(path: epath.PathLike, longest: int = LONGEST_TEXT) -> str:
    """A text of at most so many bytes.

    Raises:
        OSError: it cannot be read, or is no regular file.
        ValueError: it is longer, or no UTF-8.
    """
    require_regular(path)
    with epath.Path(path).open("rb") as file:
        content = file.read(longest + 1)
    if len(content) > longest:
        raise ValueError(f"it has more than {longest} bytes")
    return content.decode()


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text, with None for NaN and Infinity, which are not JSON.

    Raises:
        ValueError: it is none, is too long or too deep, or has a number that nothing here can hold.
    """
    if len(text) > LONGEST_TEXT:
        raise ValueError(f"it has more than {LONGEST_TEXT} bytes")
    try:
        value = json.loads(text, parse_constant=lambda _: None, parse_int=parse_whole)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    require_shallow(value)
    return value


def parse_whole(text: str) -> int:
    """A whole number of at most 64 bits; else it raises ValueError."""
    if len(text) > len(str(LARGEST)) or abs(number := int(text)) >= LARGEST:
        raise ValueError(f"{text[:20]}… is too large a number")
    return number


def require_shallow(value: Any) -> None:
    """Raises ValueError for lists and objects more than `DEEPEST` inside of each other."""
    level = [value]
    for _ in range(DEEPEST):
        level = [
            inner for outer in level if isinstance(outer, dict | list) for inner in parts(outer)
        ]
        if not level:
            return
    raise ValueError("it is nested too deep")


def parts(value: dict[str, Any] | list[Any]) -> Any:
    """What is in an object or a list."""
    return value.values() if isinstance(value, dict) else value


def require_plausible(unpacked: int, stored: int, name: str) -> None:
    """Raises ValueError where a small file claims to hold much; call it before memory is taken.

    Args:
        unpacked: bytes that it says it has.
        stored: bytes of the file that they are in.
        name: what it is called.
    """
    if unpacked > max(SMALL, TIGHTEST * stored):
        raise ValueError(
            f"{name} claims to hold {unpacked} bytes, and has {stored}: it is not unpacked"
        )


class Maybe(NamedTuple):
    """A kind of a part that need not be there."""

    kind: Any


ANY = "*"  # the key of a kind that all the values of an object have


def require_kinds(value: Any, kind: Any, name: str) -> None:
    """Raises TypeError where a value, or a part of it, is not of its kind.

    Args:
        value: what a JSON text held.
        kind: a type or several; a pattern, for a text; a function that tells whether a value is
            one; a list of the kind of all elements; or an object of the kinds of its values, in
            which the key ANY stands for all. Of other keys, the values may be anything.
        name: what it is called.
    """
    if isinstance(kind, dict):
        require_object(value, kind, name)
    elif isinstance(kind, list):
        require_kinds(value, list, name)
        for inner in value:
            require_kinds(inner, kind[0], f"an entry of {name}")
    elif not is_of_kind(value, kind):
        raise TypeError(f"{name} cannot be {type(value).__name__} {shortened(value)}")


def fits(value: Any, kind: Any) -> bool:
    """Whether a value and all its parts are of their kind; see `require_kinds`."""
    try:
        require_kinds(value, kind, "it")
    except TypeError:
        return False
    return True


def require_object(value: Any, kinds: dict[str, Any], name: str) -> None:
    """Raises TypeError unless a value is an object whose values are of their kinds."""
    require_kinds(value, dict, name)
    for key, kind in kinds.items():
        if key != ANY and key not in value and not isinstance(kind, Maybe):
            raise TypeError(f"{name} has no {key}")
    for key, inner in value.items():
        kind = kinds.get(key, kinds.get(ANY))
        if kind is not None:
            kind = kind.kind if isinstance(kind, Maybe) else kind
            require_kinds(inner, kind, f"{shortened(key)} in {name}")


def is_of_kind(value: Any, kind: Any) -> bool:
    """Whether a value is of a kind that has no parts. True and False are no numbers."""
    if isinstance(kind, re.Pattern):
        return isinstance(value, str) and kind.fullmatch(value) is not None
    if isinstance(kind, type | tuple):
        return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    return bool(kind(value))


def is_count(value: Any) -> bool:
    """Whether a value is a whole number from 0 up that TensorFlow can hold."""
    return is_of_kind(value, int) and 0 <= value < FARTHEST


def is_count_or_null(value: Any) -> bool:
    """Whether it is such a number, or null."""
    return value is None or is_count(value)


def shortened(value: Any) -> str:
    """A value in few letters, for a message."""
    text = str(value) if isinstance(value, str | int | float) else type(value).__name__
    return text if len(text) <= 40 else f"{text[:40]}…"


def parts_in(spec: Any) -> int:
    """How many tensors a batch has, of what `data.protocol.spec_as_json` gives.

    Raises:
        TypeError: it is something else.
    """
    if isinstance(spec, dict) and isinstance(spec.get("nest"), dict):
        return sum(map(parts_in, spec["nest"].values()))
    if isinstance(spec, list):
        return sum(map(parts_in, spec))
    rank = {"ragged_rank": Maybe(is_count)}
    require_kinds(spec, {"shape": [is_count_or_null], "dtype": str} | rank, "a part of a batch")
    return 1


def is_time(value: Any) -> bool:
    """Whether a value is a time with its zone, ISO 8601."""
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


NUMBER = (int, float, NoneType)  # null stands for one that is not finite
SHARD = re.compile(r"[^/\\]+-[0-9a-f]{16}")  # the name of what checkpoints share
CARD = {
    "step": is_count,
    "epoch": is_count_or_null,
    "metrics": {ANY: NUMBER},
    "settings": dict,
    "origin": (dict, NoneType),
    "created": is_time,
    "versions": {"tensorflow": str, "keras": str, ANY: str},
    "structure": {
        "layers": [{"path": str, "kind": str, "settings": dict}],
        "variables": [
            {"path": str, "key": str, "dtype": str, "role": str, "shape": [is_count_or_null]}
        ],
        "optimizers": {ANY: str},
        "identity": {"keras": str},
        "others": Maybe([str]),
    },
    "batch": Maybe(is_count),
    "steps_per_epoch": Maybe(is_count_or_null),
    "element_spec": Maybe(lambda value: value is None or parts_in(value) <= MOST_PARTS),
    "rates": Maybe({ANY: NUMBER}),
    "commit": Maybe((str, NoneType)),
    "changed": Maybe(bool),
    "shared": Maybe([SHARD]),
    "counter": Maybe((str, NoneType)),
}
ORIGIN = {"kind": str, "sources": lambda value: value and all(isinstance(x, str) for x in value)}
