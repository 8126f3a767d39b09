"""The space that a sweep searches: settings, each with a range or a list of values."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from difflib import get_close_matches
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from ..errors import ConfigurationError
from .command_line import parse_settings
from .settings import CALL_SETTINGS, Settings

FORMS = "NAME=LOW..HIGH, NAME=LOW..HIGH:log, NAME=LOW..HIGH:STEP or NAME=A,B,C"
RANGE = re.compile(r"([^:,]+?)\.\.([^:,]+)(?::([^:,]+))?")


@dataclass(frozen=True)
class Choices:
    """A setting with a list of values.

    Attributes:
        name: of the setting, such as model.name.
        values: as the command line has them; those of a tuple are separated by spaces.
        kind: the type of the setting.
    """

    name: str
    values: tuple[str, ...]
    kind: Any

    is_logarithmic = False

    @property
    def examples(self) -> Sequence[Any]:
        """All values."""
        return self.values

    def suggest(self, trial: Any) -> Any:
        """The value that an Optuna trial has, or is given."""
        return trial.suggest_categorical(self.name, self.values)

    def words(self, value: Any) -> list[str]:
        """What the command line of train.py says for a value."""
        if self.kind is bool:
            group, dot, name = self.name.rpartition(".")
            return [flag_of(self.name if value == "true" else f"{group}{dot}no-{name}")]
        return [flag_of(self.name), *(value.split() if get_origin(self.kind) is tuple else [value])]


@dataclass(frozen=True)
class Range:
    """A setting with a range of numbers, both ends included.

    Attributes:
        name: of the setting, such as optimizer.learning_rate.
        low: the smallest value; an int if the setting is a whole number, as all others are then.
        high: the largest.
        step: between two values; None for all numbers, or all whole numbers.
        is_logarithmic: whether each factor is as likely, and not each difference.
    """

    name: str
    low: float
    high: float
    step: float | None = None
    is_logarithmic: bool = False

    @property
    def examples(self) -> Sequence[Any]:
        """Both ends."""
        return (self.low, self.high)

    def suggest(self, trial: Any) -> Any:
        """The value that an Optuna trial has, or is given."""
        if isinstance(self.low, int):
            step = 1 if self.step is None else self.step
            return trial.suggest_int(
                self.name, self.low, self.high, step=step, log=self.is_logarithmic
            )
        return trial.suggest_float(
            self.name, self.low, self.high, step=self.step, log=self.is_logarithmic
        )

    def words(self, value: Any) -> list[str]:
        """What the command line of train.py says for a value."""
        return [flag_of(self.name), repr(value)]


def parse_space(kind: type, entries: Sequence[str]) -> list[Choices | Range]:
    """The space that the command line of a sweep describes, a setting for each entry.

    Args:
        kind: the project's `Config`.
        entries: such as optimizer.learning-rate=1e-4..1e-2:log, in the forms of `FORMS`.

    Raises:
        ConfigurationError: an entry has no such form, or its setting is unknown or of a type that
            does not go with it.
    """
    types = types_of_settings(kind)
    known = [name for name in types if name not in CALL_SETTINGS]
    space = [parse_entry(entry, types, known) for entry in entries]
    names = [setting.name for setting in space]
    if not space:
        raise ConfigurationError(f"Say what to search, with --space {FORMS}.")
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(f"--space has {flag_of(name)[2:]} twice.")
    return space


def parse_entry(entry: str, types: dict[str, Any], known: Sequence[str]) -> Choices | Range:
    """One setting of a space; see `parse_space`."""
    given, _, values = entry.partition("=")
    name = given.removeprefix("--").replace("-", "_")
    if name not in known:
        nearest = [flag_of(near)[2:] for near in get_close_matches(name, known, n=1)]
        known_ones = f"known are {', '.join(flag_of(other)[2:] for other in known)}."
        hint = f"did you mean {nearest[0]}?" if nearest else known_ones
        raise ConfigurationError(f"--space {entry}: there is no setting {given} to search; {hint}")
    if found := RANGE.fullmatch(values):
        return parse_range(entry, name, types[name], found)
    choices = tuple(value.strip() for value in values.split(","))
    if len(choices) < 2 or len({*choices}) < len(choices) or not all(choices):
        raise ConfigurationError(f"--space {entry} is not possible: give {FORMS}.")
    if types[name] is bool and {*choices} != {"true", "false"}:
        raise ConfigurationError(f"--space {entry} is not possible: {given} is true or false.")
    return Choices(name, choices, types[name])


def parse_range(entry: str, name: str, kind: Any, found: re.Match[str]) -> Range:
    """A range of numbers, of the type that the setting has."""
    number = next((number for number in (float, int) if number in alternatives(kind)), None)
    if number is None:
        raise ConfigurationError(
            f"--space {entry} is not possible: {flag_of(name)[2:]} is no number. List its values, "
            "as in NAME=A,B,C."
        )
    is_logarithmic = found[3] == "log"
    try:
        low, high = number(found[1]), number(found[2])
        step = None if found[3] in (None, "log") else number(found[3])
    except ValueError:
        wanted = "whole numbers" if number is int else "numbers"
        raise ConfigurationError(
            f"--space {entry} is not possible: give {wanted}, as in LOW..HIGH, LOW..HIGH:log or "
            "LOW..HIGH:STEP."
        ) from None
    if not low < high or (is_logarithmic and low <= 0) or (step is not None and step <= 0):
        raise ConfigurationError(
            f"--space {entry} is not possible: LOW is to be less than HIGH, with :log more than 0, "
            "and STEP more than 0."
        )
    return Range(name, low, high, step, is_logarithmic)


def types_of_settings(kind: type, inside: str = "") -> dict[str, Any]:
    """The types of all settings by their dotted names."""
    types: dict[str, Any] = {}
    hints = get_type_hints(kind)
    for field in fields(kind):
        hint = hints[field.name]
        if is_dataclass(hint):
            types |= types_of_settings(hint, f"{inside}{field.name}.")  # type: ignore[arg-type]
        else:
            types[inside + field.name] = hint
    return types


def alternatives(kind: Any) -> Sequence[Any]:
    """The types that a type such as float | None stands for."""
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def flag_of(name: str) -> str:
    """The flag of a setting: --optimizer.learning-rate."""
    return f"--{name.replace('_', '-')}"


def chosen_settings(space: Sequence[Choices | Range], values: Mapping[str, Any]) -> list[str]:
    """What train.py is told in one trial."""
    return [word for setting in space for word in setting.words(values[setting.name])]


def check_values(kind: type[Settings], space: Sequence[Choices | Range], common: list[str]) -> None:
    """Sees to it that all choices and the ends of all ranges are possible.

    Args:
        kind: the project's `Config`.
        space: what is searched.
        common: what the command line has besides.

    Raises:
        ConfigurationError: a value is not possible.
        SystemExit: the command line is wrong.
    """
    first = first_values(space)
    for setting in space:
        if flag_of(setting.name) in common:
            raise ConfigurationError(
                f"{flag_of(setting.name)} is given and searched: leave it out in one of the two."
            )
        for example in setting.examples:
            words = chosen_settings(space, first | {setting.name: example})
            parse_settings(kind, [*common, *words])


def first_values(space: Sequence[Choices | Range]) -> dict[str, Any]:
    """A value of each setting."""
    return {setting.name: setting.examples[0] for setting in space}
