"""Score checkpoints, their average or their ensemble on the examples that training never saw."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from {{ cookiecutter.package_name }} import session
from {{ cookiecutter.package_name }}.beginning import require_new
from {{ cookiecutter.package_name }}.errors import ConfigurationError
from {{ cookiecutter.package_name }}.evaluation.averaging import average, keep_average
from {{ cookiecutter.package_name }}.evaluation.ensemble import combine
from {{ cookiecutter.package_name }}.evaluation.folder import save_evaluation
from {{ cookiecutter.package_name }}.evaluation.members import (
    Member,
    find_member,
    find_members,
)
from {{ cookiecutter.package_name }}.evaluation.outcome import Outcome
from {{ cookiecutter.package_name }}.evaluation.predictions import predict
from {{ cookiecutter.package_name }}.evaluation.scoring import data_of, score
from {{ cookiecutter.package_name }}.paths import Paths

import tyro

Members = Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="N|REF REF...")]


@dataclass(frozen=True)
class Arguments:
    """Score checkpoints, their average or their ensemble on the examples that training never saw.

    A checkpoint is called latest, best, a step such as 440, or epoch:10; with RUN@ before it, it
    is one of that run.
    """

    run: str = "default"
    """Name of the run."""
    at: str | None = None
    """Which checkpoint: latest where nothing is given."""
    average: Members = None
    """Score the mean of the weights of the N newest checkpoints, or of those named."""
    save_as: str | None = None
    """With --average: keep it as a new run of this name."""
    ensemble: Members = None
    """Score the mean of what the N newest checkpoints predict, or those named, whatever their
    models."""
    root: str | None = None
    """Folder that holds runs/, as for train.py."""
    data_path: str | None = None
    """Where the data file is now, if it was moved since."""
    json: bool = False
    """Print JSON, for programs."""
    debug: bool = False
    """Show the traceback of an error."""

    def __post_init__(self) -> None:
        """Raises ConfigurationError for options that do not go together."""
        given = [name for name in ("at", "average", "ensemble") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ConfigurationError(f"Give --{given[0]} or --{given[1]}, not both.")
        if self.save_as is not None and self.average is None:
            raise ConfigurationError("--save-as goes with --average.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Evaluates what the command line names, and gives the exit code."""
    options = tyro.cli(Arguments, args=arguments)
    paths = Paths(options.root, options.run)
    if options.average is not None:
        return evaluate_average(options, find_members(paths, "average", options.average))
    if options.ensemble is not None:
        members = find_members(paths, "ensemble", options.ensemble)
        data = data_of(members, options.data_path)
        scores = [score(member, data) for member in members]
        return report(options, Outcome("ensemble", members, scores, combine(scores), data))
    member = find_member(paths, options.at or "latest")
    data = data_of([member], options.data_path)
    found = score(member, data)
    return report(options, Outcome("checkpoint", [member], [found], found, data))


def evaluate_average(options: Arguments, members: Sequence[Member]) -> int:
    """Evaluates the mean of the members' weights, and keeps it as a run if so asked."""
    new = None if options.save_as is None else Paths(options.root, options.save_as)
    if new is not None:
        require_new(new)
    data = data_of(members, options.data_path)
    state = average(members, data)
    combined = predict(state.model, data)
    scores = [score(member, data) for member in members]
    if new is not None:
        keep_average(new, members, state, data, combined.metrics)
    return report(options, Outcome("average", members, scores, combined, data))


def report(options: Arguments, outcome: Outcome) -> int:
    """Prints an outcome, saves it, and gives the exit code."""
    outcome.print(as_json=options.json)
    saved = save_evaluation(outcome)
    if not options.json:
        print(saved)
        if options.save_as is not None:
            print(f"Run {options.save_as!r} starts from the average.")
    return 0


if __name__ == "__main__":
    session.run(main)
