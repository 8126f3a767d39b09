"""The two zones of a project: whose is what, how large each is, and what one knows of the other."""

import ast
from pathlib import Path

import pytest
from bake import TEMPLATE
from bake import bake as bake_project

PROJECT = TEMPLATE / "{{cookiecutter.project_slug}}"
DURABLE = PROJECT / "{{cookiecutter.package_name}}" / "durable"
TOP_LEVEL = {"train.py", "evaluate.py"}
MOST_LINES = 300


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project to look at."""
    return bake_project(tmp_path_factory.mktemp("baked"))


def users_files(project: Path) -> list[Path]:
    """The Python files that are the user's to edit, without their tests."""
    package = project / "my_experiment"
    own = [path for path in package.rglob("*.py") if "durable" not in path.parts]
    return [*(project / name for name in sorted(TOP_LEVEL)), *sorted(own)]


def lines_of(path: Path) -> int:
    """How many lines a file has."""
    return len(path.read_text(encoding="utf-8").splitlines())


def names_imported(source: str) -> list[tuple[str, str]]:
    """What a source imports by `from`, inside functions too: (module with its dots, name)."""
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)]
    return [("." * node.level + (node.module or ""), a.name) for node in nodes for a in node.names]


def public_names() -> set[str]:
    """The names that `durable` exports."""
    stub = ast.parse((DURABLE / "__init__.pyi").read_text(encoding="utf-8"))
    nodes = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    return {alias.asname or "" for node in nodes for alias in node.names}


def private_imports(source: str) -> list[tuple[str, str]]:
    """What a source takes from `durable` that is not public."""
    taken = [found for found in names_imported(source) if "durable" in found[0].split(".")]
    return [
        (module, name)
        for module, name in taken
        if not module.endswith("durable") or name not in public_names()
    ]


def test_the_users_zone_can_be_read_in_an_evening(project: Path):
    sizes = {path.relative_to(project).as_posix(): lines_of(path) for path in users_files(project)}

    assert len(sizes) <= 22, sizes
    assert sum(sizes.values()) <= 1300, sizes
    assert max(sizes.values()) <= MOST_LINES, sizes


def test_the_templates_zone_has_few_rooms():
    sizes = {
        path.relative_to(DURABLE).as_posix(): lines_of(path)
        for path in DURABLE.rglob("*.py")
        if "tests" not in path.parts
    }

    assert len([name for name in sizes if not name.endswith("__init__.py")]) <= 90, sizes
    assert max(sizes.values()) <= MOST_LINES, sizes


def test_the_users_zone_takes_public_names_alone(project: Path):
    for path in users_files(project):
        assert private_imports(path.read_text(encoding="utf-8")) == [], path


@pytest.mark.parametrize(
    "source",
    [
        "from .durable.run.state import TrainState",
        "from ..durable.compat import keras",
        "from .durable import KERAS_3",
        "def f():\n    from my_experiment.durable.files import absolute",
    ],
)
def test_a_name_that_is_not_public_would_be_found(source: str):
    assert len(private_imports(source)) == 1


def test_no_public_name_hides_a_folder():
    """Python would give the folder once it was imported, and the name before."""
    folders = {path.name for path in DURABLE.iterdir() if path.is_dir()}

    assert not folders & public_names()


def test_each_public_name_is_where_the_stub_says():
    for node in ast.parse((DURABLE / "__init__.pyi").read_text(encoding="utf-8")).body:
        assert isinstance(node, ast.ImportFrom)
        module = DURABLE.joinpath(*str(node.module).split(".")).with_suffix(".py")
        tree = ast.parse(module.read_text(encoding="utf-8"))
        defined = {getattr(inner, "name", None) for inner in tree.body}
        targets = [inner for inner in tree.body if isinstance(inner, ast.Assign | ast.AnnAssign)]
        defined |= {
            ast.unparse(getattr(inner, "target", None) or inner.targets[0]) for inner in targets
        }
        assert {alias.name for alias in node.names} <= defined, module
