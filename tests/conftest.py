"""What the tests share."""

from collections.abc import Callable
from pathlib import Path

import pytest
from answers import COMBINATIONS, name_of
from bake import bake as bake_project

# Tools that do not quote, or guess an encoding, fail here.
PROJECTS = "my pröjects"


@pytest.fixture
def bake(tmp_path: Path) -> Callable[..., Path]:
    """Generates a project in the folder of the test: bake(license="MIT")."""
    return lambda **answers: bake_project(tmp_path / PROJECTS, **answers)


@pytest.fixture(scope="session", params=COMBINATIONS, ids=name_of)
def answers(request: pytest.FixtureRequest) -> dict[str, str]:
    """Every combination of choices in turn."""
    return request.param


@pytest.fixture(scope="session")
def baked(answers: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project of these answers, which tests only look at."""
    return bake_project(tmp_path_factory.mktemp("baked"), **answers)
