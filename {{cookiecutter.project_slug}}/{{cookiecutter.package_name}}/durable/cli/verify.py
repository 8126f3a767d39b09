"""verify: every byte against its checksum."""

import logging
from collections.abc import Mapping

import tyro
from etils import epath

from ..checkpoint import bundle, shared
from ..checkpoint.reader import Condition, condition_of
from ..errors import DamagedCheckpoint
from ..run.references import all_checkpoints, locate
from ..run.settings import Project
from .console import Options, print_json, print_text

log = logging.getLogger(__name__)


def verify(
    project: Project,
    common: Options,
    at: tyro.conf.Positional[str] = "latest",
    all: bool = False,  # noqa: A002
) -> int:
    """Read every byte of a checkpoint against its checksum; exit code 4 if one is damaged.

    What checkpoints share has a second copy: it is read too, and one mends the other.

    Args:
        project: whose run it is.
        common: what every command takes.
        at: A step, latest, best or epoch:N; or RUN@ and one of these.
        all: Verify all checkpoints of the run, the copy of the best included, those in damaged/
            not.
    """
    paths = project.paths(common.root, common.run)
    if all:
        best = bundle.find_checkpoints(paths.best)
        checkpoints = list(dict.fromkeys([*all_checkpoints(paths), *best]))
    else:
        checkpoints = [locate(paths, at)]
    conditions = {checkpoint: condition_of(checkpoint) for checkpoint in checkpoints}
    for checkpoint in checkpoints:
        damage = conditions[checkpoint].damage
        if damage and not bundle.is_there(checkpoint):  # a trainer has removed it just now
            if not all:
                raise damage  # it is looked for again: another one may be the latest
            del conditions[checkpoint]
    mend_second_copies(conditions)
    if common.json:
        print_json(
            [
                {
                    "path": str(path),
                    "step": bundle.step_of(path),
                    "state": condition.state,
                    "damaged": condition.reason,
                }
                for path, condition in conditions.items()
            ]
        )
    else:
        for checkpoint, condition in conditions.items():
            print_text(condition.reason or f"{checkpoint}: {praise(condition)}")
    damaged = any(condition.damage for condition in conditions.values())
    return DamagedCheckpoint.exit_code if damaged else 0


def mend_second_copies(conditions: Mapping[epath.Path, Condition]) -> None:
    """Mends what no restore reads: the second copies of what checkpoints share."""
    shards = {
        shared.find(checkpoint.parent, name)
        for checkpoint, condition in conditions.items()
        for name in (condition.card.shared if condition.card else [])
    }
    for shard in filter(None, shards):
        try:
            shared.repair(shard)
        except (OSError, DamagedCheckpoint) as error:
            log.warning("A copy of %s could not be mended: %s", shard, error)


def praise(condition: Condition) -> str:
    """What is said of a checkpoint that is not damaged."""
    text = "every byte agrees with its checksum."
    return text if condition.card else f"{text} It has no card: something else wrote it."
