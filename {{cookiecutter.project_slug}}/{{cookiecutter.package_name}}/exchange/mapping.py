"""Renaming the variables of a file: OLD=NEW, where OLD is a regular expression."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from etils import epath

from ..errors import ConfigurationError


@dataclass(frozen=True)
class Renaming:
    r"""One entry of a mapping.

    Attributes:
        text: the entry as it was given.
        old: matches the whole of a name in the file.
        new: the path in the model, with the groups of `old` as \1, \2 …
    """

    text: str
    old: re.Pattern[str]
    new: str


def read_mapping(entries: Iterable[str], file: str | None) -> list[Renaming]:
    """Reads entries, and then those of a file, one a line; # starts a comment.

    Raises:
        ConfigurationError: the file cannot be read, or an entry is not OLD=NEW.
    """
    lines: list[str] = []
    if file is not None:
        try:
            lines = epath.Path(file).read_text().splitlines()
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"--map-file {file} cannot be read: {error}") from error
    uncommented = (line.partition("#")[0].strip() for line in lines)
    return [parse(entry) for entry in [*entries, *filter(None, uncommented)]]


def parse(entry: str) -> Renaming:
    """One entry. The last = counts: a regular expression may have others."""
    old, separator, new = entry.rpartition("=")
    try:
        pattern = re.compile(old.strip())
        if separator and old and new:
            return Renaming(entry, pattern, new.strip())
        reason = "it is not OLD=NEW"
    except re.error as error:
        reason = f"{error} in the regular expression"
    raise ConfigurationError(f"--map {entry} is not possible: {reason}.")


def rename(names: Iterable[str], renamings: Iterable[Renaming]) -> dict[str, str]:
    """The new names of those that are renamed, by their old names; the first entry counts.

    Raises:
        ConfigurationError: an entry matches nothing, or asks for a group it does not have.
    """
    renamed: dict[str, str] = {}
    for renaming in renamings:
        matches = [match for name in names if (match := renaming.old.fullmatch(name))]
        if not matches:
            raise ConfigurationError(f"--map {renaming.text} matches no variable of the file.")
        try:
            for match in matches:
                renamed.setdefault(match[0], match.expand(renaming.new))
        except (re.error, IndexError) as error:
            raise ConfigurationError(f"--map {renaming.text} is not possible: {error}.") from error
    return renamed
