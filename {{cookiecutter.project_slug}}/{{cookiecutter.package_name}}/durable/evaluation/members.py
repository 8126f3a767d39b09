"""The members of an average or an ensemble: checkpoints of one run, or of several."""

from collections.abc import Sequence
from dataclasses import dataclass

from etils import epath

from ..checkpoint.bundle import step_of
from ..checkpoint.card import Card, read_card
from ..errors import ConfigurationError
from ..run.paths import RunPaths
from ..run.references import all_checkpoints, find, resolve


@dataclass(frozen=True)
class Member:
    """A checkpoint that is combined with others.

    Attributes:
        run: where its run keeps its files.
        path: of the checkpoint.
        card: what it says of itself.
        ema: whether the average of its weights is meant, and not the weights.
    """

    run: RunPaths
    path: epath.Path
    card: Card
    ema: bool = False

    @property
    def name(self) -> str:
        """What a user calls it: RUN@STEP."""
        return f"{self.run.run}@{step_of(self.path)}{'-ema' if self.ema else ''}"


def find_member(paths: RunPaths, reference: str) -> Member:
    """The checkpoint that a reference names; see `checkpoints.locate.locate`.

    Raises:
        ConfigurationError: there is none of that name.
        DamagedCheckpoint, CardMissing: it has no card that can be read.
    """
    run, at = resolve(paths, reference)
    path = find(run, at)
    return Member(run, path, read_card(path))


def find_members(paths: RunPaths, kind: str, references: Sequence[str]) -> list[Member]:
    """The members that a user names.

    Args:
        paths: of the run that is meant where a reference names none.
        kind: average or ensemble, for messages.
        references: one number N for the N newest checkpoints of the run; else at least two
            references.

    Raises:
        ConfigurationError: there are no such checkpoints, fewer than two of them, one of them
            twice, or their held-out examples are not the same.
        DamagedCheckpoint, CardMissing: one has no card that can be read.
    """
    if len(references) == 1 and references[0].removeprefix("-").isdecimal():
        members = newest_members(paths, kind, int(references[0]))
    elif len(references) < 2:
        raise ConfigurationError(
            f"--{kind} needs how many of the newest checkpoints to take, such as 3, or the names "
            "of two or more, such as 44 wide@best."
        )
    else:
        members = [find_member(paths, reference) for reference in references]
    names = [member.name for member in members]
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(f"--{kind} has {name} more than once.")
    check_data(members)
    return members


def newest_members(paths: RunPaths, kind: str, count: int) -> list[Member]:
    """The newest checkpoints of a run, oldest first."""
    checkpoints = all_checkpoints(paths)
    if not 2 <= count <= len(checkpoints):
        steps = ", ".join(str(step_of(checkpoint)) for checkpoint in checkpoints)
        raise ConfigurationError(
            f"--{kind} {count} is not possible: it takes at least 2 checkpoints, and run "
            f"{paths.run!r} has {len(checkpoints)}, of step {steps}."
        )
    return [Member(paths, path, read_card(path)) for path in checkpoints[-count:]]


def check_data(members: Sequence[Member]) -> None:
    """Raises ConfigurationError unless all members were kept from the same examples."""
    first = members[0]
    for member in members[1:]:
        if fingerprint(member) != fingerprint(first):
            raise ConfigurationError(
                f"{first.name} and {member.name} cannot be combined: they were trained on other "
                "data, or hold out other examples of it."
            )


def fingerprint(member: Member) -> object:
    """What tells the data of a checkpoint from others, and which of them were held out."""
    return member.card.structure.identity.get("data")


def newest_of(members: Sequence[Member]) -> Member:
    """The member that was trained for the most steps; of several, the one saved last."""
    return max(members, key=lambda member: (member.card.step, member.card.created))
