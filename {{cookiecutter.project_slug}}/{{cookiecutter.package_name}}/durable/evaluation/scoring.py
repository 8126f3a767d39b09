"""Scoring checkpoints and ensembles on the examples that training never sees."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from ..compat import keras
from ..data.indexed import name_bad_examples
from ..data.protocol import Data
from ..run.experiment import Figures, Task
from ..run.means import Means, build_update, with_prefix
from ..run.rebuild import experiment_of, put_in_average, rebuild, restore
from ..run.settings import Project
from ..run.state import TrainState
from .members import Member, newest_of


@dataclass(frozen=True)
class Scores:
    """What was found.

    Attributes:
        members: the metrics of each member.
        combined: the metrics of what they give together; of one, its own.
        figures: what is drawn of that; None where the task draws nothing.
    """

    members: list[dict[str, float]]
    combined: dict[str, float]
    figures: Figures | None


def open_data(project: Project, members: Sequence[Member], path: str | None = None) -> Data:
    """The data that checkpoints were trained on, as the newest of them has them.

    Args:
        project: whose experiment it is.
        members: at least one; all were trained on the same examples.
        path: of the data, if they were moved since.

    Raises:
        ConfigurationError: the data cannot be read.
    """
    return experiment_of(project, newest_of(members).card.settings, path).data()


def load_task(project: Project, member: Member, data: Data) -> Task:
    """The task of a checkpoint, with its weights.

    Raises:
        CheckpointMismatch: it does not fit the present code, or was trained on other data.
        DamagedCheckpoint: its files are damaged.
        ConfigurationError: the average of its weights is wanted, and it has none.
    """
    state = rebuild(project, member.card).state
    load(member, state, data)
    return state.task


def load(member: Member, state: TrainState, data: Data) -> None:
    """Gives a state the weights of a checkpoint; raises as `load_task`."""
    restore(member.path, state, data)
    if member.ema:
        put_in_average(member.path, state)


def score(tasks: Sequence[Task], data: Data) -> Scores:
    """Scores models, and what they give together, batch by batch.

    Args:
        tasks: of the members, at least one; the last one says how they combine.
        data: whose held-out examples are used.

    Raises:
        ConfigurationError: one of them cannot be used.
    """
    task = tasks[-1]
    batches = data.validation_batches()
    means, combined = [Means(member) for member in tasks], Means(task)
    updates = [
        build_update(member, own, batches.element_spec)
        for member, own in zip(tasks, means, strict=True)
    ]
    figures = task.figures()
    with name_bad_examples(data):
        for batch in batches:
            members = [update(batch) for update in updates]
            outputs = task.combine(members) if len(members) > 1 else members[0]
            combined.update(batch, outputs)
            if figures is not None:
                _, y, _ = keras.utils.unpack_x_y_sample_weight(batch)
                losses = task.loss(y, outputs)
                figures.update(in_numpy(batch), in_numpy(outputs), in_numpy(losses))
    return Scores(
        [with_prefix(own.result()) for own in means], with_prefix(combined.result()), figures
    )


def in_numpy(values: Any) -> Any:
    """A nest of tensors as NumPy arrays."""
    return tf.nest.map_structure(lambda tensor: tensor.numpy(), values)
