"""Folders of images: one folder for each class, or a mask beside each image."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image, UnidentifiedImageError

from ..errors import ConfigurationError, in_one_line
from ..untrusted import require_plausible, require_regular
from .indexed import describe_files, find_files

KINDS = (".jpeg", ".jpg", ".png")  # what TensorFlow decodes to gray or color, as one likes


@dataclass(frozen=True, eq=False)
class ImageExamples:
    """Image files, each with a label or with the file of its mask; `Examples`.

    Attributes:
        folder: which all files are in, at any depth.
        images: their paths.
        targets: (images,) int32 labels, or the paths of masks: images whose values are classes.
        size: height and width that all are resized to: images with antialiasing, masks to the
            nearest pixel.
        channels: 1 for gray, 3 for color.

    Raises:
        ConfigurationError: a file is no image.
    """

    folder: Path
    images: Sequence[Path]
    targets: np.ndarray | Sequence[Path]
    size: tuple[int, int]
    channels: int = 3

    def __post_init__(self) -> None:
        reasons = map(why_no_image, [*self.images, *self._masks])
        if told := list(filter(None, reasons)):
            raise ConfigurationError(" ".join(told))

    def __len__(self) -> int:
        return len(self.images)

    def subset(self, numbers: np.ndarray) -> "ImageExamples":
        """The examples with these numbers, (examples,) int64, as `hold_out_numbers` gives them."""
        images = [self.images[number] for number in numbers]
        masks = [self._masks[number] for number in numbers] if self._masks else None
        targets = np.asarray(self.targets)[numbers] if masks is None else masks
        return replace(self, images=images, targets=targets)

    def take(self, indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The images with these numbers, decoded in their order.

        Returns:
            (batch, height, width, channels) float32 from 0 to 1, and int32 labels (batch,) or
            masks (batch, height, width).
        """
        names = tf.gather(tf.constant([str(file) for file in self.images]), indices)
        x = tf.map_fn(self._image, names, fn_output_signature=tf.float32)
        x = tf.ensure_shape(x, (None, *self.size, self.channels))
        if not self._masks:
            return x, tf.gather(tf.constant(self.targets, tf.int32), indices)
        names = tf.gather(tf.constant([str(file) for file in self._masks]), indices)
        y = tf.map_fn(self._mask, names, fn_output_signature=tf.int32)
        return x, tf.ensure_shape(y, (None, *self.size))

    def content(self) -> Iterator[bytes | memoryview]:
        """The names and sizes of the files, a part of some, the labels and the size."""
        yield from describe_files(self.folder, [*self.images, *self._masks])
        if not self._masks:
            yield np.ascontiguousarray(self.targets, np.int32).data
        yield repr((self.size, self.channels)).encode()

    def where(self, number: int) -> str:
        """The paths of the image and of its mask."""
        mask = f" with {self._masks[number]}" if self._masks else ""
        return f"{self.images[number]}{mask}"

    @property
    def _masks(self) -> Sequence[Path]:
        return [] if isinstance(self.targets, np.ndarray) else self.targets

    def _image(self, name: tf.Tensor) -> tf.Tensor:
        image = tf.io.decode_image(tf.io.read_file(name), self.channels, expand_animations=False)
        image = tf.image.resize(tf.cast(image, tf.float32) / 255, self.size, antialias=True)
        return tf.clip_by_value(image, 0, 1)

    def _mask(self, name: tf.Tensor) -> tf.Tensor:
        mask = tf.io.decode_image(tf.io.read_file(name), 1, expand_animations=False)
        return tf.cast(tf.image.resize(mask, self.size, "nearest")[..., 0], tf.int32)


def class_folders(folder: Path) -> tuple[list[Path], np.ndarray, list[str]]:
    """The images below a folder that has one folder for each class.

    Returns:
        The images, their labels (images,) int32, and the names of the classes in their order.

    Raises:
        ConfigurationError: there are none.
    """
    classes = sorted({file.parent.name for file in find_files(folder, "*/*") if is_image(file)})
    images = [file for name in classes for file in images_in(folder / name)]
    labels = [classes.index(file.parent.name) for file in images]
    if not images:
        raise ConfigurationError(f"{folder} has no folder with images ({', '.join(KINDS)}).")
    return images, np.array(labels, np.int32), classes


def images_with_masks(images: Path, masks: Path) -> tuple[list[Path], list[Path]]:
    """The images of a folder, and for each the mask of the same name in another one.

    Raises:
        ConfigurationError: there are none, or an image has no mask.
    """
    found = {file.stem: file for file in images_in(masks)}
    chosen = images_in(images)
    if not chosen:
        raise ConfigurationError(f"{images} has no images ({', '.join(KINDS)}).")
    if missing := [file for file in chosen if file.stem not in found]:
        raise ConfigurationError(f"{missing[0]} has no mask {masks / missing[0].stem}.png.")
    return chosen, [found[file.stem] for file in chosen]


def images_in(folder: Path) -> list[Path]:
    """The images of a folder, in the order of their names."""
    return [file for file in find_files(folder, "*") if is_image(file)]


def is_image(file: Path) -> bool:
    """Whether the name is that of an image."""
    return file.suffix.lower() in KINDS


def why_no_image(file: Path) -> str | None:
    """What is wrong with a file whose head is not that of an image; None with a good one."""
    try:
        require_regular(file)
        with Image.open(file) as image:
            size = image.width * image.height * len(image.getbands())
            require_plausible(size, file.stat().st_size, str(file))
            return None
    except UnidentifiedImageError:
        return f"{file} is no image that can be read."
    except Exception as error:  # each kind of image has its own
        return f"{file} is no image that can be read: {in_one_line(error)}."
