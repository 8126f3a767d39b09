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
            `~` another setting or order.
        path: of the variable, layer or setting.
        text: what differs.
    """

    symbol: str
    path: str
    text: str


def table_of(differences: Sequence[Difference]) -> str:
    """The differences as lines of text, their columns aligned."""
    width = max(len(difference.path) for difference in differences)
    return "".join(
        f"  {entry.symbol} {entry.path:<{width}}  {entry.text}\n" for entry in differences
    )


def compare(saved: Structure, live: Structure) -> list[Difference]:
    """What keeps a checkpoint from being restored into a model; empty where it fits."""
    differences = [
        *compare_variables(without_slots(saved.variables), without_slots(live.variables)),
        *compare_layers(saved, live),
        *compare_values(saved.optimizers, live.optimizers, "model"),
        *compare_values(saved.identity, live.identity, "configuration"),
    ]
    # Slots follow the weights and the optimizer: they are worth a line only where nothing else is.
    return differences or compare_variables(saved.variables, live.variables)


def without_slots(variables: Iterable[VariableEntry]) -> list[VariableEntry]:
    """The variables that do not belong to an optimizer."""
    return [entry for entry in variables if entry.role != "optimizer"]


def compare_variables(
    saved: Iterable[VariableEntry], live: Iterable[VariableEntry]
) -> list[Difference]:
    """Variables on one side only, and those of another shape or type."""
    old = {entry.path: entry for entry in saved}
    new = {entry.path: entry for entry in live}
    differences = []
    for path in [*old, *(path for path in new if path not in old)]:
        if path not in new:
            entry = old[path]
            text = f"only in the checkpoint {entry.shape} {entry.dtype}"
            differences.append(Difference("-", path, text))
        elif path not in old:
            entry = new[path]
            text = f"only in the model {entry.shape} {entry.dtype}"
            differences.append(Difference("+", path, text))
        else:
            for name in ("shape", "dtype"):
                before, after = getattr(old[path], name), getattr(new[path], name)
                if before != after:
                    text = f"{name} {before} in the checkpoint, {after} in the model"
                    differences.append(Difference("!", path, text))
    return differences


def compare_layers(saved: Structure, live: Structure) -> list[Difference]:
    """Other classes, settings and order, and the layers that have no variable to show them."""
    old = {entry.path: entry for entry in saved.layers}
    new = {entry.path: entry for entry in live.layers}
    differences = []
    for path in [*old, *(path for path in new if path not in old)]:
        if path not in new:
            if not has_variables(path, saved):
                text = f"only in the checkpoint ({old[path].kind})"
                differences.append(Difference("-", path, text))
        elif path not in old:
            if not has_variables(path, live):
                differences.append(Difference("+", path, f"only in the model ({new[path].kind})"))
        else:
            differences += compare_settings(old[path], new[path])
    return differences + compare_order([*old], [*new])


def has_variables(layer: str, structure: Structure) -> bool:
    """Whether a layer shows in the table of variables."""
    return any(entry.path.startswith(f"{layer}/") for entry in structure.variables)


def compare_settings(saved: LayerEntry, live: LayerEntry) -> list[Difference]:
    """Another class, or settings with other values."""
    if saved.kind != live.kind:
        text = f"{saved.kind} in the checkpoint, {live.kind} in the model"
        return [Difference("~", saved.path, text)]
    # Only settings that both know: another Keras version may have brought new ones.
    return [
        Difference(
            "~",
            saved.path,
            f"{name} {saved.settings[name]} in the checkpoint, {live.settings[name]} in the model",
        )
        for name in saved.settings.keys() & live.settings.keys()
        if canonical(saved.settings[name]) != canonical(live.settings[name])
    ]


def canonical(setting: Any) -> str:
    """A setting as JSON: in one order of its keys, and with NaN equal to NaN."""
    return dumps(setting, sort_keys=True)


def compare_order(saved: list[str], live: list[str]) -> list[Difference]:
    """Layers of both sides that stand elsewhere."""
    before = [path for path in saved if path in live]
    after = [path for path in live if path in saved]
    return [
        Difference("~", old, f"stands in the checkpoint where {new} stands in the model")
        for old, new in zip(before, after, strict=True)
        if old != new
    ]


def compare_values(
    saved: Mapping[str, Any], live: Mapping[str, Any], place: str
) -> list[Difference]:
    """Values that differ, of those that both sides know."""
    return [
        Difference("~", name, f"{saved[name]} in the checkpoint, {live[name]} in the {place}")
        for name in saved.keys() & live.keys()
        if saved[name] != live[name]
    ]
