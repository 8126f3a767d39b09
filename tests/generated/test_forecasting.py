"""The forecasting starter: its windows, its scale and its CSV files."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from my_forecasting.config import Config, DataConfig
from my_forecasting.data import load_data
from my_forecasting.durable import ConfigurationError, WindowExamples
from my_forecasting.tasks import build_task
from my_forecasting.tasks.forecasting import ForecastingFigures, seasonal

SMALL = DataConfig(history=4, horizon=2, batch_size=3)


def numbered(path, rows=60, header="time,load,heat"):
    """Writes a series whose load tells the row."""
    lines = [f"2013-01-{row},{row},{row % 7}" for row in range(rows)]
    path.write_text("\n".join([header, *lines]), encoding="utf-8")
    return replace(SMALL, path=str(path))


def test_the_weather():
    data = load_data(DataConfig())
    x, y = data.element_spec
    assert (tuple(x.shape), tuple(y.shape)) == ((64, 72, 3), (64, 24))
    assert data.identity["data.columns"] == ["temperature", "dew_point", "wind_speed"]
    assert (len(data.training), len(data.validation)) == (6889, 1627)


def test_windows_are_cut_by_number():
    values = np.stack([np.arange(10.0), np.arange(10.0) * 10], axis=1).astype(np.float32)
    windows = WindowExamples(values, history=3, horizon=2, target=1)
    assert len(windows) == 6
    x, y = windows.take(tf.constant([0, 5], tf.int64))
    assert x[..., 0].numpy().tolist() == [[0, 1, 2], [5, 6, 7]]
    assert y.numpy().tolist() == [[30, 40], [80, 90]]
    assert len(WindowExamples(values[:4], history=3, horizon=2)) == 0


def test_nothing_leaks(tmp_path):
    data = load_data(numbered(tmp_path / "numbered.csv"))
    batches = list(data.batches(0, 0, data.steps_per_epoch).as_numpy_iterator())
    seen = {row for x, y in batches for row in (*x[..., 0].ravel(), *y.ravel())}
    held_out = list(data.validation_batches().as_numpy_iterator())
    rows = {row for x, y in held_out for row in (*x[..., 0].ravel(), *y.ravel())}
    assert max(seen) == 47  # the first 48 of 60
    assert (min(rows), max(rows)) == (50, 59)  # after a gap as long as a forecast
    known = np.arange(48)
    assert data.identity["data.mean"][0] == known.mean()
    assert data.identity["data.deviation"][0] == pytest.approx(known.std())


def test_the_target_is_a_column_of_ones_choice(tmp_path):
    config = replace(numbered(tmp_path / "numbered.csv"), target="heat")
    x, y = next(load_data(config).batches(0, 0, 1).as_numpy_iterator())
    assert (y == (x[:, -1:, 0] + [1, 2]) % 7).all()
    with pytest.raises(ConfigurationError, match=r"no column 'wind' .* it has load, heat"):
        load_data(replace(config, target="wind"))


BAD = {
    "no header": ("1,2\n3,4\n", "needs a first line with a name for each column"),
    "nothing": ("", "needs a first line with a name for each column"),
    "time alone": ("time\n1\n", "needs a first line with a name for each column"),
    "names twice": ("a,a\n1,2\n", "all of them different"),
    "a value less": ("a,b\n1,2\n3\n", "line 3: 1 values, and 2 columns"),
    "a missing value": ("a,b\n1,2\n3,\n", "line 3: b is '', and no number. Fill what is missing"),
    "NaN": ("a,b\nnan,2\n", "line 2: a is 'nan', and no number"),
    "too short": ("a\n1\n2\n3\n", "has 3 rows, which leaves 0 windows for training"),
    "constant": ("a,b\n" + "".join(f"{n},5\n" for n in range(60)), "every row of 'b'"),
}


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD.keys())
def test_a_bad_file_is_refused_by_line(tmp_path, text, message):
    path = tmp_path / "my series.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        load_data(replace(SMALL, path=str(path)))
    assert message in str(caught.value)
    assert "my series.csv" in str(caught.value)


def test_a_file_that_is_not_there_or_no_text(tmp_path):
    with pytest.raises(ConfigurationError, match="There is no data file"):
        load_data(replace(SMALL, path=str(tmp_path / "none.csv")))
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match="cannot be read as text"):
        load_data(replace(SMALL, path=str(tmp_path / "binary.csv")))


def test_the_naive_forecast_repeats_the_last_season():
    past = tf.constant([[1.0, 2, 3, 4, 5]])
    assert seasonal(past, 2, 5).numpy().tolist() == [[4, 5, 4, 5, 4]]
    assert seasonal(past, 5, 2).numpy().tolist() == [[1, 2]]


def test_a_season_longer_than_the_past_is_refused():
    config = Config(data=SMALL)
    with pytest.raises(ConfigurationError, match=r"--task.season 24 is longer than the 4 rows"):
        build_task(config, load_data(replace(SMALL)))


def test_models_speak_the_units_of_the_series(tmp_path):
    """A model whose layers give nothing says that the last value stays."""
    data = load_data(numbered(tmp_path / "numbered.csv"))
    config = Config(data=SMALL)
    config = replace(config, task=replace(config.task, season=4))
    task = build_task(replace(config, model=replace(config.model, name="linear")), data)
    task.model.set_weights([0 * weight for weight in task.model.get_weights()])
    x, y = next(iter(data.batches(0, 0, 1)))
    outputs = task.forward((x, y), training=False)
    np.testing.assert_allclose(outputs, np.repeat(x[:, -1:, 0], 2, axis=1), rtol=1e-4, atol=1e-4)
    variance = data.identity["data.deviation"][0] ** 2
    np.testing.assert_allclose(task.loss(y, outputs), [2.5 / variance] * 3, rtol=1e-3)
    metrics = task.metrics()
    task.update_metrics(metrics, (x, y), outputs)
    assert float(metrics["mae"].result()) == pytest.approx(1.5, rel=1e-3)
    assert float(metrics["rmse"].result()) == pytest.approx(2.5**0.5, rel=1e-3)
    assert float(metrics["naive_mae"].result()) == 4


def test_the_worst_forecasts_are_drawn_once():
    figures = ForecastingFigures(target=0, season=2)
    x = np.arange(40, dtype=np.float32).reshape(10, 4, 1)
    figures.update((x, np.zeros((10, 3))), np.ones((10, 3)), np.arange(10.0))
    figure = figures.draw("title")["forecasts"]
    titles = [axes.get_title() for axes in figure.axes]
    assert [title.partition(",")[0] for title in titles] == [
        "window 9",
        "window 6",
        "window 3",
        "window 0",
    ]
