"""What data on disk are known by, without a read of every byte."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import ConfigurationError

SAMPLES = 64  # files of which a part is read
PART = 4096  # bytes at each end of such a file


def describe_files(root: Path, files: Sequence[Path]) -> Iterator[bytes]:
    """The names and sizes of files, and both ends of some of them, piece by piece.

    Names are relative to `root`: data that were moved are the same data.
    """
    for file in files:
        yield f"{file.relative_to(root).as_posix()}\0{file.stat().st_size}\n".encode()
    for file in files[:: max(1, len(files) // SAMPLES)]:
        with file.open("rb") as opened:
            yield opened.read(PART)
            opened.seek(max(0, file.stat().st_size - PART))
            yield opened.read(PART)


def find_files(folder: Path, pattern: str) -> list[Path]:
    """The files of a folder that match a pattern such as `*.tfrecord`, in the order of their names.

    Raises:
        ConfigurationError: there is no such folder, or no such file in it.
    """
    if not folder.is_dir():
        raise ConfigurationError(f"There is no folder {folder}.")
    files = sorted(file for file in folder.glob(pattern) if file.is_file())
    if not files:
        raise ConfigurationError(f"{folder} has no file {pattern}.")
    return files
