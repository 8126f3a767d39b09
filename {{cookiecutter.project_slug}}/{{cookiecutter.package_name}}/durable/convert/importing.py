"""Making a run from a file to import: all is read and checked before anything is changed."""

import os
import re
import zipfile
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import partial
from typing import Any

import tensorflow as tf
from etils import epath

from .. import files
from ..checkpoint import bundle
from ..checkpoint.bundle import damage_from
from ..checkpoint.card import Origin
from ..checkpoint.graph import READING_ERRORS
from ..checkpoint.tensor_bundle import CARD_KEY, GRAPH_KEY
from ..compat import keras, learning_rate_at
from ..data.arrays import ARCHIVE_ERRORS
from ..data.protocol import Data
from ..errors import ConfigurationError, DamagedCheckpoint, ImportMismatch
from ..run.command_line import settings_of_card
from ..run.experiment import Experiment
from ..run.settings import Project, RunSettings
from ..run.start import create_run
from ..run.state import TrainState
from ..untrusted import require_regular
from .keras_file import WEIGHTS, KerasFile
from .name_based import NameBased
from .names import targets_of
from .object_based import CardedCheckpoint, ObjectBased
from .plan import Plan
from .source import SourceFile


@dataclass(frozen=True)
class Start:
    """A run before its first step: what a file is imported into.

    Attributes:
        experiment: with its settings.
        data: its data.
        state: its state, with fresh weights.
    """

    experiment: Experiment
    data: Data
    state: TrainState


def settings_of(source: SourceFile, given: RunSettings) -> RunSettings:
    """The settings of a file's card, if it has one; given ones that are not the default win."""
    if source.card is None:
        return given
    kind = type(given)
    own = merged(settings_of_card(source.card.settings, kind), given, kind())
    return replace(own, run=given.run, root=given.root, resume="auto", debug=given.debug)


def merged(base: Any, given: Any, default: Any) -> Any:
    """The base with those settings, of `given`, that are not the default."""
    changes = {}
    for name in (field.name for field in fields(base)):
        old, new, usual = (getattr(settings, name) for settings in (base, given, default))
        if is_dataclass(old):
            changes[name] = merged(old, new, usual)
        elif new != usual:
            changes[name] = new
    return replace(base, **changes)


def prepare(project: Project, config: RunSettings) -> Start:
    """Builds the fresh state of a run, as train.py does.

    Raises:
        ConfigurationError: the models or the data cannot be had from these settings.
    """
    keras.utils.set_random_seed(config.seed)
    experiment = project.load_experiment()(config)
    data = experiment.data()
    state = TrainState(experiment.task(data), data.element_spec, experiment.hooks(), config)
    return Start(experiment, data, state)


def require_whole(source: SourceFile, plan: Plan, *, partial: bool) -> None:
    """Raises ImportMismatch unless everything fits or, if `partial`, at least something does."""
    if plan.differences and not (partial and plan.moves):
        # An optimizer follows the weights: it is worth a line only where nothing else is.
        weights = [entry for entry in plan.differences if not entry.path.startswith("optimizer/")]
        raise ImportMismatch(source.path, weights or plan.differences)


def assign(source: SourceFile, plan: Plan, start: Start) -> None:
    """Reads a file and puts its values into the fresh state.

    Raises:
        DamagedCheckpoint: it cannot be read; nothing was assigned.
    """
    values = source.read(partial(learning_rate_at, start.state.task.optimizer))
    variables = targets_of(start.state)
    for move in plan.moves:
        _, variable = variables[move.target]
        variable.assign(tf.cast(values[move.name], variable.dtype))


def save(source: SourceFile, start: Start) -> str | None:
    """Saves the state as the first checkpoint of a run, and gives its path.

    Raises:
        ConfigurationError: the run has checkpoints.
        RunLocked: another process trains it.
        SaveFailed: it cannot be written.
    """
    origin = Origin("import", (str(source.path),))
    return create_run(origin, start.experiment, start.data, start.state)


HDF5 = b"\x89HDF\r\n\x1a\n"
# The end of a table of TensorFlow's: as a file of its own, it is a checkpoint of before 2017.
TABLE = bytes.fromhex("57fb808b247547db")
KNOWN = "TensorFlow checkpoints (give the path without .index), .weights.h5, .h5 and .keras files"


def recognize(path: epath.Path) -> SourceFile:
    """Opens a file to import. TensorFlow's checkpoints are named without `.index`.

    Raises:
        ConfigurationError: there is no such file, or it is of no known kind.
        DamagedCheckpoint: it is of a known kind, and cannot be read.
    """
    prefix = path.parent / re.sub(r"\.(index|data-\d+-of-\d+)$", "", path.name)
    if bundle.files_of(prefix):
        return recognize_checkpoint(prefix)
    if not path.exists():
        raise ConfigurationError(f"There is no file {path}. Known are {KNOWN}.")
    if path.is_dir():
        raise ConfigurationError(f"{path} is a folder: give a file in it. Known are {KNOWN}.")
    try:
        require_regular(path)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}.") from error
    with path.open("rb") as file:
        start = file.read(len(HDF5))
        file.seek(-min(len(TABLE), files.size_of(path)), os.SEEK_END)
        end = file.read()
    if start == HDF5 or is_keras_archive(path):
        return KerasFile(path)
    if end == TABLE:
        return NameBased(path)
    raise ConfigurationError(f"{path} is of no known kind. Known are {KNOWN}.")


def recognize_checkpoint(prefix: epath.Path) -> SourceFile:
    """Tells the kinds of TensorFlow's checkpoints apart, given the path without `.index`."""
    if not bundle.is_whole(prefix):
        raise DamagedCheckpoint(prefix, "its index or its data file is missing")
    bundle.require_files(prefix)
    try:
        reader = tf.train.load_checkpoint(str(prefix))
    except READING_ERRORS as error:
        raise damage_from(prefix, error) from error
    if reader.has_tensor(CARD_KEY):
        return CardedCheckpoint(prefix)
    return ObjectBased(prefix) if reader.has_tensor(GRAPH_KEY) else NameBased(prefix)


def is_keras_archive(path: epath.Path) -> bool:
    """Whether a file is a zip archive as Keras writes it."""
    with suppress(OSError, *ARCHIVE_ERRORS), path.open("rb") as file:
        return WEIGHTS in zipfile.ZipFile(file).namelist()
    return False
