"""What all kinds of files to import have in common."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

from etils import epath

from ..checkpoint.card import Card
from ..errors import ConfigurationError, Difference
from ..run.experiment import Task
from ..run.state import TrainState


class Spec(NamedTuple):
    """What a file says of a variable before it is read: its shape and its type, by name."""

    shape: tuple[int | None, ...]
    dtype: str


@dataclass(frozen=True)
class Proposal:
    """How a file's variables may be matched, by their names in it.

    Attributes:
        targets: the path of a variable of the state, as `names.targets_of` gives them.
        slots: of an optimizer's slot, its meaning and the name of the variable it belongs to.
        not_needed: bookkeeping that has nothing to become.
        differences: what does not fit besides shapes and types.
    """

    targets: dict[str, str]
    slots: dict[str, tuple[str, str]] = field(default_factory=dict)
    not_needed: set[str] = field(default_factory=set)
    differences: list[Difference] = field(default_factory=list)


class SourceFile(ABC):
    """A file to import. Nothing in it is ever run or unpickled.

    Attributes:
        kind: what it is, in words.
        path: where it is.
        card: what it says of itself, if one of our own checkpoints.
        specs: its variables, by their names in it.
    """

    kind: ClassVar[str]
    card: Card | None = None
    specs: Mapping[str, Spec]

    def __init__(self, path: epath.Path) -> None:
        self.path = path

    @abstractmethod
    def propose(self, state: TrainState) -> Proposal:
        """How its variables may become those of a state, as far as that can be told."""

    @abstractmethod
    def read(self, learning_rate: Callable[[int], float]) -> dict[str, Any]:
        """Reads the values of all variables, by name: arrays or tensors.

        Args:
            learning_rate: at a step; some formats keep slots that are not scaled by it.

        Raises:
            DamagedCheckpoint: they cannot be read.
        """


def require_one_model(task: Task, what: str, *, optimizers: bool = True) -> None:
    """Raises ConfigurationError for a task that an exchange format has no names for.

    Args:
        task: that has another model or optimizer than `model` and `optimizer`.
        what: has no names for them.
        optimizers: whether they matter.
    """
    has_others = optimizers and {*task.optimizers} != {"optimizer"}
    if {*task.models} != {"model"} or has_others:
        raise ConfigurationError(
            f"{what} has one model and one optimizer. The task has the models "
            f"{', '.join(task.models)} and the optimizers {', '.join(task.optimizers)}: only "
            "checkpoints of this project tell them apart."
        )
