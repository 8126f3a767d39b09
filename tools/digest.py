"""Prints the SHA-256 of all that a checkpoint holds. Runs with the project's own Python.

Usage: python digest.py CHECKPOINT
"""

import hashlib
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow reads it when it is imported

import tensorflow as tf

# The checkpoint's description of itself tells when it was written, so it is never the same twice.
CARD = "card/.ATTRIBUTES/VARIABLE_VALUE"


def digest(checkpoint: str) -> str:
    """Returns the SHA-256 of every tensor but the card: its name, type, shape and bytes."""
    reader = tf.train.load_checkpoint(checkpoint)
    content = hashlib.sha256()
    for name in sorted(reader.get_variable_to_dtype_map()):
        if name != CARD:
            content.update(name.encode())
            content.update(tf.io.serialize_tensor(reader.get_tensor(name)).numpy())
    return content.hexdigest()


if __name__ == "__main__":
    print(digest(sys.argv[1]))
