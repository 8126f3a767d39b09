"""The mean of several checkpoints' weights.

The method is stochastic weight averaging: Izmailov et al. 2018, "Averaging Weights Leads to Wider
Optima and Better Generalization", https://arxiv.org/abs/1803.05407.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import tensorflow as tf
from etils import epath

from ..beginning import begin
from ..checkpoints import Card, CheckpointMismatch
from ..checkpoints.card import Origin
from ..checkpoints.difference import Difference, compare
from ..checkpoints.reader import read_variables
from ..checkpoints.structure import Structure, VariableEntry, describe_variables
from ..config_file import config_from
from ..data import Data
from ..paths import Paths
from ..rebuild import rebuild, restore
from ..state import TrainState
from .members import Member, newest_of
from .normalisation import recompute_statistics


class MembersDiffer(CheckpointMismatch):
    """The members of an average are not of the same structure."""

    def __init__(self, path: epath.Path, differences: Sequence[Difference], model: str) -> None:
        self._model = model
        super().__init__(path, differences)

    def _way_out(self) -> str:
        return (
            f"The model is that of {self._model}: an average needs members of one structure. "
            "Members of any kind can be combined with --ensemble."
        )


def average(members: Sequence[Member], data: Data) -> TrainState:
    """The state of the newest member, with the mean of all members' weights.

    The mean is computed in float64. The statistics of batch normalisation are computed anew with
    it, over the training data.

    Args:
        members: at least one.
        data: what they were trained on.

    Raises:
        CheckpointMismatch: they are not of the same structure, or not of this code and data.
        DamagedCheckpoint: a member is damaged.
    """
    newest = newest_of(members)
    for member in members:
        differences = compare(without_run(member.card), without_run(newest.card))
        if differences:
            raise MembersDiffer(member.path, differences, newest.name)
    state = rebuild(newest.card)
    restore(newest.path, state, data)
    described = describe_variables(tf.train.Checkpoint(**state.parts))
    for path, weights in mean_weights(members).items():
        entry, variable = described[path]
        variable.assign(tf.cast(weights, entry.dtype))
    seed = config_from(newest.card.settings).seed
    recompute_statistics(state, data.batches(seed, 0, data.steps_per_epoch))
    return state


def keep_average(
    paths: Paths,
    members: Sequence[Member],
    state: TrainState,
    data: Data,
    metrics: Mapping[str, float],
) -> None:
    """Saves an average as the first checkpoint of a new run, with the newest member's settings.

    Args:
        paths: of the new run.
        members: of the average.
        state: the average.
        data: what the members were trained on.
        metrics: of the average.

    Raises:
        ConfigurationError, RunLocked, SaveFailed: as for `beginning.begin`.
    """
    config = replace(
        config_from(newest_of(members).card.settings),
        run=paths.run,
        root=str(paths.root),
        resume="auto",
        fork_from=None,
        partial=False,
    )
    origin = Origin("average", tuple(member.name for member in members))
    begin(origin, config, data, state, metrics)


def mean_weights(members: Sequence[Member]) -> dict[str, tf.Tensor]:
    """The mean of each weight over the members, by path, in float64."""
    sums: dict[str, tf.Tensor] = {}
    for member in members:
        for path, value in read_variables(member.path, weights_of(member.card)).items():
            sums[path] = sums.get(path, 0) + tf.cast(value, tf.float64)
    return {path: total / len(members) for path, total in sums.items()}


def weights_of(card: Card) -> list[VariableEntry]:
    """The variables of the model that have a mean: not the state of a random generator, say."""
    return [
        entry
        for entry in card.structure.variables
        if entry.role == "model" and tf.as_dtype(entry.dtype).is_floating
    ]


def without_run(card: Card) -> Structure:
    """The structure of a checkpoint, whatever the seed and the batch size of its run."""
    identity = card.structure.identity
    return replace(card.structure, identity={"keras": identity["keras"]})
