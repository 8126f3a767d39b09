"""Score a checkpoint on the examples that training never saw."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from {{ cookiecutter.package_name }} import session
from {{ cookiecutter.package_name }}.checkpoints import read_card
from {{ cookiecutter.package_name }}.checkpoints.locate import locate
from {{ cookiecutter.package_name }}.config_file import config_from
from {{ cookiecutter.package_name }}.datasets import load_data
from {{ cookiecutter.package_name }}.evaluation import build_scorer
from {{ cookiecutter.package_name }}.paths import Paths
from {{ cookiecutter.package_name }}.rebuild import rebuild, restore

import tyro


@dataclass(frozen=True)
class Arguments:
    """Score a checkpoint on the examples that training never saw."""

    run: str = "default"
    """Name of the run."""
    at: str = "latest"
    """Which checkpoint: latest, best, a step, or epoch:N."""
    root: str | None = None
    """Folder that holds runs/, as for train.py."""
    data_path: str | None = None
    """Where the data file is now, if it was moved since."""
    json: bool = False
    """Print JSON, for programs."""
    debug: bool = False
    """Show the traceback of an error."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Evaluates the checkpoint that the command line names, and gives the exit code."""
    options = tyro.cli(Arguments, args=arguments)
    path = locate(Paths(options.root, options.run), options.at)
    card = read_card(path)
    config = config_from(card.settings)
    data = load_data(replace(config.data, path=options.data_path or config.data.path))
    state = rebuild(card)
    restore(path, state, data)
    metrics = build_scorer(state.model, data)()
    if options.json:
        print(json.dumps({"path": str(path), "step": card.step, "epoch": card.epoch, **metrics}))
    else:
        text = "  ".join(f"{name} {value:.4f}" for name, value in metrics.items())
        print(f"{path} (epoch {card.epoch}): {text}")
    return 0


if __name__ == "__main__":
    session.run(main)
