"""The mean of several checkpoints' weights.

The method is stochastic weight averaging: Izmailov et al. 2018, "Averaging Weights Leads to Wider
Optima and Better Generalization", https://arxiv.org/abs/1803.05407.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import tensorflow as tf
from etils import epath

from ..checkpoint.card import Card, Origin, Structure, VariableEntry
from ..checkpoint.graph import ObjectGraph
from ..checkpoint.mismatch import find_differences
from ..checkpoint.naming import named_layers
from ..checkpoint.restore import read_variables
from ..checkpoint.structure import describe_variables
from ..compat import as_variable, keras
from ..data.protocol import Data
from ..errors import CheckpointMismatch, Difference
from ..run.experiment import Batch, Task
from ..run.rebuild import experiment_of, rebuild, restore
from ..run.settings import Project
from ..run.start import create_run
from ..run.state import TrainState
from .members import Member, newest_of


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


def average(project: Project, members: Sequence[Member], data: Data) -> TrainState:
    """The state of the newest member, with the mean of all members' weights.

    The mean is computed in float64. The statistics of batch normalisation are computed anew with
    it, over the training data.

    Args:
        project: whose experiment they are of.
        members: at least one.
        data: what they were trained on.

    Raises:
        CheckpointMismatch: they are not of the same structure, or not of this code and data.
        DamagedCheckpoint: a member is damaged.
    """
    newest = newest_of(members)
    for member in members:
        differences = find_differences(without_run(member.card), without_run(newest.card))
        if differences:
            raise MembersDiffer(member.path, differences, newest.name)
    rebuilt = rebuild(project, newest.card)
    state = rebuilt.state
    restore(newest.path, state, data)
    described = describe_variables(tf.train.Checkpoint(**state.parts))
    for path, weights in mean_weights(members).items():
        entry, variable = described[path]
        variable.assign(tf.cast(weights, entry.dtype))
    seed = rebuilt.experiment.config.seed
    recompute_statistics(state, data.batches(seed, 0, data.steps_per_epoch))
    return state


def keep_average(
    project: Project,
    run: str,
    members: Sequence[Member],
    state: TrainState,
    data: Data,
    metrics: Mapping[str, float],
) -> None:
    """Saves an average as the first checkpoint of a new run, with the newest member's settings.

    Args:
        project: whose experiment it is.
        run: name of the new run.
        members: of the average.
        state: the average.
        data: what the members were trained on.
        metrics: of the average.

    Raises:
        ConfigurationError, RunLocked, SaveFailed: as for `start.create_run`.
    """
    newest = newest_of(members)
    settings = newest.card.settings | {
        "run": run,
        "root": str(newest.run.root),
        "resume": "auto",
        "fork_from": None,
        "partial": False,
    }
    origin = Origin("average", tuple(member.name for member in members))
    create_run(origin, experiment_of(project, settings), data, state, metrics)


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


def recompute_statistics(state: TrainState, batches: tf.data.Dataset) -> None:
    """Sets the statistics of batch normalisation to their mean over the batches, in float64.

    Each batch counts the same, as in section 3.2 of Izmailov et al. 2018; a moving average would
    forget the first ones. Everything else in the state stays as it is. A layer that normalises by
    its saved statistics also in training, since it is frozen, keeps them.

    Args:
        state: whose models they are. One without batch normalisation needs no batch.
        batches: of the training data.
    """
    layers = normalizing_layers(state.task)
    if not layers:
        return
    statistics = [statistics_of(layer) for layer in layers]
    variables = ObjectGraph(tf.train.Checkpoint(**state.parts)).variables.values()
    before = [(variable, variable.read_value()) for variable in variables]

    @tf.function
    def statistics_of_batch(batch: Batch) -> list[list[tf.Tensor]]:
        for variable in tf.nest.flatten(statistics):
            variable.assign(tf.zeros_like(variable))
        state.task.forward(batch, training=True)
        return tf.nest.map_structure(lambda variable: tf.cast(variable, tf.float64), statistics)

    with without_momentum(layers):
        found = [statistics_of_batch(batch) for batch in batches]
    for variable, value in before:  # dropout has drawn from its generators
        variable.assign(value)
    for variables, *values in zip(statistics, *found, strict=True):
        means = [tf.reduce_mean(tf.stack(value), axis=0) for value in zip(*values, strict=True)]
        if tf.reduce_any(means[1] != 0):  # else training does not reach the layer
            for variable, mean in zip(variables, means, strict=True):
                variable.assign(tf.cast(mean, variable.dtype))


def normalizing_layers(task: Task) -> list[keras.layers.BatchNormalization]:
    """The layers of batch normalisation in the models, at any depth, that training would move."""
    models = task.models.values()
    layers = {id(layer): layer for model in models for _, layer in named_layers(model)}
    return [
        layer
        for layer in layers.values()
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    ]


def statistics_of(layer: keras.layers.BatchNormalization) -> list[tf.Variable]:
    """The moving mean and the moving variance of a layer."""
    return [as_variable(layer.moving_mean), as_variable(layer.moving_variance)]


@contextmanager
def without_momentum(layers: list[keras.layers.BatchNormalization]) -> Iterator[None]:
    """For a while, makes the statistics of layers those of the last batch alone."""
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = 0.0
    try:
        yield
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
