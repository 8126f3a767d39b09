"""What all tests share."""

from {{ cookiecutter.package_name }} import paths
from {{ cookiecutter.package_name }}.compat import keras

import pytest


@pytest.fixture(autouse=True)
def _clean(monkeypatch):
    """Every test starts without the user's own root and with a fresh Keras."""
    monkeypatch.delenv(paths.ROOT_VARIABLE, raising=False)
    keras.backend.clear_session()


@pytest.fixture
def root(tmp_path):
    """A folder for runs, with a name that needs quoting."""
    folder = tmp_path / "a röot folder"
    folder.mkdir()
    return folder
