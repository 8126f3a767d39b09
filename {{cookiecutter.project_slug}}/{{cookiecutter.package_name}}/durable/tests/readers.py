"""`readers POINTS`: what the reader without TensorFlow says of checkpoints, as JSON.

Of each folder in POINTS, where one called `ckpt` is: a fingerprint of each tensor by its key, or
what is wrong. It imports no TensorFlow.
"""

import json
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
from etils import epath

from ..checkpoint.index import Unsupported
from ..checkpoint.tensor_bundle import TensorBundle

PREFIX = "ckpt"


def fingerprint(value):
    """What tells a tensor from others: its type, its shape and its bytes."""
    value = np.asarray(value, object if isinstance(value, bytes) else None)
    content = repr(value.tolist()).encode() if value.dtype == object else value.tobytes()
    return f"{value.dtype.name} {value.shape} {sha256(content).hexdigest()[:16]}"


def read_all(folder):
    """The fingerprints of all tensors; a text where the checkpoint cannot be read."""
    try:
        bundle = TensorBundle(epath.Path(folder) / PREFIX)
        found = {key: fingerprint(bundle.read(key)) for key in bundle.entries}
        for key in found:
            bundle.check(key)
    except (Unsupported, OSError, TypeError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return found


if __name__ == "__main__":
    folders = sorted(Path(sys.argv[1]).iterdir())
    print(json.dumps({folder.name: read_all(folder) for folder in folders}))
    assert "tensorflow" not in sys.modules
