"""data: find the examples of a data set, look at some, and try all of them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Annotated, Any, Literal

import tensorflow as tf
import tyro
from etils import epath

from ..data.indexed import (
    GRAPH_ERRORS,
    Examples,
    IndexedData,
    bad_examples,
    name_bad_examples,
)
from ..data.protocol import Data, describe_spec
from ..data.records import progress
from ..errors import ConfigurationError
from ..evaluation.results import write_picture
from ..files import absolute
from ..report.examples import draw_examples
from ..run.command_line import settings_of_the_project
from ..run.settings import Project
from .console import CommonOptions, listed_values, print_json

TRIED_AT_ONCE = 64  # examples


@dataclass(frozen=True)
class DataOptions(CommonOptions):
    """What the command is told beside the settings of the project.

    Raises:
        ConfigurationError: a value is not possible.
    """

    number: int = 12
    """With show: how many examples to draw, of the first batch at most."""
    output: str | None = None
    """With show: the PNG file to write; by default runs/data.png."""

    def __post_init__(self) -> None:
        if self.number < 1:
            raise ConfigurationError(f"--number {self.number} is not possible: give at least 1.")
        if self.output is not None and not self.output.endswith(".png"):
            raise ConfigurationError(f"--output {self.output} is not possible: give a .png file.")


def build_data(project: Project) -> Callable[..., int]:
    """The command, with those settings of the project as flags that a run must keep."""
    settings_class = settings_of_the_project(project.config)

    def data(
        action: tyro.conf.Positional[Literal["index", "show", "verify"]],
        options: Annotated[DataOptions, tyro.conf.arg(name="")],
        settings: Annotated[settings_class, tyro.conf.arg(name="")] = settings_class(),  # type: ignore[valid-type]  # noqa: B008
    ) -> int:
        """Look at the data set that train.py would train on with the same settings.

        Args:
            action: index finds the examples, of record files for the first time, and tells what
                they are; show draws the first ones; verify makes every one, and names those that
                cannot be used (exit code 2).
            options: what is printed, and where to.
            settings: as for train.py.
        """
        experiment = project.load_experiment()(project.config(root=options.root, **vars(settings)))
        opened = experiment.data()
        if action == "show":
            default = experiment.paths.runs / "data.png"
            output = default if options.output is None else epath.Path(absolute(options.output))
            return show(opened, experiment.config.seed, output, options)
        described = describe(opened)
        bad = [] if action == "index" else list(unusable(opened))
        if options.json:
            print_json(described | ({} if action == "index" else {"unusable": bad}))
        elif action == "index":
            print(listed_values(described | {"batch": describe_spec(opened.element_spec)}))
        else:
            print("\n".join(bad) or "Every example can be used.")
        return ConfigurationError.exit_code if bad else 0

    return data


def describe(data: Data) -> dict[str, Any]:
    """How many examples there are, and what tells them from others."""
    sizes = {}
    if isinstance(data, IndexedData):
        sizes = {"training": len(data.training), "validation": len(data.validation)}
    return {**sizes, "steps_per_epoch": data.steps_per_epoch, **data.identity}


def show(data: Data, seed: int, output: epath.Path, options: DataOptions) -> int:
    """Draws the first examples that a run with this seed is trained on."""
    with name_bad_examples(data, seed, tf.Variable(0, dtype=tf.int64)):
        batch = next(iter(data.batches(seed, 0, 1)))
    write_picture(output, draw_examples(batch, options.number))
    print_json({"picture": str(output)}) if options.json else print(f"Drew {output}")
    return 0


def unusable(data: Data) -> Iterator[str]:
    """The examples that cannot be used: where each is, and why."""
    if not isinstance(data, IndexedData):
        for batches in (data.batches(0, 0, data.steps_per_epoch), data.validation_batches()):
            for _ in progress(batches, "Verifying", data.steps_per_epoch):
                pass  # making it is what is tried
        return
    parts = (data.training, data.validation)
    # Both parts are mostly of the same files.
    yield from dict.fromkeys(chain(*(getattr(part, "damaged_files", list)() for part in parts)))
    for examples in parts:
        yield from tried(examples)


def tried(examples: Examples) -> Iterator[str]:
    """The examples that cannot be used; one by one are tried those of a batch with such a one."""
    size = len(examples)
    firsts = range(0, size, TRIED_AT_ONCE)

    def take(first: tf.Tensor) -> Any:
        return examples.take(tf.range(first, tf.minimum(first + TRIED_AT_ONCE, size)))

    made = iter(tf.data.Dataset.range(0, size, TRIED_AT_ONCE).map(take))
    for first in progress(firsts, "Verifying", len(firsts)):
        try:
            next(made)
        except GRAPH_ERRORS:
            yield from bad_examples(examples, range(first, min(first + TRIED_AT_ONCE, size)))
