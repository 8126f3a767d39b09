"""Restoring: everything or nothing."""

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

import tensorflow as tf
from etils import epath

from ..compat import learning_rate_variable, whole_number
from ..errors import CheckpointMismatch, DamagedCheckpoint, Difference
from .bundle import attempt
from .card import ADDED, Card, Structure, VariableEntry, read_card, require_own_step
from .graph import READING_ERRORS, ObjectGraph, assign_value, parts_of, read_tensors
from .mismatch import SideNames, find_differences
from .naming import optimizers_of
from .structure import complete_graph, describe_structure, describe_variables, unbuilt

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Readied:
    """A checkpoint that fits and was read whole.

    Attributes:
        path: its own.
        card: its description.
        values: of all its variables, by path.
    """

    path: epath.Path
    card: Card
    values: dict[str, tf.Tensor]


class Restorer:
    """Puts checkpoints back into live variables.

    Args:
        checkpoint: what to restore into.
        identity: the settings that must be the same.
        graph: the object graph of the checkpoint, where it is known already.
        unneeded: paths of what is no variable, and may be in what is restored and not here.

    Attributes:
        structure: what must agree for a checkpoint to fit.
        rates: the learning rates that optimizers were made with, by the path of their variable.
    """

    def __init__(
        self,
        checkpoint: tf.train.Checkpoint,
        identity: Mapping[str, object],
        graph: ObjectGraph | None = None,
        unneeded: Collection[str] = (),
    ) -> None:
        graph = complete_graph(checkpoint) if graph is None else graph
        self._checkpoint = checkpoint
        self._unneeded = unneeded
        described = describe_variables(checkpoint, graph)
        self._variables = {path: variable for path, (_, variable) in described.items()}
        entries = [entry for entry, _ in described.values()]
        self.structure = describe_structure(parts_of(checkpoint), entries, identity, graph.others)
        self.rates = initial_rates(parts_of(checkpoint), self._variables)
        self._first_means = {
            entry.path: tf.identity(self._variables[entry.path])
            for entry in entries
            if entry.role == "metric"
        }

    def read(self, path: epath.Path) -> "Readied":
        """Reads a checkpoint that fits; no variable is changed yet.

        Raises:
            CheckpointMismatch: it does not fit.
            DamagedCheckpoint: it is not there, or its files are damaged.
            CardMissing: something else wrote it.
        """
        card = read_card(path)
        differences = self.differences(card.structure)
        if differences:
            raise CheckpointMismatch(path, differences, unbuilt(card.structure, self.structure))
        values = read_variables(path, card.structure.variables)
        require_own_step(path, card, values)
        if self.structure.others:
            self._restore_others(path)
        return Readied(path, card, values)

    def put_back(self, readied: "Readied") -> None:
        """Gives all variables the values that were read.

        The means of the log are taken only where they are those of the same metrics. What a setting
        has added since begins with zeros.
        """
        card, values = readied.card, readied.values
        if not self._agrees_on("metric", card.structure):
            values = values | self._first_means
        added = {
            entry.path
            for entry in self.structure.variables
            if entry.role in ADDED and not self._agrees_on(entry.role, card.structure)
        }
        for name, variable in self._variables.items():
            assign_value(variable, tf.zeros_like(variable) if name in added else values[name])

    def restore(self, path: epath.Path) -> Card:
        """Restores a checkpoint and gives its card; on an error no variable was changed.

        Raises:
            CheckpointMismatch, DamagedCheckpoint, CardMissing: as for `read`.
        """
        readied = self.read(path)
        self.put_back(readied)
        return readied.card

    def path_of(self, counter: tf.Variable | None) -> str | None:
        """The path of the variable that tells the step; None where the checkpoint has it not."""
        found = (path for path, variable in self._variables.items() if variable is counter)
        return next(found, None)

    def differences(self, saved: Structure, sides: SideNames | None = None) -> list[Difference]:
        """What keeps a checkpoint from being restored here, as `find_differences` tells it."""
        others = [path for path in saved.others if path not in self._unneeded]
        needed = replace(saved, others=others)
        return find_differences(needed, self.structure, sides or SideNames())

    def put_in_rates(self, path: epath.Path, card: Card) -> None:
        """Gives optimizers the learning rates that they were made with now, where those are others.

        The rate in the checkpoint is what the one that its run began with has become since. It is
        gone on with, unless the program now begins with another.
        """
        for name, rate in self.rates.items():
            variable = self._variables[name]
            restored, begun_with = float(tf.convert_to_tensor(variable)), card.rates.get(name)
            if begun_with is None and restored != rate:
                log.warning(
                    "%s: %s is gone on with, from %s, and not the %s of this program.",
                    name,
                    short(restored),
                    path.name,
                    short(rate),
                )
            elif begun_with not in (None, rate):
                log.info(
                    "%s: %s, as in this program now; it was %s before.",
                    name,
                    short(rate),
                    short(begun_with),
                )
                variable.assign(rate)

    def _restore_others(self, path: epath.Path) -> None:
        """Restores what is no variable, and leaves the variables as they are.

        Raises:
            DamagedCheckpoint: it cannot be.
        """
        before = [(variable, variable.read_value()) for variable in self._variables.values()]
        try:
            attempt(
                path,
                lambda: self._checkpoint.read(str(path)).expect_partial(),
                READING_ERRORS,
            )
        finally:  # TensorFlow has assigned them as well
            for variable, value in before:
                assign_value(variable, value)

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
        left_out = set() if saved.optimizers == self.structure.optimizers else {"optimizer"}
        left_out |= set() if self._agrees_on("metric", saved) else {"metric"}
        left_out |= {role for role in ADDED if not self._agrees_on(role, saved)}
        left_out |= {"early_stopping"}  # the patience of a new run begins with it
        fitting = [
            entry
            for entry in saved.variables
            if live.get(entry.path) == (entry.shape, entry.dtype) and entry.role not in left_out
        ]
        values = read_variables(path, fitting)
        require_own_step(path, card, values)
        if self.structure.others and not differences:
            self._restore_others(path)
        for name, value in values.items():
            assign_value(self._variables[name], value)
        self.put_in_rates(path, card)
        return card, [*differences, *(self._fresh_slots(fitting) if partial else [])]

    def _fresh_slots(self, taken: Iterable[VariableEntry]) -> list[Difference]:
        """The slots of the optimizers that are not taken from a checkpoint."""
        paths = {entry.path for entry in taken}
        return [
            Difference("+", entry.path, "begins as that of a new optimizer")
            for entry in self.structure.variables
            if entry.role == "optimizer" and entry.path not in paths
        ]

    def tell_fresh_means(self, path: epath.Path, card: Card) -> None:
        """Says so where the means of the log start anew, after a checkpoint was restored."""
        if not self._agrees_on("metric", card.structure):
            log.info(
                "The means since the last line of the log, and since the epoch began, start anew: "
                "%s has those of other metrics.",
                path.name,
            )

    def tell_added(self, path: epath.Path, card: Card) -> None:
        """Says what begins with this start, and what of the restored checkpoint is given up."""
        for role, name in ADDED.items():
            if self._agrees_on(role, card.structure):
                continue
            if entries_of(role, self.structure):
                log.info("%s begins now: %s has none that fits.", name.capitalize(), path.name)
            else:
                log.warning("%s in %s is not gone on with.", name.capitalize(), path.name)

    def _agrees_on(self, role: str, saved: Structure) -> bool:
        """Whether a checkpoint has the same variables of a role."""
        return entries_of(role, saved) == entries_of(role, self.structure)


def initial_rates(
    parts: Mapping[str, object], variables: Mapping[str, tf.Variable]
) -> dict[str, float]:
    """The learning rates that optimizers were made with: those that have not made a step yet."""
    paths = {id(variable): path for path, variable in variables.items()}
    rates = {}
    for optimizer in optimizers_of(parts).values():
        variable = learning_rate_variable(optimizer)
        if variable is not None and whole_number(optimizer.iterations) == 0:
            rates[paths[id(variable)]] = float(tf.convert_to_tensor(variable))
    return rates


def short(number: float) -> str:
    """A number that was kept in single precision, as it was written."""
    return f"{number:.6g}"


def entries_of(role: str, structure: Structure) -> set[tuple[str, tuple[int | None, ...], str]]:
    """The path, the shape and the type of each variable of a role."""
    return {
        (entry.path, entry.shape, entry.dtype)
        for entry in structure.variables
        if entry.role == role
    }


def read_variables(
    checkpoint: epath.PathLike, entries: Iterable[VariableEntry]
) -> dict[str, tf.Tensor]:
    """Reads a whole checkpoint and gives the values of the entries, by path.

    Raises:
        DamagedCheckpoint: a value is missing, or is not what its entry says, or cannot be read.
    """
    tensors = read_tensors(checkpoint)
    values = {}
    for entry in entries:
        value = tensors.get(entry.key)
        if value is None or not entry.describes(value.shape, value.dtype.name):
            reason = f"{entry.path} is not what the card says"
            raise DamagedCheckpoint(epath.Path(checkpoint), reason)
        values[entry.path] = value
    return values
