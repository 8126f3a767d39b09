"""How other frameworks save the same bytes, as far as they are installed: Orbax and PyTorch."""

import itertools
from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

Arrays = Mapping[str, np.ndarray]

# Two functions: one saves, the other waits until that has ended.
Way = tuple[Callable[[], Any], Callable[[], object]]


def orbax(arrays: Arrays, folder: Path, *, background: bool) -> Way:
    """Orbax's `StandardCheckpointer`, for JAX."""
    import jax  # noqa: PLC0415 - it may be missing
    from orbax.checkpoint import StandardCheckpointer  # noqa: PLC0415

    state = {name: jax.numpy.asarray(array) for name, array in arrays.items()}
    checkpointer = StandardCheckpointer()
    numbers = itertools.count()

    def save() -> None:
        checkpointer.save(folder.absolute() / str(next(numbers)), state)
        if not background:
            checkpointer.wait_until_finished()

    return save, checkpointer.wait_until_finished


def torch_save(arrays: Arrays, folder: Path) -> Way:
    """`torch.save`, into one file."""
    import torch  # noqa: PLC0415

    folder.mkdir(parents=True)
    state = {name: torch.tensor(array) for name, array in arrays.items()}
    return lambda: torch.save(state, folder / "state.pt"), lambda: None


def torch_distributed(arrays: Arrays, folder: Path, *, background: bool) -> Way:
    """`torch.distributed.checkpoint`, in one process."""
    import torch  # noqa: PLC0415
    from torch.distributed import checkpoint  # noqa: PLC0415

    state = {name: torch.tensor(array) for name, array in arrays.items()}
    numbers = itertools.count()
    pending: list[Any] = []

    def save() -> None:
        path = folder / str(next(numbers))
        if background:
            pending.append(checkpoint.async_save(state, checkpoint_id=path, no_dist=True))
        else:
            checkpoint.save(state, checkpoint_id=path, no_dist=True)

    def finish() -> None:
        while pending:
            pending.pop().result()

    return save, finish


def installed_ways() -> dict[str, Callable[[Arrays, Path], Way]]:
    """The ways that can be tried here, by name."""
    ways: dict[str, Callable[[Arrays, Path], Way]] = {}
    if find_spec("orbax"):
        ways["Orbax StandardCheckpointer"] = partial(orbax, background=False)
        ways["Orbax, background"] = partial(orbax, background=True)
    if find_spec("torch"):
        ways["torch.save"] = torch_save
        ways["torch.distributed.checkpoint"] = partial(torch_distributed, background=False)
        ways["torch, async_save"] = partial(torch_distributed, background=True)
    return ways
