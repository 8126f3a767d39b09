"""Restoring: everything or nothing."""

from collections.abc import Mapping
from dataclasses import replace

import tensorflow as tf
from etils import epath

from .card import Card
from .difference import Difference, compare
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

    def take_over(self, path: epath.Path, *, partial: bool) -> tuple[Card, list[Difference]]:
        """Takes the state of another run's checkpoint, whose identity may differ.

        Args:
            path: of the checkpoint.
            partial: take what fits, and leave the other variables as they are.

        Returns:
            Its card, and how it differs.

        Raises:
            CheckpointMismatch: it does not fit, and `partial` is false. Nothing was restored.
            DamagedCheckpoint, ForeignCheckpoint: as for `restore`.
        """
        card = read_card(path)
        # Any seed and any data will do, but no other Keras.
        saved = replace(card.structure, identity={"keras": card.structure.identity["keras"]})
        differences = compare(saved, self.structure)
        if differences and not partial:
            raise CheckpointMismatch(path, differences)
        live = {entry.path: (entry.shape, entry.dtype) for entry in self.structure.variables}
        # A slot of the same name means something else to another optimizer.
        same_optimizers = saved.optimizers == self.structure.optimizers
        fitting = [
            entry
            for entry in saved.variables
            if live.get(entry.path) == (entry.shape, entry.dtype)
            and (same_optimizers or entry.role != "optimizer")
        ]
        for name, value in read_variables(path, fitting).items():
            self._variables[name].assign(value)
        return card, differences
