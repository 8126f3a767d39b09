"""Weights that Keras saved: `.weights.h5`, `.keras`, and the older `.h5`. Their code is not run."""

import io
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import count, takewhile
from typing import Any

import h5py
import numpy as np
import tensorflow as tf
from etils import epath

from ..checkpoint.bundle import damage_from
from ..checkpoint.card import bytes_taken
from ..compat import keras, named_variables, sublayers
from ..data.arrays import ARCHIVE_ERRORS
from ..run.state import TrainState
from ..untrusted import read_bytes, require_plausible, shortened
from .names import match_in_order, model_paths
from .source import Proposal, SourceFile, Spec

WEIGHTS = "model.weights.h5"
WHOLE_MODEL = "model_weights"  # the group of an older `.h5` that has more than the weights
# What a compiled model has beside its layers.
NOT_NEEDED = re.compile("(optimizer|metrics|optimizer_weights)/")
UNREADABLE = (OSError, *ARCHIVE_ERRORS)


class KerasFile(SourceFile):
    """The weights in a file of Keras 2 or 3.

    Raises:
        DamagedCheckpoint: it cannot be read.
    """

    kind = "file of Keras weights"

    def __init__(self, path: epath.Path) -> None:
        super().__init__(path)
        self.specs: dict[str, Spec] = {}
        self._layers: list[dict[str, str]] = []
        try:
            with self._open() as file:
                file.visititems(self._note)
                size = sum(bytes_taken(*spec) for spec in self.specs.values())
                require_plausible(size, self._stored, "its arrays")
                self._layers = [layer for layer in older_layers(file) if self._has(layer)]
        except UNREADABLE as error:
            raise damage_from(path, error) from error

    def propose(self, state: TrainState) -> Proposal:
        """By the class of the layer and its number; in the older kind, by the order of layers."""
        return self.propose_for(state.task.model)

    def propose_for(self, model: keras.Model, inside: str = "") -> Proposal:
        """Likewise, for a model whose paths in that of the state begin with `inside`."""
        if self._layers:
            targets = match_in_order(self._layers, model)
        else:
            names = weight_names(model)
            targets = {name: names[name] for name in self.specs if name in names}
        not_needed = {name for name in self.specs if NOT_NEEDED.match(name)} - targets.keys()
        targets = {name: inside + path for name, path in targets.items()}
        return Proposal(targets, not_needed=not_needed)

    def read(self, learning_rate: Callable[[int], float]) -> dict[str, Any]:  # noqa: ARG002
        """Reads all values. This kind of file has no checksums, but for those of a zip archive."""
        try:
            with self._open() as file:
                return {
                    name: np.asarray(file[name]).view(tf.as_dtype(spec.dtype).as_numpy_dtype)
                    for name, spec in self.specs.items()
                }
        except UNREADABLE as error:
            raise damage_from(self.path, error) from error

    def _open(self) -> h5py.File:
        content = read_bytes(self.path)
        if zipfile.is_zipfile(io.BytesIO(content)):
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                size = archive.getinfo(WEIGHTS).file_size
                require_plausible(size, len(content), WEIGHTS)
                content = archive.read(WEIGHTS)
        self._stored = len(content)
        return h5py.File(io.BytesIO(content), "r")

    def _note(self, name: str, item: h5py.Dataset | h5py.Group) -> None:
        if isinstance(item, h5py.Dataset):
            if item.external or item.is_virtual:
                raise ValueError(f"{name} points to another file")
            # bfloat16 is unknown to HDF5: Keras writes it as bytes, with a note.
            dtype = tf.as_dtype(str(item.attrs.get("dtype", item.dtype.name)))
            if item.shape is None or dtype.size != item.dtype.itemsize:
                raise ValueError(f"{name} holds no numbers that are known")
            self.specs[name] = Spec(item.shape, dtype.name)

    def _has(self, layer: Mapping[str, str]) -> bool:
        """Whether the weights of a layer, where it has some, are in the file itself.

        Raises:
            ValueError: it names others.
        """
        if missing := [name for name in layer.values() if name not in self.specs]:
            raise ValueError(f"{shortened(missing[0])} is named, and is not in the file")
        return bool(layer)


def older_layers(file: h5py.File) -> list[dict[str, str]]:
    """For each layer with weights of a `.h5` of older Keras, their names by short name."""
    whole = group_in(file, WHOLE_MODEL)
    inside, group = ("", file) if whole is None else (f"{WHOLE_MODEL}/", whole)
    return [
        {
            # Keras 3 writes kernel where Keras 2 writes dense/kernel:0.
            re.sub(r":\d+$", "", name).rpartition("/")[2]: f"{inside}{layer}/{name}"
            for name in listed(group_in(group, layer), "weight_names")
        }
        for layer in listed(group, "layer_names")
    ]


def group_in(group: h5py.Group, name: str) -> h5py.Group | None:
    """A group in another one; None where there is none. Links to elsewhere are not followed."""
    found = group
    for part in name.split("/"):
        is_own = isinstance(found.get(part, getlink=True), h5py.HardLink)
        found = found[part] if is_own else None
        if not isinstance(found, h5py.Group):
            return None
    return found


def listed(group: h5py.Group | None, name: str) -> list[str]:
    """The texts that a group has as an attribute, or as several where one cannot hold them."""
    if group is None:
        return []
    numbered = takewhile(group.attrs.__contains__, (f"{name}{number}" for number in count()))
    parts = [name] if name in group.attrs else numbered
    texts = [text for part in parts for text in np.atleast_1d(group.attrs[part])]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError(f"{name} holds no texts")
    return texts


def weight_names(model: keras.Model) -> dict[str, str]:
    """The paths of a model's weights by the names that Keras's files have for them."""
    paths = model_paths(model)
    return {
        f"{group}/vars/{number}": paths[id(variable)]
        for group, layer in layer_groups(model)
        for number, (_, variable) in enumerate(named_variables(layer))
    }


def layer_groups(model: keras.Model, inside: str = "") -> Iterator[tuple[str, keras.layers.Layer]]:
    """The layers of a model with their groups in a file: the second Dense is layers/dense_1."""
    counts: Counter[str] = Counter()
    for layer in sublayers(model):
        if isinstance(layer, keras.layers.Layer):
            kind = snake_case(type(layer).__name__)
            group = f"{inside}layers/{kind}" + (f"_{counts[kind]}" if counts[kind] else "")
            counts[kind] += 1
            if isinstance(layer, keras.Model):
                yield from layer_groups(layer, f"{group}/")
            else:
                yield group, layer


def snake_case(name: str) -> str:
    """The name of a class as Keras writes it: BatchNormalization, batch_normalization."""
    words = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", words).lower()
