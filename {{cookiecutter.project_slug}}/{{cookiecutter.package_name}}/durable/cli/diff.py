"""diff: what differs between two checkpoints, or between one and the present code."""

from dataclasses import asdict

import tyro
from etils import epath

from ..checkpoint import bundle
from ..checkpoint.mismatch import SideNames
from ..errors import ConfigurationError, format_differences
from ..evaluation.comparison import Comparison, compare_checkpoints, compare_with_model
from ..quiet import import_tensorflow
from ..run.paths import RunPaths
from ..run.references import find, resolve
from ..run.settings import Project
from .console import Options, aligned, number, print_json, print_text


def diff(
    project: Project,
    common: Options,
    first: tyro.conf.Positional[str],
    second: tyro.conf.Positional[str | None] = None,
    model: bool = False,
) -> int:
    """Compare two checkpoints, or one with the model that the present code builds from its card.

    Compared are the structure, the settings and, of two checkpoints, every byte of every variable.
    A relative difference is that of two values to the larger of them. Exit code 0 if nothing
    differs, 1 if something does.

    Args:
        project: whose run it is.
        common: what every command takes.
        first: A step, latest, best or epoch:N; or RUN@ and one of these.
        second: The same, for the second checkpoint.
        model: Compare the first with the model instead: its structure and settings.
    """
    if model == (second is not None):
        raise ConfigurationError("Give a second checkpoint or --model, one of the two.")
    name, path = named(project.paths(common.root, common.run), first)
    if model:
        import_tensorflow()
        sides = [("the checkpoint", path), ("the model", "what the present code builds from it")]
        comparison = compare_with_model(project, path, SideNames(configuration="the present code"))
    else:
        sides = [(name, path), named(project.paths(common.root, common.run), second)]
        comparison = compare_checkpoints(path, sides[1][1], SideNames.of_two(name, sides[1][0]))
    if common.json:
        conclusion = "fits" if model else "identical"
        paths = {"first": str(path), "second": None if model else str(sides[1][1])}
        print_json(paths | {conclusion: comparison.is_empty} | asdict(comparison))
    else:
        print_comparison(comparison, sides, verdict(comparison, model=model))
    return 0 if comparison.is_empty else 1


def named(paths: RunPaths, reference: str) -> tuple[str, epath.Path]:
    """What a checkpoint is called, such as default@44, and where it is."""
    paths, at = resolve(paths, reference)
    path = find(paths, at)
    name = "best" if at == "best" else bundle.step_of(path)
    return f"{paths.run}@{name}", path


def verdict(comparison: Comparison, *, model: bool) -> str:
    """The last line."""
    if not comparison.is_empty:
        return "They differ."
    if model:
        return "The checkpoint fits the model."
    return (
        f"They are identical: structure, settings and every byte of {comparison.equal} variables."
    )


def print_comparison(
    comparison: Comparison, sides: list[tuple[str, object]], last_line: str
) -> None:
    """Prints which side is which, what differs, and the verdict."""
    for symbol, (name, place) in zip("-+", sides, strict=True):
        print_text(f"{symbol} {name}: {place}")
    for title, differences in (
        ("Structure", comparison.structure),
        ("Settings", comparison.settings),
    ):
        if differences:
            print_text(f"\n{title}\n{format_differences(differences).rstrip()}")
    if comparison.values:
        count = len(comparison.values)
        print_text(f"\nValues of variables: {count} differ, {comparison.equal} are equal.\n")
        rows = [(number(x.absolute), number(x.relative), x.path) for x in comparison.values]
        heading, *lines = aligned([("largest difference", "relative", "variable"), *rows])
        print_text(heading, style="bold")
        print_text("\n".join(lines))
    print_text(f"\n{last_line}")
