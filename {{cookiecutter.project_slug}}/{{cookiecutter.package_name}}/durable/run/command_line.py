"""The settings of a run: from the command line, and from the file that --config names."""

import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, field, fields, is_dataclass, make_dataclass
from difflib import get_close_matches
from reprlib import repr as brief
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import tyro
from etils import epath

from ..errors import ConfigurationError, in_one_line
from ..untrusted import parse_json, read_text
from .settings import RunSettings, Settings, config_from


def parse_settings(kind: type[Settings], arguments: Sequence[str] | None = None) -> Settings:
    """The settings that the command line gives, over those in the file that --config names.

    Args:
        kind: the project's `Config`.
        arguments: the command line; by default the process's own.

    Raises:
        ConfigurationError: the file cannot be read, or a setting in it is unknown or not possible.
        SystemExit: the command line is wrong (code 2), or asks for help (code 0).
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config")
    file = parser.parse_known_args(given)[0].config
    default = kind() if file is None else settings_in(epath.Path(file), kind)
    return tyro.cli(kind, args=given, default=default)


def settings_of_the_project(config: type[RunSettings]) -> type:
    """A class with the seed and those settings that are the project's own."""
    machinery = {field.name for field in fields(RunSettings)} - {"seed"}
    hints = get_type_hints(config, include_extras=True)
    own = [entry for entry in fields(config) if entry.name not in machinery]
    return make_dataclass(
        "Settings",
        [
            (
                entry.name,
                Annotated[hints[entry.name], tyro.conf.arg(help="As for train.py.")],
                field(default_factory=entry.default_factory)
                if entry.default is MISSING
                else entry.default,
            )
            for entry in own
        ],
        frozen=True,
    )


def settings_in(path: epath.Path, kind: type[Settings]) -> Settings:
    """The settings in a JSON file, such as the `config.json` of a run, over the defaults.

    Raises:
        ConfigurationError: as `parse_settings`.
    """
    try:
        values = parse_json(read_text(path))
    except (OSError, ValueError) as error:
        reason = in_one_line(error)
        raise ConfigurationError(f"--config {path} cannot be read: {reason}.") from error
    if not isinstance(values, dict):
        raise ConfigurationError(f"--config {path} holds no settings: give a JSON object.")
    for problem in problems_of(values, kind):
        raise ConfigurationError(f"--config {path}: {problem}")
    return config_from(values, kind)


def settings_of_card(values: Mapping[str, Any], kind: type[Settings]) -> Settings:
    """The configuration that a card holds, but for settings that are known no more.

    Raises:
        ConfigurationError: a setting is of a wrong type, or not possible.
    """
    for problem in problems_of(values, kind, unknown=False):
        raise ConfigurationError(f"The settings in the card cannot be used: {problem}")
    return config_from(values, kind)


def problems_of(
    values: Mapping[str, Any], kind: type, inside: str = "", *, unknown: bool = True
) -> Iterator[str]:
    """What is wrong with the settings of a file, one by one: wrong types and `unknown` names."""
    hints = get_type_hints(kind)
    known = [field.name for field in fields(kind)]
    for name, value in values.items():
        if name not in known and not unknown:
            continue
        if name not in known:
            nearest = get_close_matches(name, known, n=1)
            known_ones = f"known are {', '.join(known)}."
            hint = f"did you mean {inside}{nearest[0]}?" if nearest else known_ones
            yield f"there is no setting {inside}{name}; {hint}"
        elif is_dataclass(hints[name]):
            if isinstance(value, dict):
                yield from problems_of(value, hints[name], f"{inside}{name}.", unknown=unknown)
            else:
                yield f"{inside}{name} is to be an object with settings, not {brief(value)}."
        elif not is_of(value, hints[name]):
            yield f"{inside}{name} is to be {described(hints[name])}, not {brief(value)}."


def is_of(value: Any, hint: Any) -> bool:
    """Whether a value from JSON is one of a setting's type; of other types, all pass."""
    kind, inner = get_origin(hint), get_args(hint)
    if kind in (Union, UnionType):
        return any(is_of(value, option) for option in inner)
    if kind is Literal:
        return value in inner
    if kind in (tuple, list):
        return isinstance(value, list) and all(is_of(element, inner[0]) for element in value)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is hint or hint not in (bool, int, str, NoneType)


def described(hint: Any) -> str:
    """A type as a user calls it: a whole number or null."""
    kind, inner = get_origin(hint), get_args(hint)
    if kind in (Union, UnionType):
        return " or ".join(map(described, inner))
    if kind is Literal:
        return f"one of {', '.join(map(str, inner))}"
    if kind in (tuple, list):
        return f"a list, each {described(inner[0])}"
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    return names.get(hint, "null" if hint is NoneType else str(hint))
