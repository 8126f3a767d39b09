"""The seam: from a configuration to data, models and optimizers.

The machinery in `durable` sees nothing else of this project.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from .config import Config
from .data import load_data
from .durable import Data, DataSpec, Hook, Task
from .paths import Paths
from .tasks import build_task


@dataclass(frozen=True)
class Experiment:
    """What is trained with these settings; a `durable.Experiment`."""

    config: Config

    @property
    def paths(self) -> Paths:
        """Where the run keeps its files."""
        return Paths(self.config.root, self.config.run)

    def data(self) -> Data:
        """Opens the data set."""
        return load_data(self.config.data)

    def task(self, data: DataSpec) -> Task:
        """Builds the models and the optimizers for such data."""
        return build_task(self.config, data)

    def hooks(self) -> Sequence[Hook]:
        """What else is to be told how training goes."""
        return []
