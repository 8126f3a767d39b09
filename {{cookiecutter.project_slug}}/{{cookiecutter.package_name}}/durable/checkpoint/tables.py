"""Lookup tables that never change, such as the vocabulary of a layer: code, and no state."""

from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Any

import tensorflow as tf

from ..compat import keras
from .graph import children
from .naming import named_layers


def fixed_tables(models: Iterable[keras.Model]) -> Iterator[tf.lookup.StaticHashTable]:
    """The tables that the layers of models have as attributes."""
    for model in models:
        for layer in (model, *(layer for _, layer in named_layers(model))):
            yield from tables_of(layer).values()


def tables_of(layer: Any) -> dict[str, tf.lookup.StaticHashTable]:
    """The tables that a layer has as attributes, by name."""
    if not isinstance(layer, keras.layers.Layer):
        return {}  # the operations of Keras 3 track nothing
    kind = tf.lookup.StaticHashTable
    return {name: child for name, child in children(layer).items() if isinstance(child, kind)}


def describe_tables(layer: Any) -> dict[str, str]:
    """How many entries each table of a layer has, and a fingerprint of them in any order.

    No checkpoint has them: where the code has others, variables such as an embedding would be
    taken for those of other words.
    """
    described = {}
    for name, table in tables_of(layer).items():
        keys, values = (part.numpy().tolist() for part in table.export())
        entries = repr(sorted(zip(keys, values, strict=True)))
        digest = sha256(entries.encode()).hexdigest()[:8]
        described[f"table {name}"] = f"of {len(keys)} entries ({digest})"
    return described
