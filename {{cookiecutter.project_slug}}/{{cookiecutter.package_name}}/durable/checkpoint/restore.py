"""Restoring: everything or nothing."""

import logging
from collections.abc import Mapping
from dataclasses import replace

import tensorflow as tf
from etils import epath

from ..errors import CheckpointMismatch, Difference
from .card import Card
from .mismatch import find_differences
from .reader import read_card, read_variables
from .structure import Structure, children, describe_variables, reachable_variables

log = logging.getLogger(__name__)


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

    def is_current(self, checkpoint: tf.train.Checkpoint) -> bool:
        """Whether the checkpoint has just the variables that it had."""
        keys = {entry.key for entry in self.structure.variables}
        return reachable_variables(checkpoint).keys() == keys

    def restore(self, path: epath.Path) -> Card:
        """Restores a checkpoint and gives its card; on an error no variable was changed.

        Raises:
            CheckpointMismatch: it does not fit.
            DamagedCheckpoint: it is not there, or its files are damaged.
            CardMissing: something else wrote it.
        """
        card = read_card(path)
        differences = find_differences(card.structure, self.structure)
        if differences:
            raise CheckpointMismatch(path, differences)
        values = read_variables(path, card.structure.variables)
        live = metrics_of(self.structure)
        if metrics_of(card.structure) != live:
            log.info("The means of the log start anew: %s has those of other metrics.", path.name)
            values |= {name: tf.zeros(shape, dtype) for name, shape, dtype in live}
        for name, variable in self._variables.items():
            variable.assign(values[name])
        return card

    def transfer(self, path: epath.Path, *, partial: bool) -> tuple[Card, list[Difference]]:
        """Takes the state of another run's checkpoint, whose identity may differ.

        Args:
            path: of the checkpoint.
            partial: take what fits, and leave the other variables as they are.

        Returns:
            Its card, and how it differs.

        Raises:
            CheckpointMismatch: it does not fit, and `partial` is false. Nothing was restored.
            DamagedCheckpoint, CardMissing: as for `restore`.
        """
        card = read_card(path)
        # Any seed and any data will do, but no other Keras.
        saved = replace(card.structure, identity={"keras": card.structure.identity["keras"]})
        differences = find_differences(saved, self.structure)
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


def metrics_of(structure: Structure) -> set[tuple[str, tuple[int, ...], str]]:
    """The path, the shape and the type of each variable that belongs to a metric."""
    return {
        (entry.path, entry.shape, entry.dtype)
        for entry in structure.variables
        if entry.role == "metric"
    }
