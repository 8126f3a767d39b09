"""Reading what anyone may have written: sizes are checked before memory is taken."""

import errno
import json
import os
import re
import stat
from typing import Any

from etils import epath

from .files import is_remote

DEEPEST = 100  # lists and objects inside of each other; settings of layers have a few
LARGEST = 1 << 64
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
