"""Other jobs than the starters': each takes a few files in the user's zone, and all else holds."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import my_experiment.paths
import my_forecasting.paths
import my_segmentation.paths
import numpy as np
import pytest
import tensorflow as tf
from conftest import copy_of, on_the_newest, run_in
from PIL import Image
from test_edits import edit

FILES = Path(__file__).parent / "jobs"
CLASSIFICATION = Path(my_experiment.paths.PROJECT)
SEGMENTATION = Path(my_segmentation.paths.PROJECT)
FORECASTING = Path(my_forecasting.paths.PROJECT)
Run = Callable[..., str]


@dataclass(frozen=True)
class Job:
    """What a user does to a project.

    Attributes:
        project: the project that it begins with.
        settings: what train.py is given.
        files: the files that are added, by the folder of the package that they come to.
        lines: the lines that registries get: file, the line before, the line.
        metric: one that the log has.
    """

    project: Path
    settings: tuple[str, ...]
    files: tuple[str, ...] = ()
    lines: tuple[tuple[str, str, str], ...] = ()
    metric: str = "val_loss"


JOBS = {
    "a GAN": Job(
        CLASSIFICATION,
        ("--task.name", "gan"),
        ("tasks/gan.py", "models/adversaries.py"),
        (
            ("tasks/__init__.py", "import Classification\n", "from .gan import GAN\n"),
            ("tasks/__init__.py", ": Classification,\n", '    "gan": GAN,\n'),
        ),
        "val_fooled",
    ),
    "two inputs and two heads": Job(
        CLASSIFICATION,
        ("--task.name", "digit_and_ink", "--data.name", "halves"),
        ("data/halves.py", "models/two_heads.py", "tasks/digit_and_ink.py"),
        (
            ("data/__init__.py", "import digits, labeled, mnist\n", "from . import halves\n"),
            ("data/__init__.py", ": digits.load,\n", '    "halves": halves.load,\n'),
            (
                "tasks/__init__.py",
                "import Classification\n",
                "from .digit_and_ink import DigitAndInk\n",
            ),
            ("tasks/__init__.py", ": Classification,\n", '    "digit_and_ink": DigitAndInk,\n'),
        ),
        "val_ink_error",
    ),
    "texts": Job(
        CLASSIFICATION,
        ("--task.name", "opinion", "--data.name", "phrases"),
        ("data/phrases.py", "models/reader.py", "tasks/opinion.py"),
        (
            ("data/__init__.py", "import digits, labeled, mnist\n", "from . import phrases\n"),
            ("data/__init__.py", ": digits.load,\n", '    "phrases": phrases.load,\n'),
            ("tasks/__init__.py", "import Classification\n", "from .opinion import Opinion\n"),
            ("tasks/__init__.py", ": Classification,\n", '    "opinion": Opinion,\n'),
        ),
        "val_accuracy",
    ),
    "a folder of images with masks": Job(
        SEGMENTATION,
        ("--data.name", "photos", "--model.hidden", "4", "8"),
        ("data/photos.py",),
        (
            ("data/__init__.py", "Data\n", "from . import photos\n"),
            ("data/__init__.py", ": scenes.load,\n", '    "photos": photos.load,\n'),
        ),
        "val_iou",
    ),
    "record files": Job(
        CLASSIFICATION,
        ("--data.name", "shards"),
        ("data/shards.py",),
        (
            ("data/__init__.py", "import digits, labeled, mnist\n", "from . import shards\n"),
            ("data/__init__.py", ": digits.load,\n", '    "shards": shards.load,\n'),
        ),
        "val_accuracy",
    ),
    "a stream of records": Job(
        CLASSIFICATION,
        ("--data.name", "stream"),
        ("data/shards.py", "data/stream.py"),
        (
            ("data/__init__.py", "import digits, labeled, mnist\n", "from . import stream\n"),
            ("data/__init__.py", ": digits.load,\n", '    "stream": stream.load,\n'),
        ),
        "val_accuracy",
    ),
    "a CSV file": Job(
        FORECASTING,
        ("--data.path", "my series.csv", "--data.target", "load", "--data.history", "30"),
        metric="val_naive_mae",
    ),
}


@pytest.fixture(params=JOBS)
def job(request: pytest.FixtureRequest) -> Job:
    """A job."""
    return JOBS[request.param]


@pytest.fixture
def project(job: Job, tmp_path: Path) -> Path:
    """A copy of the project, after the job's edits."""
    project = copy_of(job.project, tmp_path / "project")
    package = project / job.project.name.replace("-", "_")
    for name in job.files:
        shutil.copy(FILES / Path(name).name, package / name)
    for name, before, line in job.lines:
        edit(package / name, (before, before + line))
    write_series(project / "my series.csv")
    write_photos(project / "photos")
    write_shards(project / "shards")
    return project


def write_series(file: Path) -> None:
    """Writes a series of 600 hours."""
    rows = [f"{hour},{hour % 24 + hour % 5},{hour % 7}" for hour in range(600)]
    file.write_text("\n".join(["time,load,day", *rows]), encoding="utf-8")


def write_photos(folder: Path) -> None:
    """Writes images of other sizes with a light rectangle, and masks of it."""
    random = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for number in range(80):
        mask = np.zeros(random.integers(30, 60, 2), np.uint8)
        top, left = random.integers(0, 20, 2)
        mask[top : top + 15, left : left + 10] = 1
        noise = random.integers(0, 100, (*mask.shape, 3), np.uint8)
        Image.fromarray(noise + 150 * mask[..., None]).save(folder / f"images/{number}.jpg")
        Image.fromarray(mask).save(folder / f"masks/{number}.png")


def write_shards(folder: Path) -> None:
    """Writes the digits into four record files."""
    folder.mkdir()
    with np.load(CLASSIFICATION / "data/digits.npz") as arrays:
        x, y = (arrays["x"] / 16).astype(np.float32), arrays["y"]
    for shard in range(4):
        with tf.io.TFRecordWriter(str(folder / f"{shard}.tfrecord")) as writer:
            for image, label in zip(x[shard::4], y[shard::4], strict=True):
                pixels = tf.train.FloatList(value=image.ravel())
                number = tf.train.Int64List(value=[label])
                feature = {
                    "image": tf.train.Feature(float_list=pixels),
                    "label": tf.train.Feature(int64_list=number),
                }
                example = tf.train.Example(features=tf.train.Features(feature=feature))
                writer.write(example.SerializeToString())


@pytest.fixture
def run(project: Path) -> Run:
    """Runs the Python of this environment in the project, and returns what was printed."""

    def run_python(*arguments: object, code: int = 0) -> str:
        process = run_in(project, *arguments, code=code)
        return process.stdout + process.stderr

    return run_python


@on_the_newest
def test_it_needs_few_edits_and_all_else_holds(job: Job, project: Path, run: Run):
    assert len(job.files) <= 3
    run("-m", "ruff", "check", "--no-cache", "--fix", "--select", "I")  # as an editor does
    run("-m", "ruff", "check", "--no-cache")
    run("-m", "ruff", "format", "--no-cache", "--check")

    run("train.py", "--epochs", 2, *job.settings)
    lines = (project / "runs/default/metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert {job.metric, job.metric.removeprefix("val_"), "loss"} <= json.loads(lines[-1]).keys()
    package = job.project.name.replace("-", "_")
    assert job.metric in run("evaluate.py", "--at", "best")
    assert "average of 2" in run("evaluate.py", "--average", 2)
    assert "ensemble of 2" in run("evaluate.py", "--ensemble", "epoch:1", "latest")
    assert "Drew" in run("-m", package, "report")
    assert "at most 0 apart" in run("-m", package, "export", "best")


@on_the_newest
@pytest.mark.parametrize("job", ["a GAN"], indirect=True)
def test_a_step_of_its_own_gives_the_numbers_of_one_device_on_two(
    job: Job, project: Path, run: Run
):
    found = []
    for devices in (1, 2):
        mirrored = ["--strategy", "mirrored", "--cpu-devices", devices]
        run("train.py", "--run", devices, "--epochs", 1, *mirrored, *job.settings)
        lines = (project / f"runs/{devices}/metrics.jsonl").read_text(encoding="utf-8").splitlines()
        found.append(json.loads(lines[-1]))
    assert found[1] == pytest.approx(found[0], rel=1e-4)


@pytest.mark.long
def test_a_killed_run_of_it_ends_like_one_that_never_stopped(job: Job, run: Run):
    if not job.files:
        pytest.skip("its model and its task are those that the project tests by itself")
    name = job.settings[1]
    tested = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests", "-k", name)
    assert "4 passed" in tested


@on_the_newest
@pytest.mark.parametrize("job", ["record files"], indirect=True)
def test_records_that_cannot_be_used_are_named_and_nothing_is_lost(
    job: Job, project: Path, run: Run
):
    run("train.py", "--epochs", 2, *job.settings)
    shard = project / "shards/2.tfrecord"
    whole, kept = shard.read_bytes(), files_of(project / "runs/default")

    # The same sizes, another content at the ends: other data than the run had.
    records = [*tf.data.TFRecordDataset(str(shard)).as_numpy_iterator()]
    write_records(shard, [b"\xff" * len(records[0]), *records[1:]])
    printed = run("train.py", "--epochs", 3, *job.settings, code=3)
    assert "data" in printed
    printed = run("train.py", "--run", "new", *job.settings, code=2)
    assert f"{shard}, record 0, cannot be used: " in printed
    assert f"{shard}, record 0," in run(
        "-m", "my_experiment", "data", "verify", *job.settings, code=2
    )

    write_records(shard, [tf.train.Example().SerializeToString(), *records[1:]])
    printed = run("train.py", "--run", "new", *job.settings, code=2)
    assert f"{shard}, record 0, cannot be used: " in printed
    assert "Feature: image" in printed

    shard.write_bytes(whole[:-3])
    printed = run("train.py", "--epochs", 3, *job.settings, code=2)
    assert f"{shard} is damaged or cut short in record {len(records) - 1}" in printed
    shard.unlink()
    printed = run("train.py", "--epochs", 3, *job.settings, code=3)
    assert "Nothing was restored" in printed

    assert files_of(project / "runs/default") == kept
    shard.write_bytes(whole)
    assert "Restored step" in run("train.py", "--epochs", 3, *job.settings)


def write_records(file: Path, records: list[bytes]) -> None:
    """Writes a record file."""
    with tf.io.TFRecordWriter(str(file)) as writer:
        for record in records:
            writer.write(record)


def files_of(folder: Path) -> dict[Path, bytes]:
    """The bytes of the files that a run keeps."""
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@on_the_newest
@pytest.mark.parametrize("job", ["a folder of images with masks"], indirect=True)
def test_an_image_that_cannot_be_decoded_is_named(job: Job, project: Path, run: Run):
    image, mask = project / "photos/images/17.jpg", project / "photos/masks/17.png"
    mask.write_bytes(mask.read_bytes()[:-30])  # its head can be read
    printed = run("train.py", *job.settings, code=2)
    assert f"{image} with {mask} cannot be used: " in printed
    assert "Traceback" not in printed
    image.write_bytes(b"no image")
    assert f"{image} is no image that can be read" in run("train.py", *job.settings, code=2)
