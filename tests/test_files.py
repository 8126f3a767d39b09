"""Every combination of choices gives the files that it should, all of them whole."""

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import yaml
from bake import TEMPLATE

OPTIONAL = {
    "github": {".github/dependabot.yml", ".github/workflows/ci.yml"},
    "docker": {
        ".devcontainer.json",
        ".dockerignore",
        "Dockerfile",
        "docs/kubernetes-workers.yaml",
        "docs/kubernetes.yaml",
    },
    "classification": {
        "data/README.md",
        "data/digits.npz",
        "my_experiment/data/digits.py",
        "my_experiment/data/labeled.py",
        "my_experiment/data/mnist.py",
        "my_experiment/models/cnn.py",
        "my_experiment/models/mlp.py",
        "my_experiment/tasks/classification.py",
    },
    "segmentation": {
        "data/README.md",
        "data/digits.npz",
        "my_experiment/data/scenes.py",
        "my_experiment/models/unet.py",
        "my_experiment/tasks/segmentation.py",
    },
    "forecasting": {
        "data/README.md",
        "data/weather.csv",
        "my_experiment/data/series.py",
        "my_experiment/data/weather.py",
        "my_experiment/models/linear.py",
        "my_experiment/models/recurrent.py",
        "my_experiment/tasks/forecasting.py",
    },
}
# What one starter is about, and no project of another one speaks of.
WORDS = {
    "classification": r"classification|mlp|cnn|mnist|confusion",
    "segmentation": r"segment|u-?net|scenes?\b|\biou\b",
    "forecasting": r"forecast|weather|recurrent|series\b|season|horizon",
}
DURABLE = "my_experiment/durable/"  # copied as it is
MINIMUM = {
    ".editorconfig",
    ".gitattributes",
    ".gitignore",
    ".pre-commit-config.yaml",
    "LICENSE",
    "Makefile",
    "README.md",
    "data/README.md",
    "evaluate.py",
    "my_experiment/__init__.py",
    "my_experiment/durable/checkpoint/manager.py",
    "my_experiment/models/__init__.py",
    "pyproject.toml",
    "tox.ini",
    "train.py",
}


def files_below(folder: Path) -> set[str]:
    """The paths of all files below a folder, relative to it."""
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    left_out = re.compile(r"\.git/|(.*/)?(__pycache__|\.\w+_cache)/")  # what tools leave
    return {name for name in names if not left_out.match(name)}


def expected_files(answers: dict[str, str]) -> set[str]:
    """What the template folder holds, under the names that it should get."""
    names = files_below(TEMPLATE / "{{cookiecutter.project_slug}}")
    optional = {name for name in names if "{% if" in name}
    assert {rendered(name) for name in optional} == set().union(*OPTIONAL.values())
    files = {rendered(name) for name in names - optional}
    return files.union(*(OPTIONAL.get(answer, set()) for answer in answers.values()))


def rendered(name: str) -> str:
    """The path that a file of the template gets where it is wanted."""
    bare = re.sub(r"\{%.*?%\}", "", name)
    return bare.replace("{{cookiecutter.package_name}}", "my_experiment")


def texts_of(project: Path) -> dict[str, str]:
    """The texts of all files that are rendered, by path."""
    return {
        name: (project / name).read_bytes().decode()
        for name in files_below(project)
        if not name.endswith(".npz") and not name.startswith(DURABLE)
    }


def test_every_combination_gives_its_files(baked: Path, answers: dict[str, str]):
    files = files_below(baked)
    assert files == expected_files(answers)
    assert files >= MINIMUM
    folders = {path.relative_to(baked) for path in baked.rglob("*") if path.is_dir()}
    used = {parent for name in files for parent in Path(name).parents}
    assert {folder for folder in folders if folder.parts[0] != ".git"} <= used


def test_nothing_of_the_template_is_left(baked: Path):
    for name, text in texts_of(baked).items():
        assert not re.search(r"(?<!\$)\{\{|\{%|\{#|cookiecutter|Jinja", f"{name}\n{text}"), name
        assert "\r" not in text, name
        assert not text or text.endswith("\n"), name
        assert not text.endswith("\n\n"), name


def test_a_starter_holds_nothing_of_the_others(baked: Path, answers: dict[str, str]):
    others = [words for starter, words in WORDS.items() if starter != answers["starter"]]
    for name, text in texts_of(baked).items():
        if name not in ("LICENSE", "data/weather.csv"):
            assert not re.search("|".join(others), f"{name}\n{text}", re.IGNORECASE), name


def test_the_templates_zone_is_the_same_in_every_project(baked: Path):
    durable = (
        TEMPLATE / "{{cookiecutter.project_slug}}" / "{{cookiecutter.package_name}}" / "durable"
    )
    names = files_below(durable)

    assert len(names) > 100
    assert files_below(baked / DURABLE) == names
    for name in names:
        assert (baked / DURABLE / name).read_bytes() == (durable / name).read_bytes(), name


def test_the_fixtures_are_small():
    fixtures = TEMPLATE.glob("*/*/durable/tests/fixtures/**/*")
    sizes = [path.stat().st_size for path in fixtures if path.is_file()]

    assert len(sizes) > 20
    assert sum(sizes) < 330_000


def test_every_file_can_be_read(baked: Path):
    texts = texts_of(baked)

    readers = {
        "json": json.loads,
        "py": lambda text: compile(text, "file", "exec"),
        "toml": tomllib.loads,
        "yaml": lambda text: list(yaml.safe_load_all(text)),
        "yml": yaml.safe_load,
    }
    read = [name for name in texts if name.rpartition(".")[2] in readers]
    for name in read:
        readers[name.rpartition(".")[2]](texts[name])
    assert {"pyproject.toml", ".pre-commit-config.yaml", "train.py"} <= set(read)


def test_the_chosen_tensorflow_is_installed_and_tested(bake: Callable[..., Path]):
    project = bake(tensorflow="tensorflow[and-cuda]")

    settings = tomllib.loads((project / "pyproject.toml").read_text())
    assert settings["project"]["dependencies"][0].startswith("tensorflow[and-cuda]>=2.15,<")
    assert "tf215: tensorflow~=2.15.0" in (project / "tox.ini").read_text()
