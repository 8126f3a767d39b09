"""Every registered model, task and data set, in processes of their own."""

import itertools
import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from {{ cookiecutter.package_name }}.config import Config
from {{ cookiecutter.package_name }}.data import DATA
from {{ cookiecutter.package_name }}.durable import ConfigurationError, TrainState
from {{ cookiecutter.package_name }}.experiment import Experiment
from {{ cookiecutter.package_name }}.models import MODELS
from {{ cookiecutter.package_name }}.paths import Paths
from {{ cookiecutter.package_name }}.tasks import TASKS

import numpy as np
import tensorflow as tf

PROJECT = Path(__file__).resolve().parent.parent
REGISTRIES = {"model": MODELS, "task": TASKS, "data": DATA}
# Each entry once: the default task and data set are tried beside the models.
ENTRIES = [
    (kind, name)
    for kind, registry in REGISTRIES.items()
    for name in registry
    if kind == "model" or name != getattr(Config(), kind).name
]


@dataclass(frozen=True)
class Case:
    """What a test trains.

    Attributes:
        config: with the names of a model, a task and a data set that fit together.
        steps_per_epoch: how many steps an epoch of it has.
    """

    config: Config
    steps_per_epoch: int

    @property
    def arguments(self) -> list[str]:
        """What train.py is given for it, with a save every few steps and two log lines an epoch."""
        names = {kind: getattr(self.config, kind).name for kind in REGISTRIES}
        chosen = [word for kind, name in names.items() for word in (f"--{kind}.name", name)]
        every = str(max(1, self.steps_per_epoch // 4))
        return [*chosen, "--save-every", every, "--log-every", every, "--max-to-keep", "5"]

    def state(self) -> TrainState:
        """Its state, before the first step."""
        experiment = Experiment(self.config)
        data = experiment.data()
        return TrainState(experiment.task(data), data.element_spec, experiment.hooks(), self.config)


def find_partners(kind: str, name: str) -> Case | str:
    """An entry of a registry with the first partners that it can be built with, or why not.

    The defaults of the configuration are tried first.
    """
    default = Config()
    others = [other for other in REGISTRIES if other != kind]
    choices = [[getattr(default, other).name, *REGISTRIES[other]] for other in others]
    reason = ""
    for partners in itertools.product(*choices):
        names = {kind: name, **dict(zip(others, partners, strict=True))}
        parts = {part: replace(getattr(default, part), name=names[part]) for part in names}
        case = Case(replace(default, **parts), 0)
        try:
            data = Experiment(case.config).data()
            Experiment(case.config).task(data)
        except ConfigurationError as error:
            reason = reason or str(error)
        else:
            return replace(case, steps_per_epoch=data.steps_per_epoch)
    return reason


def start(case: Case, root: Path, run: str, epochs: int = 1) -> subprocess.Popen[str]:
    """Starts train.py in a process of its own."""
    arguments = ["--root", str(root), "--run", run, "--epochs", str(epochs), *case.arguments]
    return subprocess.Popen(
        [sys.executable, str(PROJECT / "train.py"), *arguments],
        env=os.environ | {"PYTHONUTF8": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def train(case: Case, root: Path, run: str, epochs: int = 1) -> str:
    """Trains to the end, and returns what was printed."""
    process = start(case, root, run, epochs)
    output, errors = process.communicate()
    assert process.returncode == 0, errors
    return output


def values_in(checkpoint: Path) -> dict[str, Any]:
    """Every value in a checkpoint, but for its card, which tells the time.

    The state of an iterator has no form in NumPy; its batches show in all other values.
    """
    reader = tf.train.load_checkpoint(str(checkpoint))
    types = reader.get_variable_to_dtype_map()
    keys = [key for key in types if not key.startswith("card/") and types[key] != tf.variant]
    return {key: np.asarray(reader.get_tensor(key)).tolist() for key in keys}


def log_of(paths: Paths) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl without their times."""
    lines = map(json.loads, Path(paths.metrics).read_text(encoding="utf-8").splitlines())
    return [{name: value for name, value in line.items() if name != "time"} for line in lines]
