"""A project takes a newer template and keeps what its user has changed."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from repositories import commit, copy_template, edit, environment_of, git

PROJECT = "{{cookiecutter.project_slug}}"
PACKAGE = f"{PROJECT}/{{{{cookiecutter.package_name}}}}"
WIDE = '"""A model of the user."""\n\nfrom . import mlp\n\nbuild = mlp.build\n'

Cruft = Callable[..., None]


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """A repository of the template."""
    return copy_template(tmp_path / "template")


@pytest.fixture
def cruft(tmp_path: Path) -> Cruft:
    """Runs cruft in a folder: cruft(folder, "update")."""

    def run(folder: Path, *arguments: str) -> None:
        process = subprocess.run(
            ["cruft", *arguments],
            cwd=folder,
            env=environment_of(tmp_path / "home"),
            capture_output=True,
            text=True,
            check=False,
        )
        assert process.returncode == 0, process.stdout + process.stderr

    return run


@pytest.fixture
def project(template: Path, cruft: Cruft, tmp_path: Path) -> Path:
    """A project that cruft has made and its user has changed."""
    answers = ["--extra-context", '{"tensorflow": "tensorflow-cpu"}']
    cruft(tmp_path, "create", str(template), "--no-input", *answers)
    project = tmp_path / "my-experiment"
    assert not (project / ".git").exists()
    commit(project)
    change_as_user(project)
    return project


def change_as_user(project: Path) -> None:
    """Adds a model and changes a default, as a user would."""
    models = project / "my_experiment" / "models"
    (models / "wide.py").write_text(WIDE, encoding="utf-8")
    edit(models / "__init__.py", "import cnn, mlp\n", "import cnn, mlp, wide\n")
    edit(
        models / "__init__.py",
        '    "mlp": mlp.build,\n',
        '    "mlp": mlp.build,\n    "wide": wide.build,\n',
    )
    edit(project / "my_experiment" / "config.py", "epochs: int = 30\n", "epochs: int = 3\n")
    commit(project)


def change_template(template: Path) -> None:
    """Changes a file that the user has changed too, one that he has not, and adds one."""
    edit(template / PACKAGE / "config.py", "dropout: float = 0.3\n", "dropout: float = 0.4\n")
    edit(template / PROJECT / ".gitignore", "/dist/\n", "/dist/\n/new/\n")
    (template / PACKAGE / "new.py").write_text('"""New."""\n', encoding="utf-8")
    commit(template)


def assert_has_both(project: Path) -> None:
    """Checks that the changes of the template are there, and nothing of the user's is gone."""
    package = project / "my_experiment"
    config = (package / "config.py").read_text(encoding="utf-8")
    assert "epochs: int = 3\n" in config
    assert "dropout: float = 0.4\n" in config
    assert (package / "models" / "wide.py").read_text(encoding="utf-8").startswith(WIDE)
    assert "wide.build" in (package / "models" / "__init__.py").read_text(encoding="utf-8")
    assert "/new/\n" in (project / ".gitignore").read_text(encoding="utf-8")
    assert (package / "new.py").is_file()
    assert not list(project.rglob("*.rej"))
    assert git(project, "diff", "--diff-filter=U", "--name-only") == ""
    for command in (["ruff", "check", "--no-cache"], ["mypy"]):
        process = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
        assert process.returncode == 0, process.stdout


def test_an_update_keeps_the_users_changes(template: Path, project: Path, cruft: Cruft):
    change_template(template)

    cruft(project, "update", "--skip-apply-ask")

    assert_has_both(project)
    commit(project)
    cruft(project, "check")


def test_a_project_without_cruft_can_be_linked(
    template: Path, cruft: Cruft, bake: Callable[..., Path]
):
    project = bake(tensorflow="tensorflow-cpu")
    commit(project)
    change_as_user(project)
    cruft(project, "link", str(template), "--no-input")
    commit(project)
    change_template(template)

    cruft(project, "update", "--skip-apply-ask")

    assert_has_both(project)


def test_an_update_without_changes_does_nothing(template: Path, project: Path, cruft: Cruft):
    (template / "README.md").touch()
    commit(template)

    cruft(project, "update", "--skip-apply-ask")

    assert git(project, "status", "--porcelain").split() == ["M", ".cruft.json"]


def users_files(project: Path) -> list[Path]:
    """Every text of the project that is the user's to edit, its tests included."""
    names = git(project, "ls-files").splitlines()
    own = [project / name for name in names if "/durable/" not in name]
    return [path for path in own if path.suffix != ".npz" and path.name != ".cruft.json"]


def edit_everything(project: Path) -> None:
    """Adds a line to every file of the user's zone."""
    for path in users_files(project):
        comment = "<!-- Mine. -->" if path.suffix == ".md" else "# Mine."
        text = path.read_text(encoding="utf-8")
        path.write_text(f"{text}{comment}\n", encoding="utf-8", newline="\n")
    commit(project)


def change_durable(template: Path) -> None:
    """Changes every file of the template's zone, adds one, moves one and removes one."""
    durable = template / PACKAGE / "durable"
    for path in durable.rglob("*.py"):
        with path.open("a", encoding="utf-8", newline="\n") as file:
            file.write("# A newer edition.\n")
    (durable / "run" / "newer.py").write_text('"""New."""\n', encoding="utf-8")
    (durable / "tests" / "test_paths.py").rename(durable / "tests" / "test_places.py")
    (durable / "tests" / "test_cadence.py").unlink()
    fixture = next(durable.glob("tests/fixtures/tf*/*.data-*"))
    fixture.write_bytes(fixture.read_bytes()[::-1])
    commit(template)


def test_a_new_edition_of_the_templates_zone_never_conflicts(
    template: Path, project: Path, cruft: Cruft
):
    edit_everything(project)
    change_template(template)
    change_durable(template)

    cruft(project, "update", "--skip-apply-ask")

    assert not list(project.rglob("*.rej"))
    assert git(project, "diff", "--diff-filter=U", "--name-only") == ""
    durable, newer = project / "my_experiment" / "durable", template / PACKAGE / "durable"
    files = {path.relative_to(newer) for path in newer.rglob("*") if path.is_file()}
    assert {path.relative_to(durable) for path in durable.rglob("*") if path.is_file()} == files
    for name in files:
        assert (durable / name).read_bytes() == (newer / name).read_bytes(), name
    for path in users_files(project):
        if path.name != "new.py":
            assert "Mine." in path.read_text(encoding="utf-8"), path
    assert_has_both(project)
    assert_works(project)


def test_a_users_zone_can_be_left_out_of_updates(template: Path, project: Path, cruft: Cruft):
    settings = project / ".cruft.json"
    skipped = ["my_experiment/config.py", "README.md"]
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"skip": skipped}))
    commit(project)
    before = (project / "my_experiment" / "config.py").read_bytes()
    change_template(template)
    change_durable(template)

    cruft(project, "update", "--skip-apply-ask")

    assert (project / "my_experiment" / "config.py").read_bytes() == before
    assert (project / "my_experiment" / "durable" / "run" / "newer.py").is_file()
    assert "/new/\n" in (project / ".gitignore").read_text(encoding="utf-8")


def assert_works(project: Path) -> None:
    """Installs a project, runs the quick tests of its user's zone, and trains the user's model."""
    quick = ["tests/test_save.py", "tests/test_mismatch.py"]
    python = str(project / ".venv" / ("Scripts" if os.name == "nt" else "bin") / "python")
    uv = [sys.executable, "-m", "uv"]
    install = [*uv, "pip", "install", "--quiet", "--python", ".venv", "--editable", "."]
    for command in (
        [*uv, "venv", "--quiet", "--python", sys.executable, ".venv"],
        [*install, "--group", "dev"],
        [python, "-m", "pytest", "--quiet", "-n", "2", *quick],
        [python, "train.py", "--model.name", "wide"],
    ):
        process = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
        assert process.returncode == 0, process.stdout + process.stderr
    assert "Run 'default' is complete: step 132, epoch 3." in process.stdout
