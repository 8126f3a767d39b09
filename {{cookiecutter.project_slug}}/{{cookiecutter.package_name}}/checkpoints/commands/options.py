"""What the commands have in common."""

from dataclasses import dataclass

import tyro

from ...paths import Paths


@tyro.conf.configure(tyro.conf.OmitArgPrefixes)  # --run, not --common.run
@dataclass(frozen=True)
class Options:
    """What every command takes."""

    run: str = "default"
    """Name of the run."""
    root: str | None = None
    """Folder that holds runs/, as for train.py."""
    json: bool = False
    """Print JSON, for programs."""
    debug: bool = False
    """Show the traceback of an error."""

    @property
    def paths(self) -> Paths:
        """Where the run keeps its files."""
        return Paths(self.root, self.run)
