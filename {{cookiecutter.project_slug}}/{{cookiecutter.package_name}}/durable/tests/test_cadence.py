"""How often to save."""

import logging

import pytest

from ..run.cadence import Cadence, best_interval
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


@pytest.mark.parametrize(
    ("workers", "cost", "seconds", "between"),
    [(1, 0.5, 60, 3600), (4, 0.5, 30, 900), (1, 0.001, 20, 3600), (1, 8.0, 120, 3600)],
)
def test_auto_loses_the_least_where_it_is_known_how_often_workers_fail(
    clock, caplog, workers, cost, seconds, between
):
    caplog.set_level(logging.INFO)
    limits = {"save_shortest": "20s", "save_longest": "2m"}
    config = Config(save_every="auto", worker_fails_every="1h", save_budget=0.5, **limits)
    cadence = Cadence(config, workers)
    cadence.saved(cost)
    clock[0] += seconds - 0.1
    assert not cadence.is_due(44, epoch_ended=True)
    clock[0] += 0.2
    assert cadence.is_due(45, epoch_ended=False)
    told = f"A save costs {cost:.2g} s, a failure is expected every {between} s: saving every"
    assert caplog.messages == [f"{told} {seconds} s, for {100 * cost / seconds:.1f} % of the time."]


@pytest.mark.parametrize(("cost", "between"), [(0.5, 60), (2, 3600), (30, 86400)])
def test_the_best_interval_loses_less_than_any_other(cost, between):
    def lost(interval):  # by saves, and by failures, each half an interval on average
        return cost / interval + interval / 2 / between

    best = best_interval(cost, between)
    assert all(lost(best) < lost(best * factor) for factor in (0.5, 0.9, 0.99, 1.01, 1.1, 2))
