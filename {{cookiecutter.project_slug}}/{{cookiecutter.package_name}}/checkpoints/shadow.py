"""The shadow: a second copy of the state in host memory, the only thing that meets the disk."""

from functools import cached_property
from typing import Any

import tensorflow as tf
from etils import epath

from ..compat import as_variable
from .card import Card
from .structure import children


class Shadow:
    """A copy of every variable of a checkpoint, in an object graph of the same shape.

    `tf.train.Checkpoint(...).restore()` reads what it writes, as if the original had written it.
    The price is the memory of one more copy of the state.
    """

    def __init__(self, checkpoint: tf.train.Checkpoint) -> None:
        self._graph = tf.train.Checkpoint()
        self._pairs: list[tuple[tf.Variable, tf.Variable]] = []
        self._mirror(checkpoint)
        self._graph.card = tf.Variable("", dtype=tf.string, trainable=False)

    def _mirror(self, checkpoint: tf.train.Checkpoint) -> None:
        copies: dict[int, Any] = {id(checkpoint): self._graph}
        queue: list[Any] = [checkpoint]
        for node in queue:
            for name, child in children(node).items():
                if id(child) not in copies:
                    copies[id(child)] = self._copy(child)
                    queue.append(child)
                setattr(copies[id(node)], name, copies[id(child)])

    def _copy(self, node: Any) -> tf.Module | tf.Variable:
        variable = as_variable(node)
        if variable is None:
            return tf.Module()
        with tf.device("CPU:0"):
            copy = tf.Variable(variable.read_value(), trainable=False)
        self._pairs.append((variable, copy))
        return copy

    @property
    def size(self) -> int:
        """The size of the copy, in bytes."""
        return sum(copy.shape.num_elements() * copy.dtype.size for _, copy in self._pairs)

    def take(self) -> None:
        """Copies the live variables. TensorFlow shares the memory until one side is changed."""
        self._take()

    @cached_property
    def _take(self) -> tf.types.experimental.ConcreteFunction:
        # In one graph: assigned one by one from Python, thousands of variables would take a while.
        # A concrete one: TensorFlow would take those of several managers for one traced too often.
        return tf.function(self._assign).get_concrete_function()

    def _assign(self) -> None:
        for live, copy in self._pairs:
            copy.assign(live, read_value=False)

    def write(self, checkpoint: epath.Path, card: Card) -> None:
        """Writes what was taken, with a card, as `checkpoint.index` and `checkpoint.data-…`."""
        self._graph.card.assign(card.to_json())
        # Stock TensorFlow numbers its next checkpoint by this counter.
        self._graph.save_counter.assign(card.step)
        self._graph.write(str(checkpoint))
