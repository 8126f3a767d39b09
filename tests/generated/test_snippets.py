"""Every piece of code in the README's "Making it yours" does what is said of it."""

import re
from pathlib import Path

import pytest

BLOCK = re.compile(r"```(python|diff)\n# (\S+)\n(.*?)```", re.DOTALL)


def write_snippets(project: Path) -> list[str]:
    """Does to a project what the README shows, and returns the names of the files."""
    written = []
    readme = (project / "README.md").read_text(encoding="utf-8")
    yours = readme.partition("## Making it yours")[2].partition("\n## ")[0]
    for kind, name, body in BLOCK.findall(yours):
        file = project / name
        if kind == "python":
            file.write_text(body.lstrip("\n"), encoding="utf-8")
        else:
            text = file.read_text(encoding="utf-8")
            for part in body.split("…\n"):
                old, new = (changed(part, sign) for sign in "-+")
                assert text.count(old) == 1, old
                text = text.replace(old, new)
            file.write_text(text, encoding="utf-8")
        written.append(name)
    return written


def changed(part: str, sign: str) -> str:
    """The lines of a change with this sign."""
    lines = [line for line in part.splitlines(keepends=True) if line.startswith(sign)]
    return "".join(line[1:] for line in lines)


@pytest.mark.long
def test_they_train_and_pass_the_projects_tests(copy: Path, run):
    written = write_snippets(copy)

    assert len(written) == 11
    run("-m", "ruff", "check", "--no-cache")
    run("-m", "ruff", "format", "--no-cache", "--check")
    for settings in (
        ["--model.name", "wide", "--model.rate", 0.25],
        ["--data.name", "spirals"],
        ["--task.name", "regression", "--data.name", "spirals"],
    ):
        output = run("train.py", "--run", settings[1], "--epochs", 2, *settings).stdout
        assert "epoch 2." in output
    assert "val_error" in run("evaluate.py", "--run", "regression", "--at", "best").stdout
    for name in ("wide", "regression", "spirals"):  # test_fine_tuning.py has the other one
        tested = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests", "-k", name).stdout
        assert "4 passed" in tested
