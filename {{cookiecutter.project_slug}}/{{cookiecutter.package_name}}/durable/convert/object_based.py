"""Checkpoints with a graph of objects: those of `tf.train.Checkpoint`, and this project's own."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any

import tensorflow as tf
from etils import epath

from ..checkpoint.bundle import damage_from
from ..checkpoint.card import read_card, require_own_step
from ..checkpoint.graph import READING_ERRORS, read_tensors
from ..checkpoint.mismatch import SideNames, compare_layers
from ..checkpoint.restore import read_variables
from ..checkpoint.structure import describe_layers
from ..checkpoint.tensor_bundle import GRAPH_KEY
from ..errors import Difference
from ..run.state import TrainState
from .names import (
    ITERATION,
    MEANINGS,
    STEP,
    canonical_path,
    is_generator_state,
    match_in_order,
    slot_of,
    targets_of,
    trainable_paths,
)
from .source import Proposal, SourceFile, Spec

VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
SLOT = "/.OPTIMIZER_SLOT/"
OBJECT_CONFIG = "/.ATTRIBUTES/OBJECT_CONFIG_JSON"

# The lists in which the optimizers of Keras 2 and 3 keep their slots, without underscores.
SLOT_LISTS = {"momentums": "momentum", "velocities": "velocity"}
STEPS = {STEP, "global_step"}
COUNTERS = {"iterations", "iter"}
SETTINGS = {"learning_rate", "current_learning_rate", "decay", "beta_1", "beta_2"}
# What a compiled model keeps beside its layers.
NO_LAYERS = {"loss_tracker", "compile_metrics", "save_counter"}


class ObjectBased(SourceFile):
    """A checkpoint with a graph of objects: which of them have which values.

    Keras 2 and 3 name the objects differently, but keep the layers in their order, and the slots
    of an optimizer in lists that are in the order of the trained variables.

    Raises:
        DamagedCheckpoint: the graph cannot be read.
    """

    kind = "object-based checkpoint (tf.train.Checkpoint)"

    def __init__(self, path: epath.Path) -> None:
        super().__init__(path)
        try:
            self._view = tf.train.CheckpointView(str(path))
            reader = tf.train.load_checkpoint(str(path))
            shapes = reader.get_variable_to_shape_map()
            types = reader.get_variable_to_dtype_map()
        except READING_ERRORS as error:
            raise damage_from(path, error) from error
        self._keys = {key.removesuffix(VALUE): key for key in shapes if key != GRAPH_KEY}
        self.specs = {
            name: Spec(tuple(shapes[key]), types[key].name) for name, key in self._keys.items()
        }

    def propose(self, state: TrainState) -> Proposal:
        """Layers in their order; slots by the list that they are in, and their place in it."""
        root = self._children(0)
        targets = match_in_order(self._layers(root.get("model", 0)), state.task.model)
        names = {target: name for name, target in targets.items()}
        trained = [names.get(path) for path in trainable_paths(state.task.model)]
        for name in STEPS & root.keys():
            if root[name] in self._names:
                targets[self._names[root[name]]] = STEP
        proposal = Proposal(targets)
        for node in self._nodes(0):
            if self._is_optimizer(node):
                self._propose_optimizer(node, trained, proposal)
        for name in self.specs:
            if SLOT in name:  # as the optimizers before TensorFlow 2.11 keep theirs
                owner, _, slot = name.partition(SLOT)
                kind = slot.rpartition("/")[2]
                proposal.slots[name] = (MEANINGS.get(kind, kind), owner)
            elif name == "save_counter" or name.endswith(OBJECT_CONFIG):
                proposal.not_needed.add(name)
        return proposal

    def _propose_optimizer(
        self, optimizer: int, trained: list[str | None], proposal: Proposal
    ) -> None:
        for name, node in self._children(optimizer).items():
            if name in COUNTERS:
                proposal.targets[self._names[node]] = ITERATION
            elif name in SETTINGS and node in self._names:
                proposal.not_needed.add(self._names[node])
            elif name in SLOT_LISTS:
                slots = self._children(node).values()
                for slot, owner in zip(slots, trained, strict=False):
                    if owner is not None:
                        proposal.slots[self._names[slot]] = (SLOT_LISTS[name], owner)

    def read(self, learning_rate: Callable[[int], float]) -> dict[str, Any]:  # noqa: ARG002
        """Reads all values, and checks them against their checksums."""
        tensors = read_tensors(self.path)
        return {name: tensors[key] for name, key in self._keys.items()}

    @cached_property
    def _names(self) -> dict[int, str]:
        """The name of each variable, by its node in the graph."""
        names = {}
        for name, key in self._keys.items():
            if key.endswith(VALUE) and SLOT not in name:
                node = 0
                for part in name.split("/"):
                    node = self._view.children(node)[part.replace(".S", "/").replace("..", ".")]
                names[node] = name
        return names

    def _children(self, node: int) -> dict[str, int]:
        """The nodes below one, by their names without the underscore that Keras 3 adds to some."""
        return {name.lstrip("_"): child for name, child in self._view.children(node).items()}

    def _nodes(self, root: int) -> list[int]:
        """All nodes from one on, each once."""
        nodes = [root]
        for node in nodes:
            nodes += [child for child in self._view.children(node).values() if child not in nodes]
        return nodes

    def _is_optimizer(self, node: int) -> bool:
        return not COUNTERS.isdisjoint(self._children(node))

    def _layers(self, root: int) -> Iterator[dict[str, str]]:
        """For each layer with weights, in their order, the names of those by short name."""
        seen = {root}
        waiting = [root]
        while waiting:
            node = waiting.pop()
            children = self._children(node)
            below = []
            weights = {}
            for name, child in children.items():
                if child in self._names:
                    weights[name] = self._names[child]
                elif child not in seen and name not in NO_LAYERS and not self._is_optimizer(child):
                    seen.add(child)
                    below.append(child)
            if weights and node != 0:  # what stands beside the model belongs to no layer
                yield weights
            waiting += reversed(below)


class CardedCheckpoint(SourceFile):
    """A checkpoint with a card.

    Raises:
        DamagedCheckpoint: its card cannot be read.
    """

    kind = "checkpoint of this project"

    def __init__(self, path: epath.Path) -> None:
        super().__init__(path)
        self._card = self.card = read_card(path)
        self._structure = self.card.structure
        self._entries = {entry.path: entry for entry in self._structure.variables}
        self.specs = {path: Spec(entry.shape, entry.dtype) for path, entry in self._entries.items()}

    def propose(self, state: TrainState) -> Proposal:
        """The same paths; slots by their meaning. The layers must be the same."""
        live = targets_of(state)
        proposal = Proposal({}, differences=self._compare_layers(state))
        for path, entry in self._entries.items():
            slot = slot_of(path) if entry.role == "optimizer" else None
            if slot is not None:
                proposal.slots[path] = slot
            elif canonical_path(path) not in live and (
                is_generator_state(path) or entry.role not in ("model", "optimizer")
            ):
                proposal.not_needed.add(path)  # the other Keras keeps it in another form
            else:
                proposal.targets[path] = path
        return proposal

    def _compare_layers(self, state: TrainState) -> list[Difference]:
        layers = describe_layers(state.parts)
        variables = [entry for entry, _ in targets_of(state).values()]
        saved = self._structure
        live = replace(saved, layers=layers, variables=variables)
        return compare_layers(saved, live, SideNames())

    def read(self, learning_rate: Callable[[int], float]) -> dict[str, Any]:  # noqa: ARG002
        """Reads all values, and checks them against their checksums and the card."""
        values = read_variables(self.path, self._entries.values())
        require_own_step(self.path, self._card, values)
        return values
