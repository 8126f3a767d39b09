"""The card: a checkpoint's description of itself, saved inside it as one string variable."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import numpy as np
from etils import epath

from ..errors import CardMissing, DamagedCheckpoint
from ..files import strict_json
from ..untrusted import CARD, FARTHEST, ORIGIN, parse_json, require_kinds
from . import bundle
from .index import NAMES, numpy_type
from .tensor_bundle import CARD_KEY, TensorBundle


def now() -> str:
    """The time in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


# Roles of what a setting adds to a run, now or later: it may begin with zeros, or be dropped.
ADDED = {"early_stopping": "early stopping", "ema": "the average of the weights"}
AXES = {"axes", "axis"}  # settings that may be counted from the front or from the end


@dataclass(frozen=True)
class VariableEntry:
    """One variable of a checkpoint.

    Attributes:
        path: its lasting name.
        key: its name in TensorFlow's files.
        shape: its shape; None is a length that may change.
        dtype: its type, by name.
        role: model, optimizer, metric, run, or one of `ADDED`. A metric may start anew.
    """

    path: str
    key: str
    shape: tuple[int | None, ...]
    dtype: str
    role: str

    def describes(self, shape: Sequence[int], dtype: str) -> bool:
        """Whether a value is of this shape, in which a length may be open, and of this type."""
        is_same_rank = len(shape) == len(self.shape)
        lengths = zip(self.shape, shape, strict=False)
        return dtype == self.dtype and is_same_rank and all(a in (None, b) for a, b in lengths)


@dataclass(frozen=True)
class LayerEntry:
    """One layer: its path, its class and the settings it was made with.

    Where a setting is one of `AXES`, `input_rank` stands beside it.
    """

    path: str
    kind: str
    settings: dict[str, Any]


@dataclass(frozen=True)
class Structure:
    """What must agree for a checkpoint to fit.

    Attributes:
        layers: the layers of the models, in order.
        variables: every variable.
        optimizers: the class of each optimizer, by its name in the checkpoint.
        identity: the settings that a run must keep.
        others: the paths of what is saved besides variables: iterators, tables, Python state.
    """

    layers: list[LayerEntry]
    variables: list[VariableEntry]
    optimizers: dict[str, str]
    identity: dict[str, Any]
    others: list[str] = field(default_factory=list)

    @cached_property
    def as_json(self) -> str:
        """The structure in a card; the same from save to save, and long."""
        return strict_json(asdict(self))

    @classmethod
    def from_dictionary(cls, values: dict[str, Any]) -> "Structure":
        """The structure that `asdict` and JSON made `values` from."""
        layers = [
            LayerEntry(entry["path"], entry["kind"], entry["settings"])
            for entry in values["layers"]
        ]
        taken, tried = set[str](), Counter[str]()
        variables = [
            VariableEntry(
                path=unique(lasting(entry["path"]), taken, tried),  # once the number was kept
                key=entry["key"],
                shape=tuple(entry["shape"]),
                dtype=known_type(entry["dtype"]),
                role=role_of(entry),
            )
            for entry in values["variables"]
        ]
        for entry in variables:
            require_size(entry)
        others = values.get("others", [])
        return cls(layers, variables, values["optimizers"], values["identity"], others)


def require_size(entry: VariableEntry) -> None:
    """Raises ValueError for a variable that no memory can hold."""
    if bytes_taken([length or 1 for length in entry.shape], entry.dtype) >= FARTHEST:
        raise ValueError(f"{entry.path} cannot have the shape {entry.shape}")


def bytes_taken(shape: Sequence[int | None], dtype: str) -> int:
    """The bytes that a variable takes in memory; of strings and open lengths, none are counted."""
    known = numpy_type(dtype)
    size = 0 if known is None or known.hasobject else known.itemsize
    return math.prod(length or 0 for length in shape) * size


def lasting(path: str) -> str:
    """The path of a variable, without the number that Keras 3 gives to one without a name.

    It counts all that the process has made.
    """
    return re.sub(r"(^|/)variable_\d+$", r"\1variable", path) if "variable_" in path else path


def known_type(name: str) -> str:
    """The name of a type of TensorFlow; raises TypeError where it has none of that name."""
    if name not in NAMES.values():
        raise TypeError(f"{name} is no type of TensorFlow")
    return name


def unique(name: str, taken: set[str], tried: Counter[str] | None = None) -> str:
    """The name, with a number if it is taken; now it is.

    Args:
        name: that is wanted.
        taken: the names that there are.
        tried: remembers how many numbers are taken, where many may want one name.
    """
    number = 0 if tried is None else tried[name]
    candidate = f"{name}_{number}" if number else name
    while candidate in taken:
        number += 1
        candidate = f"{name}_{number}"
    taken.add(candidate)
    if tried is not None:
        tried[name] = number + 1
    return candidate


def role_of(entry: Mapping[str, str]) -> str:
    """The role of a variable, as a card tells it; the first edition had none for its means."""
    return "metric" if entry["path"].startswith("totals/") else entry["role"]


@dataclass(frozen=True)
class Origin:
    """Where the state of a run comes from, if it did not start from scratch.

    Attributes:
        kind: fork, partial fork, average or import.
        sources: the checkpoints it was made from, as run@step, or the path of an imported file.
    """

    kind: str
    sources: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.kind} of {', '.join(self.sources)}"


@dataclass(frozen=True)
class Card:
    """What a checkpoint says of itself.

    Attributes:
        step: steps trained.
        epoch: whole epochs trained; None where the steps of an epoch are not known.
        metrics: the latest metrics, by name.
        settings: the configuration of the run, as nested dictionaries.
        structure: its layers, variables and optimizers.
        steps_per_epoch: how many steps an epoch has, where that is known.
        element_spec: what a batch is, as `data.protocol.spec_as_json` gives it.
        origin: what the run was started from; None where it started from scratch.
        batch: how many batches of the epoch after those were trained, where `fit` counts them.
        rates: the learning rates that optimizers were made with, by the path of their variable.
        commit: of the code, in git; None where that is not known.
        changed: whether its files were others than those of the commit.
        versions: of TensorFlow, Keras and Python.
        created: when it was made, ISO 8601 in UTC.
        shared: the shards that its last data files are links to, in their order.
        counter: the path of the variable that tells the step; None where none does.
    """

    step: int
    epoch: int | None
    metrics: dict[str, float]
    settings: dict[str, Any]
    structure: Structure
    steps_per_epoch: int | None = None
    element_spec: Any = None
    origin: Origin | None = None
    batch: int = 0
    rates: dict[str, float] = field(default_factory=dict)
    commit: str | None = None
    changed: bool = False
    versions: dict[str, str] = field(default_factory=dict)
    created: str = field(default_factory=now)
    shared: list[str] = field(default_factory=list)
    counter: str | None = None

    @property
    def place(self) -> str:
        """Where in the run it is: step 440 (epoch 10)."""
        return f"step {self.step}" + ("" if self.epoch is None else f" (epoch {self.epoch})")

    @property
    def code(self) -> str | None:
        """What code wrote it, in few words."""
        return f"{self.commit} with changes" if self.changed else self.commit

    def to_json(self) -> str:
        """The card as it is saved."""
        own = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        del own["structure"]
        own["origin"] = self.origin and asdict(self.origin)
        return f'{strict_json(own)[:-1]}, "structure": {self.structure.as_json}}}'

    @classmethod
    def from_json(cls, text: str | bytes) -> "Card":
        """The card that `to_json` made the text from: a metric that was no number is NaN again.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        # The first edition wrote NaN and Infinity, which are not JSON, where null stands now.
        values = parse_json(text)
        require_kinds(values, CARD, "the card")
        metrics = values.pop("metrics").items()
        metrics = {name: math.nan if value is None else value for name, value in metrics}
        structure = Structure.from_dictionary(values.pop("structure"))
        origin = values.pop("origin")
        if origin is not None:
            require_kinds(origin, ORIGIN, "origin in the card")
            origin = Origin(origin["kind"], tuple(origin["sources"]))
        known = {entry.name for entry in fields(cls)}  # a newer edition may say more
        own = {name: value for name, value in values.items() if name in known}
        if "counter" not in own and own["settings"]:  # train.py saved it, and calls it so
            own["counter"] = "step"
        return cls(**own, metrics=metrics, structure=structure, origin=origin)


def require_own_step(path: epath.Path, card: Card, values: Mapping[str, Any]) -> None:
    """Raises DamagedCheckpoint where the variable that tells the step, by path, tells another."""
    counted = values.get(str(card.counter))
    if counted is not None and np.asarray(counted).tolist() != card.step:
        raise DamagedCheckpoint(path, f"{card.counter} is not at the step of its card, {card.step}")


def read_card(checkpoint: epath.PathLike) -> Card:
    """Reads the card of a checkpoint, given its path without `.index`.

    Raises:
        DamagedCheckpoint: it is not there, its files are damaged, or its name is another's.
        UnreadableCheckpoint: its files cannot be read at present.
        CardMissing: it is a checkpoint, and has no card.
    """
    path = epath.Path(checkpoint)

    def read() -> Card | None:
        tensors = TensorBundle(path)
        found = CARD_KEY in tensors.entries
        return Card.from_json(tensors.read(CARD_KEY).item()) if found else None

    card = bundle.attempt(path, read)
    if card is None:
        raise CardMissing(path)
    number = path.name.rpartition("-")[2]
    if number.isdecimal() and int(number) != card.step:
        raise DamagedCheckpoint(path, f"its name is not that of step {card.step}, as its card says")
    return card
