"""rewind: going back to an earlier checkpoint."""

import tyro

from ..checkpoint.card import Card
from ..checkpoint.reader import require_good
from ..run.paths import RunPaths
from ..run.references import find, resolve
from ..run.rewind import Rewound, rewind
from ..run.session import RunLock
from ..run.settings import Project
from .console import Options, print_json


def rewind_run(project: Project, common: Options, at: tyro.conf.Positional[str]) -> int:
    """Make an earlier checkpoint the newest of its run, so that train.py goes on from there.

    The later checkpoints, the best among them, and the later lines of the log are set aside in
    superseded/ in the folder of the run; nothing is deleted. Exit code 5 if the run is being
    trained.

    Args:
        project: whose run it is.
        common: what every command takes.
        at: A step, best or epoch:N; or RUN@ and one of these.
    """
    paths, at = resolve(project.paths(common.root, common.run), at)
    find(paths, at)  # before the lock, which would make the folder of a run that is not there
    with RunLock(paths):
        target = find(paths, at)
        card = require_good(target)
        rewound = rewind(paths, target)
    if common.json:
        print_json(
            {
                "path": str(paths.checkpoints / target.name),
                "step": card.step,
                "changed": rewound is not None,
                "superseded": str(rewound.folder) if rewound and rewound.folder else None,
                "steps": rewound.steps if rewound else [],
            }
        )
    else:
        print(message(paths, card, rewound))
    return 0


def message(paths: RunPaths, card: Card, rewound: Rewound | None) -> str:
    """What was done, in lines of text."""
    if rewound is None:
        return f"Run {paths.run!r} is at {card.place} already: there is nothing to do."
    lines = [f"Run {paths.run!r} is at {card.place} now; train.py goes on from there."]
    if rewound.folder is not None:
        steps = ", ".join(map(str, rewound.steps))
        lines += [
            f"Set aside, with their part of the log: step {steps}, in",
            f"  {rewound.folder}",
            f"To make a run of them, move that folder to {paths.runs / 'NAME'}.",
        ]
    return "\n".join(lines)
