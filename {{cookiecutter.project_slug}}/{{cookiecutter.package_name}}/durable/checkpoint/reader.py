"""Reading checkpoints: every byte against its checksum."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import tensorflow as tf
from etils import epath

from ..errors import CardMissing, DamagedCheckpoint, UnreadableCheckpoint
from . import bundle
from .bundle import UNREADABLE, attempt
from .card import Card, VariableEntry, read_card, require_own_step
from .graph import read_keys


class Tensors:
    """The tensors of a checkpoint, by the key that TensorFlow saves each under.

    Attributes:
        keys: all of them, in the order in which the files hold them.

    Raises:
        DamagedCheckpoint: on making it, if the checkpoint is not there or its index is damaged.
    """

    def __init__(self, checkpoint: epath.Path) -> None:
        self._checkpoint = checkpoint
        self._reader = attempt(checkpoint, self._open)
        self.keys = sorted(self._reader.get_variable_to_shape_map())

    def _open(self) -> Any:
        return tf.train.load_checkpoint(str(self._checkpoint))

    def read(self, key: str) -> np.ndarray:
        """Reads a tensor, of any shape and dtype. TensorFlow checks its checksum.

        The state of an iterator has no form in NumPy: it is read, and an empty array stands for it.

        Raises:
            DamagedCheckpoint: it is missing or damaged.
        """
        return attempt(self._checkpoint, lambda: self._read(key))

    def _read(self, key: str) -> np.ndarray:
        types = self._reader.get_variable_to_dtype_map()
        if types.get(key) == tf.variant:
            read_keys(self._checkpoint, [key], types)
            return np.empty(0, object)
        try:
            value = self._reader.get_tensor(key)
        except UNREADABLE:
            self._reader = self._open()  # the next try may find files that were mended
            raise
        return np.asarray(value, object if isinstance(value, bytes) else None)

    def fits(self, entry: VariableEntry) -> bool:
        """Whether a variable is there as the card describes it."""
        if not self._reader.has_tensor(entry.key):
            return False
        shape = self._reader.get_variable_to_shape_map()[entry.key]
        dtype = self._reader.get_variable_to_dtype_map()[entry.key]
        return entry.describes(shape, dtype.name)


# The end of an index that nothing reads: an empty block with its checksum, and a footer. See
# https://github.com/google/leveldb/blob/main/doc/table_format.md.
EMPTY_BLOCK = bytes.fromhex("00000000 01000000 00 c0f2a1b0")
FOOTER_SIZE, CHECKSUM_SIZE = 48, 5
MAGIC = bytes.fromhex("57fb808b247547db")


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
    """Looks at a checkpoint, one tensor at a time.

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
    """
    tensors = Tensors(checkpoint)
    for key in tensors.keys:
        tensors.read(key)
    for entry in () if card is None else card.structure.variables:
        if not tensors.fits(entry):
            raise DamagedCheckpoint(checkpoint, f"{entry.path} is not what the card says")
        if card and entry.path == card.counter:
            require_own_step(checkpoint, card, {entry.path: tensors.read(entry.key)})
    try:
        index = bundle.index_file(checkpoint).read_bytes()
    except FileNotFoundError as error:
        raise DamagedCheckpoint(checkpoint, "its index is missing") from error
    except OSError as error:
        raise UnreadableCheckpoint(checkpoint, error) from error
    if not has_sound_end(index):
        raise DamagedCheckpoint(checkpoint, "the end of its index is altered")


def has_sound_end(index: bytes) -> bool:
    """Whether the end of an index, which TensorFlow does not read, is as TensorFlow writes it."""
    start = index.rfind(EMPTY_BLOCK)
    after = start + len(EMPTY_BLOCK)
    size = len(index) - FOOTER_SIZE - CHECKSUM_SIZE - after
    if start < 0 or size < 0:
        return False
    handles = map(varint, (start, len(EMPTY_BLOCK) - CHECKSUM_SIZE, after, size))
    footer = b"".join(handles).ljust(FOOTER_SIZE - len(MAGIC), b"\0") + MAGIC
    return index.endswith(footer)


def varint(number: int) -> bytes:
    """A number in groups of seven bits, the lowest first."""
    groups = []
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*groups, number])
