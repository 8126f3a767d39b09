"""The difference between two structures: what a checkpoint holds and what a model is."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from json import dumps
from typing import Any

from ..errors import Difference
from .structure import LayerEntry, Structure, VariableEntry


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
    ]
    # Slots follow the weights and the optimizer: they are worth a line only where nothing else is.
    return differences or compare_variables(needed(saved), needed(live), sides)


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
