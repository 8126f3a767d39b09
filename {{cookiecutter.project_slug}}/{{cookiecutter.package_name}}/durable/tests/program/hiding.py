"""Hides TensorFlow and Keras from Python, as where they are not installed.

Copied into a folder as `sitecustomize.py`, with that folder in PYTHONPATH, it is imported first.
"""

import sys
from importlib.machinery import PathFinder

HIDDEN = {"tensorflow", "keras", "tf_keras"}


class Finder(PathFinder):
    """Finds all modules but the hidden ones."""

    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        if fullname.partition(".")[0] in HIDDEN:
            return None
        return super().find_spec(fullname, path, target)


if __name__ == "sitecustomize":
    sys.meta_path[sys.meta_path.index(PathFinder)] = Finder
