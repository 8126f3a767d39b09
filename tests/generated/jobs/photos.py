"""Photographs and their masks, in the folders `images` and `masks` of a folder."""

from pathlib import Path

from ..config import DataConfig
from ..durable import Data, ImageExamples, IndexedData, hold_out_numbers, images_with_masks


def load(config: DataConfig) -> Data:
    """Opens the data set."""
    folder = Path("photos").resolve()
    images, masks = images_with_masks(folder / "images", folder / "masks")
    examples = ImageExamples(folder, images, masks, (config.size, config.size))
    held_out, rest = hold_out_numbers(len(examples), config.validation)
    return IndexedData(
        examples.subset(rest),
        examples.subset(held_out),
        config.batch_size,
        details={"data.classes": 2},
        parallel=2,
    )
