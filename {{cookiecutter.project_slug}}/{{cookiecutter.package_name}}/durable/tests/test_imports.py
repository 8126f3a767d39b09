"""Imports run one way: each folder imports only those below it, and nothing of the user's zone."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DURABLE = Path(__file__).resolve().parent.parent
LAYERS = (
    {"errors"},
    {"remote"},
    {"files", "compat", "quiet"},
    {"untrusted"},
    {"checkpoint"},
    {"data"},
    {"run"},
    {"convert", "evaluation"},
    {"report"},
    {"cli"},
    {"__init__"},
)
LEVELS = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}
OUTSIDE = "outside"

MODULES = [
    path.relative_to(DURABLE)
    for pattern in ("*.py", "*.pyi")
    for path in sorted(DURABLE.rglob(pattern))
    if "tests" not in path.parts[len(DURABLE.parts) :]
]


def rooms_imported(source, folder):
    """The folders or modules of `durable` from which a source in `folder` imports, by name.

    Imports inside functions and calls of `import_module` count too. What lies above `durable` is
    `OUTSIDE`.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            names = [[*(node.module or "").split("."), alias.name] for alias in node.names]
            yield from (room_of(node.level, parts, folder) for parts in names)
        elif isinstance(node, ast.Call) and "import_module" in ast.unparse(node.func):
            name = ast.unparse(node.args[0]).lstrip("f").strip("'")
            level = len(name) - len(name.lstrip("."))
            yield room_of(level, name.lstrip(".").split("."), folder)


def room_of(level, parts, folder):
    """Where an import leads; None for another package."""
    if level == 0:
        return None
    if level > len(folder) + 1:
        return OUTSIDE
    return [*folder[: len(folder) + 1 - level], *filter(None, parts)][0]


def forbidden(source, module):
    """The rooms from which a module of `durable` imports though they are not below its own."""
    own = Path(module.parts[0]).stem
    imported = rooms_imported(source, module.parts[:-1])
    others = {room for room in imported if room not in (None, own)}
    return {room for room in others if LEVELS.get(room, len(LAYERS)) >= LEVELS[own]}


@pytest.mark.parametrize("module", MODULES, ids=Path.as_posix)
def test_imports_run_one_way(module):
    assert forbidden((DURABLE / module).read_text(encoding="utf-8"), module) == set()


@pytest.mark.parametrize(
    ("module", "source", "found"),
    [
        ("run/start.py", "from ..checkpoint import card", set()),
        ("run/start.py", "from .. import convert", {"convert"}),
        ("run/start.py", "def f():\n    from ..cli.main import run_command", {"cli"}),
        ("convert/plan.py", "from ..evaluation import scoring", {"evaluation"}),
        ("cli/list.py", "from ...config import Config", {OUTSIDE}),
        ("cli/list.py", "import_module('...config', __package__)", {OUTSIDE}),
        ("errors.py", "from . import files", {"files"}),
        ("files.py", "from . import quiet", {"quiet"}),
        ("errors.py", "from .. import config", {OUTSIDE}),
    ],
)
def test_an_import_that_runs_the_other_way_would_be_found(module, source, found):
    assert forbidden(source, Path(module)) == found


def test_it_works_without_a_users_zone(tmp_path):
    """Everything is imported in another package, which has nothing else."""
    package = tmp_path / "elsewhere"
    shutil.copytree(DURABLE, package / "durable", ignore=shutil.ignore_patterns("tests"))
    (package / "__init__.py").touch()
    names = [
        ".".join(("elsewhere", "durable", *module.with_suffix("").parts)).removesuffix(".__init__")
        for module in MODULES
        if module.suffix == ".py"
    ]
    program = f"import importlib\nfor name in {names!r}:\n    importlib.import_module(name)"

    process = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert process.returncode == 0, process.stderr
