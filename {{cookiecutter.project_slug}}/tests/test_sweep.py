"""The tuning example: what `make sweep` runs."""

import shlex

import train
from {{ cookiecutter.package_name }}.checkpoints import read_card
from {{ cookiecutter.package_name }}.report import __main__ as report

from .helpers import PROJECT, run_main

MAINS = {("train.py",): train.main, ("-m", report.__package__): report.main}


def commands():
    """The commands of the target, without the interpreter."""
    _, _, rest = (PROJECT / "Makefile").read_text().partition("\nsweep:")
    _, *lines = rest.partition("\n\n")[0].splitlines()
    return [shlex.split(line)[1:] for line in lines]


def run_all(root):
    for command in commands():
        script = next(script for script in MAINS if tuple(command[: len(script)]) == script)
        arguments = [*command[len(script) :], "--root", root]
        if script == ("train.py",):
            arguments += ["--model.hidden", 8]
        if "--fork-from" in arguments:
            arguments[arguments.index("--epochs") + 1] = 6
        assert run_main(MAINS[script], *arguments) == 0


def test_the_sweep_can_be_run_again(root, capsys):
    run_all(root)
    rates = {}
    for name in ("rate-0.003", "rate-0.001", "rate-0.0003"):
        card = read_card(root / f"runs/{name}/checkpoints/ckpt-264")
        assert str(card.origin) == "fork of trunk@220"
        rates[name] = card.settings["optimizer"]["learning_rate"]
    assert rates == {"rate-0.003": 0.003, "rate-0.001": 0.001, "rate-0.0003": 0.0003}
    picture = root / "runs/report-trunk-rate-0.003-rate-0.001-rate-0.0003.png"
    assert picture.exists()
    capsys.readouterr()

    run_all(root)
    assert capsys.readouterr().out.count("is complete") == 4
