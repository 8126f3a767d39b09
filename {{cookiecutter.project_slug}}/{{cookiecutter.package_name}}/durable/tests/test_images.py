"""Folders of images: one for each class, or masks beside the images."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from ..data.images import ImageExamples, class_folders, images_with_masks
from ..data.indexed import IndexedData
from ..errors import ConfigurationError


def save(file, value, size=(6, 4), mode="L"):
    """Writes an image of one color; its size is (width, height)."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(file)
    return file


def test_a_folder_for_each_class(tmp_path):
    for number, name in enumerate(["b/2.png", "a/1.png", "b/1.jpg", "a/0.png"]):
        save(tmp_path / name, 60 * number)
    (tmp_path / "a/notes.txt").write_text("no image", encoding="utf-8")
    images, labels, classes = class_folders(tmp_path)
    assert [file.relative_to(tmp_path).as_posix() for file in images] == [
        "a/0.png",
        "a/1.png",
        "b/1.jpg",
        "b/2.png",
    ]
    assert (labels.tolist(), classes) == ([0, 0, 1, 1], ["a", "b"])
    examples = ImageExamples(tmp_path, images, labels, (4, 6), channels=1)
    x, y = examples.take(tf.constant([3, 0, 2], tf.int64))
    assert (x.shape, y.numpy().tolist()) == ((3, 4, 6, 1), [1, 0, 1])
    np.testing.assert_allclose(x[:, 0, 0, 0], [0, 180 / 255, 120 / 255], atol=0.01)
    few = examples.subset(np.array([2]))
    assert (len(few), few.take(tf.constant([0]))[1].numpy().tolist()) == (1, [1])


def test_masks_beside_images(tmp_path):
    for number in range(3):
        save(tmp_path / f"images/{number}.jpg", (9 * number, 0, 255), mode="RGB")
        save(tmp_path / f"masks/{number}.png", number)
    images, masks = images_with_masks(tmp_path / "images", tmp_path / "masks")
    examples = ImageExamples(tmp_path, images, masks, (8, 12))
    x, y = examples.take(tf.constant([2, 1], tf.int64))
    assert (x.shape, y.shape, y.dtype) == ((2, 8, 12, 3), (2, 8, 12), tf.int32)
    assert (y.numpy() == np.array([2, 1])[:, None, None]).all()  # not mixed by the resizing
    assert examples.subset(np.array([2])).take(tf.constant([0]))[1].numpy().max() == 2


def test_batches_keep_their_order_when_they_are_made_in_parallel(tmp_path):
    for number in range(40):
        save(tmp_path / f"a/{number:02}.png", number)
    images, labels, _ = class_folders(tmp_path)
    examples = ImageExamples(tmp_path, images, labels, (4, 6), channels=1)
    one = IndexedData(examples, examples, 4)
    many = IndexedData(examples, examples, 4, parallel=4)
    for (x, _), (other, _) in zip(one.batches(1, 0, 20), many.batches(1, 0, 20), strict=True):
        assert (x.numpy() == other.numpy()).all()
    assert one.identity == many.identity
    save(tmp_path / "a/07.png", 200, size=(6, 5))
    assert IndexedData(examples, examples, 4).identity != one.identity


def test_what_is_not_there_or_no_image_is_told_by_name(tmp_path):
    with pytest.raises(ConfigurationError, match="There is no folder"):
        class_folders(tmp_path / "none")
    (tmp_path / "a").mkdir()
    with pytest.raises(ConfigurationError, match=r"has no file \*/\*"):
        class_folders(tmp_path)
    (tmp_path / "a/notes.txt").write_text("no image", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="has no folder with images"):
        class_folders(tmp_path)
    save(tmp_path / "images/1.png", 0)
    save(tmp_path / "masks/2.png", 0)
    with pytest.raises(ConfigurationError, match=r"1.png has no mask .*masks.1.png"):
        images_with_masks(tmp_path / "images", tmp_path / "masks")
    (tmp_path / "a/2.png").write_bytes(b"no image")
    images, labels, _ = class_folders(tmp_path)
    (tmp_path / "a/3.png").write_bytes(b"nor this")
    images, labels, _ = class_folders(tmp_path)
    told = r"2.png is no image that can be read. .*3.png is no image that can be read."
    with pytest.raises(ConfigurationError, match=told):
        ImageExamples(tmp_path, images, labels, (4, 6))
