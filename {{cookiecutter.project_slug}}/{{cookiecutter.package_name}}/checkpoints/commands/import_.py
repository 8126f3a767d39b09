"""import: a new run from a checkpoint that something else wrote."""

import shlex
from collections import Counter
from dataclasses import asdict
from typing import Annotated, Any

import tyro
from etils import epath
from rich.console import Console
from rich.table import Column, Table

from ...beginning import require_new
from ...config import Config, DataConfig, ModelConfig, OptimizerConfig
from ...config_file import flat
from ...exchange import take_over
from ...exchange.foreign import Foreign
from ...exchange.mapping import read_mapping, rename
from ...exchange.names import targets_of
from ...exchange.plan import Plan, make_plan
from ...exchange.recognise import recognise
from ...paths import absolute
from ..difference import table_of
from ..errors import ImportMismatch
from .options import Options
from .output import print_json

MANY = 3  # names that are still listed one by one


def import_(
    common: Options,
    path: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="PATH")],
    map: Annotated[  # noqa: A002
        tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(metavar="OLD=NEW")
    ] = (),
    map_file: str | None = None,
    dry_run: bool = False,
    partial: bool = False,
    seed: int = 0,
    model: ModelConfig = ModelConfig(),  # noqa: B008
    data: DataConfig = DataConfig(),  # noqa: B008
    optimizer: OptimizerConfig = OptimizerConfig(),  # noqa: B008
) -> int:
    r"""Make a new run from a checkpoint of another Keras, of tf.compat.v1, or a Keras file.

    Everything in the file must fit, and everything that the model needs must be in it. The
    settings are those of the file's card, if it has one, and else those given here.

    Args:
        common: What every command takes.
        path: The file; a TensorFlow checkpoint without .index.
        map: The variable OLD of the file becomes NEW of the model. OLD is a regular expression for
            the whole name, NEW may have its groups as \1. What belongs to a variable follows it.
        map_file: A file of such entries, one a line; # starts a comment.
        dry_run: Print what would become what, and write nothing.
        partial: Take over what fits, and tell what does not.
        seed: As for train.py.
        model: As for train.py.
        data: As for train.py.
        optimizer: As for train.py.
    """
    require_new(common.paths)
    foreign = recognise(epath.Path(absolute(path)))
    given = Config(
        run=common.run, root=common.root, seed=seed, model=model, data=data, optimizer=optimizer
    )
    start = take_over.prepare(take_over.settings_of(foreign, given))
    renamed = rename(foreign.specs, read_mapping(map, map_file))
    live = {target: entry for target, (entry, _) in targets_of(start.state).items()}
    plan = make_plan(foreign.specs, foreign.propose(start.state), renamed, live)
    described = describe(foreign, plan)
    if dry_run:
        print_json(described) if common.json else print_plan(foreign, plan)
        return ImportMismatch.exit_code if plan.differences and not partial else 0
    take_over.require_whole(foreign, plan, partial=partial)
    take_over.assign(foreign, plan, start)
    saved = take_over.save(foreign, start)
    if common.json:
        print_json(described | {"saved": saved, "step": int(start.state.step)})
    else:
        print_result(foreign, plan, start, saved)
    return 0


def describe(foreign: Foreign, plan: Plan) -> dict[str, Any]:
    """The plan, as JSON can hold it."""
    return {
        "file": str(foreign.path),
        "kind": foreign.kind,
        "moves": [
            {"from": move.name, "to": move.entry.path, "shape": move.entry.shape}
            for move in plan.moves
        ],
        "not_needed": plan.not_needed,
        "anew": plan.anew,
        "differences": [asdict(difference) for difference in plan.differences],
    }


def print_plan(foreign: Foreign, plan: Plan) -> None:
    """Prints what would become what, and what is left over on either side."""
    console = Console()
    console.print(f"{foreign.path} is a {foreign.kind}.", soft_wrap=True, highlight=False)
    columns = [Column("from", overflow="fold"), Column("to", overflow="fold")]
    table = Table(*columns, Column("shape", no_wrap=True))
    for move in plan.moves:
        table.add_row(move.name, move.entry.path, str(move.entry.shape))
    console.print(table)
    print_rest(plan)


def print_rest(plan: Plan) -> None:
    """Prints what becomes nothing, what starts anew, and what does not fit."""
    if plan.not_needed:
        print(f"Not needed from the file: {shortened(plan.not_needed)}.")
    if plan.anew:
        print(f"Starts anew: {shortened(plan.anew)}.")
    if plan.differences:
        print(f"Does not fit:\n{table_of(plan.differences)}", end="")


def shortened(names: list[str]) -> str:
    """The names, those of many in one folder as its name and their number."""
    folders = Counter(name.partition("/")[0] for name in names)
    single = [name for name in names if folders[name.partition("/")[0]] <= MANY]
    many = [f"{folder}/… ({count})" for folder, count in folders.items() if count > MANY]
    return ", ".join([*single, *many])


def print_result(foreign: Foreign, plan: Plan, start: take_over.Start, saved: str | None) -> None:
    """Prints what was imported, and how to go on."""
    print(f"Imported {len(plan.moves)} variables from {foreign.path}, a {foreign.kind}.")
    print_rest(plan)
    print(f"Saved {saved}.\nGo on with: python train.py {shlex.join(arguments_of(start.config))}")


def arguments_of(config: Config) -> list[str]:
    """What train.py must be given to go on: the settings that one run must keep."""
    arguments = ["--run", config.run, *(["--root", str(config.root)] if config.root else [])]
    default = flat(asdict(Config()))
    for name, value in flat(asdict(config)).items():
        if value != default[name] and (name == "seed" or "." in name):
            values = value if isinstance(value, tuple) else (value,)
            arguments += [f"--{name.replace('_', '-')}", *map(str, values)]
    return arguments
