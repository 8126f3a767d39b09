"""Refuses answers that no working project can be made from."""

import json
import keyword
import re
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path

# Safe with any text: tojson leaves no single quotation mark unescaped.
ANSWERS = json.loads(r'{{ cookiecutter | tojson }}')  # fmt: skip

# What the metadata of a package can hold: a dot-atom, an at sign and a domain.
ATOM = r"[a-z0-9!#$%&'*+/=?^_`|~-]+"
ADDRESS = re.compile(rf"{ATOM}(\.{ATOM})*@[\w-]+(\.[\w-]+)*", re.IGNORECASE)

TEXTS = ("project_name", "project_slug", "package_name", "description", "author_name")
LONGEST_SLUG = 60
LONGEST_PACKAGE = 40  # up to here no line of the generated code is longer than 100 columns

# What stands beside the package, or would be taken for it.
NEIGHBOURS = frozenset("__main__ conftest data docs evaluate runs test tests train".split())

# What the project installs, by itself or through TensorFlow and its tools.
NEEDED = frozenset(
    """
    absl astunparse certifi charset_normalizer clang contourpy cycler dateutil docstring_parser
    etils execnet filelock flatbuffers fonttools fsspec gast google grpc h5py hatchling idna
    importlib_resources iniconfig keras keras_nightly kiwisolver markdown markdown_it markupsafe
    matplotlib mdurl ml_dtypes mpl_toolkits mypy mypy_extensions mypyc namex numpy opt_einsum optree
    packaging pasta pathspec pillow pip pluggy pre_commit protobuf psutil pygments pylab pyparsing
    pytest pytest_xdist python_dateutil requests rich ruff setuptools six tensorboard
    tensorboard_data_server tensorflow tensorflow_cpu tensorflow_estimator
    tensorflow_io_gcs_filesystem termcolor tf_keras tox tox_uv typeguard typing_extensions tyro
    urllib3 uv virtualenv werkzeug wheel wrapt xdist yaml zipp
    """.split()
)

# The standard library of this Python, and what only another that the project supports has.
STANDARD = sys.stdlib_module_names | frozenset(
    """
    aifc annotationlib asynchat asyncore audioop cgi cgitb chunk compression crypt distutils imghdr
    imp lib2to3 mailcap msilib nis nntplib ossaudiodev pipes smtpd sndhdr spwd sunau telnetlib uu
    xdrlib
    """.split()
)


def find_faults(answers: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Finds what is wrong: the field, and the fault with the way out."""
    for field in TEXTS:
        if has_control_character(answers[field]):
            yield field, "has a control character, such as a line break. Give one line of text."
    for field, name in [
        ("project_name", answers["project_name"]),
        ("author_name", answers["__author_name"]),
    ]:
        if not name.strip():
            yield field, "is empty. Give a name."
    slug, package = answers["project_slug"], answers["package_name"]
    if fault := slug_fault(slug):
        yield "project_slug", fault
    if fault := package_fault(package):
        yield "package_name", fault
    address = answers["__author_email"]
    if address and not ADDRESS.fullmatch(address):
        yield "author_name", "has no e-mail address in it. Give Name <name@example.org>, or a name."


def has_control_character(text: str) -> bool:
    """Whether a text has characters that break a line or that no file can hold."""
    return any(unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in text)


def slug_fault(slug: str) -> str | None:
    """What is wrong with the name of the folder and the distribution, if anything."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", slug):
        return (
            "is not a folder name of the form my-experiment. "
            "Use lower-case letters, digits and single dashes, and start with a letter."
        )
    if len(slug) > LONGEST_SLUG:
        return f"has {len(slug)} characters. Use at most {LONGEST_SLUG}."
    if slug.replace("-", "_") in NEEDED:
        return (
            "is the name of a distribution that the project needs. "
            f"Choose another, such as my-{slug}."
        )
    return None


def package_fault(package: str) -> str | None:
    """What is wrong with the name of the package, if anything."""
    if not re.fullmatch(r"[a-z_][a-z0-9_]*", package):
        return (
            "is not a package name of the form my_experiment. "
            "Use lower-case letters, digits and underscores, and do not start with a digit."
        )
    if len(package) > LONGEST_PACKAGE:
        return f"has {len(package)} characters. Use at most {LONGEST_PACKAGE}."
    owner = (
        "a keyword of Python"
        if keyword.iskeyword(package) or keyword.issoftkeyword(package)
        else "a module of Python's standard library"
        if package in STANDARD
        else "a module that the project needs"
        if package in NEEDED
        else "a file or folder of the project"
        if package in NEIGHBOURS
        else None
    )
    return f"is the name of {owner}. Choose another, such as {package}_project." if owner else None


def remove_folders(project: Path, output: Path) -> None:
    """Removes the empty folders that a name with slashes has made inside the output folder.

    cookiecutter itself would remove only the innermost one.
    """
    between = [folder for folder in project.parents if output in folder.parents]
    if between and all(len(list(folder.iterdir())) == 1 for folder in between):
        for folder in [project, *between]:
            folder.rmdir()


def git(project: Path, *arguments: str) -> str | None:
    """What git has printed; None where it is missing or has failed."""
    try:
        process = subprocess.run(
            ["git", *arguments], cwd=project, capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return process.stdout if process.returncode == 0 else None


def start_repository(project: Path) -> None:
    """Makes a new project a git repository.

    Not a folder that has something in it already, nor one inside a repository, nor where git is
    missing.
    """
    if not any(project.iterdir()) and git(project, "rev-parse", "--git-dir") is None:
        git(project, "-c", "init.defaultBranch=main", "init", "--quiet")


def main() -> None:
    """Ends with exit code 1 and a message if an answer is not possible."""
    for field, fault in find_faults(ANSWERS):
        remove_folders(Path.cwd(), Path(ANSWERS.get("_output_dir", ".")).resolve())
        sys.exit(f"{field} {ANSWERS[field]!r} {fault}")
    if "_commit" not in ANSWERS:  # cruft compares what is made, and does not want a repository
        start_repository(Path.cwd())


if __name__ == "__main__":
    main()
