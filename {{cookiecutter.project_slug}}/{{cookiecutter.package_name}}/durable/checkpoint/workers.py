"""What the processes that train one run together tell each other: few numbers and short texts."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf

from ..errors import UserError, WorkerFailed, in_one_line


class Workers:
    """The processes that train one run together, by a strategy; often there is only one.

    All of them call the same methods in the same order: each waits for the others. Whatever they
    tell each other goes by TensorFlow's own collective operations.

    Args:
        strategy: of `tf.distribute`. One process has any other than MultiWorkerMirroredStrategy.

    Attributes:
        count: how many there are.
        index: which of them this one is.
    """

    def __init__(self, strategy: tf.distribute.Strategy | None = None) -> None:
        self._strategy = strategy
        self.count, self.index = 1, 0
        if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
            resolver = strategy.cluster_resolver
            jobs = resolver.cluster_spec().as_dict()
            chiefs = len(jobs.get("chief", ()))
            self.count = max(1, chiefs + len(jobs.get("worker", ())))
            self.index = (resolver.task_id or 0) + (chiefs if resolver.task_type == "worker" else 0)

    @property
    def is_chief(self) -> bool:
        """Whether this is the one whose files are those of the run."""
        return self.index == 0

    def gather(self, numbers: Sequence[int]) -> np.ndarray:
        """What each of them gives: (workers, numbers) int64. All give equally many."""
        if self.count == 1:
            return np.array([numbers], np.int64)
        gathered = self._gather(tf.constant(numbers, tf.int64)).numpy()
        return gathered[:: len(gathered) // self.count]  # the devices of one say the same

    def texts(self, text: str) -> list[str]:
        """What each of them says; one may have nothing to say, an empty text."""
        if self.count == 1:
            return [text]
        content = np.frombuffer(text.encode(), np.uint8)
        lengths = self.gather([len(content)])[:, 0]
        if not lengths.any():
            return [""] * self.count
        padded = np.pad(content, (0, lengths.max() - len(content)))
        rows = self.gather(padded)
        parts = (row[:length] for row, length in zip(rows, lengths, strict=True))
        return [part.astype(np.uint8).tobytes().decode() for part in parts]

    def tell(self, text: str) -> str:
        """What the chief says."""
        return self.texts(text)[0]

    def lead(
        self, call: Callable[[], str | None], others: Callable[[], None] | None = None
    ) -> str | None:
        """What a call of the chief's gives, a text or None, told to all; its error is that of all.

        Args:
            call: called by the chief.
            others: called by the others meanwhile.
        """
        given: str | None = None
        with self.together():
            if self.is_chief:
                given = call()
            elif others is not None:
                others()
        return self.tell(given or "") or None

    @contextmanager
    def together(self) -> Iterator[None]:
        """Ends all by the error of one: the same message, and the same exit code.

        Raises:
            WorkerFailed: another one has failed.
        """
        if self.count == 1:
            yield
            return
        failed: Exception | None = None
        try:
            yield
        except Exception as error:  # whatever it is, the others must not wait for ever
            failed = error
        said = self.texts("" if failed is None else described(failed))
        first = next((index for index, text in enumerate(said) if text), None)
        if failed is not None and first == self.index:
            raise failed
        if first is not None:
            raise WorkerFailed(*said[first].split(" ", 1))

    @cached_property
    def _gather(self) -> Any:
        strategy = self._strategy or tf.distribute.get_strategy()

        @tf.function(input_signature=[tf.TensorSpec([None], tf.int64)])
        def gather(numbers: tf.Tensor) -> tf.Tensor:
            def exchange(own: tf.Tensor) -> tf.Tensor:
                context = tf.distribute.get_replica_context()
                return context.all_gather(own[tf.newaxis], axis=0)

            exchanged = strategy.run(exchange, args=(numbers,))
            return strategy.experimental_local_results(exchanged)[0]

        return gather


def described(error: Exception) -> str:
    """An exit code, and what an error says."""
    if isinstance(error, UserError):
        return f"{error.exit_code} {error}"
    return f"1 {type(error).__name__}: {in_one_line(error)}"
