"""export: a checkpoint for other programs."""

from typing import Any, Literal

import tyro
from etils import epath

from .. import files
from ..checkpoint.card import Card, read_card
from ..checkpoint.graph import SAVING_ERRORS
from ..compat import learning_rate_at
from ..convert.export import Form, export_model
from ..convert.name_based import write_name_based
from ..errors import ConfigurationError, ExportFailed
from ..run.rebuild import Rebuilt, put_in_average, rebuild, restore
from ..run.references import again_if_removed, find, resolve
from ..run.settings import Project
from .console import Options, print_json


def export(
    project: Project,
    common: Options,
    at: tyro.conf.Positional[str] = "latest",
    saver: bool = False,
    forms: tuple[Form, ...] | None = None,
    weights: Literal["trained", "ema"] = "trained",
) -> int:
    """Write a SavedModel, a .keras file and plain arrays into the run's folder exports/.

    The SavedModel and the .keras file are loaded again, and must predict what the model does.
    A form that a model does not have is left out, and that is told.

    Args:
        project: whose run it is.
        common: what every command takes.
        at: A step, latest, best or epoch:N.
        saver: Write a checkpoint that tf.compat.v1.train.Saver restores instead, the slots of the
            optimizer included.
        forms: Which forms to write; each that is named must succeed.
        weights: Those that were trained, or their average, where --ema has kept one.
    """
    if saver and forms:
        raise ConfigurationError("--forms and --saver exclude each other: a checkpoint is no form.")
    paths, name = resolve(project.paths(common.root, common.run), at)
    # Before it is looked for again: a trainer may not keep the latest for as long as this takes.
    rebuilt = rebuild(project, again_if_removed(lambda: read_card(find(paths, name))))

    def restored() -> tuple[epath.Path, Card]:
        found = find(paths, name)
        return found, restore(found, rebuilt.state)

    checkpoint, card = again_if_removed(restored)
    kinds = (["saver"] if saver else []) + (["ema"] if weights == "ema" else [])
    folder = paths.exports / "-".join([checkpoint.name, *kinds])
    if folder.exists():
        raise ConfigurationError(f"{folder} exists already, and is not overwritten: move it away.")
    if weights == "ema":
        put_in_average(checkpoint, rebuilt.state)
    try:
        with files.filled_folder(folder) as temporary:
            if saver:
                told = write_checkpoint(card, rebuilt, temporary)
            else:
                told = write_model(rebuilt, temporary, forms)
    except SAVING_ERRORS as error:
        raise ExportFailed(f"{folder} cannot be written: {error}") from error
    if common.json:
        print_json({"path": str(folder), "step": card.step, **told})
    else:
        print(f"Exported {card.place} to {folder}: {', '.join(told['files'])}.")
        if (apart := told.get("largest_difference")) is not None:
            print(f"Loaded again, they predict what the model does: at most {apart:.2g} apart.")
    return 0


def write_model(
    rebuilt: Rebuilt, folder: epath.Path, forms: tuple[Form, ...] | None
) -> dict[str, Any]:
    """Writes the model, and tells what and how well it agrees."""
    apart = export_model(rebuilt.state.task, rebuilt.spec.element_spec, folder, forms)
    return {"files": files.entry_names(folder), "largest_difference": apart}


def write_checkpoint(card: Card, rebuilt: Rebuilt, folder: epath.Path) -> dict[str, Any]:
    """Writes a name-based checkpoint, and tells what is in it."""
    rate = learning_rate_at(rebuilt.state.task.optimizer, card.step)
    prefix = folder / f"model.ckpt-{card.step}"
    variables = write_name_based(rebuilt.state, prefix, rate)
    return {"files": files.entry_names(folder), "variables": variables}
