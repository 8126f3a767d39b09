"""export: a checkpoint for other programs."""

from typing import Any

import tensorflow as tf
import tyro
from etils import epath

from ...config_file import config_from
from ...errors import ConfigurationError
from ...exchange.export import ExportFailed, export_model
from ...exchange.name_based import write_name_based
from ...optimizers import build_schedule
from ...rebuild import rebuild, restore
from ...state import TrainState
from .. import files
from ..card import Card
from ..failures import SAVING_ERRORS
from ..locate import find, resolve
from ..reader import read_card
from .options import Options
from .output import print_json


def export(common: Options, at: tyro.conf.Positional[str] = "latest", saver: bool = False) -> int:
    """Write a SavedModel, a .keras file and plain arrays into the run's folder exports/.

    The SavedModel and the .keras file are loaded again, and must predict what the model does.

    Args:
        common: What every command takes.
        at: A step, latest, best or epoch:N.
        saver: Write a checkpoint that tf.compat.v1.train.Saver restores instead, the slots of the
            optimizer included.
    """
    paths, name = resolve(common.paths, at)
    checkpoint = find(paths, name)
    card = read_card(checkpoint)
    folder = paths.exports / (f"{checkpoint.name}-saver" if saver else checkpoint.name)
    if folder.exists():
        raise ConfigurationError(f"{folder} exists already, and is not overwritten: move it away.")
    state = rebuild(card)
    restore(checkpoint, state)
    try:
        with files.filled_folder(folder) as temporary:
            write = write_checkpoint if saver else write_model
            told = write(card, state, temporary)
    except SAVING_ERRORS as error:
        raise ExportFailed(f"{folder} cannot be written: {error}") from error
    if common.json:
        print_json({"path": str(folder), "step": card.step, **told})
    else:
        print(f"Exported {card.place} to {folder}: {', '.join(told['files'])}.")
        if "largest_difference" in told:
            apart = told["largest_difference"]
            print(f"Loaded again, they predict what the model does: at most {apart:.2g} apart.")
    return 0


def write_model(card: Card, state: TrainState, folder: epath.Path) -> dict[str, Any]:
    """Writes the model, and tells what and how well it agrees."""
    apart = export_model(state, tuple(card.structure.identity["data.shape"]), folder)
    return {"files": names_in(folder), "largest_difference": apart}


def write_checkpoint(card: Card, state: TrainState, folder: epath.Path) -> dict[str, Any]:
    """Writes a name-based checkpoint, and tells what is in it."""
    schedule = build_schedule(config_from(card.settings).optimizer, steps_per_epoch=1)
    rate = float(schedule(tf.constant(card.epoch or 0)))
    prefix = folder / f"model.ckpt-{card.step}"
    variables = write_name_based(state, prefix, rate)
    return {"files": names_in(folder), "variables": variables}


def names_in(folder: epath.Path) -> list[str]:
    """What is in a folder."""
    return sorted(path.name for path in folder.iterdir())
