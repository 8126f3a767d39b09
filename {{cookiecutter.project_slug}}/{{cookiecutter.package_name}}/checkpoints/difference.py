"""The difference between two structures: what a checkpoint holds and what a model is."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from json import dumps
from typing import Any

from .structure import LayerEntry, Structure, VariableEntry


@dataclass(frozen=True)
class Difference:
    """One line of a mismatch report.

    Attributes:
        symbol: `!` another shape or type, `-` only in the checkpoint, `+` only in the model,
            `~` another setting or order. Of two checkpoints, the second stands for the model.
        path: of the variable, layer or setting.
        text: what differs.
    """

    symbol: str
    path: str
    text: str


@dataclass(frozen=True)
class Places:
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
    def of_two(cls, first: str, second: str) -> "Places":
        """Those of two checkpoints."""
        return cls(first, second, second)


def table_of(differences: Sequence[Difference]) -> str:
    """The differences as lines of text, their columns aligned."""
    width = max(len(difference.path) for difference in differences)
    return "".join(
        f"  {entry.symbol} {entry.path:<{width}}  {entry.text}\n" for entry in differences
    )


def compare(saved: Structure, live: Structure, places: Places = Places()) -> list[Difference]:
    """What keeps a checkpoint from being restored into a model; empty where it fits.

    Args:
        saved: what the checkpoint holds.
        live: what the model is, or another checkpoint holds.
        places: what the two are called.
    """
    differences = [
        *compare_variables(without_slots(saved.variables), without_slots(live.variables), places),
        *compare_layers(saved, live, places),
        *compare_values(saved.optimizers, live.optimizers, places.saved, places.model),
        *compare_values(saved.identity, live.identity, places.saved, places.configuration),
    ]
    # Slots follow the weights and the optimizer: they are worth a line only where nothing else is.
    return differences or compare_variables(saved.variables, live.variables, places)


def without_slots(variables: Iterable[VariableEntry]) -> list[VariableEntry]:
    """The variables that do not belong to an optimizer."""
    return [entry for entry in variables if entry.role != "optimizer"]


def compare_variables(
    saved: Iterable[VariableEntry], live: Iterable[VariableEntry], places: Places
) -> list[Difference]:
    """Variables on one side only, and those of another shape or type."""
    old = {entry.path: entry for entry in saved}
    new = {entry.path: entry for entry in live}
    differences = []
    for path in [*old, *(path for path in new if path not in old)]:
        if path not in new:
            entry = old[path]
            text = f"only in {places.saved} {entry.shape} {entry.dtype}"
            differences.append(Difference("-", path, text))
        elif path not in old:
            entry = new[path]
            text = f"only in {places.model} {entry.shape} {entry.dtype}"
            differences.append(Difference("+", path, text))
        else:
            for name in ("shape", "dtype"):
                before, after = getattr(old[path], name), getattr(new[path], name)
                if before != after:
                    text = f"{name} {before} in {places.saved}, {after} in {places.model}"
                    differences.append(Difference("!", path, text))
    return differences


def compare_layers(saved: Structure, live: Structure, places: Places) -> list[Difference]:
    """Other classes, settings and order, and the layers that have no variable to show them."""
    old = {entry.path: entry for entry in saved.layers}
    new = {entry.path: entry for entry in live.layers}
    differences = []
    for path in [*old, *(path for path in new if path not in old)]:
        if path not in new:
            if not has_variables(path, saved):
                text = f"only in {places.saved} ({old[path].kind})"
                differences.append(Difference("-", path, text))
        elif path not in old:
            if not has_variables(path, live):
                text = f"only in {places.model} ({new[path].kind})"
                differences.append(Difference("+", path, text))
        else:
            differences += compare_settings(old[path], new[path], places)
    return differences + compare_order([*old], [*new], places)


def has_variables(layer: str, structure: Structure) -> bool:
    """Whether a layer shows in the table of variables."""
    return any(entry.path.startswith(f"{layer}/") for entry in structure.variables)


def compare_settings(saved: LayerEntry, live: LayerEntry, places: Places) -> list[Difference]:
    """Another class, or settings with other values."""
    if saved.kind != live.kind:
        text = f"{saved.kind} in {places.saved}, {live.kind} in {places.model}"
        return [Difference("~", saved.path, text)]
    # Only settings that both know: another Keras version may have brought new ones.
    return [
        Difference(
            "~",
            saved.path,
            f"{name} {saved.settings[name]} in {places.saved}, "
            f"{live.settings[name]} in {places.model}",
        )
        for name in saved.settings.keys() & live.settings.keys()
        if canonical(saved.settings[name]) != canonical(live.settings[name])
    ]


def canonical(setting: Any) -> str:
    """A setting as JSON: in one order of its keys, and with NaN equal to NaN."""
    return dumps(setting, sort_keys=True)


def compare_order(saved: list[str], live: list[str], places: Places) -> list[Difference]:
    """Layers of both sides that stand elsewhere."""
    before = [path for path in saved if path in live]
    after = [path for path in live if path in saved]
    return [
        Difference("~", old, f"stands in {places.saved} where {new} stands in {places.model}")
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
