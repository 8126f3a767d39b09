"""How often to save."""

import logging

import pytest

from ..run.cadence import Cadence
from .program.experiment import Config


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands until it is set."""
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def test_at_each_epochs_end():
    cadence = Cadence(Config(save_every="epoch"))
    assert cadence.is_due(44, epoch_ended=True)
    assert not cadence.is_due(43, epoch_ended=False)


def test_every_so_many_steps():
    cadence = Cadence(Config(save_every="30"))
    assert cadence.is_due(60, epoch_ended=False)
    assert not cadence.is_due(44, epoch_ended=True)


def test_after_some_time(clock):
    cadence = Cadence(Config(save_every="10s"))
    clock[0] += 9.9
    assert not cadence.is_due(44, epoch_ended=True)
    clock[0] += 0.1
    assert cadence.is_due(45, epoch_ended=False)
    cadence.saved(cost=5)
    assert not cadence.is_due(46, epoch_ended=False)


@pytest.mark.parametrize(
    ("cost", "seconds", "share"), [(0.5, 50, "1.0"), (0.01, 20, "0.1"), (9.0, 120, "7.5")]
)
def test_auto_keeps_the_budget_within_its_limits(clock, caplog, cost, seconds, share):
    caplog.set_level(logging.INFO)
    config = Config(save_every="auto", save_budget=0.01, save_shortest="20s", save_longest="2m")
    cadence = Cadence(config)
    clock[0] += 20
    assert cadence.is_due(7, epoch_ended=False)
    cadence.saved(cost)
    clock[0] += seconds - 0.1
    assert not cadence.is_due(44, epoch_ended=True)
    clock[0] += 0.1
    assert cadence.is_due(45, epoch_ended=False)
    cadence.saved(cost)  # what has not changed is not told again
    assert caplog.messages == [
        f"A save costs {cost:.2g} s: saving every {seconds} s, for {share} % of the time."
    ]
