"""Checkpoints of this project, of whichever Keras."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from etils import epath

from ..checkpoint.card import read_card
from ..checkpoint.mismatch import SideNames, compare_layers
from ..checkpoint.restore import read_variables
from ..checkpoint.structure import describe_layers
from ..errors import Difference
from ..run.state import TrainState
from .names import canonical_path, is_generator_state, slot_of, targets_of
from .source import Proposal, SourceFile, Spec


class CardedCheckpoint(SourceFile):
    """A checkpoint with a card.

    Raises:
        DamagedCheckpoint: its card cannot be read.
    """

    kind = "checkpoint of this project"

    def __init__(self, path: epath.Path) -> None:
        super().__init__(path)
        self.card = read_card(path)
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
                is_generator_state(path) or entry.role in ("run", "metric")
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
        return read_variables(self.path, self._entries.values())
