"""Generates a project from this template, with nothing of the user's own cookiecutter settings.

Usage: python tools/bake.py FOLDER [FIELD=ANSWER ...]
Unless told otherwise, the project uses the smallest TensorFlow that this machine has wheels for.
"""

import json
import platform
import sys
import tempfile
from pathlib import Path

from cookiecutter.main import cookiecutter

TEMPLATE = Path(__file__).resolve().parent.parent


def bake(output: Path, *, overwrite: bool = False, **answers: str) -> Path:
    """Generates a project in a folder below `output`, and gives that folder.

    Args:
        output: made if it is not there.
        overwrite: whether the folder of the project may be there already.
        answers: those that are not the defaults.

    Raises:
        ValueError: an answer has no question; cookiecutter would ignore it in silence.
    """
    questions = json.loads((TEMPLATE / "cookiecutter.json").read_text(encoding="utf-8"))
    if unknown := answers.keys() - {name for name in questions if not name.startswith("_")}:
        raise ValueError(f"cookiecutter.json does not ask for {', '.join(sorted(unknown))}.")
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder) / "settings.yaml"
        directories = {"cookiecutters_dir": f"{folder}/templates", "replay_dir": f"{folder}/replay"}
        settings.write_text(json.dumps(directories), encoding="utf-8")  # JSON is YAML
        project = cookiecutter(
            str(TEMPLATE),
            no_input=True,
            extra_context=answers,
            output_dir=str(output),
            overwrite_if_exists=overwrite,
            config_file=str(settings),
        )
    return Path(project)


def smallest_tensorflow() -> str:
    """The smallest distribution of TensorFlow that this machine has wheels for."""
    has_cpu_wheels = platform.machine() in {"AMD64", "x86_64"} and sys.platform != "darwin"
    return "tensorflow-cpu" if has_cpu_wheels else "tensorflow"


if __name__ == "__main__":
    answers = {"tensorflow": smallest_tensorflow()}
    answers |= dict(argument.split("=", 1) for argument in sys.argv[2:])
    bake(Path(sys.argv[1]), overwrite=True, **answers)
