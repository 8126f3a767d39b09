"""What does not change from save to save, and the shards that it is written to once."""

import logging
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import tensorflow as tf
from etils import epath

from ..errors import DamagedCheckpoint
from ..remote import is_remote
from . import bundle, shared
from .bundle import SHARD_BYTES
from .graph import READING_ERRORS, ObjectGraph, read_keys, write_values

VARIABLE_BYTES = 1 << 16  # less is written sooner than it is looked after
SHARED_BYTES = 1 << 20  # less is not worth files of its own
SAVES = 3  # in a row that find a value as it was, before it counts as one that does not change
SAMPLES = 64

log = logging.getLogger(__name__)


def bytes_of(value: tf.Tensor) -> np.ndarray:
    """The bytes of a tensor in the memory of the host, which they share with it."""
    if (
        np.dtype(value.dtype.as_numpy_dtype).isbuiltin != 1
    ):  # as bfloat16, which NumPy does not know
        with tf.device("CPU:0"):
            value = tf.bitcast(value, tf.uint8)
    return np.frombuffer(memoryview(value), np.uint8)


def address_of(value: tf.Tensor) -> int:
    """Where the buffer of a tensor is, for as long as the tensor is held."""
    address: int = bytes_of(value).__array_interface__["data"][0]
    return address


def sample_of(value: tf.Tensor) -> bytes:
    """A few bytes of a tensor, the lowest of some numbers: training changes at least one."""
    content = bytes_of(value)
    return content[:: max(8, len(content) // SAMPLES // 8 * 8)].tobytes()


def digest_of(value: tf.Tensor) -> bytes:
    """64 bits that tell a tensor from others, at ten gigabytes a second."""
    with tf.device("CPU:0"):
        whole = tf.reshape(value, (1, -1))
        return bytes(tf.raw_ops.Fingerprint(data=whole, method="farmhash64").numpy().tobytes())


def watched_sizes(graph: ObjectGraph) -> dict[str, int]:
    """The sizes, by key, of those variables that are large enough, and hold numbers."""
    large = (key for key, size in graph.sizes.items() if size >= VARIABLE_BYTES)
    return {key: graph.sizes[key] for key in large if is_number(graph.variables[key].dtype)}


def is_number(dtype: tf.DType) -> bool:
    """Whether the bytes of a tensor of a type are its value: not so of strings."""
    return dtype == tf.bfloat16 or np.dtype(dtype.as_numpy_dtype).kind in "biufc"


@dataclass
class Sighting:
    """What is known of the value of one variable.

    What is read from a variable shares its buffer until the variable is changed, by whatever hand:
    while the tensor is held, the same buffer is the same value. Of a variable that rows are
    gathered from, each read gives a copy; its digest is compared, and no copy is held.

    Attributes:
        sample: of it.
        wait: for how many saves it must seem to be the same before its tensor is held: what is
            held is copied when it changes. Twice as many each time that it did.
        tensor: what was read of it, where the buffer tells.
        digest: of it, where the buffer does not.
        saves: for how many saves it has been the same.
    """

    sample: bytes
    wait: int = 1
    tensor: tf.Tensor | None = None
    digest: bytes | None = None
    saves: int = 0

    def look(self, value: tf.Tensor) -> "Sighting":
        """Looks at the value as it is at the next save, and gives what is known now."""
        sample = sample_of(value)
        if sample != self.sample or not self._is_same(value):
            was_held = self.tensor is not None or self.digest is not None
            return Sighting(sample, 2 * self.wait if was_held else self.wait)
        self.saves += 1
        if self.tensor is None and self.digest is None and self.saves >= self.wait:
            self.tensor = value
        return self

    def _is_same(self, value: tf.Tensor) -> bool:
        """Whether a value with the same sample is the same."""
        if self.digest is not None:
            return digest_of(value) == self.digest
        if self.tensor is None or address_of(value) == address_of(self.tensor):
            return True
        before, self.digest = digest_of(self.tensor), digest_of(value)
        self.tensor = None
        return before == self.digest

    @property
    def is_unchanging(self) -> bool:
        """Whether it has been the same for so long that it is worth a shard of its own."""
        return self.saves >= self.wait - 1 + SAVES


class Shards:
    """The shards of what does not change, which the next checkpoints of a directory take.

    Args:
        graph: of what is saved.
    """

    def __init__(self, graph: ObjectGraph) -> None:
        self._sizes = watched_sizes(graph)
        self._seen: dict[str, Sighting] = {}
        self._keys: dict[str, list[str]] = {}
        self._is_new = True

    @property
    def size(self) -> int:
        """The bytes of what the next checkpoint takes, where nothing changes until then."""
        return sum(self._sizes[key] for keys in self._keys.values() for key in keys)

    def update(
        self, directory: epath.Path, name: str, values: Mapping[str, tf.Tensor]
    ) -> dict[str, list[str]]:
        """Looks at the values of a save, and writes those that do not change any more.

        Args:
            directory: of the checkpoints.
            name: the part of their names before the step.
            values: of all variables, by key.

        Returns:
            The keys in each shard that is good for this save, by its name. It is on the disk.
        """
        if is_remote(directory):  # where no file has two names
            return {}
        if self._is_new:
            self._recognize(directory, name, values)
        else:
            self._look(values)
        self._drop(directory)
        held = {key for keys in self._keys.values() for key in keys}
        loose = [key for key, seen in self._seen.items() if seen.is_unchanging and key not in held]
        if sum(self._sizes[key] for key in loose) >= SHARED_BYTES:
            self._write(directory, name, {key: values[key] for key in loose})
        return dict(self._keys)

    def _look(self, values: Mapping[str, tf.Tensor]) -> None:
        self._seen = {key: seen.look(values[key]) for key, seen in self._seen.items()}

    def _recognize(self, directory: epath.Path, name: str, values: Mapping[str, tf.Tensor]) -> None:
        """Finds the shards, of an earlier process or a parent run, that hold what is there now."""
        self._is_new = False
        self._seen = {key: Sighting(sample_of(values[key])) for key in self._sizes}
        for shard in sorted(shared.names_in(directory, name)):
            keys = self._keys_if_same(shared.place_of(directory, shard), values)
            if keys and not any(self._seen[key].saves for key in keys):
                self._keys[shard] = keys
                for key in keys:
                    seen = self._seen[key]
                    seen.saves, seen.tensor = SAVES, values[key]

    def _keys_if_same(self, shard: epath.Path, values: Mapping[str, tf.Tensor]) -> list[str]:
        """The keys in a shard, where all of it is as the variables are now; else none."""
        try:
            types = tf.train.load_checkpoint(str(shard)).get_variable_to_dtype_map()
            for key, dtype in types.items():
                now = values[key] if key in self._sizes else None
                if now is None or now.dtype != dtype:
                    return []
                saved = read_keys(shard, [key], types)[key]
                if saved.shape != now.shape or not np.array_equal(bytes_of(saved), bytes_of(now)):
                    return []
        except READING_ERRORS:  # it is damaged, or away at present
            return []
        return list(types)

    def _drop(self, directory: epath.Path) -> None:
        """Forgets shards of which a value has changed, or that are not there any more."""
        for name, keys in list(self._keys.items()):
            shard = shared.place_of(directory, name)
            is_there = shared.is_whole(shard) or shared.is_whole(shared.spare_of(shard))
            if not (is_there and all(self._seen[key].is_unchanging for key in keys)):
                del self._keys[name]
                continue
            try:
                shared.complete(shard)
            except DamagedCheckpoint:
                del self._keys[name]
            except OSError as error:  # no reason not to save
                log.warning("%s has no second copy: %s. The next save tries again.", shard, error)

    def _write(self, directory: epath.Path, name: str, values: Mapping[str, tf.Tensor]) -> None:
        """Writes values to new shards, several side by side."""
        sizes = {key: self._sizes[key] for key in values}
        count = min(os.cpu_count() or 1, 1 + sum(sizes.values()) // SHARD_BYTES)
        shards = {}
        for keys in bundle.split(sizes, count):
            content = {key: values[key] for key in sorted(keys)}
            shards[f"{name}-{fingerprint(content)}"] = content
        with ThreadPoolExecutor(count) as threads:
            places = [shared.place_of(directory, shard) for shard in shards]
            list(threads.map(write_shard, places, shards.values()))
        self._keys |= {shard: list(content) for shard, content in shards.items()}


def write_shard(shard: epath.Path, values: Mapping[str, tf.Tensor]) -> None:
    """Writes a shard. Its second copy is made before a second checkpoint takes it.

    Until then, what is in it stands in older checkpoints too.
    """
    with shared.filled(shard) as written:
        write_values(str(written), values)


def fingerprint(values: Mapping[str, tf.Tensor]) -> str:
    """A name for values: other ones have another."""
    found = sha256()
    for key, value in values.items():
        found.update(f"{key} {value.dtype.name} {value.shape} ".encode() + digest_of(value))
    return found.hexdigest()[:16]
