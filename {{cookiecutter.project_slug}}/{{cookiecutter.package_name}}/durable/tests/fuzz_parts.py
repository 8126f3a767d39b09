"""Parts of the code that read what others wrote, each given many examples; see `fuzz`."""

import io
import json
import logging
import math
import re
import signal
import time
from contextlib import redirect_stdout, suppress
from pathlib import Path

import hypothesis
import numpy as np
from etils import epath
from rich.console import Console

from ..checkpoint import directory, shared
from ..checkpoint.bundle import DAMAGE, find_checkpoints, step_of
from ..checkpoint.card import Card
from ..checkpoint.mismatch import SideNames, find_differences
from ..checkpoint.retention import Best
from ..checkpoint.saver import make_readable
from ..cli import list as listing
from ..cli import show
from ..cli.report import run_as_json, runs_table
from ..convert.keras_file import KerasFile
from ..data.arrays import load_arrays
from ..data.images import why_no_image
from ..data.protocol import spec_from_json
from ..data.records import INDEX, load_index
from ..data.sources import open_array
from ..errors import CheckpointMismatch, ConfigurationError, DamagedCheckpoint, format_differences
from ..evaluation.comparison import compare_configurations, writer
from ..files import strict_json
from ..report.curves import read_run
from ..run.command_line import parse_settings, settings_of_card
from ..run.history import read_history, rewind_lines
from ..run.references import locate, rule_of_best
from ..run.session import RunLock
from ..run.settings import read_settings, record_config
from ..run.tracing import TRACING_ERRORS
from ..run.tracking import tracked_run
from ..untrusted import FARTHEST
from . import hostile
from .program.experiment import Config, Paths

MOST_MEMORY = 200 << 20  # bytes for one example
HANGS = 40  # seconds by the clock, for a machine that has much to do
MOST_TOLD = 2000  # letters of an error
MOST_TIME = 2.5  # seconds of computing for one example
CONTROL = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
SIDES = SideNames()


def peak(*, anew):
    """The most memory that was in use since it was asked for anew, in bytes."""
    if anew:
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) << 10


class Meter:
    """Counts examples, keeps the last one for the case that it ends the process, and weighs it."""

    def __init__(self, read):
        self._read = read
        self._tried = 0

    def __call__(self, example):
        content = example if isinstance(example, bytes) else example.encode(errors="replace")
        Path("example").write_bytes(content)
        self._tried += 1
        Path("tried").write_text(str(self._tried), encoding="utf-8")
        signal.alarm(HANGS)
        before, began = peak(anew=True), time.process_time()
        self._read(example)
        seconds, memory = time.process_time() - began, peak(anew=False) - before
        assert seconds < MOST_TIME, f"{seconds} s of computing"
        assert memory < MOST_MEMORY, f"{memory >> 20} MB of memory"


def examined(read, strategy, seed, examples, corpus=()):
    """Gives a part first what is in the corpus, and then examples of a strategy."""
    logging.disable(logging.CRITICAL)
    meter = Meter(read)
    for example in corpus:
        meter(example)

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=examples,
        database=None,
        deadline=None,
        print_blob=False,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=(hypothesis.Phase.generate, hypothesis.Phase.shrink),
    )
    @hypothesis.given(strategy)
    def test(example):
        meter(example)

    test()


def printed(act):
    """What something prints, which must not act on a terminal."""
    output = io.StringIO()
    with redirect_stdout(output):
        act()
    assert not CONTROL.search(output.getvalue())


def honest_card():
    return json.loads(Path("card.json").read_text(encoding="utf-8"))


def replaced(*places):
    """Honest cards with each of the hostile values in each of these places."""
    for place in places:
        for value in hostile.VALUES:
            card = honest_card()
            inside = card
            for step in place[:-1]:
                inside = inside[step]
            inside[place[-1]] = value
            yield json.dumps(card)


def card(seed, examples):
    honest = Card.from_json(Path("card.json").read_text(encoding="utf-8"))
    variable = ("structure", "variables", 0)
    corpus = [
        "[]",
        "5",
        "null",
        "[" * 100_000,
        json.dumps(honest_card() | {"weather": "[/]"}),
        *replaced(
            *((name,) for name in honest_card()),
            *((*variable, name) for name in ("path", "key", "shape", "dtype", "role")),
            ("metrics", "loss"),
            ("metrics", "[/]"),
            ("versions", "tensorflow"),
            ("settings", "model"),
            ("shared", 0) if honest_card()["shared"] else ("shared",),
        ),
        json.dumps(honest_card() | {"shared": ["../../../../tmp/x-0123456789abcdef"]}),
        json.dumps(honest_card() | {"settings": "deeper"}).replace('"deeper"', hostile.DEEPER),
    ]

    def read(text):
        try:
            found = Card.from_json(text)
        except DAMAGE:
            return  # it is damaged: one line, see `damage_from`
        assert Card.from_json(found.to_json()).to_json() == found.to_json()
        assert all(entry.dtype != "float12" for entry in found.structure.variables)
        use_card(found, honest)

    examined(read, hostile.changed(honest_card()), seed, examples, corpus)


def use_card(found, honest):
    """All that the commands do with a card."""
    printed(lambda: show.print_card(epath.Path("ckpt-1"), found))
    printed(lambda: show.print_variables(found, {}))
    strict_json(show.with_statistics(found, {}))
    entry = {
        "step": found.step,
        "epoch": found.epoch,
        "created": found.created,
        "bytes": 1,
        "metrics": found.metrics,
        "versions": found.versions,
        "origin": str(found.origin) if found.origin else None,
        "state": "good",
        "marks": [],
        "damaged": None,
    }
    printed(lambda: listing.print_entries("default", [entry]))
    for one, other in ((found, honest), (honest, found)):
        differences = find_differences(one.structure, other.structure, SIDES)
        differences += compare_configurations(one.settings, other.settings, SIDES)
        if differences:
            format_differences(differences)
            str(CheckpointMismatch(epath.Path("ckpt-1"), differences))
        writer(one)
    for entry in found.structure.variables:
        assert math.prod(length or 1 for length in entry.shape) < FARTHEST
    assert not any("/" in name for name in found.shared)
    for name in found.shared[:3]:
        shared.find(epath.Path("nowhere"), name)
    with suppress(ConfigurationError):
        settings_of_card(found.settings, Config)
    with suppress(*TRACING_ERRORS):
        spec_from_json(found.element_spec)
    Best("nowhere", "loss", "min")._values({epath.Path("ckpt-1"): found})
    _ = found.place, found.code, found.structure.identity["keras"]


def paths_of_run():
    return Paths(str(Path.cwd()), "default")


def report(paths):
    """What `report` prints of a run."""
    with suppress(ConfigurationError):
        run = read_run(paths)
        strict_json(run_as_json(run))
        printed(lambda: Console().print(runs_table([run])))


def lines_of(name):
    """The lines of a log of the run, as JSON values."""
    return [
        json.loads(line)
        for line in Path("runs/default", name).read_text(encoding="utf-8").splitlines()
    ]


def as_lines(text):
    """A JSON list as lines of a log."""
    with suppress(ValueError, RecursionError):
        return "".join(f"{json.dumps(line)}\n" for line in json.loads(text))
    return text


def log(seed, examples):
    paths, honest = paths_of_run(), lines_of("metrics.jsonl")[-3:]
    corpus = [
        json.dumps([*honest, {"step": step, "epoch": 1, "loss": loss, "val_loss": loss}])
        for step in (*hostile.VALUES, 200)
        for loss in ([0.5] if step != 200 else hostile.VALUES)
    ]

    def read(text):
        paths.metrics.write_text(as_lines(text))
        report(paths)
        rewind_lines(paths.metrics, 100)

    examined(read, hostile.changed(honest), seed, examples, corpus)


def history(seed, examples):
    paths = paths_of_run()
    events = [
        {"event": "fork", "step": 44, "sources": ["other@44"], "time": 1.5},
        {"event": "rewind", "step": 44, "superseded": "20260101T000000Z", "time": 2.5},
        {"event": "resume", "step": 50, "time": 3.5},
    ]
    (Path("runs/other")).mkdir(exist_ok=True)
    places = [(0, "event"), (0, "step"), (0, "sources"), (0, "time"), (1, "superseded")]
    corpus = []
    for number, name in places:
        for value in hostile.VALUES:
            changed = [dict(event) for event in events]
            changed[number][name] = value
            corpus.append(json.dumps(changed))
        corpus.append(json.dumps([{k: v for k, v in e.items() if k != name} for e in events]))
    corpus.append(json.dumps([{**events[0], "sources": [""]}]))

    def read(text):
        for run in ("default", "other"):
            paths.of(run).history.write_text(as_lines(text))
        report(paths)
        read_history(paths)
        tracked_run("mlflow", paths)
        paths.tracking.unlink()
        rewind_lines(paths.history, 100)

    examined(read, hostile.changed(events), seed, examples, corpus)


def settings(seed, examples):
    paths = paths_of_run()
    honest = json.loads(paths.config.read_text())
    corpus = [
        *("[]", "5", "", "[" * 100_000, "\ufeff{}", json.dumps(hostile.DEEP)),
        *(
            json.dumps(honest | {name: value})
            for name in ("best_metric", "best_mode", "best_to_keep", "epochs", "model", "run")
            for value in hostile.VALUES
        ),
    ]

    def read(text):
        Path(paths.config).write_text(text, encoding="utf-8", errors="replace")
        found = read_settings(paths.config)
        report(paths)
        with suppress(ConfigurationError):
            settings_of_card(found, Config)
        with suppress(ConfigurationError):
            parse_settings(Config, ["--config", str(paths.config)])
        with suppress(ConfigurationError):
            rule_of_best(paths, locate(paths, "latest")).rank([])
        record_config(Config(), paths.config)

    examined(read, hostile.changed(honest), seed, examples, corpus)


def tracking(seed, examples):
    paths = paths_of_run()
    run = {"id": "a", "parent": None, "parent_id": None, "rewind": None, "last": 3}
    corpus = [json.dumps({"mlflow": value}) for value in hostile.VALUES]
    corpus += [json.dumps({"mlflow": run | {"id": value}}) for value in hostile.VALUES]

    def read(text):
        Path(paths.tracking).write_text(text, encoding="utf-8", errors="replace")
        with suppress(ConfigurationError):
            tracked_run("mlflow", paths)

    examined(read, hostile.changed({"mlflow": run}), seed, examples, corpus)


def lock(seed, examples):
    paths = paths_of_run()
    honest = {"pid": 5, "host": "here"}

    def read(text):
        Path(paths.lock_holder).write_text(text, encoding="utf-8", errors="replace")
        RunLock(paths)._read_holder()

    corpus = ["[]", "5", '{"pid": []}', "[" * 100_000]
    examined(read, hostile.changed(honest), seed, examples, corpus)


def state(seed, examples):
    folder = paths_of_run().checkpoints
    file = folder / directory.STATE_FILE
    honest = file.read_bytes()
    named = 'model_checkpoint_path: "{0}"\nall_model_checkpoint_paths: "{0}"\n'
    corpus = [
        named.format(name).encode()
        for name in ("ckpt-" + "9" * 5000, "../../ckpt-3", "ckpt-\u0663", "ckpt-", "x" * 10**6)
    ]

    def read(content):
        file.write_bytes(content)
        found = directory.Directory(folder)
        make_readable(found)
        found.missing()
        list(map(step_of, directory.recorded_checkpoints(folder)))
        directory.repair_state(folder, find_checkpoints(folder))

    examined(read, hostile.damaged(honest), seed, examples, corpus)


def file_reader(name, read, refusals):
    """What reads a file of a name, and may refuse it in one line."""

    def look(content):
        Path(name).write_bytes(content)
        told = ""
        try:
            read(Path(name))
        except refusals as error:
            told = str(error)
        assert len(told) < MOST_TOLD

    return look


ERRORS = (OSError, ValueError)  # as `load_arrays` says


def arrays(seed, examples):
    honest = hostile.npz(x_npy=hostile.npy(np.ones((4, 3))), y_npy=hostile.npy(np.arange(4)))
    read = file_reader("a.npz", lambda path: load_arrays(path, "x", "y"), ERRORS)
    corpus = hostile.hostile_arrays(honest).values()
    examined(read, hostile.damaged(honest), seed, examples, corpus)


def mapped_arrays(seed, examples):
    honest = hostile.npy(np.ones((4, 3)))
    read = file_reader("a.npy", open_array, ConfigurationError)
    corpus = [hostile.npy(np.zeros(3), (10**12,)), b"\x93NUMPY\x01\x00\x76\x00" + b"(" * 118, b""]
    examined(read, hostile.damaged(honest), seed, examples, corpus)


def images(seed, examples):
    def look(path):
        if reason := why_no_image(path):
            raise ConfigurationError(reason)
        assert path.stat().st_size < 10_000, "taken for an image"

    def read(content):
        file_reader("a.png", look, ConfigurationError)(content)
        if content in large:
            assert why_no_image(Path("a.png"))

    corpus = hostile.hostile_images()
    large = [content for name, content in corpus.items() if name != "honest"]
    examined(read, hostile.damaged(corpus["honest"]), seed, examples, corpus.values())


def records(seed, examples):
    corpus = hostile.hostile_records()

    def read(content):
        Path(INDEX).unlink(missing_ok=True)
        file_reader("a.tfrecord", lambda path: load_index([path]), ConfigurationError)(content)

    examined(read, hostile.damaged(corpus["honest"]), seed, examples, corpus.values())


def index_of_records(seed, examples):
    file = Path("a.tfrecord")
    file.write_bytes(hostile.hostile_records()["honest"])
    right = load_index([file])
    honest = Path(INDEX).read_bytes()
    kept = load_arrays(INDEX)
    corpus = []
    for name in right:
        for values in ([0, 0], [-5, 99], [1 << 62, 1 << 62], [0.5, 1.5], [b"x"], []):
            written = io.BytesIO()
            np.savez(written, **(kept | {name: np.array(values)}))
            corpus.append(written.getvalue())

    def read(content):
        Path(INDEX).write_bytes(content)
        found = load_index([file])
        assert all(np.array_equal(found[name], right[name]) for name in right)

    examined(read, hostile.damaged(honest), seed, examples, corpus)


def weights(seed, examples):
    honest, archive = Path("new.weights.h5").read_bytes(), Path("new.keras").read_bytes()
    hostile.pipe("pipe")  # what links lead to

    def read(path):
        KerasFile(epath.Path(path)).read(lambda step: 0.1)

    look = file_reader("a.h5", read, DamagedCheckpoint)
    corpus = hostile.hostile_weights(honest, archive).values()
    # The library that reads it is not proof against all changes: see `docs/reliability.md`.
    strategy = hostile.damaged(archive)
    examined(look, strategy, seed, examples, corpus)


PARTS = {
    "card": card,
    "log": log,
    "history": history,
    "settings": settings,
    "tracking": tracking,
    "lock": lock,
    "state": state,
    "arrays": arrays,
    "mapped arrays": mapped_arrays,
    "images": images,
    "records": records,
    "index of records": index_of_records,
    "weights": weights,
}
