"""Examples by number: batch number `step` of a run, by index arithmetic alone.

There is no shuffle buffer and no iterator to save: the order of an epoch is a permutation that
depends on the seed and the epoch, so that any step can be sought at once.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from functools import cached_property
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from ..compat import whole_number
from ..errors import ConfigurationError
from .protocol import Data

# What a graph raises where an example is no good; the text of such an error may hold bytes of the
# example, and then cannot even be decoded.
GRAPH_ERRORS = (tf.errors.OpError, UnicodeDecodeError)
# Of these, no example is to blame: another process or a server does not answer.
OTHERS_ERRORS = (
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.UnavailableError,
)
SAMPLES = 64  # files that examples are known by, of which a part is read
PART = 4096  # bytes at each end of such a file
AHEAD = 16  # steps: a loop in a graph takes the batches of up to 10 before they are trained


class Examples(Protocol):
    """Examples that are found by their numbers, 0 to `len(examples) - 1`."""

    def __len__(self) -> int: ...

    def take(self, indices: tf.Tensor) -> Any:
        """The batch of the examples with these numbers, (batch,) int64; called in a graph.

        It is (x, y) or (x, y, weight), each any nest of tensors.
        """
        ...

    def content(self) -> Iterator[bytes | memoryview]:
        """What tells them from others, piece by piece."""
        ...

    def where(self, number: int) -> str:
        """Where an example is found, for messages: a file, and the place in it."""
        ...


@dataclass(frozen=True)
class IndexedData:
    """A data set of examples that are found by their numbers; a `Data`.

    Attributes:
        training: the examples to learn from.
        validation: the examples held out, whose batches have the same form.
        batch_size: examples per step.
        details: more of what one run must keep of its data, as JSON can hold it.
        augment: changes a training example at random, given it and a seed of shape (2,); a function
            of the two alone. The seed tells it from every other example that the run trains on, so
            that the same is made of it whatever the number of machines.
        parallel: how many batches are made at the same time, always in the same order; more than
            one pays where making one takes longer than a step.
        part: which part of each training batch is made, of how many; see `share`.

    Raises:
        ConfigurationError: there are fewer training examples than one batch needs.
    """

    training: Examples
    validation: Examples
    batch_size: int
    details: Mapping[str, Any] = field(default_factory=dict)
    augment: Callable[[Any, tf.Tensor], Any] | None = None
    parallel: int = 1
    part: tuple[int, int] = (0, 1)

    def __post_init__(self) -> None:
        if self.steps_per_epoch == 0:
            raise ConfigurationError(
                f"There are {len(self.training)} examples for training, fewer than one batch "
                f"of {self.batch_size}: give more examples or a smaller batch size."
            )

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in an epoch; the few examples left over are others in each epoch."""
        return len(self.training) // self.batch_size

    @cached_property
    def identity(self) -> dict[str, Any]:
        """The details, and a fingerprint: the first 16 hexadecimal digits of a SHA-256."""
        digest = sha256()
        for examples in (self.training, self.validation):
            for piece in examples.content():
                digest.update(piece)
        return {"data": digest.hexdigest()[:16], **self.details}

    @cached_property
    def element_spec(self) -> Any:
        """The specs of a training batch, a whole one."""
        return self.share(0, 1).batches(0, 0, 1).element_spec

    def share(self, index: int, count: int) -> "IndexedData":
        """The same data, of whose training batches each is the part `index` of `count`.

        The parts lie one behind the other in the batch. No other examples are read for them.
        """
        kept = {entry.name: getattr(self, entry.name) for entry in fields(IndexedData)}
        return IndexedData(**kept | {"part": (index, count)})

    def batches(self, seed: int, start: int, stop: int) -> tf.data.Dataset:
        """The training batches of the steps `start` to `stop - 1`.

        Seeking costs the same whatever `start` is. The randomness of the augmentation comes from
        the seed, the step and the position in the batch.
        """

        def batch(step: tf.Tensor) -> Any:
            chosen = self.training.take(self.numbers(seed, step))
            if self.augment is None:
                return chosen
            trained = step * self.batch_size + self._places()
            seeds = tf.stack([tf.ones_like(trained) * seed, trained], axis=1)
            return augmented(self.augment, chosen, seeds)

        return self._map(batch, start, stop)

    def numbers(self, seed: int, step: tf.Tensor) -> tf.Tensor:
        """Which examples its part of the batch of a step, () int64, is made of: (part,) int64."""
        epoch, position = step // self.steps_per_epoch, step % self.steps_per_epoch
        places = position * self.batch_size + self._places()
        return shuffle(places, tf.stack([seed, epoch]), len(self.training))

    def _places(self) -> tf.Tensor:
        """Where in the whole batch its part lies: (part,) int64."""
        index, count = self.part
        size = self.batch_size // count
        return tf.range(index * size, (index + 1) * size, dtype=tf.int64)

    def validation_batches(self) -> tf.data.Dataset:
        """The held-out examples, in their order, in batches as large as the training's."""
        batch_size, size = self.batch_size, len(self.validation)

        def batch(number: tf.Tensor) -> Any:
            first = number * batch_size
            return self.validation.take(tf.range(first, tf.minimum(first + batch_size, size)))

        return self._map(batch, 0, -(-size // batch_size))

    def first_bad(self, seed: int, steps: Iterable[int]) -> str | None:
        """Where the first example is that cannot be used, and why.

        It is looked for in the batches of these steps, and among those held out.
        """
        trained = (self.numbers(seed, tf.constant(step, tf.int64)).numpy() for step in steps)
        found = bad_examples(self.training, chain.from_iterable(trained))
        held_out = bad_examples(self.validation, range(len(self.validation)))
        return next(chain(found, held_out), None)

    def _map(self, batch: Callable[[tf.Tensor], Any], start: int, stop: int) -> tf.data.Dataset:
        """The batches that a function makes of the numbers `start` to `stop - 1`."""
        options = tf.data.Options()
        options.autotune.enabled = False  # for batches this cheap, tuning costs more than it gains
        options.deterministic = True
        parallel = self.parallel if self.parallel > 1 else None
        made = tf.data.Dataset.range(start, stop).map(batch, num_parallel_calls=parallel)
        return made.prefetch(2).with_options(options)


def augmented(augment: Callable[[Any, tf.Tensor], Any], batch: Any, seeds: tf.Tensor) -> Any:
    """A batch whose examples are augmented, each with its seed.

    Args:
        augment: see `IndexedData`.
        batch: any nest of tensors whose first axis counts the examples.
        seeds: (batch, 2) int64.
    """
    made = tf.data.Dataset.from_tensor_slices((batch, seeds)).map(augment)
    return tf.map_fn(
        lambda one: augment(*one), (batch, seeds), fn_output_signature=made.element_spec
    )


def bad_examples(examples: Examples, numbers: Iterable[int]) -> Iterator[str]:
    """Of the examples with these numbers, those that cannot be used: where each is, and why."""
    # In a graph, as in training; an iterator goes on after an error.
    chosen = list(numbers)
    dataset = tf.data.Dataset.from_tensor_slices(np.array(chosen, np.int64))
    made = iter(dataset.map(lambda number: examples.take(number[tf.newaxis])))
    for number in chosen:
        try:
            next(made)
        except GRAPH_ERRORS as error:
            yield f"{examples.where(number)} cannot be used: {reason_of(error)}."


def reason_of(error: Exception) -> str:
    """Why an example is no good, in one line, without what says where in the graph that was."""
    if isinstance(error, UnicodeDecodeError):
        return "it holds other bytes than what is to be decoded"
    text = re.sub(r"\{\{.*?\}\} ?", "", str(error))
    text = re.sub(r"^Error in user-defined function .*? with iterator: \S+ ", "", text)
    text = re.split(r"\n\s*(?:Traceback|\[\[)| ?\[Op:", text)[0]
    return re.sub(r"^\w+(?:Error|Exception): ", "", " ".join(text.split())).removesuffix(".")


@contextmanager
def name_bad_examples(data: Data, seed: int = 0, step: tf.Variable | None = None) -> Iterator[None]:
    """Where making a batch fails, names the example that is to blame.

    An error that none is to blame for goes on as it is.

    Args:
        data: whose examples are looked through, where they are found by number.
        seed: of the run.
        step: that is trained; none where only the examples held out are used.

    Raises:
        ConfigurationError: names the example, and says what is wrong with it.
    """
    try:
        yield
    except OTHERS_ERRORS:
        raise
    except GRAPH_ERRORS as error:
        present = None if step is None else whole_number(step)
        steps = () if present is None else range(present, present + AHEAD)
        first_bad = getattr(data, "first_bad", None)
        found = first_bad(seed, steps) if first_bad else None
        if found is None:
            raise
        raise ConfigurationError(
            f"{found} Put it right or leave it out; what was saved is untouched."
        ) from error


def shuffle(places: tf.Tensor, seed: tf.Tensor | tuple[int, int], size: int) -> tf.Tensor:
    """Where the permutation of 0 … size - 1 that `seed` gives puts the places.

    It takes one seed for all places: TensorFlow's form with a seed for each is broken.
    """
    return tf.random.experimental.index_shuffle(places, seed=seed, max_index=size - 1)


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
