"""The difference between two structures: what a checkpoint holds and what a model is."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from json import dumps
from math import isclose
from typing import Any

from ..errors import Difference
from .card import ADDED, AXES, LayerEntry, Structure, VariableEntry

LAMBDA = "__lambda__"  # as Keras writes it
FEW = 8  # entries of a list that are still told
SAME_NAMES = {"swish": "silu"}
# What cards of the first edition have for the type of a layer inside of another, and for an array.
NOT_TOLD = ({"class_name": "DTypePolicy", "config": {}}, "<class 'numpy.ndarray'>")


@dataclass(frozen=True)
class SideNames:
    """What the two sides of a comparison are called.

    Attributes:
        saved: the first.
        model: the second.
        configuration: where the second has its settings.
    """

    saved: str = "the checkpoint"
    model: str = "the model"
    configuration: str = "the configuration"

    @classmethod
    def of_two(cls, first: str, second: str) -> "SideNames":
        """Those of two checkpoints."""
        return cls(first, second, second)


def find_differences(
    saved: Structure, live: Structure, sides: SideNames = SideNames()
) -> list[Difference]:
    """What keeps a checkpoint from being restored into a model; empty where it fits.

    Args:
        saved: what the checkpoint holds.
        live: what the model is, or another checkpoint holds.
        sides: what the two are called.
    """
    differences = [
        *compare_variables(needed(saved, slots=False), needed(live, slots=False), sides),
        *compare_layers(saved, live, sides),
        *compare_values(saved.optimizers, live.optimizers, sides.saved, sides.model),
        *compare_values(saved.identity, live.identity, sides.saved, sides.configuration),
        *compare_others(saved.others, live.others, sides),
    ]
    # Slots follow the weights and the optimizer: they are worth a line only where nothing else is.
    return (
        differences
        or compare_variables(needed(saved), needed(live), sides)
        or compare_attributes(saved, live, sides)
    )


def compare_others(saved: list[str], live: list[str], sides: SideNames) -> list[Difference]:
    """Iterators, tables and Python state on one side only."""
    old, new = dict.fromkeys(saved), dict.fromkeys(live)
    return [
        *(Difference("-", path, f"only in {sides.saved}") for path in old if path not in new),
        *(Difference("+", path, f"only in {sides.model}") for path in new if path not in old),
    ]


def compare_attributes(saved: Structure, live: Structure, sides: SideNames) -> list[Difference]:
    """Variables whose names agree while the attributes that they are reached by are swapped.

    Names that Keras gave by number follow the order of the constructor's lines: with two lines
    swapped, each name means the other layer, and only the attributes tell.
    """
    old = {entry.path: entry.key for entry in saved.variables if entry.role == "model"}
    new = {entry.path: entry.key for entry in live.variables if entry.role == "model"}
    owners = {key: path for path, key in new.items()}
    return [
        Difference(
            "~",
            path,
            f"is {attribute_of(key)} in {sides.saved}, {attribute_of(new[path])} in {sides.model}",
        )
        for path, key in old.items()
        if new.get(path, key) != key and owners.get(key, path) != path
    ]


def attribute_of(key: str) -> str:
    """The attributes by which TensorFlow reaches a variable: model.query.kernel."""
    return key.partition("/.ATTRIBUTES")[0].replace("/", ".")


def needed(structure: Structure, *, slots: bool = True) -> list[VariableEntry]:
    """The variables that a run cannot do without: all but the means of its log and what is added.

    Args:
        structure: whose variables they are.
        slots: whether those of the optimizers are among them.
    """
    left_out = {"metric", *ADDED} if slots else {"metric", "optimizer", *ADDED}
    return [entry for entry in structure.variables if entry.role not in left_out]


def compare_variables(
    saved: Iterable[VariableEntry], live: Iterable[VariableEntry], sides: SideNames
) -> list[Difference]:
    """Variables on one side only, and those of another shape or type."""
    old = {entry.path: entry for entry in saved}
    new = {entry.path: entry for entry in live}
    differences = []
    for path in [*old, *(path for path in new if path not in old)]:
        if path not in new:
            entry = old[path]
            text = f"only in {sides.saved} {entry.shape} {entry.dtype}"
            differences.append(Difference("-", path, text))
        elif path not in old:
            entry = new[path]
            text = f"only in {sides.model} {entry.shape} {entry.dtype}"
            differences.append(Difference("+", path, text))
        else:
            for name in ("shape", "dtype"):
                before, after = getattr(old[path], name), getattr(new[path], name)
                if before != after:
                    text = f"{name} {before} in {sides.saved}, {after} in {sides.model}"
                    differences.append(Difference("!", path, text))
    return differences


def compare_layers(saved: Structure, live: Structure, sides: SideNames) -> list[Difference]:
    """Other classes, settings and order, and the layers that have no variable to show them."""
    old = {entry.path: entry for entry in saved.layers}
    new = {entry.path: entry for entry in live.layers}
    differences = []
    for path in [*old, *(path for path in new if path not in old)]:
        if path not in new:
            if not has_variables(path, saved):
                text = f"only in {sides.saved} ({old[path].kind})"
                differences.append(Difference("-", path, text))
        elif path not in old:
            if not has_variables(path, live):
                text = f"only in {sides.model} ({new[path].kind})"
                differences.append(Difference("+", path, text))
        else:
            differences += compare_settings(old[path], new[path], sides)
    return differences + compare_order([*old], [*new], sides)


def has_variables(layer: str, structure: Structure) -> bool:
    """Whether a layer shows in the table of variables."""
    return any(entry.path.startswith(f"{layer}/") for entry in structure.variables)


def compare_settings(saved: LayerEntry, live: LayerEntry, sides: SideNames) -> list[Difference]:
    """Another class, or settings with other values."""
    if saved.kind != live.kind:
        text = f"{saved.kind} in {sides.saved}, {live.kind} in {sides.model}"
        return [Difference("~", saved.path, text)]
    return [
        Difference(
            "~", saved.path, f"{name} {brief(old)} in {sides.saved}, {brief(new)} in {sides.model}"
        )
        for name, old, new in differing_settings(saved.settings, live.settings)
    ]


def differing_settings(saved: Any, live: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """The names of settings that differ, with both values, at whatever depth they are.

    Only what both sides know counts: another Keras may have brought new settings.
    """
    if is_lambda(saved) and is_lambda(live):
        return
    if isinstance(saved, Mapping) and isinstance(live, Mapping):
        if saved.get("class_name") != live.get("class_name"):
            yield name, saved, live
            return
        rank = saved.get("input_rank") or live.get("input_rank")
        for key in sorted(saved.keys() & live.keys() - {"input_rank"}):
            old, new = saved[key], live[key]
            if key in AXES:
                old, new = counted_alike(old, new, rank)
            inner = name if key == "config" else f"{name}.{key}".lstrip(".")
            yield from differing_settings(old, new, inner)
    elif is_nested(saved) and is_nested(live) and len(saved) == len(live):
        for number, (old, new) in enumerate(zip(saved, live, strict=True)):
            yield from differing_settings(old, new, f"{name}.{number}")
    elif not means_the_same(saved, live):
        yield name, saved, live


def is_lambda(value: Any) -> bool:
    """Whether a setting is a function without a name.

    Keras keeps its bytecode, which changes with the line that it stands in.
    """
    if not isinstance(value, Mapping):
        return bool(value == LAMBDA)
    code = value.get("value")  # of an activation, Keras keeps this alone
    is_bare = value.keys() == {"value"} and isinstance(code, list | tuple) and len(code) == 3
    return value.get("class_name") == LAMBDA or is_bare


def is_nested(value: Any) -> bool:
    """Whether a setting is a list of things that have settings of their own."""
    return isinstance(value, list) and any(isinstance(inner, Mapping) for inner in value)


def counted_alike(saved: Any, live: Any, rank: int | None) -> tuple[Any, Any]:
    """Axes of both sides as lists, counted from the front.

    Without a rank they can only be compared where both sides count from the same end.
    """
    both = [axes if isinstance(axes, list) else [axes] for axes in (saved, live)]
    if not all(isinstance(axis, int) for axes in both for axis in axes):
        return saved, live
    if rank is not None:
        both = [[axis % rank for axis in axes] for axes in both]
    ends = [[axis < 0 for axis in axes] for axes in both]
    return (both[0], both[1]) if ends[0] == ends[1] else (None, None)


def means_the_same(saved: Any, live: Any) -> bool:
    """Whether two settings are the same, though two versions of Keras may write them differently.

    One keeps numbers in single precision, names an activation otherwise, keeps the end of a range
    that goes from its negative or from zero.
    """
    if saved in NOT_TOLD or live in NOT_TOLD:
        return True
    if is_number(saved) and is_number(live):
        return isclose(saved, live, rel_tol=1e-6)
    for one, other in ((saved, live), (live, saved)):
        if is_number(one) and isinstance(other, list):
            return other in ([-one, one], [0, one])
    if isinstance(saved, str) and isinstance(live, str):
        return SAME_NAMES.get(saved, saved) == SAME_NAMES.get(live, live)
    return dumps(saved, sort_keys=True) == dumps(live, sort_keys=True)


def is_number(value: Any) -> bool:
    """Whether a setting is a number, and no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def brief(value: Any) -> str:
    """A setting on one line: of an object, its class."""
    if isinstance(value, Mapping):
        return str(value.get("class_name", "other settings"))
    if isinstance(value, list):
        return f"[{', '.join(map(brief, value))}]"
    return str(value)


def compare_order(saved: list[str], live: list[str], sides: SideNames) -> list[Difference]:
    """Layers of both sides that stand elsewhere."""
    both = {*saved} & {*live}
    before = [path for path in dict.fromkeys(saved) if path in both]
    after = [path for path in dict.fromkeys(live) if path in both]
    return [
        Difference("~", old, f"stands in {sides.saved} where {new} stands in {sides.model}")
        for old, new in zip(before, after, strict=True)
        if old != new
    ]


def compare_values(
    saved: Mapping[str, Any], live: Mapping[str, Any], first: str, second: str
) -> list[Difference]:
    """Values that differ, of those that both sides know."""
    differences = []
    for name in saved.keys() & live.keys():
        if saved[name] != live[name]:
            old, new = in_few_words(saved[name], live[name])
            differences.append(Difference("~", name, f"{old} in {first}, {new} in {second}"))
    return differences


def in_few_words(saved: Any, live: Any) -> tuple[Any, Any]:
    """Both values; of long lists, such as a vocabulary, the first entry that differs."""
    both = (saved, live)
    if not all(isinstance(value, list) and len(value) > FEW for value in both):
        return both
    pairs = enumerate(zip(saved, live, strict=False))
    place = next((place for place, (old, new) in pairs if old != new), min(map(len, both)))
    old, new = (
        f"{len(value)} entries"
        + (f" (the first other one is {value[place]!r})" if place < len(value) else "")
        for value in both
    )
    return old, new
