"""What the tests share."""

from collections.abc import Callable
from pathlib import Path

import pytest
from bake import bake as bake_project


@pytest.fixture
def bake(tmp_path: Path) -> Callable[..., Path]:
    """Generates a project in the folder of the test: bake(license="MIT")."""
    return lambda **answers: bake_project(tmp_path / "projects", **answers)
