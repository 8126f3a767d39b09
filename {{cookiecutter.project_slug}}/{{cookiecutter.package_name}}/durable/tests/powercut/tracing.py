"""The file operations of processes below a folder, from a trace of their system calls by strace."""

import codecs
import os
import re
import shutil
import subprocess
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

CALLS = (
    "open openat creat close dup dup2 dup3 fcntl lseek write pwrite64 writev pwritev pwritev2 "
    "sendfile copy_file_range splice fallocate ftruncate truncate fsync fdatasync sync syncfs "
    "msync mkdir mkdirat unlink unlinkat rmdir rename renameat renameat2 link linkat symlink "
    "symlinkat clone clone3"
)
LONGEST = 1 << 25  # bytes of one write
STRING = r'"((?:[^"\\]|\\.)*)"(?:\.\.\.)?'
FOLDER = r"(?:AT_FDCWD|-?\d+)(?:<((?:[^<>]|<[^<>]*>)*)>)?"
PLACE = rf"(?:{FOLDER}, )?{STRING}"
FLAGS = "[A-Z_|0-9x]+"


@dataclass(frozen=True)
class Link:
    """A name is given to a file or a folder, which may be new."""

    folder: int
    name: str
    inode: int
    is_folder: bool


@dataclass(frozen=True)
class Unlink:
    """A name is taken from a file or a folder."""

    folder: int
    name: str
    inode: int


@dataclass(frozen=True)
class Rename:
    """A name is replaced by another one; what had that loses it."""

    inode: int
    folder: int
    name: str
    to_folder: int
    to_name: str


@dataclass(frozen=True)
class Write:
    """Bytes are put into a file."""

    inode: int
    offset: int
    content: bytes


@dataclass(frozen=True)
class Truncate:
    """A file is given a size."""

    inode: int
    size: int


@dataclass(frozen=True)
class Sync:
    """A file or a folder is on the disk, with the operations on it before the number `begun`."""

    inode: int
    begun: int


@dataclass(frozen=True)
class Printed:
    """A text that tells of the root was written to standard output."""

    text: str


Operation = Link | Unlink | Rename | Write | Truncate | Sync | Printed
ROOT = 0


def strace(trace):
    """The command that runs another one, and traces it and its children into a file."""
    calls = ",".join(f"?{call}" for call in CALLS.split())  # not every machine has each
    options = ["-f", "-y", "-qq", "--seccomp-bpf", "-s", str(LONGEST), "-e", f"trace={calls}"]
    return ["strace", *options, "-e", "signal=none", "-o", str(trace), "--"]


def can_trace():
    """Whether strace is installed, new enough, and may trace: not every container lets it."""
    if shutil.which("strace") is None:
        return False
    tried = subprocess.run([*strace(os.devnull), "true"], check=False, capture_output=True)
    return tried.returncode == 0


@dataclass(frozen=True)
class Call:
    """A system call that succeeded.

    `begun` is the number of calls that had ended when it began; `process` has several threads.
    """

    process: str
    name: str
    arguments: str
    result: int
    begun: int


def calls_of(trace):
    """The calls in a trace, in the order of their ends."""
    calls, unfinished, owner = [], {}, {}
    with Path(trace).open(encoding="latin-1", newline="\n") as lines:
        for line in lines:
            thread, _, text = line.rstrip("\n").partition(" ")
            text, begun = text.lstrip(), len(calls)
            if text.endswith("<unfinished ...>"):
                unfinished[thread] = text.removesuffix("<unfinished ...>"), begun
                continue
            if match := re.match(r"<\.\.\. \w+ resumed>(.*)", text, re.DOTALL):
                before, begun = unfinished.pop(thread)
                text = before + match[1]
            found = re.fullmatch(r"(\w+)\((.*)\)\s+= (\d+)(?:<.*>)?(?: \(.*\))?", text, re.DOTALL)
            if not found:
                continue  # it failed, or a process has ended
            if found[1].startswith("clone") and "CLONE_THREAD" in found[2]:
                owner[found[3]] = thread
            calls.append(Call(thread, found[1], found[2].rstrip(), int(found[3]), begun))
    return [
        Call(process_of(call.process, owner), call.name, call.arguments, call.result, call.begun)
        for call in calls
    ]


def process_of(thread, owner):
    """The first thread of the process that a thread belongs to."""
    while thread in owner:
        thread = owner[thread]
    return thread


@dataclass
class OpenFile:
    """What a file descriptor stands for."""

    inode: int
    offset: int
    appends: bool


class Recording:
    """The operations below a folder, in their order; it was empty, or not there, at first."""

    def __init__(self, calls, root):
        self.root = os.path.normpath(root)
        self.operations = []
        self._entries = {ROOT: {}}  # of each folder: inodes by name
        self._contents = {}  # of each file, as processes see it
        self._count = 1
        self._open = defaultdict(dict)  # of each process, by descriptor
        ended = []  # the number of operations at the end of each call
        for call in calls:
            begun = ended[call.begun - 1] if call.begun else 0
            self._take(call, begun)
            ended.append(len(self.operations))

    def _take(self, call, begun):
        taker = TAKERS.get(call.name)
        if taker is not None:
            taker(self, call, begun)
        elif self.root in call.arguments and not call.name.startswith("clone"):
            raise NotImplementedError(f"{call.name}({call.arguments[:200]})")

    def _add(self, operation):
        self.operations.append(operation)

    def _place(self, folder, name):
        """The absolute path that a system call names."""
        name = unescaped(name).decode(errors="surrogateescape")
        return os.path.normpath(Path(folder or "/", name))

    def _find(self, path):
        """The inode of a path; None outside of the root, or where there is nothing."""
        if path == self.root:
            return ROOT
        folder, name = self._parent(path)
        return None if folder is None else self._entries[folder].get(name)

    def _parent(self, path):
        """The inode of the folder that holds a path, None where it is not below the root."""
        if not path.startswith(self.root + "/"):
            return None, ""
        inside, _, name = path[len(self.root) + 1 :].rpartition("/")
        folder = ROOT
        for part in filter(None, inside.split("/")):
            folder = self._entries.get(folder, {}).get(part)
        return (folder if folder in self._entries else None), name

    def _new(self, path, *, is_folder):
        folder, name = self._parent(path)
        if folder is None:
            return None
        inode, self._count = self._count, self._count + 1
        if is_folder:
            self._entries[inode] = {}
        else:
            self._contents[inode] = bytearray()
        self._entries[folder][name] = inode
        self._add(Link(folder, name, inode, is_folder))
        return inode

    def _opened(self, call, _begun):
        found = re.match(rf"{PLACE}, ({FLAGS})", call.arguments)
        path, flags = self._place(*found.groups()[:2]), found[3]
        files = self._open[call.process]
        files.pop(call.result, None)
        inode = None if "O_TMPFILE" in flags else self._find(path)
        if inode is None and "O_CREAT" in flags:
            inode = self._new(path, is_folder=False)
        elif inode in self._contents and "O_TRUNC" in flags:
            self._cut(inode, 0)
        if inode is not None:
            files[call.result] = OpenFile(inode, 0, "O_APPEND" in flags)

    def _closed(self, call, _begun):
        self._open[call.process].pop(int(re.match(r"\d+", call.arguments)[0]), None)

    def _duplicated(self, call, _begun):
        files = self._open[call.process]
        if call.name == "fcntl" and "F_DUPFD" not in call.arguments:
            return
        files.pop(call.result, None)
        if file := self._file(call):
            files[call.result] = file

    def _file(self, call):
        return self._open[call.process].get(int(re.match(r"\d+", call.arguments)[0]))

    def _sought(self, call, _begun):
        if file := self._file(call):
            file.offset = call.result

    def _written(self, call, _begun):
        found = re.match(rf"{FOLDER}, {STRING}, \d+(?:, (\d+))?$", call.arguments, re.DOTALL)
        content, offset = unescaped(found[2])[: call.result], found[3]
        assert len(content) == call.result, call.arguments[:200]
        if call.arguments.startswith("1<") and self.root in (text := content.decode()):
            self._add(Printed(text))
        if file := self._file(call):
            self._put(file, content, None if offset is None else int(offset))

    def _put(self, file, content, at=None):
        known = self._contents[file.inode]
        if at is None:
            at = len(known) if file.appends else file.offset
            file.offset = at + len(content)
        put(known, at, content)
        self._add(Write(file.inode, at, content))

    def _sent(self, call, _begun):
        """Takes `sendfile(to, from, …)` and `copy_file_range(from, …, to, …)`."""
        numbers = [int(number) for number in re.findall(r"(\d+)<", call.arguments)]
        target, source = numbers if call.name == "sendfile" else reversed(numbers)
        files = self._open[call.process]
        if target not in files or not call.result:
            return
        given = re.search(r"\[(\d+)\]", call.arguments)
        start = int(given[1]) if given else files[source].offset
        content = bytes(self._contents[files[source].inode][start : start + call.result])
        assert len(content) == call.result, call.arguments[:200]
        if not given:
            files[source].offset += call.result
        self._put(files[target], content)

    def _truncated(self, call, _begun):
        if call.name == "ftruncate":
            file = self._file(call)
            inode = file.inode if file else None
        else:
            inode = self._find(self._place(None, re.match(STRING, call.arguments)[1]))
        if inode is not None:
            self._cut(inode, int(call.arguments.rpartition(", ")[2]))

    def _cut(self, inode, size):
        cut(self._contents[inode], size)
        self._add(Truncate(inode, size))

    def _synchronized(self, call, begun):
        if file := self._file(call):
            self._add(Sync(file.inode, begun))

    def _made(self, call, _begun):
        self._new(self._place(*re.match(PLACE, call.arguments).groups()), is_folder=True)

    def _unlinked(self, call, _begun):
        folder, name = self._parent(self._place(*re.match(PLACE, call.arguments).groups()))
        if folder is not None:
            self._add(Unlink(folder, name, self._entries[folder].pop(name)))

    def _two_places(self, call):
        found = re.match(rf"{PLACE}, {PLACE}", call.arguments).groups()
        old, new = self._place(*found[:2]), self._place(*found[2:])
        places = self._parent(old), self._parent(new)
        outside = [folder is None for folder, _ in places]
        assert all(outside) or not any(outside), f"{old} and {new} are not in one root"
        return None if any(outside) else places

    def _renamed(self, call, _begun):
        if places := self._two_places(call):
            (folder, name), (to_folder, to_name) = places
            inode = self._entries[folder].pop(name)
            self._entries[to_folder][to_name] = inode
            self._add(Rename(inode, folder, name, to_folder, to_name))

    def _linked(self, call, _begun):
        if places := self._two_places(call):
            (folder, name), (to_folder, to_name) = places
            inode = self._entries[to_folder][to_name] = self._entries[folder][name]
            self._add(Link(to_folder, to_name, inode, is_folder=False))


TAKERS = {
    **dict.fromkeys(("open", "openat", "creat"), Recording._opened),
    **dict.fromkeys(("dup", "dup2", "dup3", "fcntl"), Recording._duplicated),
    **dict.fromkeys(("write", "pwrite64"), Recording._written),
    **dict.fromkeys(("sendfile", "copy_file_range"), Recording._sent),
    **dict.fromkeys(("truncate", "ftruncate"), Recording._truncated),
    **dict.fromkeys(("fsync", "fdatasync"), Recording._synchronized),
    **dict.fromkeys(("mkdir", "mkdirat"), Recording._made),
    **dict.fromkeys(("unlink", "unlinkat", "rmdir"), Recording._unlinked),
    **dict.fromkeys(("rename", "renameat", "renameat2"), Recording._renamed),
    **dict.fromkeys(("link", "linkat"), Recording._linked),
    "close": Recording._closed,
    "lseek": Recording._sought,
}


def unescaped(text):
    """The bytes of a string in a trace."""
    return codecs.escape_decode(text.encode("latin-1"))[0]


def put(content, offset, written):
    """Puts bytes into the content of a file, with zeros before them where it is shorter."""
    if len(content) < offset:
        cut(content, offset)
    content[offset : offset + len(written)] = written


def cut(content, size):
    """Gives the content of a file a size."""
    if size < len(content):
        del content[size:]
    else:
        content.extend(bytes(size - len(content)))
