"""import: a new run from a checkpoint that something else wrote."""

import shlex
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from typing import Annotated, Any

import tyro
from etils import epath

from ..convert import importing
from ..convert.importing import recognize
from ..convert.keras_file import KerasFile
from ..convert.names import find_part, targets_of
from ..convert.plan import Plan, make_plan, read_mapping, rename
from ..convert.source import SourceFile, require_one_model
from ..errors import ConfigurationError, ImportMismatch, format_differences
from ..files import absolute
from ..run.command_line import settings_of_the_project
from ..run.settings import Project, RunSettings, flat
from ..run.start import require_new
from .console import Options, aligned, print_json, print_text

MANY = 3  # names that are still listed one by one


@dataclass(frozen=True)
class ImportOptions:
    """What an import is told beside the settings of the project."""

    path: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="PATH")]
    """The file; a TensorFlow checkpoint without .index."""
    map: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(metavar="OLD=NEW")
    ] = ()
    r"""The variable OLD of the file becomes NEW of the model. OLD is a regular expression for the
    whole name, NEW may have its groups as \1. What belongs to a variable follows it."""
    map_file: str | None = None
    """A file of such entries, one a line; # starts a comment."""
    into: str | None = None
    """The layer that the file is of, such as a body: everything must fit there, and what is
    outside of it begins anew."""
    dry_run: bool = False
    """Print what would become what, and write nothing."""
    partial: bool = False
    """Take over what fits, and tell what does not."""


def build_import(project: Project) -> Callable[..., int]:
    """The command, with those settings of the project as flags that a run must keep."""
    settings_class = settings_of_the_project(project.config)

    def import_(
        common: Options,
        options: Annotated[ImportOptions, tyro.conf.arg(name="")],
        settings: Annotated[settings_class, tyro.conf.arg(name="")] = settings_class(),  # type: ignore[valid-type]  # noqa: B008
    ) -> int:
        """Make a new run from a checkpoint of another Keras, of tf.compat.v1, or a Keras file.

        Everything in the file must fit, and everything that the model needs must be in it. The
        settings are those of the file's card, if it has one, and else those given here.
        """
        require_new(project.paths(common.root, common.run))
        chosen = {field.name: getattr(settings, field.name) for field in fields(settings_class)}
        given = project.config(run=common.run, root=common.root, **chosen)
        return import_file(project, common, options, given)

    return import_


def import_file(
    project: Project, common: Options, options: ImportOptions, given: RunSettings
) -> int:
    """Imports a file with the given settings, and returns the exit code."""
    source = recognize(epath.Path(absolute(options.path)))
    start = importing.prepare(project, importing.settings_of(source, given))
    if source.card is None:
        only_weights = isinstance(source, KerasFile)
        require_one_model(start.state.task, f"A {source.kind}", optimizers=not only_weights)
    plan = plan_of(source, options, start)
    described = plan_as_json(source, plan)
    if options.dry_run:
        print_json(described) if common.json else print_plan(source, plan)
        return ImportMismatch.exit_code if plan.differences and not options.partial else 0
    importing.require_whole(source, plan, partial=options.partial)
    importing.assign(source, plan, start)
    saved = importing.save(source, start)
    if common.json:
        print_json(described | {"saved": saved, "step": int(start.state.step)})
    else:
        print_result(source, plan, start, saved)
    return 0


def plan_of(source: SourceFile, options: ImportOptions, start: importing.Start) -> Plan:
    """What the import of a file does."""
    renamed = rename(source.specs, read_mapping(options.map, options.map_file))
    live = {target: entry for target, (entry, _) in targets_of(start.state).items()}
    if options.into is None:
        return make_plan(source.specs, source.propose(start.state), renamed, live)
    if not isinstance(source, KerasFile):
        raise ConfigurationError(f"--into is for files of Keras weights, not a {source.kind}.")
    path, part = find_part(start.state.task.model, options.into)
    outside = [
        target
        for target, entry in live.items()
        if entry.role == "model" and not entry.path.startswith(f"{path}/")
    ]
    inside = {target: entry for target, entry in live.items() if target not in outside}
    plan = make_plan(source.specs, source.propose_for(part, f"{path}/"), renamed, inside)
    return replace(plan, anew=[*(live[target].path for target in outside), *plan.anew])


def plan_as_json(source: SourceFile, plan: Plan) -> dict[str, Any]:
    """The plan, as JSON can hold it."""
    return {
        "file": str(source.path),
        "kind": source.kind,
        "moves": [
            {"from": move.name, "to": move.entry.path, "shape": move.entry.shape}
            for move in plan.moves
        ],
        "not_needed": plan.not_needed,
        "anew": plan.anew,
        "differences": [asdict(difference) for difference in plan.differences],
    }


def print_plan(source: SourceFile, plan: Plan) -> None:
    """Prints what would become what, and what is left over on either side."""
    print_text(f"{source.path} is a {source.kind}.")
    shapes = aligned([(str(move.entry.shape),) for move in plan.moves])
    for move, shape in zip(plan.moves, shapes, strict=True):
        print_text(f"{shape}  {move.name} → {move.entry.path}")
    print_rest(plan)


def print_rest(plan: Plan) -> None:
    """Prints what becomes nothing, what starts anew, and what does not fit."""
    if plan.not_needed:
        print_text(f"Not needed from the file: {shortened(plan.not_needed)}.")
    if plan.anew:
        print_text(f"Starts anew: {shortened(plan.anew)}.")
    if plan.differences:
        print_text(f"Does not fit:\n{format_differences(plan.differences).rstrip()}")


def shortened(names: list[str]) -> str:
    """The names, those of many in one folder as its name and their number."""
    folders = Counter(name.partition("/")[0] for name in names)
    single = [name for name in names if folders[name.partition("/")[0]] <= MANY]
    many = [f"{folder}/… ({count})" for folder, count in folders.items() if count > MANY]
    return ", ".join([*single, *many])


def print_result(source: SourceFile, plan: Plan, start: importing.Start, saved: str | None) -> None:
    """Prints what was imported, and how to go on."""
    print_text(f"Imported {len(plan.moves)} variables from {source.path}, a {source.kind}.")
    print_rest(plan)
    arguments = shlex.join(arguments_of(start.experiment.config))
    print_text(f"Saved {saved}.\nGo on with: python train.py {arguments}")


def arguments_of(config: RunSettings) -> list[str]:
    """What train.py must be given to go on: the settings that one run must keep."""
    arguments = ["--run", config.run, *(["--root", str(config.root)] if config.root else [])]
    default = flat(asdict(type(config)()))
    for name, value in flat(asdict(config)).items():
        if value != default[name] and (name == "seed" or "." in name):
            values = value if isinstance(value, tuple) else (value,)
            arguments += [f"--{name.replace('_', '-')}", *map(str, values)]
    return arguments
