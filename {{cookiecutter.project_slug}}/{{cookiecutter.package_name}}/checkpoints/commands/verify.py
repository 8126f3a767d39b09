"""verify: every byte against its checksum."""

from json import dumps

import tyro
from etils import epath

from ..errors import DamagedCheckpoint, ForeignCheckpoint
from ..locate import all_checkpoints, locate
from ..reader import read_card, read_tensors
from .options import Options


def verify(
    common: Options,
    at: tyro.conf.Positional[str] = "latest",
    all: bool = False,  # noqa: A002
) -> int:
    """Read every byte of a checkpoint against its checksum; exit code 4 if one is damaged.

    Args:
        common: What every command takes.
        at: A step, latest, best or epoch:N.
        all: Verify all checkpoints of the run.
    """
    paths = common.paths
    checkpoints = all_checkpoints(paths) if all else [locate(paths, at)]
    problems = {checkpoint: problem_with(checkpoint) for checkpoint in checkpoints}
    if common.json:
        entries = [{"path": str(path), "damaged": problem} for path, problem in problems.items()]
        print(dumps(entries, indent=2))
    else:
        for checkpoint, problem in problems.items():
            print(problem or f"{checkpoint}: every byte agrees with its checksum.")
    return DamagedCheckpoint.exit_code if any(problems.values()) else 0


def problem_with(checkpoint: epath.Path) -> str | None:
    """Reads a whole checkpoint and tells what is wrong with it, if anything."""
    try:
        read_card(checkpoint)
        read_tensors(checkpoint)
    except (DamagedCheckpoint, ForeignCheckpoint) as error:
        return str(error)
    return None
