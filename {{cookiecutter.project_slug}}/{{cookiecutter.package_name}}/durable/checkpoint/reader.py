"""Reading checkpoints: every byte against its checksum."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from etils import epath

from ..errors import CardMissing, DamagedCheckpoint, UnreadableCheckpoint
from .bundle import attempt, read_again
from .card import Card, VariableEntry, read_card, require_own_step
from .tensor_bundle import TensorBundle


class Tensors:
    """The tensors of a checkpoint, by the key that TensorFlow saves each under.

    What fails for a moment is read again, and what checkpoints share is mended before.

    Attributes:
        keys: all of them, in the order in which the files hold them.

    Raises:
        DamagedCheckpoint: on making it, if the checkpoint is not there or its index is damaged.
        UnreadableCheckpoint: on making it and by its methods, if it cannot be read at present.
    """

    def __init__(self, checkpoint: epath.Path) -> None:
        self._checkpoint = checkpoint
        self._bundle = attempt(checkpoint, lambda: TensorBundle(checkpoint))
        self.keys = sorted(self._bundle.entries)

    def read(self, key: str) -> np.ndarray:
        """Reads a tensor, of any shape and dtype, against its checksum.

        The state of an iterator has no form in NumPy: it is read, and an empty array stands for it.

        Raises:
            DamagedCheckpoint: it is missing or damaged.
        """
        return read_again(self._checkpoint, lambda: self._bundle.read(key))

    def check(self, key: str) -> None:
        """Reads a tensor against its checksum; a large one takes no more memory than a small one.

        Raises:
            DamagedCheckpoint: it is missing or damaged.
        """
        read_again(self._checkpoint, lambda: self._bundle.check(key))

    def fits(self, entry: VariableEntry) -> bool:
        """Whether a variable is there as the card describes it."""
        found = self._bundle.entries.get(entry.key)
        return found is not None and entry.describes(found.shape, found.dtype)


@dataclass(frozen=True)
class Condition:
    """What was found in a checkpoint.

    Attributes:
        state: good, damaged, unreadable at present, or no card: as good as can be told of what
            something else wrote.
        damage: what is wrong, where it is damaged or unreadable.
        card: its card, where that can be read.
    """

    state: Literal["good", "damaged", "unreadable", "no card"]
    damage: DamagedCheckpoint | UnreadableCheckpoint | None = None
    card: Card | None = None

    @property
    def reason(self) -> str | None:
        """What is wrong, in one line."""
        return None if self.damage is None else str(self.damage)


def condition_of(checkpoint: epath.Path, *, quick: bool = False) -> Condition:
    """Looks at a checkpoint, a part at a time.

    Args:
        checkpoint: its path.
        quick: read the card alone.
    """
    card = None
    try:
        card = card_of(checkpoint)
        if not quick:
            read_every_byte(checkpoint, card)
    except DamagedCheckpoint as error:
        return Condition("damaged", error, card)
    except UnreadableCheckpoint as error:
        return Condition("unreadable", error, card)
    return Condition("no card" if card is None else "good", None, card)


def require_good(checkpoint: epath.Path) -> Card:
    """Reads every byte of a checkpoint, and gives its card.

    Raises:
        DamagedCheckpoint: it is not there, or its files are damaged.
        CardMissing: something else wrote it.
    """
    condition = condition_of(checkpoint)
    if condition.damage:
        raise condition.damage
    if condition.card is None:
        raise CardMissing(checkpoint)
    return condition.card


def card_of(checkpoint: epath.Path) -> Card | None:
    """Reads the card; None where something else wrote the checkpoint.

    Raises:
        DamagedCheckpoint: it is not there, or its files are damaged.
    """
    try:
        return read_card(checkpoint)
    except CardMissing:
        return None


def read_every_byte(checkpoint: epath.Path, card: Card | None) -> None:
    """Reads all tensors against their checksums, and compares them with the card.

    Raises:
        DamagedCheckpoint: one cannot be read, or is not what the card says.
        UnreadableCheckpoint: one cannot be read at present.
    """
    tensors = Tensors(checkpoint)
    for key in tensors.keys:
        tensors.check(key)
    for entry in () if card is None else card.structure.variables:
        if not tensors.fits(entry):
            raise DamagedCheckpoint(checkpoint, f"{entry.path} is not what the card says")
        if card and entry.path == card.counter:
            require_own_step(checkpoint, card, {entry.path: tensors.read(entry.key)})
