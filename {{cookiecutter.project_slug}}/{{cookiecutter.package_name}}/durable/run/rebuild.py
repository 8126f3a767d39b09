"""The state that a checkpoint was saved from, built anew from what its card says."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from etils import epath

from ..checkpoint.card import Card, VariableEntry, bytes_taken
from ..checkpoint.restore import Restorer
from ..data.protocol import DATA, Data, DataSpec, SavedSpec, spec_from_json
from ..errors import ConfigurationError
from ..untrusted import SMALL
from .command_line import settings_of_card
from .experiment import Experiment
from .settings import Project
from .state import TrainState
from .tracing import TRACING_ERRORS, reason_of

GROWTH = 10  # times as much as a checkpoint has may a model have that is built from its card
MANY = 100  # variables, which any model may have


@dataclass(frozen=True)
class Rebuilt:
    """What the present code makes of a card.

    Attributes:
        experiment: with the settings of the card.
        spec: what the card tells of the data.
        state: the models and optimizers, not restored yet.
    """

    experiment: Experiment
    spec: DataSpec
    state: TrainState


def experiment_of(
    project: Project, settings: Mapping[str, Any], data_path: str | None = None
) -> Experiment:
    """The experiment with the settings of a card.

    Args:
        project: whose experiment it is.
        settings: those of the card.
        data_path: stands in for the setting `data.path`, where the data were moved since.
    """
    if data_path is not None:
        if "path" not in (settings.get("data") or {}):
            raise ConfigurationError("--data-path has no use here: there is no setting data.path.")
        settings = {**settings, "data": {**settings["data"], "path": data_path}}
    return project.load_experiment()(settings_of_card(settings, project.config))


def rebuild(project: Project, card: Card) -> Rebuilt:
    """Builds the models and the optimizers of a card with the present code. Restores nothing.

    Raises:
        ConfigurationError: the card does not tell enough, or the models cannot be built.
    """
    if not card.settings:
        raise ConfigurationError(
            "The checkpoint does not tell the settings of its run: train.py did not save it."
        )
    experiment = experiment_of(project, card.settings)
    with as_large_as(card.structure.variables):
        spec = spec_of(card, experiment)
        # A hook may have variables: they are in the checkpoint too.
        state = TrainState(
            experiment.task(spec), spec.element_spec, experiment.hooks(), experiment.config
        )
    return Rebuilt(experiment, spec, state)


@contextmanager
def as_large_as(saved: Sequence[VariableEntry]) -> Iterator[None]:
    """Lets no more variables be made than a checkpoint could fill, before they take memory.

    Many times as many are: a model that has grown since is to be compared.

    Raises:
        ConfigurationError: there would be more, or the models cannot be built.
    """
    most = MANY + GROWTH * len(saved)
    largest = SMALL + GROWTH * sum(bytes_taken(entry.shape, entry.dtype) for entry in saved)
    count = size = 0

    def create(make: Callable[..., Any], **given: Any) -> Any:
        nonlocal count, size
        count, size = count + 1, size + bytes_to_take(given)
        if count > most or size > largest:
            raise ConfigurationError(
                f"The settings in the card ask for variables of {size} bytes and more, of which "
                "the checkpoint has a small part: they are not those of its model."
            )
        return make(**given)

    try:
        with tf.variable_creator_scope(create):
            yield
    except TRACING_ERRORS as error:
        raise ConfigurationError(
            f"The present code builds no model from the settings in the card: {reason_of(error)} "
            "--debug tells where."
        ) from error


def bytes_to_take(given: Mapping[str, Any]) -> int:
    """The bytes of a variable that is to be made; 0 where its value is there already."""
    value, shape, dtype = (given.get(name) for name in ("initial_value", "shape", "dtype"))
    if shape is None and callable(value):  # Keras 3 does not tell: symbolically it takes no memory
        with suppress(*TRACING_ERRORS), tf.Graph().as_default():
            tensor = tf.convert_to_tensor(value())
            shape, dtype = tensor.shape, tensor.dtype
    kind = tf.as_dtype(dtype or tf.float32).name
    return 0 if shape is None else bytes_taken(tf.TensorShape(shape), kind)


def spec_of(card: Card, experiment: Experiment) -> DataSpec:
    """What a card tells of its data; those of the first edition do not, and the data are opened."""
    if card.element_spec is None:
        return experiment.data()
    # Any length of an epoch will do where none is told: a schedule is not saved.
    steps = card.steps_per_epoch or 1
    return SavedSpec(spec_from_json(card.element_spec), card.structure.identity, steps)


def restore(path: epath.Path, state: TrainState, data: Data | None = None) -> Card:
    """Restores a checkpoint into a state, all of it or nothing, and returns its card.

    Args:
        path: of the checkpoint.
        state: what to restore into.
        data: where it matters, the data that the checkpoint must have been trained on.

    Raises:
        CheckpointMismatch, DamagedCheckpoint, CardMissing: as `Restorer.restore`.
    """
    identity = {} if data is None else data.identity
    return restorer_of(state, identity).restore(path)


def restorer_of(state: TrainState, identity: Mapping[str, Any]) -> Restorer:
    """What restores a state without the place in the data, which only training needs."""
    return Restorer(tf.train.Checkpoint(**state.parts), identity, unneeded={DATA})


def put_in_average(path: epath.Path, state: TrainState) -> None:
    """Gives the models of a state the average of their weights, which was restored with it.

    Raises:
        ConfigurationError: the checkpoint has none.
    """
    if state.average is None:
        raise ConfigurationError(
            f"{path} has no average of its weights: its run was trained without --ema."
        )
    state.average.put_in()
