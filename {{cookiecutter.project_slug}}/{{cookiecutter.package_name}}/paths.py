"""Every path of the project. No other module spells one."""

import os
from dataclasses import dataclass
from pathlib import Path

from etils import epath

from .durable import RunPaths

PACKAGE = epath.Path(Path(__file__).resolve().parent)
PROJECT = PACKAGE.parent
ROOT_VARIABLE = "{{ cookiecutter.package_name|upper }}_ROOT"


@dataclass(frozen=True)
class Paths(RunPaths):
    """Where the runs and the data are.

    What one run keeps is laid out by `RunPaths`: `folder`, and in it `checkpoints`, `best`,
    `tensorboard`, `metrics`, `history`, `config`, `exports` … To move one, define it here.

    `root` is the given folder, else the environment variable `ROOT_VARIABLE`, else the project's
    own folder, or the working directory where a wheel was installed.
    """

    def default_root(self) -> epath.PathLike:
        """The folder that holds `runs` where none is given."""
        if folder := os.environ.get(ROOT_VARIABLE):
            return folder
        return PROJECT if (PROJECT / "pyproject.toml").exists() else Path.cwd()

    @property
    def runs(self) -> epath.Path:
        """All runs."""
        return epath.Path(self.root) / "runs"

    @property
    def train(self) -> epath.Path:
        """The script that trains; where a wheel was installed, there is none beside the package."""
        return PROJECT / "train.py"

{%- if cookiecutter.starter == "forecasting" %}

    @property
    def weather(self) -> epath.Path:
        """The embedded data set; a wheel has it inside the package."""
        installed = PACKAGE / "weather.csv"
        return installed if installed.exists() else PROJECT / "data" / "weather.csv"
{%- else %}

    @property
    def digits(self) -> epath.Path:
        """The embedded data set; a wheel has it inside the package."""
        installed = PACKAGE / "digits.npz"
        return installed if installed.exists() else PROJECT / "data" / "digits.npz"
{%- endif %}
{%- if cookiecutter.starter == "classification" %}

    @property
    def mnist(self) -> epath.Path:
        """Where Keras keeps MNIST once it has been downloaded."""
        home = os.environ.get("KERAS_HOME") or Path.home() / ".keras"
        return epath.Path(home) / "datasets" / "mnist.npz"
{%- endif %}
