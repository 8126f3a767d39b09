"""What the tests share: one entry of a registry at a time, with partners that fit."""

import pytest

from .helpers import ENTRIES, Case, find_partners


@pytest.fixture(scope="session", params=ENTRIES, ids="-".join)
def case(request: pytest.FixtureRequest) -> Case:
    """A model, a task or a data set, each registered one in turn."""
    case = find_partners(*request.param)
    if isinstance(case, str):
        pytest.skip(case)
    return case
