"""What kind of file it is, told from the file itself."""

import re
import zipfile

import tensorflow as tf
from etils import epath

from ..checkpoint import bundle
from ..checkpoint.card import CARD_KEY
from ..checkpoint.reader import UNREADABLE, damage_from
from ..errors import ConfigurationError, DamagedCheckpoint
from .carded import CardedCheckpoint
from .keras_file import WEIGHTS, KerasFile
from .name_based import NameBased
from .object_based import GRAPH_KEY, ObjectBased
from .source import SourceFile

HDF5 = b"\x89HDF\r\n\x1a\n"
KNOWN = "TensorFlow checkpoints (give the path without .index), .weights.h5, .h5 and .keras files"


def recognize(path: epath.Path) -> SourceFile:
    """Opens a file to import. TensorFlow's checkpoints are named without `.index`.

    Raises:
        ConfigurationError: there is no such file, or it is of no known kind.
        DamagedCheckpoint: it is of a known kind, and cannot be read.
    """
    prefix = path.parent / re.sub(r"\.(index|data-\d+-of-\d+)$", "", path.name)
    if bundle.files_of(prefix):
        return recognize_checkpoint(prefix)
    if not path.exists():
        raise ConfigurationError(f"There is no file {path}. Known are {KNOWN}.")
    if path.is_dir():
        raise ConfigurationError(f"{path} is a folder: give a file in it. Known are {KNOWN}.")
    with path.open("rb") as file:
        start = file.read(len(HDF5))
    if start == HDF5 or is_keras_archive(path):
        return KerasFile(path)
    raise ConfigurationError(f"{path} is of no known kind. Known are {KNOWN}.")


def recognize_checkpoint(prefix: epath.Path) -> SourceFile:
    """Tells the kinds of TensorFlow's checkpoints apart, given the path without `.index`."""
    if not bundle.is_whole(prefix):
        raise DamagedCheckpoint(prefix, "its index or its data file is missing")
    try:
        reader = tf.train.load_checkpoint(str(prefix))
    except UNREADABLE as error:
        raise damage_from(prefix, error) from error
    if reader.has_tensor(CARD_KEY):
        return CardedCheckpoint(prefix)
    return ObjectBased(prefix) if reader.has_tensor(GRAPH_KEY) else NameBased(prefix)


def is_keras_archive(path: epath.Path) -> bool:
    """Whether a file is a zip archive as Keras writes it."""
    with path.open("rb") as file:
        if not zipfile.is_zipfile(file):
            return False
        with zipfile.ZipFile(file) as archive:
            return WEIGHTS in archive.namelist()
