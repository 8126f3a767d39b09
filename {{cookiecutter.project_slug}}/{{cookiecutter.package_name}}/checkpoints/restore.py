"""Restoring: everything or nothing."""

from collections.abc import Mapping

import tensorflow as tf
from etils import epath

from .card import Card
from .difference import compare
from .errors import CheckpointMismatch
from .reader import read_card, read_variables
from .structure import Structure, children, describe_variables, reachable_variables


class Restorer:
    """Puts checkpoints back into live variables.

    Args:
        checkpoint: what to restore into.
        identity: the settings that must be the same.
    """

    def __init__(self, checkpoint: tf.train.Checkpoint, identity: Mapping[str, object]) -> None:
        described = describe_variables(checkpoint)
        self._variables = {path: variable for path, (_, variable) in described.items()}
        entries = [entry for entry, _ in described.values()]
        self.structure = Structure.of(children(checkpoint), entries, identity)

    def knows(self, checkpoint: tf.train.Checkpoint) -> bool:
        """Whether the checkpoint has just the variables that it had."""
        keys = {entry.key for entry in self.structure.variables}
        return reachable_variables(checkpoint).keys() == keys

    def restore(self, path: epath.Path) -> Card:
        """Restores a checkpoint and gives its card; on an error no variable was changed.

        Raises:
            CheckpointMismatch: it does not fit.
            DamagedCheckpoint: it is not there, or its files are damaged.
            ForeignCheckpoint: something else wrote it.
        """
        card = read_card(path)
        differences = compare(card.structure, self.structure)
        if differences:
            raise CheckpointMismatch(path, differences)
        values = read_variables(path, card.structure.variables)
        for name, variable in self._variables.items():
            variable.assign(values[name])
        return card
