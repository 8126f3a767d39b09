"""What the parts of a JSON text must be, such as those of a card: a file may hold anything."""

import re
from datetime import datetime
from types import NoneType
from typing import Any, NamedTuple

FARTHEST = 1 << 63  # TensorFlow counts steps in 64 bits
MOST_PARTS = 1000  # of a batch


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
