"""What a power cut may leave on a disk, of the file operations up to it.

Three models say which changes of names survive that no sync asked for:

- `everything`: all of them;
- `ordered`: those up to some moment, in their order, as the journals of ext4 and xfs keep them. A
  sync brings the file or the folder, and all that was done before its last change;
- `posix`: any of them in any combination, since POSIX promises a name only once the folder that
  has it is synchronized. A rename in one folder is whole; from one folder into another it is two
  changes, each of which its own folder has.

In each, what was written to a file since its last sync may be absent, be zeros, or be there in
part; it may as well be all there.
"""

import math
import os
import random
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from .tracing import ROOT, Link, Rename, Sync, Truncate, Unlink, Write, cut, put

NEVER = math.inf


class Policy(NamedTuple):
    """What survives of the changes of names and of the data that no sync asked for."""

    model: str  # everything, ordered, posix
    names: str  # all, none, some
    data: str  # all, none, zeros, some


# The worst that there is: what is ordered is somewhere between the two.
WORST = [
    Policy("posix", "none", "none"),
    Policy("everything", "all", "none"),
    Policy("everything", "all", "zeros"),
]
# What tells that one thing comes before another.
CHANGED = Policy("everything", "all", "none")
CUT_SHORT = Policy("everything", "all", "all")


def drawn_policies(chance):
    """One policy for each model, drawn by chance; what survives is drawn with it."""
    return [
        Policy("everything", "all", "some"),
        Policy("ordered", chance.choice(("some", "none")), chance.choice(("some", "none"))),
        Policy("posix", "some", chance.choice(("some", "none", "all"))),
    ]


class Change(NamedTuple):
    """A change of a name in a folder, and when it is on the disk for sure, in each model.

    With `inode`, the name is that of it from now on; with `removed`, no longer of that.
    """

    number: int
    folder: int
    name: str
    inode: int | None
    removed: int | None
    since: dict[str, float]


@dataclass(frozen=True)
class State:
    """A disk: the folders, and the content of each file by the number of its inode."""

    folders: tuple[str, ...]
    files: dict[str, int]
    contents: dict[int, bytes]

    def below(self, path):
        """What is in a folder, without the rest."""
        inside = f"{path}/"
        folders = [folder for folder in self.folders if f"{folder}/".startswith(inside)]
        files = {file: inode for file, inode in self.files.items() if file.startswith(inside)}
        inodes = set(files.values())
        contents = {inode: found for inode, found in self.contents.items() if inode in inodes}
        return State(tuple(folders), files, contents)

    def key(self):
        """The same for equal states."""
        names = sorted((file, self.contents[inode]) for file, inode in self.files.items())
        links = sorted(sorted(f for f, i in self.files.items() if i == n) for n in self.contents)
        return hash((tuple(sorted(self.folders)), tuple(names), str(links)))

    def write(self, root):
        """Makes it below a folder, with hard links where files have several names."""
        for folder in self.folders:
            Path(root, folder).mkdir(parents=True)
        first = {}
        for name, inode in self.files.items():
            if inode in first:
                os.link(Path(root, first[inode]), Path(root, name))
            else:
                Path(root, name).write_bytes(self.contents[inode])
                first[inode] = name


class Disk:
    """The states that operations may leave, whenever the power is cut."""

    def __init__(self, operations):
        self._operations = operations
        self._syncs = syncs_of(operations)
        self._folders = {ROOT} | {
            operation.inode
            for operation in operations
            if isinstance(operation, Link) and operation.is_folder
        }
        ordered = journal_of(operations)
        self._changes = [
            change
            for number, operation in enumerate(operations)
            for change in self._changes_by(number, operation, ordered)
        ]
        self._data = defaultdict(list)
        for number, operation in enumerate(operations):
            if isinstance(operation, Write | Truncate):
                since = self._synchronized(operation.inode, number)
                self._data[operation.inode].append((number, operation, since))

    def _synchronized(self, inode, number):
        """The number of the sync that puts an operation on something on the disk."""
        return next((at for at, begun in self._syncs[inode] if begun > number), NEVER)

    def _changes_by(self, number, operation, ordered):
        def change(folder, name, inode, removed=None):
            since = {
                "everything": -1,
                "ordered": ordered[number],
                "posix": self._synchronized(folder, number),
            }
            return Change(number, folder, name, inode, removed, since)

        if isinstance(operation, Link):
            yield change(operation.folder, operation.name, operation.inode)
        elif isinstance(operation, Unlink):
            yield change(operation.folder, operation.name, None, operation.inode)
        elif isinstance(operation, Rename):
            yield change(operation.folder, operation.name, None, operation.inode)
            yield change(operation.to_folder, operation.to_name, operation.inode)

    def state(self, end, policy, chance=None):
        """What is on the disk where the power is cut before the operation of a number."""
        chance = chance or random.Random(0)
        entries = defaultdict(dict)
        for change in self._surviving(end, policy, chance):
            names = entries[change.folder]
            if change.inode is not None:
                names[change.name] = change.inode
            elif names.get(change.name) == change.removed:
                del names[change.name]
        folders, files, contents = [], {}, {}
        waiting = [(ROOT, "")]
        while waiting:
            folder, path = waiting.pop()
            for name, inode in entries[folder].items():
                place = f"{path}{name}"
                if inode in self._folders:
                    folders.append(place)
                    waiting.append((inode, f"{place}/"))
                else:
                    files[place] = inode
        for inode in set(files.values()):
            contents[inode] = self._content(inode, end, policy.data, chance)
        return State(tuple(sorted(folders)), files, contents)

    def _surviving(self, end, policy, chance):
        changes = [change for change in self._changes if change.number < end]
        loose = [change for change in changes if change.since[policy.model] >= end]
        if policy.names == "none" or not loose:
            kept = set()
        elif policy.model == "ordered":
            last = chance.choice(loose).number
            kept = {(number, folder) for number, folder, *_ in loose if number <= last}
        else:
            share = chance.random()
            both = sorted({(number, folder) for number, folder, *_ in loose})
            kept = {change for change in both if chance.random() < share}
        for change in changes:
            # A rename in one folder is two changes of one number: both are kept, or none.
            if change.since[policy.model] < end or (change.number, change.folder) in kept:
                yield change

    def _content(self, inode, end, policy, chance):
        done = [entry for entry in self._data[inode] if entry[0] < end]
        sure = [operation for _, operation, since in done if since < end]
        loose = [operation for _, operation, since in done if since >= end]
        if policy == "some":
            policy = chance.choice(("all", "none", "zeros", "torn", "holes"))
        everything = [operation for _, operation, _ in done]
        if policy == "all" or not loose:
            return content_after(everything)
        if policy == "none":
            return content_after(sure)
        if policy == "zeros":
            content, size = bytearray(content_after(sure)), len(content_after(everything))
            cut(content, max(size, len(content)))
            return bytes(content)
        if policy == "torn":
            number = chance.randrange(len(loose))
            torn = loose[number]
            if isinstance(torn, Write):
                part = torn.content[: chance.randrange(len(torn.content) + 1)]
                torn = Write(inode, torn.offset, part)
            return content_after([*sure, *loose[:number], torn])
        return content_after([*sure, *(found for found in loose if chance.random() < 0.5)])


def content_after(operations):
    """The content of a file after writes to it."""
    content = bytearray()
    for operation in operations:
        if isinstance(operation, Write):
            put(content, operation.offset, operation.content)
        else:
            cut(content, operation.size)
    return bytes(content)


def syncs_of(operations):
    """The syncs of each file and folder: the number of each, and of its beginning."""
    syncs = defaultdict(list)
    for number, operation in enumerate(operations):
        if isinstance(operation, Sync):
            syncs[operation.inode].append((number, operation.begun))
    return syncs


def journal_of(operations):
    """By the number of each operation: that of the sync that puts it on the disk, in order."""
    touching = defaultdict(list)
    for number, operation in enumerate(operations):
        for inode in touched(operation):
            touching[inode].append(number)
    reached, since = -1, [NEVER] * len(operations)
    for number, operation in enumerate(operations):
        if not isinstance(operation, Sync):
            continue
        before = touching[operation.inode]
        count = bisect_right(before, operation.begun - 1)
        last_change = before[count - 1] if count else -1
        for earlier in range(reached + 1, last_change + 1):
            since[earlier] = number
        reached = max(reached, last_change)
    return since


def touched(operation):
    """The inodes whose names, or names in them, an operation changes."""
    if isinstance(operation, Link | Unlink):
        return {operation.folder, operation.inode}
    if isinstance(operation, Rename):
        return {operation.folder, operation.inode, operation.to_folder}
    return set()
