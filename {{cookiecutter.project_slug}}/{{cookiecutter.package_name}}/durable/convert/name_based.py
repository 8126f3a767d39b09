"""Checkpoints of `tf.compat.v1.train.Saver`: values by the names of variables, nothing else."""

import re
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from etils import epath

from ..checkpoint.bundle import damage_from
from ..checkpoint.graph import READING_ERRORS, read_tensors
from ..errors import ConfigurationError
from ..run.state import TrainState
from .names import ITERATION, STEP, layer_weights, slot_of, targets_of
from .source import Proposal, SourceFile, Spec, require_one_model

GLOBAL_STEP = "global_step"
# The slots of tf.compat.v1's optimizers.
ADAM = {"momentum": "Adam", "velocity": "Adam_1"}
MOMENTUM = {"momentum": "Momentum"}
SLOTS = {slot: meaning for slots in (ADAM, MOMENTUM) for meaning, slot in slots.items()}
# Powers that Adam works out from its counter.
NOT_NEEDED = re.compile(r"(.*/)?beta[12]_power")


class NameBased(SourceFile):
    """A checkpoint without a graph of objects.

    Raises:
        DamagedCheckpoint: its list of variables cannot be read.
    """

    kind = "name-based checkpoint (tf.compat.v1.train.Saver)"

    def __init__(self, path: epath.Path) -> None:
        super().__init__(path)
        try:
            reader = tf.train.load_checkpoint(str(path))
            shapes = reader.get_variable_to_shape_map()
            types = reader.get_variable_to_dtype_map()
        except READING_ERRORS as error:
            raise damage_from(path, error) from error
        self.specs = {name: Spec(tuple(shapes[name]), types[name].name) for name in sorted(shapes)}

    def propose(self, state: TrainState) -> Proposal:  # noqa: ARG002
        """Every variable becomes the one of its own name."""
        proposal = Proposal({})
        for name in self.specs:
            owner, _, slot = name.rpartition("/")
            if NOT_NEEDED.fullmatch(name):
                proposal.not_needed.add(name)
            elif name == GLOBAL_STEP:
                proposal.targets[name] = STEP
            elif slot in SLOTS and owner in self.specs:
                proposal.slots[name] = (SLOTS[slot], owner)
            else:
                proposal.targets[name] = name
        return proposal

    def read(self, learning_rate: Callable[[int], float]) -> dict[str, Any]:
        """Reads all values, and checks them against their checksums.

        The momentum of `tf.compat.v1` sums up gradients, that of Keras the changes they make: it
        is multiplied by minus the learning rate.
        """
        values = read_tensors(self.path)
        factor = -learning_rate(int(values.get(GLOBAL_STEP, 0)))
        for name in values:
            if name.endswith("/Momentum"):
                values[name] = values[name] * factor
        return values


def write_name_based(state: TrainState, prefix: epath.Path, learning_rate: float) -> list[str]:
    """Writes what `tf.compat.v1.train.Saver` restores, and gives the names in it.

    Args:
        state: to write: weights, slots and step.
        prefix: the path, without `.index`.
        learning_rate: the present one; see `NameBased.read`.

    Raises:
        ConfigurationError: the optimizer has no counterpart in `tf.compat.v1`, or there are
            several models.
    """
    require_one_model(state.task, "What tf.compat.v1.train.Saver restores")
    live = {target: variable for target, (_, variable) in targets_of(state).items()}
    slots = {target: slot for target in live if (slot := slot_of(target))}
    is_adam = any(kind == "velocity" for kind, _ in slots.values())
    known = ADAM if is_adam else MOMENTUM
    if unknown := {kind for kind, _ in slots.values()} - known.keys():
        raise ConfigurationError(
            f"tf.compat.v1 has no optimizer with the slots {', '.join(sorted(unknown))} of "
            f"{type(state.task.optimizer).__name__}: export without --saver."
        )
    layers = layer_weights(state.task.model)
    tensors = {path: live[path] for layer in layers for path in layer.values()}
    for target, (kind, owner) in slots.items():
        value = live[target] if is_adam else live[target] / -learning_rate
        tensors[f"{owner}/{known[kind]}"] = value
    tensors[GLOBAL_STEP] = state.step
    if is_adam:
        for number, beta in enumerate(
            (state.task.optimizer.beta_1, state.task.optimizer.beta_2), start=1
        ):
            # It is multiplied after each step, and starts with the first power.
            power = tf.cast(beta, tf.float64) ** (tf.cast(live[ITERATION], tf.float64) + 1)
            tensors[f"beta{number}_power"] = tf.cast(power, tf.float32)
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=list(tensors),
        shape_and_slices=[""] * len(tensors),
        tensors=[tf.convert_to_tensor(value) for value in tensors.values()],
    )
    return list(tensors)
