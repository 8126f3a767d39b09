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
    errors = []
    found = {}
    for way in (TensorBundle.read, TensorBundle.check):
        try:
            bundle = TensorBundle(epath.Path(folder) / PREFIX)
            for key in bundle.entries:
                value = way(bundle, key)
                if value is not None:
                    found[key] = fingerprint(value)
        except (Unsupported, OSError, TypeError, ValueError) as error:
            errors.append(f"{type(error).__name__}: {error}")
    if len(errors) == 1:
        return {"only one of the ways finds an error": errors[0]}
    return errors[0] if errors else found


if __name__ == "__main__":
    folders = sorted(Path(sys.argv[1]).iterdir())
    print(json.dumps({folder.name: read_all(folder) for folder in folders}))
    assert "tensorflow" not in sys.modules
