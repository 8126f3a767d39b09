"""What a project hands to the commands. Importing it imports no TensorFlow: see `quiet`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .paths import RunPaths
from .settings import RunSettings

if TYPE_CHECKING:
    from .experiment import Experiment


@dataclass(frozen=True)
class Project:
    """What the commands are given.

    Attributes:
        config: the class of the configuration.
        paths: the class of the paths.
        load_experiment: imports the class of the experiment; called by the commands that need the
            models, so that the others work while a file of a model is broken.
        train: the command line that starts training, for the command that kills it.
    """

    config: type[RunSettings]
    paths: type[RunPaths]
    load_experiment: Callable[[], Callable[[Any], "Experiment"]]
    train: tuple[str, ...] = ()
