"""The difference between two structures: what a checkpoint holds and what a model is."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from json import dumps
from typing import Any

from ..errors import Difference
from .card import LayerEntry, Structure, VariableEntry


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
    return [
        *(Difference("-", path, f"only in {sides.saved}") for path in saved if path not in live),
        *(Difference("+", path, f"only in {sides.model}") for path in live if path not in saved),
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
    """The variables that a run cannot do without: all but the means of its log.

    Args:
        structure: whose variables they are.
        slots: whether those of the optimizers are among them.
    """
    left_out = {"metric"} if slots else {"metric", "optimizer"}
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
    # Only settings that both know: another Keras version may have brought new ones.
    return [
        Difference(
            "~",
            saved.path,
            f"{name} {saved.settings[name]} in {sides.saved}, "
            f"{live.settings[name]} in {sides.model}",
        )
        for name in saved.settings.keys() & live.settings.keys()
        if dumps(saved.settings[name], sort_keys=True) != dumps(live.settings[name], sort_keys=True)
    ]


def compare_order(saved: list[str], live: list[str], sides: SideNames) -> list[Difference]:
    """Layers of both sides that stand elsewhere."""
    before = [path for path in saved if path in live]
    after = [path for path in live if path in saved]
    return [
        Difference("~", old, f"stands in {sides.saved} where {new} stands in {sides.model}")
        for old, new in zip(before, after, strict=True)
        if old != new
    ]


def compare_values(
    saved: Mapping[str, Any], live: Mapping[str, Any], first: str, second: str
) -> list[Difference]:
    """Values that differ, of those that both sides know."""
    return [
        Difference("~", name, f"{saved[name]} in {first}, {live[name]} in {second}")
        for name in saved.keys() & live.keys()
        if saved[name] != live[name]
    ]
