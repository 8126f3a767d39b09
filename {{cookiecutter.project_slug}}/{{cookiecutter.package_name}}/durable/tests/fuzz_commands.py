"""Files that have done harm, or could, and the commands that are given them; see `fuzz`."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import tensorflow as tf

from ..checkpoint.tensor_bundle import CARD_KEY
from ..compat import KERAS_3
from . import hostile
from .helpers import rewrite
from .program import commands, training

FIXTURES = Path(__file__).parent / "fixtures" / ("tf221" if KERAS_3 else "tf215")
MODEL = ["--model.hidden", "8", "--model.dropout", "0"]
RUN = ["--root", ".", "--epochs", "2", "--log-every", "20", *MODEL]
RESUME = ["train", *RUN[:2], "--epochs", "3", *RUN[4:]]
CHECKPOINT = "runs/default/checkpoints/ckpt-88"
STEP_KEY = "step/.ATTRIBUTES/VARIABLE_VALUE"


class Case(NamedTuple):
    """Something hostile: what puts it into a folder, and what may come of a command.

    Attributes:
        name: of it.
        arrange: puts it into a folder with an honest run.
        command: what is called there.
        codes: the exit codes that are right.
    """

    name: str
    arrange: Callable[[Path], None]
    command: list[str]
    codes: set[int]


def prepare(folder):
    """Trains an honest run, and puts honest files beside it."""
    training.main(RUN)
    for name in ("new.weights.h5", "new.keras"):
        shutil.copy(FIXTURES / name, folder)
    for file in FIXTURES.glob("carded.*"):
        shutil.copy(file, folder)
    reader = tf.train.load_checkpoint(CHECKPOINT)
    Path("card.json").write_bytes(reader.get_tensor(CARD_KEY))


def call(command):
    """Calls a command of the program; returns its exit code."""
    name, *arguments = command
    if name == "train":
        return training.main(arguments)
    if name == "evaluate":
        return commands.evaluate(arguments)
    return commands.main(command)


def with_card(change):
    """Changes the newest card."""

    def arrange(folder):
        def changed(values):
            card = change(json.loads(values[CARD_KEY]))
            values[CARD_KEY] = card if isinstance(card, bytes) else json.dumps(card).encode()

        rewrite(folder / CHECKPOINT, changed)

    return arrange


def with_settings(**parts):
    """Changes settings in the newest card."""

    def change(card):
        return card | {"settings": card["settings"] | parts}

    return with_card(change)


def with_another_step(folder):
    """Changes the variable that tells the step, and not the card."""
    rewrite(folder / CHECKPOINT, lambda values: values.update({STEP_KEY: values[STEP_KEY] + 33}))


def written(name, text):
    """Writes a text in the place of a file."""

    def arrange(folder):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode(errors="surrogatepass"))

    return arrange


def replaced_by(make, name):
    return lambda folder: make(folder / name)


def as_device(path):
    path.unlink(missing_ok=True)
    path.symlink_to("/dev/zero")


def as_folder(path):
    path.unlink(missing_ok=True)
    path.mkdir()


def with_last_line(name, **values):
    """Adds a line to a log of the run."""

    def arrange(folder):
        with (folder / "runs/default" / name).open("a") as file:
            file.write(json.dumps(values) + "\n")

    return arrange


def cases():
    """All that is tried."""
    found = [*cards(), *places(), *texts(), *imports(), *data()]
    assert len({(case.name, *case.command) for case in found}) == len(found)
    return found


def cards():
    """Cards of the newest checkpoint."""
    forged = {
        "no object": lambda card: [],
        "a text of 50 MB": lambda card: card | {"commit": "x" * (50 << 20)},
        "nested deep": lambda card: card | {"settings": hostile.DEEP},
        "brackets": lambda card: b"[" * 1_000_000,
        "an escape": lambda card: card | {"epoch": "\x1b[2J"},
    }
    for name, forge in forged.items():
        yield Case(f"a card: {name}", with_card(forge), ["verify"], {4})
        yield Case(f"a card: {name}", with_card(forge), ["list"], {0})
        yield Case(f"a card: {name}", with_card(forge), RESUME, {0})  # from an older one
    readable = {
        "markup": {"commit": "[/]", "metrics": {"[/]": 1.0, "\x1b[2J": 2.0}},
        "of a newer edition": {"weather": ["[/]"]},
    }
    for name, parts in readable.items():
        for command in (["list"], ["show"], ["verify"]):
            yield Case(f"a card: {name}", with_card(lambda card, p=parts: card | p), command, {0})
    models = {
        "a huge model": {"model": {"hidden": [10**9], "name": "mlp", "dropout": 0.0}},
        "a model of 1 GB": {"model": {"hidden": [4 * 10**6], "name": "mlp", "dropout": 0.0}},
        "many layers": {"model": {"hidden": [4] * 100_000, "name": "mlp"}},
        "a negative model": {"model": {"hidden": [-5], "name": "mlp"}},
        "a model that is a number": {"model": 5},
        "layers that are texts": {"model": {"hidden": ["[/]"]}},
        "an activation": {"model": {"activation": "[/]"}},
    }
    for name, parts in models.items():
        arrange = with_settings(**parts)
        yield Case(name, arrange, ["diff", "latest", "--model"], {1, 2})
        yield Case(name, arrange, ["evaluate"], {2, 3})
    spec = [{"shape": [32, 10**6, 10**6], "dtype": "float32"}, {"shape": [32], "dtype": "int32"}]
    arrange = with_card(lambda card: card | {"element_spec": spec})
    yield Case("huge batches", arrange, ["diff", "latest", "--model"], {1, 2})
    odd = with_card(lambda card: card | {"element_spec": [{"shape": [1], "dtype": "float12"}] * 2})
    yield Case("batches of an odd type", odd, ["evaluate"], {2})
    for command, codes in ((["verify"], {4}), (RESUME, {0}), (["evaluate"], {4})):
        yield Case("another step", with_another_step, command, codes)


def places():
    """What is no file, where one is expected."""
    kinds = {"pipe": hostile.pipe, "device": as_device, "folder": as_folder}
    commands_of = {
        f"{CHECKPOINT}.index": [(["verify"], {4}), (RESUME, {0}), (["list"], {0})],
        f"{CHECKPOINT}.data-00000-of-00001": [(["verify"], {4}), (RESUME, {0})],
        "runs/default/checkpoints/checkpoint": [(["list"], {0}), (RESUME, {0, 1})],
        "runs/default/config.json": [(["report"], {0}), (RESUME, {0, 1})],
        "runs/default/metrics.jsonl": [(["report"], {1}), (RESUME, {1})],
        "runs/default/history.jsonl": [(["report"], {1}), (RESUME, {1})],
    }
    for kind, make in kinds.items():
        for name, called in commands_of.items():
            for command, codes in called:
                arrange = replaced_by(make, name)
                yield Case(f"{kind} as {Path(name).name}", arrange, command, codes)
    for kind, make in kinds.items():
        arrange = replaced_by(make, "new.keras")
        yield Case(f"{kind} to import", arrange, ["import", "new.keras", "--run", "new"], {2})
        arrange = replaced_by(make, "mine.json")
        command = ["train", "--root", ".", "--config", "mine.json"]
        yield Case(f"{kind} as settings", arrange, command, {2})
        arrange = replaced_by(make, "data.npz")
        yield Case(f"{kind} as data", arrange, data_command("data.npz"), {2})
    events = "runs/default/tensorboard/events.out.tfevents.1.x"
    yield Case("a pipe of events", replaced_by(hostile.pipe, events), RESUME, {0})


def texts():
    """Texts beside the checkpoints."""
    lines = {
        "a text as loss": {"step": 90, "epoch": 2, "loss": "[/]", "val_loss": "[/]"},
        "a list as step": {"step": [1], "epoch": 2, "loss": 0.5},
        "large numbers": {"step": 2**62, "epoch": 10**300, "loss": 1e308, "val_loss": -1e308},
        "metrics with odd names": {"step": 90, "epoch": 2, "$\\frac{$": 1, "[/]": 2, "\x1b[2J": 3},
        "a long name": {"step": 90, "epoch": 2, "x" * 500_000: 1.0},
    }
    for name, values in lines.items():
        yield Case(name, with_last_line("metrics.jsonl", **values), ["report"], {0})
    event = {"step": 44, "time": 5.0}
    odd_events = {
        "an event without a name": event,
        "an event without sources": event | {"event": "fork"},
        "sources that are none": event | {"event": "average", "sources": ["[/]", "x@y", 5]},
        "a rewind to elsewhere": event | {"event": "rewind", "superseded": "../../../other"},
    }
    for name, values in odd_events.items():
        yield Case(name, with_last_line("history.jsonl", **values), ["report"], {0})
    for name, text in {"a list": "[]", "a number": "5", "brackets": "[" * 100_000}.items():
        arrange = written("runs/default/config.json", text)
        yield Case(f"settings: {name}", arrange, ["report"], {0})
        yield Case(f"settings: {name}", arrange, ["rewind", "44"], {0})
    state = f'all_model_checkpoint_paths: "ckpt-{"9" * 5000}"\n'
    yield Case(
        "a step of 5,000 digits",
        written("runs/default/checkpoints/checkpoint", state),
        RESUME,
        {0},
    )
    lying = hostile.record(b"", 1 << 60)
    events = "runs/default/tensorboard/events.out.tfevents.1.x"
    yield Case("events of any length", written(events, lying), RESUME, {0})
    yield Case("events that are none", written(events, hostile.record(b"\xff" * 9)), RESUME, {0})


def imports():
    """Files to import."""
    honest, archive = ((FIXTURES / name).read_bytes() for name in ("new.weights.h5", "new.keras"))
    for name, content in hostile.hostile_weights(honest, archive).items():
        if name not in ("honest", "honest archive"):
            arrange = written("new.weights.h5", content)
            command = ["import", "new.weights.h5", "--run", "new", *MODEL]
            yield Case(f"weights: {name}", arrange, command, {0, 2, 3, 4})


def data_command(name):
    return ["train", "--root", ".", "--run", "other", "--data.path", name, "--epochs", "1", *MODEL]


def data():
    """Data of one's own."""
    for name, content in hostile.hostile_arrays(b"").items():
        if name != "honest":
            yield Case(f"data: {name}", written("d.npz", content), data_command("d.npz"), {2})
