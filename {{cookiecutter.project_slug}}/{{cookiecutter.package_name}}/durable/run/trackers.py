"""The trackers that there are: MLflow, and Weights & Biases."""

import json
import os
import struct
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..errors import PACKAGE, ConfigurationError, in_one_line
from ..remote import is_remote
from .paths import RunPaths
from .references import newest_step
from .settings import RunSettings, flat
from .tracking import TrackedRun, Tracker, Tracking, tracked_run

MOST_METRICS = 1000  # that MLflow takes at once
NOT_SENT = {"step", "time"}


class MLflow(Tracker):
    """A run in MLflow: in `runs/mlflow.db`, or where MLFLOW_TRACKING_URI says."""

    def __init__(self, run: TrackedRun, config: RunSettings, paths: RunPaths) -> None:
        from mlflow import MlflowClient  # noqa: PLC0415  (an extra)

        place = os.environ.get("MLFLOW_TRACKING_URI") or local_store(paths)
        self._client = MlflowClient(place)
        self._id = self._find(run, paths)
        self._client.update_run(self._id, "RUNNING")
        has = self._client.get_run(self._id).data
        self._add_settings(config, has.params)
        # A line may have arrived in part, where it is another machine that keeps it.
        self._last = {
            name: max(point.step for point in self._client.get_metric_history(self._id, name))
            for name in has.metrics
        }

    @staticmethod
    def prepare() -> None:
        """Sees to it that it is installed, keeps quiet, and gives up before long."""
        require_installed("mlflow", "mlflow", "sqlalchemy", "alembic")
        for name, value in {
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_LOGGING_LEVEL": "WARNING",
            "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",  # seconds
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
        }.items():
            os.environ.setdefault(name, value)

    def _find(self, run: TrackedRun, paths: RunPaths) -> str:
        """The run of that id, made if it is not there."""
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or PACKAGE
        found = self._client.get_experiment_by_name(name)
        experiment = found.experiment_id if found else self._client.create_experiment(name)
        runs = self._client.search_runs([experiment], f"tags.id = '{run.id}'")
        if runs:
            return runs[0].info.run_id
        tags = run.described(paths) | {"id": run.id}
        if run.parent_id is not None:
            for parent in self._client.search_runs([experiment], f"tags.id = '{run.parent_id}'"):
                tags["mlflow.parentRunId"] = parent.info.run_id
        return self._client.create_run(experiment, tags=tags, run_name=paths.run).info.run_id

    def _add_settings(self, config: RunSettings, known: Container[str]) -> None:
        """Adds those that it has not got; what they were at first cannot be changed."""
        from mlflow.entities import Param  # noqa: PLC0415

        settings = flat(asdict(config)).items()
        params = [Param(name, str(value)) for name, value in settings if name not in known]
        self._client.log_batch(self._id, params=params)

    def send(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Adds what of the lines it has not got."""
        from mlflow.entities import Metric  # noqa: PLC0415

        points = [
            Metric(name, float(value), int(1000 * line["time"]), line["step"])
            for line in lines
            for name, value in line.items()
            if name not in NOT_SENT and value is not None
            if line["step"] > self._last.get(name, -1)
        ]
        for start in range(0, len(points), MOST_METRICS):
            self._client.log_batch(self._id, metrics=points[start : start + MOST_METRICS])
        self._last |= {point.key: point.step for point in points}

    def close(self, *, failed: bool) -> None:
        """Says how it ended."""
        self._client.set_terminated(self._id, "FAILED" if failed else "FINISHED")


def local_store(paths: RunPaths) -> str:
    """Where the runs are kept, unless MLFLOW_TRACKING_URI says another place."""
    return f"sqlite:///{quote(str(paths.runs / 'mlflow.db'))}"


class WeightsAndBiases(Tracker):
    """A run in Weights & Biases; with WANDB_MODE=offline, files in the folder of the run."""

    def __init__(self, run: TrackedRun, config: RunSettings, paths: RunPaths) -> None:
        import wandb  # noqa: PLC0415  (an extra)

        folder = os.environ.get("WANDB_DIR") or str(paths.folder)
        kept = last_offline_step(Path(folder), run.id)
        self._run = wandb.init(
            id=run.id,
            name=paths.run,
            project=os.environ.get("WANDB_PROJECT") or PACKAGE,
            dir=folder,
            resume="allow",
            reinit="create_new",
            config={**flat(asdict(config)), "tracked": asdict(run) | run.described(paths)},
            allow_val_change=True,
            settings=wandb.Settings(console="off", silent=True),
        )
        # The step that the server expects next; 0 where there is none.
        self._last = max(kept, run.last, self._run.step - 1)

    @staticmethod
    def prepare() -> None:
        """Sees to it that it is installed, and that somebody has logged in."""
        require_installed("wandb", "wandb")
        import wandb  # noqa: PLC0415

        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        if os.environ.get("WANDB_MODE", "online") != "online":
            return
        try:
            wandb.login(verify=False)  # asks in a terminal, which a thread must not do
        except wandb.errors.Error as error:
            raise ConfigurationError(
                f"--track wandb: {in_one_line(error)} Log in with wandb login, or set "
                "WANDB_MODE=offline."
            ) from error

    def send(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Adds the lines that it has not got."""
        for line in lines:
            if line["step"] > self._last:
                values = {name: line[name] for name in line.keys() - NOT_SENT}
                self._run.log(values, step=line["step"], commit=True)
                self._last = line["step"]

    def close(self, *, failed: bool) -> None:
        """Waits until all has arrived."""
        self._run.finish(exit_code=int(failed))


def last_offline_step(folder: Path, run: str) -> int:
    """The last step that the offline files of a run have; -1 where there is none.

    What W&B is given reaches its file some time later: of a killed process, only the file tells.
    """
    files = sorted(folder.glob(f"wandb/offline-run-*-{run}/run-{run}.wandb"))
    return max((step for file in files for step in offline_steps(file)), default=-1)


def offline_steps(file: Path) -> Iterator[int]:
    """The steps in a file of W&B's, up to where a killed process left it."""
    from wandb.proto import wandb_internal_pb2  # noqa: PLC0415  (there is no public reader)

    for content in records(file.read_bytes()):
        record = wandb_internal_pb2.Record.FromString(content)
        if record.WhichOneof("record_type") == "history":
            values = {item.key or "/".join(item.nested_key): item for item in record.history.item}
            yield int(json.loads(values["_step"].value_json))


def records(content: bytes) -> Iterator[bytes]:
    """The whole records of a file in the format of LevelDB's logs, after a head of seven bytes.

    Source: https://github.com/google/leveldb/blob/main/doc/log_format.md
    """
    position, parts = 7, b""
    while position + 7 <= len(content):
        if (left := 32768 - position % 32768) < 7:  # the end of a block has no room for a head
            position += left
            continue
        size, kind = struct.unpack_from("<HB", content, position + 4)  # after a checksum
        position += 7 + size
        if position > len(content) or not kind:
            return
        parts += content[position - size : position]
        if kind in (1, 4):  # a whole record, or the last part of one
            yield parts
            parts = b""


def require_installed(extra: str, *modules: str) -> None:
    """Raises ConfigurationError if a module is not there."""
    if any(find_spec(module) is None for module in modules):
        raise ConfigurationError(
            f"--track {extra} needs an extra: install it with pip install --editable '.[{extra}]'"
        )


TRACKERS: dict[str, type[Tracker]] = {"mlflow": MLflow, "wandb": WeightsAndBiases}
# What says where each keeps its files, if not beside the runs.
PLACES = {"mlflow": "MLFLOW_TRACKING_URI", "wandb": "WANDB_DIR"}


def prepare_tracker(config: RunSettings, paths: RunPaths) -> None:
    """Sees to it that the tracker can be used that the settings name, if they do.

    Raises:
        ConfigurationError: it cannot.
    """
    if config.track == "none":
        return
    place = PLACES[config.track]
    if is_remote(paths.folder) and not os.environ.get(place):
        raise ConfigurationError(
            f"--track {config.track}: its files cannot be in {paths.runs}: set {place}."
        )
    TRACKERS[config.track].prepare()


def start_tracking(config: RunSettings | None, paths: RunPaths) -> Tracking | None:
    """What sends the log of a run to the tracker that its settings name, if they do."""
    if config is None or config.track == "none" or paths.aside is not None:
        return None
    return Tracking(config, paths, TRACKERS[config.track])


def send_rest(config: RunSettings, paths: RunPaths) -> None:
    """Sends what the tracker of a complete run has not got."""
    tracking = start_tracking(config, paths)
    if tracking is not None and tracked_run(config.track, paths).last < newest_step(paths):
        tracking.close()
