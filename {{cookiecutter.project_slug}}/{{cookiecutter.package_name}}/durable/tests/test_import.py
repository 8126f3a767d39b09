"""Checkpoints of other kinds: what goes on from them goes on as in the program that wrote them."""

import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from ..checkpoint.card import read_card
from ..checkpoint.restore import read_variables
from ..checkpoint.tensor_bundle import CARD_KEY
from ..compat import KERAS_3, keras
from ..errors import PACKAGE
from ..run.rebuild import rebuild, restore
from . import v1_network
from .helpers import files_in, log_of, manager_of, run_main, small_state, train_a_little
from .program import commands, training
from .program.experiment import PROJECT

FIXTURES = Path(__file__).parent / "fixtures"
WRITTEN = {
    f"{folder}/{name}": entry
    for folder in ("tf215", "tf221")
    for name, entry in json.loads((FIXTURES / folder / "losses.json").read_text()).items()
}
OTHER = "tf215" if KERAS_3 else "tf221"
SAME = "tf221" if KERAS_3 else "tf215"
FIRST_BATCHES = v1_network.batches(0, 54)
DIGITS_FROM = 44  # the step of the first batch in digits.npz
# By whether it is Keras 3: the state of the generator of dropout.
GENERATORS = {True: "dropout/seed_generator_state", False: "untracked/generator_0"}


def run(*arguments, main=commands.main):
    """Runs a command in this process; returns its exit code."""
    return run_main(main, *arguments)


def imported(root, name, *settings):
    """Imports a fixture; returns the path of the first checkpoint of the new run."""
    code = run("import", FIXTURES / name, "--run", "new", "--root", root, *settings)
    assert code == 0
    (index,) = (root / "runs/new/checkpoints").glob("*.index")
    return index.with_suffix("")


def values_in(checkpoint):
    """The bytes of every variable of a checkpoint with a card, by path."""
    values = read_variables(checkpoint, read_card(checkpoint).structure.variables)
    return {path: value.numpy().tobytes() for path, value in values.items()}


def batches_from(name, step):
    """The batches from a step on; the first edition trained on the digits."""
    if not Path(name).name.startswith("first_edition"):
        return FIRST_BATCHES[step:]
    assert step == DIGITS_FROM
    with np.load(FIXTURES / "digits.npz", allow_pickle=False) as digits:
        x, y = digits["x"].astype(np.float32) / 16, digits["y"].astype(np.int32)
    return list(zip(x, y, strict=True))


def next_losses(checkpoint, name, count):
    """The losses of the next steps from a checkpoint, which was made from a fixture."""
    state = rebuild(PROJECT, read_card(checkpoint)).state
    restore(checkpoint, state)
    batches = batches_from(name, int(state.step))[:count]
    return [float(state.task.step(batch)[1]) for batch in batches]


@pytest.mark.parametrize("name", WRITTEN)
def test_the_next_losses_are_those_of_the_program_that_wrote_it(root, name, capsys):
    entry = WRITTEN[name]
    checkpoint = imported(root, name, *entry["settings"], "--json")
    assert json.loads(capsys.readouterr().out)["differences"] == []
    assert next_losses(checkpoint, name, 10) == pytest.approx(entry["losses"], abs=1e-4)


def test_objects_may_have_other_names_and_stand_beside_a_step(root, tmp_path):
    layers = [keras.layers.Flatten(), keras.layers.Dense(8, "relu"), keras.layers.Dense(10)]
    model, optimizer = keras.Sequential([keras.Input((8, 8)), *layers]), keras.optimizers.Adam()
    optimizer.build(model.trainable_variables)
    step = tf.Variable(7, dtype=tf.int64)
    tf.train.Checkpoint(net=model, opt=optimizer, global_step=step).write(str(tmp_path / "saved"))
    values = values_in(imported(root, tmp_path / "saved", *WRITTEN["tf215/object"]["settings"]))
    names = ["hidden_1/kernel", "hidden_1/bias", "logits/kernel", "logits/bias"]
    for name, weight in zip(names, model.get_weights(), strict=True):
        assert values[name] == weight.tobytes()
    assert values["step"] == np.int64(7).tobytes()
    assert values["optimizer/iteration"] == np.int64(0).tobytes()


def test_a_checkpoint_of_this_keras_is_taken_over_bit_for_bit(root):
    name = f"{SAME}/carded"
    assert values_in(imported(root, name)) == values_in(FIXTURES / name)


def test_the_card_and_the_history_say_where_it_comes_from(root, capsys):
    checkpoint = imported(root, f"{OTHER}/carded")
    source = str(FIXTURES / OTHER / "carded")
    card = read_card(checkpoint)
    assert (card.origin.kind, card.origin.sources) == ("import", (source,))
    assert (card.step, card.epoch, card.settings["run"]) == (44, 1, "new")
    (event,) = map(json.loads, (root / "runs/new/history.jsonl").read_text().splitlines())
    assert (event["event"], event["step"], event["sources"]) == ("import", 44, [source])
    assert json.loads((root / "runs/new/config.json").read_text())["model"]["hidden"] == [8]
    assert run("list", "--run", "new", "--root", root) == 0
    assert "import of" in capsys.readouterr().out


def test_the_command_that_train_names_imports_a_run_of_the_other_keras(root, capsys):
    folder = root / "runs/old/checkpoints"
    folder.mkdir(parents=True)
    for file in (FIXTURES / OTHER).glob("carded.*"):
        shutil.copy(file, folder / file.name.replace("carded", "ckpt-44"))
    before = files_in(folder)
    settings = ["--root", root, "--model.hidden", 8, "--model.dropout", 0, "--epochs", 2]
    assert run("--run", "old", *settings, main=training.main) == 3
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("Take it over")]
    python, _, module, *command = shlex.split(line.partition(": ")[2])
    assert (python, module) == ("python", PACKAGE)
    assert run(*[word.replace("NAME", "new") for word in command], "--root", root) == 0
    hint = capsys.readouterr().out.rpartition("python train.py ")[2]
    assert files_in(folder).items() >= before.items()

    go_on = ["--epochs", "2", "--log-every", "1"]
    assert run(*shlex.split(hint), *go_on, main=training.main) == 0
    losses = [entry["loss"] for entry in log_of(root / "runs/new")][:10]
    assert losses == pytest.approx(WRITTEN[f"{OTHER}/carded"]["losses"], abs=1e-4)
    events = map(json.loads, (root / "runs/new/history.jsonl").read_text().splitlines())
    assert [event["event"] for event in events] == ["import", "resume"]


def written_by_other_keras(state, folder):
    """A checkpoint whose dropout has its generator where the other Keras has it."""
    path = Path(manager_of(state, folder, identity={"data.shape": [4, 4]}).save())
    reader = tf.train.load_checkpoint(str(path))
    tensors = {key: reader.get_tensor(key) for key in reader.get_variable_to_shape_map()}
    card = read_card(path).to_json()
    here, there = (f'"path": "{GENERATORS[keras]}"' for keras in (KERAS_3, not KERAS_3))
    assert here in card
    tensors[CARD_KEY] = card.replace(here, there)
    for file in folder.glob("ckpt-*"):
        file.unlink()
    tf.raw_ops.SaveV2(
        prefix=str(path),
        tensor_names=list(tensors),
        shape_and_slices=[""] * len(tensors),
        tensors=list(tensors.values()),
    )
    return path


def test_the_generators_of_dropout_start_anew_and_that_is_said(root, tmp_path, capsys):
    state = small_state()
    train_a_little(state)
    data = tmp_path / "data.npz"
    np.savez(data, x=np.zeros((40, 4, 4)), y=np.arange(40) % 3)
    path = written_by_other_keras(state, tmp_path / "old")
    settings = ["--model.hidden", 5, 6, "--data.path", data, "--run", "new", "--root", root]
    assert run("import", path, *settings, "--json") == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["not_needed"][0] == GENERATORS[not KERAS_3]
    assert GENERATORS[KERAS_3] in plan["anew"]
    assert plan["differences"] == []


def test_another_setting_than_that_of_the_card_is_a_mismatch(root, capsys):
    settings = ["--model.dropout", 0.5, "--run", "new", "--root", root]
    assert run("import", FIXTURES / OTHER / "carded", *settings) == 3
    assert "rate 0.0 in the checkpoint, 0.5 in the model" in capsys.readouterr().err
    assert files_in(root) == {}


def test_a_run_with_checkpoints_is_refused(root, capsys):
    imported(root, f"{SAME}/carded")
    before = files_in(root)
    assert run("import", FIXTURES / SAME / "carded", "--run", "new", "--root", root) == 2
    assert "Run 'new' has checkpoints already" in capsys.readouterr().err
    assert files_in(root) == before
