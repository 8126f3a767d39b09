"""What users do to a project breaks none of its tests, and what they add is tested with it."""

import re
from pathlib import Path

import pytest
from conftest import on_the_newest

PACKAGE = "my_experiment"
WIDE = '''"""A wide network of one layer."""

from ..config import ModelConfig
from ..durable import keras


def build(config: ModelConfig, shape: tuple[int, ...], classes: int) -> keras.Model:
    """Builds the model: (batch, *shape) float32 → (batch, classes) float32 logits."""
    inputs = keras.Input(shape)
    x = keras.layers.Flatten(name="flatten")(inputs)
    x = keras.layers.Dense(2 * sum(config.hidden), activation="relu", name="wide")(x)
    return keras.Model(inputs, keras.layers.Dense(classes, name="logits")(x), name="wide")
'''
SPIRALS = '''"""Points on two spirals, made from a seed."""

from ..config import DataConfig
from ..durable import ArrayData, Data, hold_out

import numpy as np


def load(config: DataConfig) -> Data:
    """Makes the points: x (examples, 2) float32, y (examples,) int32."""
    random = np.random.default_rng(0)
    y = random.integers(0, 2, 600).astype(np.int32)
    angle = random.uniform(0, 6, 600)
    x = np.stack([np.cos(angle + np.pi * y), np.sin(angle + np.pi * y)], axis=1)
    x = (x * angle[:, None]).astype(np.float32)
    training, validation = hold_out((x, y), config.validation)
    return ArrayData(training, validation, config.batch_size, details={"data.classes": 2})
'''


def edit(file: Path, *changes: tuple[str, str]) -> None:
    """Replaces texts, each of which stands in the file."""
    text = file.read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    file.write_text(text, encoding="utf-8")


def change_defaults(package: Path) -> None:
    edit(
        package / "config.py",
        ("epochs: int = 30", "epochs: int = 7"),
        ("= (64, 128)", "= (9,)"),
        ('activation: str = "relu"', 'activation: str = "elu"'),
        ("dropout: float = 0.3", "dropout: float = 0.1"),
        ("validation: float = 0.2", "validation: float = 0.4"),
        ("batch_size: int = 32", "batch_size: int = 24"),
        ("shift: int = 0", "shift: int = 1"),
        ('= "adam"', '= "sgd"'),
        ("learning_rate: float = 1e-3", "learning_rate: float = 0.02"),
        ("decay: float = 1.0", "decay: float = 0.9"),
        ('name: str = "mlp"', 'name: str = "cnn"'),
    )


def delete_a_model(package: Path) -> None:
    (package / "models/cnn.py").unlink()
    edit(package / "models/__init__.py", ("import cnn, mlp", "import mlp"))
    edit(package / "models/__init__.py", ('    "cnn": cnn.build,\n', ""))


def rename_the_runs(package: Path) -> None:
    edit(package / "paths.py", ('/ "runs"', '/ "experiments"'))


def add_a_model(package: Path) -> None:
    (package / "models/wide.py").write_text(WIDE, encoding="utf-8")
    edit(package / "models/__init__.py", ("import cnn, mlp", "import cnn, mlp, wide"))
    edit(package / "models/__init__.py", ('    "mlp"', '    "wide": wide.build,\n    "mlp"'))


def replace_the_data(package: Path) -> None:
    (package / "data/spirals.py").write_text(SPIRALS, encoding="utf-8")
    for name in ("digits", "mnist"):
        (package / f"data/{name}.py").unlink()
    registry = package / "data/__init__.py"
    edit(registry, ("import digits, labeled, mnist", "import labeled, spirals"))
    text = re.sub(
        r'    "digits".*\n    "mnist".*\n', '    "spirals": spirals.load,\n', registry.read_text()
    )
    registry.write_text(text)
    edit(package / "config.py", ('name: str = "digits"', 'name: str = "spirals"'))
    delete_a_model(package)  # it takes images alone


EDITS = [
    replace_the_data,
    *(
        pytest.param(change, marks=pytest.mark.long)
        for change in (change_defaults, delete_a_model, rename_the_runs, add_a_model)
    ),
]


@on_the_newest
@pytest.mark.parametrize("change", EDITS, ids=lambda change: change.__name__)
def test_the_users_tests_pass(copy: Path, run, change):
    change(copy / PACKAGE)

    tested = run("-m", "pytest", "-q", "-rN", "-p", "no:cacheprovider", "tests").stdout

    assert " passed" in tested
    if change is add_a_model:
        run("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_save.py", "-k", "wide")


def test_another_runs_folder_is_used(copy: Path, run):
    rename_the_runs(copy / PACKAGE)

    run("train.py", "--epochs", 1)

    assert (copy / "experiments/default/checkpoints/ckpt-44.index").exists()
    assert "newest" in run("-m", PACKAGE, "list").stdout


def test_a_task_that_does_not_fit_is_an_error_at_the_start(copy: Path, run):
    edit(copy / PACKAGE / "models/mlp.py", ("layers.Dense(classes,", "layers.Dense(1,"))

    errors = run("train.py", code=2).stderr

    (line,) = errors.splitlines()
    assert line.startswith("Classification cannot learn from batches of (float32 (None, 8, 8),")
    assert "the model gives (None, 1), and not (batch, 10) logits." in line
    assert not (copy / "runs").exists()
