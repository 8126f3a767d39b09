"""Keeping an evaluation: its metrics and its pictures, in a folder of its own."""

import json

from ..checkpoints.files import write_bytes, write_text
from ..errors import ConfigurationError
from .outcome import Outcome
from .pictures import draw_confusion, draw_mistakes, is_image, png, worst_mistakes


def save_evaluation(outcome: Outcome) -> str:
    """Writes metrics.json, confusion.png and mistakes.png, each whole or not at all.

    Returns:
        What was saved, and what was not and why, for the user.

    Raises:
        ConfigurationError: the folder cannot be written.
    """
    paths, data, predictions = outcome.paths, outcome.data, outcome.combined
    if len(worst_mistakes(predictions)) == 0:
        left_out = "there are none"
    elif not is_image(data.shape):
        left_out = f"examples of shape {data.shape} are not images"
    else:
        left_out = ""
    try:
        paths.folder.mkdir(parents=True, exist_ok=True)
        write_bytes(paths.confusion, png(draw_confusion(predictions, outcome.title)))
        if left_out:
            paths.mistakes.unlink(missing_ok=True)  # of an earlier evaluation
        else:
            picture = draw_mistakes(predictions, data.validation, outcome.title)
            write_bytes(paths.mistakes, png(picture))
        write_text(paths.metrics, json.dumps(outcome.summary, indent=2) + "\n")
    except OSError as error:
        raise ConfigurationError(f"{paths.folder} cannot be written: {error}") from error
    saved = f"Saved the metrics and pictures in {paths.folder}."
    return f"{saved} No picture of the mistakes: {left_out}." if left_out else saved
