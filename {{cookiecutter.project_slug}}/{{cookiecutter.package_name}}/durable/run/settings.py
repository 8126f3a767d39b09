"""What a project hands over: its settings, whole or as JSON, its paths and its experiment."""

import json
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_type_hints

from etils import epath

from ..errors import ConfigurationError
from ..files import strict_json, write_text
from ..remote import storage_errors
from ..untrusted import parse_json, read_text
from .paths import RunPaths

if TYPE_CHECKING:  # no TensorFlow yet: see `quiet`
    from .experiment import Experiment

log = logging.getLogger(__name__)

# Settings of one call of the program, which say nothing of the run itself.
CALL_SETTINGS = {"run", "root", "resume", "fork_from", "partial", "debug", "config"}

# Settings that are whole numbers from 1 up.
COUNTS = (
    "epochs",
    "log_every",
    "max_save_failures",
    "max_steps",
    "patience",
    "best_to_keep",
    "overfit_batches",
    "limit_validation",
    "accumulate",
    "cpu_devices",
)

Settings = TypeVar("Settings", bound="RunSettings")
LONGEST = 36500 * 86400  # seconds; no timer goes on for much longer


@dataclass(frozen=True)
class RunSettings:
    """What every project can be told; its own `Config` adds what is learned, and from what.

    Raises:
        ConfigurationError: a value is not possible.
    """

    run: str = "default"
    """Name of the run: its folder below runs/."""
    root: str | None = None
    """Folder that holds runs/; by default the one that the project's paths.py says."""
    epochs: int = 30
    """Train up to this many epochs in all."""
    seed: int = 0
    """Seed of the weights, the order of the data and the dropout."""
    resume: Literal["auto", "require", "never"] = "auto"
    """auto resumes where there is a checkpoint; require fails where there is none; never refuses
    to start where there is one."""
    fork_from: str | None = None
    """Start this new run from the state of another one: RUN, RUN@STEP, RUN@best or RUN@epoch:N.
    Everything must fit but the settings of the training."""
    partial: bool = False
    """With --fork-from: take over what fits, and tell what does not."""
    save_every: str = "epoch"
    """When to save: epoch, a number of steps, a time such as 30s, 10m or 2h, or auto: as often as
    the budget allows, or as --worker-fails-every asks for."""
    save_budget: float = 0.02
    """With --save-every auto: the share of the time that may go into saving."""
    worker_fails_every: str | None = None
    """With --save-every auto: the mean time between two failures of one worker, a machine, such as
    30d. Saves then lose the least time, whatever the budget: of many workers, some fail sooner."""
    save_shortest: str = "10s"
    """With --save-every auto: the shortest time between two saves."""
    save_longest: str = "30m"
    """With --save-every auto: the longest time between two saves."""
    save_mode: Literal["auto", "blocking", "background"] = "auto"
    """How to save: blocking waits for the disk; background trains on meanwhile; auto is background
    where there is an accelerator."""
    max_save_failures: int = 3
    """How many saves in a row may fail, on a full disk, say, before training ends."""
    max_to_keep: int = 5
    """How many of the newest checkpoints to keep, at least 2."""
    keep_every_hours: float | None = None
    """Keep one checkpoint for every so many hours besides."""
    best_metric: str | None = None
    """Of the checkpoints that are saved at an epoch's end, the best by this metric is kept in
    checkpoints/best; by default the metric that the task names."""
    best_mode: Literal["max", "min"] | None = None
    """Whether the best is the largest or the smallest."""
    log_every: int = 100
    """Steps between two lines of metrics.jsonl, besides those at every epoch's end."""
    deterministic: bool = False
    """Use deterministic operations only. Slower; needed for equal bits on a GPU, not on a CPU."""
    debug: bool = False
    """Show the traceback of an error."""
    max_steps: int | None = None
    """Train up to this many steps in all, if --epochs are not over before."""
    accumulate: int = 1
    """Train on each batch in so many slices, and average their gradients: the step of the whole
    batch, but for batch normalisation and dropout, in the memory of a slice."""
    ema: float | None = None
    """Keep an average of the weights, of which so much stays at each step, such as 0.999; see
    evaluate.py --weights ema."""
    profile: str | None = None
    """FROM:TO, such as 100:110: record for TensorBoard what the steps after FROM, up to TO, spend
    their time on."""
    overfit_batches: int | None = None
    """To find mistakes: train on the first so many batches again and again."""
    limit_validation: int | None = None
    """To find mistakes: validate on the first so many held-out batches."""
    best_to_keep: int = 1
    """How many of the best checkpoints to keep in checkpoints/best."""
    config: str | None = None
    """A JSON file with settings, such as the config.json of a run; the command line wins."""
    patience: int | None = None
    """End the run when the best metric, see --best-metric, got no better for so many epochs."""
    strategy: Literal["none", "mirrored", "multi-worker", "auto"] = "none"
    """How to use several devices: mirrored trains on a part of each batch on every GPU of this
    machine, or on the devices of --cpu-devices; multi-worker on those of several workers, which
    TF_CONFIG, Slurm or Kubernetes name; auto does what there are workers or GPUs for."""
    cpu_devices: int | None = None
    """Let the CPU count as so many devices, to try --strategy mirrored."""
    worker_timeout: str = "10m"
    """How long a worker waits for the others to start, and how long training may stand still for
    them, a save of the chief's included: a time such as 10m."""
    track: Literal["none", "mlflow", "wandb"] = "none"
    """Send what is logged to MLflow or Weights & Biases too, as far as a save covers it."""

    def __post_init__(self) -> None:
        hours = self.keep_every_hours
        if self.partial and self.fork_from is None:
            raise ConfigurationError("--partial goes with --fork-from RUN[@STEP].")
        if self.worker_fails_every is not None:
            seconds_of("worker-fails-every", self.worker_fails_every)
            if self.save_every != "auto":
                raise ConfigurationError("--worker-fails-every goes with --save-every auto.")
        require(self.epochs <= 10**9, "epochs", self.epochs, "at most 1000000000")
        require(
            self.patience is None or self.patience >= 1, "patience", self.patience, "at least 1"
        )
        require(0 <= self.seed < 2**32, "seed", self.seed, "0 to 4294967295")
        require(self.max_to_keep >= 2, "max-to-keep", self.max_to_keep, "at least 2")
        require(hours is None or hours > 0, "keep-every-hours", hours, "more than 0")
        require(0 < self.save_budget < 1, "save-budget", self.save_budget, "between 0 and 1")
        require(self.ema is None or 0 < self.ema < 1, "ema", self.ema, "between 0 and 1")
        for name in COUNTS:
            count = getattr(self, name)
            require(count is None or count >= 1, name.replace("_", "-"), count, "at least 1")
        steps_to_profile(self.profile)
        if not re.fullmatch(r"epoch|auto|[1-9]\d*", self.save_every):
            seconds_of("save-every", self.save_every)
        seconds_of("worker-timeout", self.worker_timeout)
        shortest = seconds_of("save-shortest", self.save_shortest)
        if shortest > seconds_of("save-longest", self.save_longest):
            raise ConfigurationError("--save-shortest must not be longer than --save-longest.")

    def last_step(self, steps_per_epoch: int) -> int:
        """The step at which training is over: that of --epochs or of --max-steps, the smaller."""
        steps = self.epochs * steps_per_epoch
        return steps if self.max_steps is None else min(steps, self.max_steps)

    def identity(self) -> dict[str, Any]:
        """The settings that one run must keep: its steps would mean something else without them."""
        return {"seed": self.seed, "overfit_batches": self.overfit_batches}


def require(possible: bool, name: str, value: object, wanted: str) -> None:
    """Raises ConfigurationError, which says what is wanted, unless a setting is possible."""
    if not possible:
        raise ConfigurationError(f"--{name} {value} is not possible: give {wanted}.")


# Words in the names of metrics of which less is better.
LESS_IS_BETTER = re.compile(
    r"(?:.*_)?(?:loss|error|mse|rmse|mae|mape|msle|entropy|crossentropy|perplexity|divergence)"
    r"(?:_.*)?"
)


def usual_mode(metric: str) -> Literal["max", "min"]:
    """Whether the largest or the smallest value of a metric is the best, as its name suggests."""
    return "min" if LESS_IS_BETTER.fullmatch(metric.lower()) else "max"


def seconds_of(name: str, time: str) -> float:
    """The seconds in a time such as 30s, 10m, 2h or 7d.

    Raises:
        ConfigurationError: the setting of that name is no such time.
    """
    match = re.fullmatch(r"([1-9]\d*)([smhd])", time)
    if match is None:
        hint = "epoch, auto, a number of steps such as 500, or " if name == "save-every" else ""
        raise ConfigurationError(
            f"--{name} {time!r} is not possible: give {hint}a time such as 30s, 10m, 2h or 7d."
        )
    seconds = int(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]]
    require(seconds <= LONGEST, name, time, "at most 36500d")
    return seconds


def steps_to_profile(profile: str | None) -> range:
    """The steps, as counted before each, that --profile FROM:TO names; none where it is None.

    Raises:
        ConfigurationError: it is not of that form.
    """
    match = re.fullmatch(r"(\d+):(\d+)", profile or "0:0")
    steps = range(int(match[1]), int(match[2])) if match else range(0)
    possible = profile is None or len(steps) > 0
    require(possible, "profile", profile, "two steps FROM:TO in their order, such as 100:110")
    return steps


def record_config(config: RunSettings, path: epath.Path) -> None:
    """Writes the configuration, and tells which settings changed since the last start."""
    present = json.loads(json.dumps(asdict(config)))
    before, after = flat(read_settings(path)), flat(present)
    for name in sorted((before.keys() & after.keys()) - CALL_SETTINGS):
        old, new = before[name], after[name]
        if old != new:
            log.info("Changed since the last start: %s %s → %s.", name, old, new)
    write_text(path, strict_json(present, indent=2) + "\n")


def read_settings(path: epath.Path) -> dict[str, Any]:
    """The settings in a file; none where there is no file, or it cannot be read."""
    try:
        found = parse_json(read_text(path))
    except FileNotFoundError:
        return {}
    except storage_errors(path):
        found = None
    except ValueError:
        found = None
    if isinstance(found, dict):
        return found
    log.warning("%s cannot be read.", path)
    return {}


def flat(values: Mapping[str, Any], inside: str = "") -> dict[str, Any]:
    """Nested settings by their dotted names: {'model.name': 'mlp', …}."""
    settings: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            settings |= flat(value, f"{inside}{name}.")
        else:
            settings[inside + name] = value
    return settings


def config_from(values: Mapping[str, Any], kind: type[Settings]) -> Settings:
    """The configuration that a card or a config.json holds.

    Args:
        values: the settings, nested; those that `kind` does not know are left out.
        kind: the project's `Config`, or a dataclass in it.
    """
    hints = get_type_hints(kind)
    known: dict[str, Any] = {}
    for name in {field.name for field in fields(kind)} & values.keys():
        value = values[name]
        if is_dataclass(hints[name]):
            value = config_from(value, hints[name])
        known[name] = tuple(value) if isinstance(value, list) else value
    return kind(**known)


@dataclass(frozen=True)
class Project:
    """What the commands are given.

    Attributes:
        config: the class of the configuration.
        paths: the class of the paths.
        load_experiment: imports the class of the experiment; called by the commands that need the
            models, so that the others work while a file of a model is broken.
        train: the command line that starts training, for the commands that do.
        arguments: what they add to it: the settings that stand after -- on their command line.
    """

    config: type[RunSettings]
    paths: type[RunPaths]
    load_experiment: Callable[[], Callable[[Any], "Experiment"]]
    train: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
