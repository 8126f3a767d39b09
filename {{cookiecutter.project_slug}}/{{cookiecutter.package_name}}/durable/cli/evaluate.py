"""evaluate.py: score checkpoints, their average or their ensemble."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import tyro

from ..errors import ConfigurationError
from ..evaluation.averaging import average, keep_average
from ..evaluation.members import Member, find_member, find_members
from ..evaluation.results import EvaluationResult
from ..evaluation.scoring import Scores, load, load_task, open_data, score
from ..run.rebuild import rebuild
from ..run.references import again_if_removed
from ..run.settings import Project
from ..run.start import require_new
from .console import Options

Members = Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="N|REF REF...")]


@tyro.conf.configure(tyro.conf.OmitArgPrefixes)
@dataclass(frozen=True)
class EvaluateOptions(Options):
    """Score checkpoints, their average or their ensemble on the examples that training never saw.

    A checkpoint is called latest, best, a step such as 440, or epoch:10; with RUN@ before it, it
    is one of that run.

    Raises:
        ConfigurationError: options do not go together.
    """

    at: str | None = None
    """Which checkpoint: latest where nothing is given."""
    average: Members = None
    """Score the mean of the weights of the N newest checkpoints, or of those named."""
    save_as: str | None = None
    """With --average: keep it as a new run of this name."""
    ensemble: Members = None
    """Score the mean of what the N newest checkpoints predict, or those named, whatever their
    models."""
    weights: Literal["trained", "ema"] = "trained"
    """Score the weights as they were trained, or their average, where --ema has kept one."""
    data_path: str | None = None
    """Where the data are now, if they were moved since: stands in for --data.path."""

    def __post_init__(self) -> None:
        given = [name for name in ("at", "average", "ensemble") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ConfigurationError(f"Give --{given[0]} or --{given[1]}, not both.")
        if self.save_as is not None and self.average is None:
            raise ConfigurationError("--save-as goes with --average.")
        if self.weights == "ema" and self.average is not None:
            raise ConfigurationError("--weights ema goes with --at or --ensemble.")


def evaluate(project: Project, arguments: Sequence[str] | None = None) -> int:
    """Evaluates what the command line names, and returns the exit code.

    Args:
        project: whose runs they are.
        arguments: by default the process's own.

    Raises:
        UserError: it cannot be evaluated.
    """
    options = tyro.cli(EvaluateOptions, args=sys.argv[1:] if arguments is None else arguments)
    paths = project.paths(options.root, options.run)
    if options.average is not None:
        members = find_members(paths, "average", options.average)
        return report(options, evaluate_average(project, options, members))
    if options.ensemble is not None:
        members = find_members(paths, "ensemble", options.ensemble)
        return report(options, evaluate_members(project, options, "ensemble", members))
    return report(options, evaluate_one(project, options))


def evaluate_one(project: Project, options: EvaluateOptions) -> EvaluationResult:
    """Scores one checkpoint. Its model takes longer to build than a trainer may keep the latest."""
    paths, at = project.paths(options.root, options.run), options.at or "latest"
    first = again_if_removed(lambda: find_member(paths, at))
    data = open_data(project, [first], options.data_path)
    state = rebuild(project, first.card).state

    def loaded() -> Member:
        member = replace(find_member(paths, at), ema=options.weights == "ema")
        load(member, state, data)
        return member

    members = [again_if_removed(loaded)]
    return EvaluationResult("checkpoint", members, score([state.task], data))


def evaluate_members(
    project: Project, options: EvaluateOptions, kind: str, members: Sequence[Member]
) -> EvaluationResult:
    """Scores checkpoints, and what they predict together."""
    members = [replace(member, ema=options.weights == "ema") for member in members]
    data = open_data(project, members, options.data_path)
    tasks = [load_task(project, member, data) for member in members]
    return EvaluationResult(kind, members, score(tasks, data))


def evaluate_average(
    project: Project, options: EvaluateOptions, members: Sequence[Member]
) -> EvaluationResult:
    """Scores the mean of the members' weights, and keeps it as a run if so asked."""
    if options.save_as is not None:
        require_new(project.paths(options.root, options.save_as))
    data = open_data(project, members, options.data_path)
    state = average(project, members, data)
    combined = score([state.task], data)
    scores = [score([load_task(project, member, data)], data).combined for member in members]
    if options.save_as is not None:
        keep_average(project, options.save_as, members, state, data, combined.combined)
    return EvaluationResult("average", members, Scores(scores, combined.combined, combined.figures))


def report(options: EvaluateOptions, result: EvaluationResult) -> int:
    """Prints a result, saves it, and returns the exit code."""
    result.print(as_json=options.json)
    saved = result.save()
    if not options.json:
        print(saved)
        if options.save_as is not None:
            print(f"Run {options.save_as!r} starts from the average.")
    return 0
