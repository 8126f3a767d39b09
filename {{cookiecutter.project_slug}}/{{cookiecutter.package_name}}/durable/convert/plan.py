"""The plan of an import: which variable of the file becomes which of the state."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import tensorflow as tf

from ..checkpoint.card import VariableEntry
from ..errors import ConfigurationError, Difference
from ..untrusted import read_text
from .names import ITERATION, STEP, canonical_path, is_generator_state, slot_of
from .source import Proposal, Spec


@dataclass(frozen=True)
class Move:
    """One line of a plan.

    Attributes:
        name: of the variable in the file.
        target: its canonical path in the state.
        entry: of the variable in the state.
    """

    name: str
    target: str
    entry: VariableEntry


@dataclass(frozen=True)
class Plan:
    """What an import does.

    Attributes:
        moves: what becomes what.
        not_needed: names of bookkeeping in the file that becomes nothing.
        anew: paths of variables of the state that start anew.
        differences: what does not fit, on either side.
    """

    moves: list[Move]
    not_needed: list[str]
    anew: list[str]
    differences: list[Difference]


def make_plan(
    specs: Mapping[str, Spec],
    proposal: Proposal,
    renamed: Mapping[str, str],
    live: Mapping[str, VariableEntry],
) -> Plan:
    """Matches the variables of a file with those of a state.

    Args:
        specs: what the file has, by name.
        proposal: how they may be matched.
        renamed: how they shall be matched, by name; it wins, and slots follow what they belong to.
        live: what the state has, by canonical path.

    Raises:
        ConfigurationError: two variables of the file would become one.
    """
    follows = proposal.slots.keys() | proposal.not_needed
    renamed = {
        name: target
        for name, target in renamed.items()
        # A pattern for the variables may match what belongs to them as well.
        if name not in follows or canonical_path(target) in live
    }
    sources = sources_of(wanted_targets(proposal, renamed))
    moves: list[Move] = []
    differences = [*proposal.differences]
    for target, name in sources.items():
        if target not in live:
            continue
        problems = variable_differences(specs[name], live[target])
        differences += problems
        if not problems:
            moves.append(Move(name, target, live[target]))
    not_needed = sorted(proposal.not_needed - renamed.keys())
    used = {sources[target] for target in sources.keys() & live.keys()} | {*not_needed}
    differences += [
        Difference("-", name, f"only in the file {spec.shape} {spec.dtype}")
        for name, spec in specs.items()
        if name not in used
    ]
    has_slots = any(entry.role == "optimizer" for entry in map(live.get, sources) if entry)
    missing = [live[target] for target in live if target not in sources]
    anew = [entry for entry in missing if starts_anew(entry, has_slots=has_slots)]
    differences += [
        Difference("+", entry.path, f"only in the model {entry.shape} {entry.dtype}")
        for entry in missing
        if entry not in anew
    ]
    if is_of_another_optimizer(proposal, live):
        anew += [move.entry for move in moves if move.entry.role == "optimizer"]
        moves = [move for move in moves if move.entry.role != "optimizer"]
    return Plan(moves, not_needed, [entry.path for entry in anew], differences)


def is_of_another_optimizer(proposal: Proposal, live: Mapping[str, VariableEntry]) -> bool:
    """Whether a file has other kinds of slots: one of the same name then means another thing."""
    wanted = {slot[0] for target in live if (slot := slot_of(target))}
    found = {kind for kind, _ in proposal.slots.values()}
    return bool(found) and found != wanted


def wanted_targets(proposal: Proposal, renamed: Mapping[str, str]) -> dict[str, str]:
    """The canonical path that each variable of a file should become."""
    targets = {**proposal.targets, **renamed}
    slots = {
        name: f"optimizer/{kind}/{targets[owner]}"
        for name, (kind, owner) in proposal.slots.items()
        if owner in targets and name not in renamed
    }
    return {name: canonical_path(target) for name, target in (targets | slots).items()}


def sources_of(targets: Mapping[str, str]) -> dict[str, str]:
    """The name in the file by the path that it becomes.

    A file with an optimizer and one counter of steps means the same one by both.
    """
    sources: dict[str, str] = {}
    for name, target in targets.items():
        if target in sources:
            raise ConfigurationError(
                f"{sources[target]} and {name} would both become {target}. Map one of them "
                "elsewhere with --map OLD=NEW."
            )
        sources[target] = name
    has_slots = any(target.startswith("optimizer/") for target in sources)
    if STEP in sources and has_slots:
        sources.setdefault(ITERATION, sources[STEP])
    elif ITERATION in sources:
        sources.setdefault(STEP, sources[ITERATION])
    return sources


def variable_differences(spec: Spec, entry: VariableEntry) -> list[Difference]:
    """What keeps a variable of the file from becoming one of the state."""
    both_count = tf.as_dtype(spec.dtype).is_integer and tf.as_dtype(entry.dtype).is_integer
    pairs: list[tuple[str, object, object]] = [("shape", spec.shape, entry.shape)]
    if not both_count:  # a counter fits into one of another width
        pairs.append(("dtype", spec.dtype, entry.dtype))
    return [
        Difference("!", entry.path, f"{name} {found} in the file, {wanted} in the model")
        for name, found, wanted in pairs
        if found != wanted
    ]


def starts_anew(entry: VariableEntry, *, has_slots: bool) -> bool:
    """Whether a run can do without a variable's value from elsewhere."""
    if entry.role == "optimizer":
        return not has_slots  # all of them, or none
    return entry.role not in ("model", "optimizer") or is_generator_state(entry.path)


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
            lines = read_text(file).splitlines()
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"--map-file {file} cannot be read: {error}") from error
    uncommented = (line.partition("#")[0].strip() for line in lines)
    return [parse_renaming(entry) for entry in [*entries, *filter(None, uncommented)]]


def parse_renaming(entry: str) -> Renaming:
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
