"""Any answer either reads back as it was typed or is refused by name, with nothing left behind."""

import itertools
import keyword
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from answers import QUESTIONS
from bake import TEMPLATE
from cookiecutter.exceptions import FailedHookException

KEPT = [
    '"double" quotes',
    "it's a 'single' one",
    '"""',
    "'''",
    "back\\slash",
    "ends with \\",
    "\\n \\t \\u0041 \\",
    "{x}",
    "}} %} {",
    "# hash",
    "100 % %s %(x)s",
    "${HOME} $(id) `id`",
    "</script><b>&amp;",
    "key: value",
    "- dash",
    "--leading",
    "[list] *star &anchor !tag @at ~",
    "../x",
    "null",
    "Ünïcödé 日本語 עברית",
    "🚀👩‍🔬",
    "'); raise SystemExit('",
    "very long " * 500 + "!",
]
TEXT_FIELDS = ("project_name", "description", "author_name")

CONTROLS = ["two\nlines", "a\vtab", "a\ttab", "\x7f", "\x1b[31m", "\u2028"]
SURROGATE = "\udc80"  # no file can hold it

SLUGS = ["My-Net", "my_net", "-net", "net-", "my--net", "3d", "naïve", "a b", ".", "x.y", "a" * 61]
PATHS = ["../x", "a/b/c", "..\\x"]
PACKAGES = [
    *["", "My_Net", "my-net", "3d", "naïve", "a b", "a.b", "../x", "-x", "a" * 41],
    *["class", "match", "_", "os", "json", "distutils", "compression"],
    *["tensorflow", "keras", "tf_keras", "numpy", "tyro", "rich", "filelock", "etils"],
    *["tensorboard", "pytest", "tests", "test", "train", "evaluate", "data", "runs", "__main__"],
]
ADDRESSES = ["ada", "ada@", "@x", "a b@c", "a@b c", "<a@b>", "a@b@c", "a@b,c@d", '"a"@b\\']


@pytest.fixture
def refused(
    bake: Callable[..., Path], capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[[str, str, str], None]:
    """Checks that an answer is refused by name, for a reason, and that nothing is left behind."""

    def check(field: str, answer: str, reason: str) -> None:
        # cookiecutter cannot find what the hook has removed already: folders within folders.
        with pytest.raises((FailedHookException, FileNotFoundError)):
            bake(**{field: answer})
        message = capfd.readouterr().err
        assert message.startswith(f"{field} {answer!r} ")
        assert reason in message
        assert message.count("\n") == 1
        assert not [path for path in tmp_path.rglob("*") if path.parent != tmp_path]

    return check


@pytest.mark.parametrize("text", KEPT, ids=range(len(KEPT)))
def test_text_reads_back_as_typed(bake: Callable[..., Path], text: str):
    project = bake(**dict.fromkeys(TEXT_FIELDS, text), project_slug="net", package_name="net")

    metadata = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert metadata["name"] == "net"
    assert metadata["description"] == text
    assert metadata["authors"] == [{"name": text}]
    assert text in (project / "LICENSE").read_text(encoding="utf-8")
    assert text in (project / "README.md").read_text(encoding="utf-8")
    for file in project.rglob("*.py"):
        compile(file.read_bytes(), str(file), "exec")


def test_an_address_reads_back_as_typed(bake: Callable[..., Path]):
    address = "ada.o'hara+net@mail.example.org"
    project = bake(author_name=f'Ada "A" <3 \\ <{address}>')

    metadata = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert metadata["authors"] == [{"name": 'Ada "A" <3 \\', "email": address}]
    licence = (project / "LICENSE").read_text(encoding="utf-8")
    assert 'Ada "A" <3 \\\n' in licence


@pytest.mark.parametrize(
    ("project_name", "slug", "package"),
    [
        ('It\'s "My" Net\\', "it-s-my-net", "it_s_my_net"),
        ("Größe {x} %", "grosse-x", "grosse_x"),
        ("🚀", "my-experiment", "my_experiment"),
        ("../x", "x", "x"),
        ("w" * 99, "w" * 60, "w" * 40),
        ("3D vision", "my-3d-vision", "my_3d_vision"),
        ("42", "my-42", "my_42"),
        ("7" * 99, "my-" + "7" * 57, "my_" + "7" * 37),
        ("TensorFlow", "tensorflow-project", "tensorflow_project"),
        ("tf keras!", "tf-keras-project", "tf_keras_project"),
        ("Class", "class-project", "class_project"),
        ("Queue", "queue-project", "queue_project"),
        ("Tests", "tests-project", "tests_project"),
    ],
)
def test_names_are_derived(bake: Callable[..., Path], project_name: str, slug: str, package: str):
    project = bake(project_name=project_name)

    assert project.name == slug
    assert (project / package / "__init__.py").is_file()


def test_a_package_is_derived_from_a_slug_that_is_given(bake: Callable[..., Path]):
    project = bake(project_slug="queue")

    assert (project / "queue_project" / "__init__.py").is_file()


def test_names_are_derived_around_all_that_the_hook_refuses():
    source = (TEMPLATE / "hooks" / "pre_gen_project.py").read_text(encoding="utf-8")
    hook: dict[str, Any] = {"__name__": "hook"}
    exec(source.replace("{{ cookiecutter | tojson }}", "{}"), hook)  # noqa: S102
    known = {*keyword.kwlist, *keyword.softkwlist, *hook["STANDARD"], *hook["NEEDED"]}
    derived = re.compile(r"[a-z][a-z0-9_]*")
    refused = set(filter(derived.fullmatch, known | hook["NEIGHBOURS"]))
    assert set(QUESTIONS["_reserved"].split()) >= refused


def test_what_is_derived_can_be_given(bake: Callable[..., Path]):
    answers = {"project_name": "Net", "project_slug": "folder", "package_name": "module"}
    project = bake(**answers, author_name="Ada")

    assert project.name == "folder"
    assert (project / "module" / "__init__.py").is_file()
    metadata = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert metadata["name"] == "folder"
    assert metadata["authors"] == [{"name": "Ada"}]


@pytest.mark.parametrize("field", [*TEXT_FIELDS, "project_slug", "package_name"])
@pytest.mark.parametrize("answer", [*CONTROLS, SURROGATE], ids=ascii)
def test_control_characters_are_refused(refused: Callable[..., None], field: str, answer: str):
    refused(field, answer, "control character")


@pytest.mark.parametrize(
    ("field", "answer"),
    [
        *itertools.product(["project_name", "author_name"], ["", "  "]),
        ("author_name", "  <ada@example.org>"),
    ],
)
def test_names_are_required(refused: Callable[..., None], field: str, answer: str):
    refused(field, answer, "is empty")


@pytest.mark.parametrize("answer", [*SLUGS, *PATHS])
def test_slugs_are_one_plain_folder_name(refused: Callable[..., None], answer: str):
    refused("project_slug", answer, "Use ")


@pytest.mark.parametrize("answer", ["tensorflow", "tf-keras", "numpy"])
def test_slugs_are_no_dependencies(refused: Callable[..., None], answer: str):
    refused("project_slug", answer, f"Choose another, such as my-{answer}.")


@pytest.mark.parametrize("answer", PACKAGES)
def test_packages_can_be_imported(refused: Callable[..., None], answer: str):
    refused("package_name", answer, "")


@pytest.mark.parametrize("answer", ADDRESSES)
def test_addresses_are_addresses(refused: Callable[..., None], answer: str):
    refused("author_name", f"Ada <{answer}>", "no e-mail address")
