"""Shards that several checkpoints share: `shared/` in a directory of checkpoints.

A shard `ckpt-0f3c…` is named after what is in it, and is a checkpoint of TensorFlow's own form:
`ckpt-0f3c….index` and `ckpt-0f3c….data-00000-of-00001`. The last data files of a checkpoint are
hard links to the shards that its card names, in that order; where the file system has none, they
are copies. Each shard has a second copy beside it, `ckpt-0f3c….spare.…`, which no checkpoint links
to: a byte that the disk loses is in one of the two, and is mended from the other.
"""

import filecmp
import logging
import os
import re
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress

from etils import epath

from .. import files
from ..errors import DamagedCheckpoint
from ..remote import is_remote
from ..untrusted import SHARD, is_regular, parse_json, require_kinds
from .tensor_bundle import CARD_KEY, TensorBundle, index_file

FOLDER = "shared"
SPARE = ".spare"
HASH = "[0-9a-f]{16}"

log = logging.getLogger(__name__)


def place_of(directory: epath.Path, name: str) -> epath.Path:
    """Where a directory of checkpoints has a shard, or will have it."""
    return directory / FOLDER / name


def spare_of(shard: epath.Path) -> epath.Path:
    """The second copy of a shard."""
    return shard.parent / f"{shard.name}{SPARE}"


def data_of(shard: epath.Path) -> epath.Path:
    """The file with the values of a shard or of its second copy."""
    return shard.parent / f"{shard.name}.data-00000-of-00001"


def parts_of(shard: epath.Path) -> list[epath.Path]:
    """The files of a shard or of its second copy, the index last."""
    return [data_of(shard), index_file(shard)]


def is_whole(shard: epath.Path) -> bool:
    """Whether the files of a shard, or of its second copy, are there."""
    return all(files.exists(part) and is_regular(part) for part in parts_of(shard))


def is_good(shard: epath.Path) -> bool:
    """Whether every value in a shard, or in its second copy, agrees with its checksum."""
    try:
        bundle = TensorBundle(shard)
        for key in bundle.entries:
            bundle.check(key)
    except Exception:  # damage shows in many ways, and so does a disk that fails
        return False
    return True


def names_of(checkpoint: epath.PathLike) -> list[str]:
    """The names of the shards that a checkpoint takes, as its card tells them.

    Raises many kinds of errors where the index or the card cannot be read.
    """
    bundle = TensorBundle(epath.Path(checkpoint))
    if CARD_KEY not in bundle.entries:
        return []
    names = parse_json(bundle.read(CARD_KEY).item()).get("shared", [])
    require_kinds(names, [SHARD], "shared in the card")
    return list(names)


def links_of(checkpoint: epath.Path) -> dict[str, str]:
    """The shards that a checkpoint takes, by the names of its own data files.

    Of one that cannot be read, or that something else wrote, none are known. On remote storage no
    file has two names, and nothing is shared.
    """
    if is_remote(checkpoint):
        return {}
    try:
        names = names_of(checkpoint)
    except Exception:  # damage shows in many ways
        return {}
    counts = [
        file.name.rpartition("-of-")[2]
        for file in files.matching(checkpoint.parent, f"{checkpoint.name}.data-*-of-*")
    ]
    if not names or not counts:
        return {}
    first = int(counts[0]) - len(names)
    return {
        f"{checkpoint.name}.data-{first + number:05}-of-{counts[0]}": name
        for number, name in enumerate(names)
    }


def names_in(directory: epath.Path, name: str) -> set[str]:
    """The names of the shards in a directory, for the checkpoints of one name."""
    return {match["shard"] for _, match in own_entries(directory, name)}


def find(directory: epath.Path, name: str) -> epath.Path | None:
    """The shard that a directory has, or the one around it, as best/ is in another; else None."""
    places = (place_of(directory, name), place_of(directory.parent, name))
    return next((place for place in places if any(map(is_whole, (place, spare_of(place))))), None)


@contextmanager
def filled(shard: epath.Path) -> Iterator[epath.Path]:
    """Gives a temporary place to write a shard to; then it is in its own, safe on the disk."""
    folder = files.temporary_folder(shard)
    if files.exists(folder):
        folder.rmtree()  # of a process that was killed
    files.make_folder(folder)
    try:
        yield folder / shard.name
        files.put_in_place(parts_of(folder / shard.name), shard.parent, overwrite=True)
    finally:
        folder.rmtree()


def duplicate(source: epath.Path, target: epath.Path) -> None:
    """Makes a copy of a shard on blocks of its own.

    Raises:
        OSError: it cannot be written.
        DamagedCheckpoint: what was copied is damaged.
    """
    with filled(target) as written:
        for old, new in zip(parts_of(source), parts_of(written), strict=True):
            # Not by a copy of the system's, which may let two files have the same blocks.
            with old.open("rb") as reading, new.open("wb") as writing:
                shutil.copyfileobj(reading, writing, 1 << 20)
        if not is_good(written):
            raise DamagedCheckpoint(source, "its values do not agree with their checksums")


def complete(shard: epath.Path) -> None:
    """Sees to it that a shard has both its copies; call it before one more checkpoint takes it.

    Raises:
        OSError: one cannot be written.
        DamagedCheckpoint: what one was to be copied from is damaged.
    """
    if not is_whole(shard):
        duplicate(spare_of(shard), shard)
    if not is_whole(spare_of(shard)):
        duplicate(shard, spare_of(shard))


def take(directory: epath.Path, name: str, folder: epath.Path) -> None:
    """Puts a shard into the folder of a checkpoint that is being written."""
    for part in parts_of(place_of(directory, name)):
        files.link_or_copy(part, folder / part.name)


def bring(checkpoint: epath.Path, directory: epath.Path) -> dict[str, str]:
    """Gives another directory the shards of a checkpoint, to mend it, and to go on with them.

    Each copy is linked to its own: there as well, a byte that is lost is in one of the two.

    Returns:
        The names of the shards, by the names of the checkpoint's data files.
    """
    links = links_of(checkpoint)
    for name in links.values():
        source, target = find(checkpoint.parent, name), find(directory, name)
        if source is not None and target is None:
            target = place_of(directory, name)
            for old, new in ((source, target), (spare_of(source), spare_of(target))):
                if is_whole(old):
                    with filled(new) as linked:
                        for part, link in zip(parts_of(old), parts_of(linked), strict=True):
                            files.link_or_copy(part, link)
        if target is not None:
            with suppress(DamagedCheckpoint):  # whoever reads it is told
                complete(target)
    return links


def mend(checkpoint: epath.Path) -> None:
    """Puts good data in the place of damaged ones that a checkpoint shares with others.

    All the links to what is damaged are mended, those of the other checkpoints too.

    Raises:
        OSError: it cannot be written.
        DamagedCheckpoint: the good copy is damaged meanwhile.
    """
    for name, shard_name in links_of(checkpoint).items():
        shard, file = find(checkpoint.parent, shard_name), checkpoint.parent / name
        if shard is None or not repair(shard) or is_same(file, data_of(shard)):
            continue
        home = shard.parent.parent
        links = [*home.glob("*.data-*"), *home.glob("*/*.data-*")] if files.exists(file) else []
        for damaged in {file, *(link for link in links if is_link(link, file))}:
            put_link(data_of(shard), damaged)


def put_link(data: epath.Path, file: epath.Path) -> None:
    """Puts a link to good data in the place of a file."""
    temporary = file.parent / f"{file.name}{files.TEMPORARY}"
    temporary.unlink(missing_ok=True)
    files.link_or_copy(data, temporary)
    files.synchronize(temporary)
    temporary.replace(file)
    files.synchronize(file.parent)


def repair(shard: epath.Path) -> bool:
    """Mends a copy of a shard that is damaged from the one that is good.

    Returns:
        Whether both are good now.

    Raises:
        OSError, DamagedCheckpoint: as for `mend`.
    """
    copies = (shard, spare_of(shard))
    good = [copy for copy in copies if is_good(copy)]
    for copy in copies if good else ():
        if copy not in good:
            duplicate(good[0], copy)
            log.warning("%s was damaged or missing, and was mended from %s.", copy, good[0].name)
    return bool(good)


def is_same(file: epath.Path, data: epath.Path) -> bool:
    """Whether a data file is a link to another one, or an undamaged copy."""
    return files.exists(file) and (is_link(file, data) or filecmp.cmp(file, data, shallow=False))


def is_link(file: epath.Path, other: epath.Path) -> bool:
    """Whether two names are those of one file."""
    return os.path.samefile(file, other)  # noqa: PTH121 - `epath` does not tell the inode


def clear_unfinished(directory: epath.Path, name: str) -> None:
    """Removes the shards that killed processes have left half written."""
    for entry, match in own_entries(directory, name):
        if match["rest"] == files.TEMPORARY:
            (directory / FOLDER / entry).rmtree()


def sweep(directory: epath.Path, name: str, used: Collection[str]) -> None:
    """Removes the shards, of checkpoints of one name, that are not among the `used` ones."""
    for entry, match in own_entries(directory, name):
        if match["rest"] != files.TEMPORARY and match["shard"] not in used:
            (directory / FOLDER / entry).unlink(missing_ok=True)


def own_entries(directory: epath.Path, name: str) -> Iterator[tuple[str, re.Match[str]]]:
    """The files and folders of the shards for checkpoints of one name, by the parts of theirs."""
    shard, rest = (
        rf"(?P<shard>{re.escape(name)}-{HASH})",
        rf"(?P<rest>\..+|{files.TEMPORARY})",
    )
    own = re.compile(f"{shard}({re.escape(SPARE)})?{rest}")
    for entry in files.entry_names(directory / FOLDER):
        if match := own.fullmatch(entry):
            yield entry, match
