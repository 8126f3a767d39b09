"""What runs the project in containers: checked by linters and schemas, since it cannot run here."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

DISTRIBUTIONS = ["tensorflow", "tensorflow[and-cuda]"]
KUBERNETES = ["1.31", "1.37"]


@pytest.fixture(params=DISTRIBUTIONS)
def project(request: pytest.FixtureRequest, bake: Callable[..., Path]) -> Path:
    """A project with and without a GPU."""
    return bake(tensorflow=request.param)


def instructions_of(project: Path) -> list[tuple[str, str]]:
    """The instructions of the Dockerfile and what they are given, in order."""
    text = (project / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", "")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(instruction, rest) for instruction, _, rest in (line.partition(" ") for line in lines)]


def manifests_of(project: Path) -> dict[str, dict]:
    """The Kubernetes manifests, by kind."""
    text = (project / "docs" / "kubernetes.yaml").read_text(encoding="utf-8")
    return {manifest["kind"]: manifest for manifest in yaml.safe_load_all(text)}


def lint(project: Path) -> None:
    """Checks the Dockerfile."""
    if shutil.which("hadolint") is None:
        pytest.skip("there is no hadolint for this machine")
    command = ["hadolint", "--failure-threshold", "style", "Dockerfile"]
    process = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout


def test_the_dockerfile_has_no_fault(project: Path):
    lint(project)


def test_a_fault_in_the_dockerfile_would_be_found(project: Path):
    file = project / "Dockerfile"
    file.write_text(file.read_text().replace("FROM python:3.13-slim", "FROM python"))

    with pytest.raises(AssertionError, match="DL3006"):
        lint(project)


def test_tensorflow_is_installed_before_the_code_is_copied(project: Path):
    steps = instructions_of(project)

    copied = steps.index(("COPY", "pyproject.toml ./"))
    assert steps[copied + 1][0] == "RUN"
    assert "uv pip install --system --no-cache --requirement pyproject.toml" in steps[copied + 1][1]
    assert steps[copied + 2] == ("COPY", "--chown=trainer . .")


def test_the_trainer_is_not_root_and_gets_the_signals(project: Path):
    steps = dict(instructions_of(project))

    assert steps["USER"] == "1000"
    assert json.loads(steps["ENTRYPOINT"]) == ["python"]  # a list: no shell in between
    assert json.loads(steps["CMD"]) == ["train.py"]


def test_runs_are_kept_in_a_volume(project: Path):
    steps = dict(instructions_of(project))

    paths = (project / "my_experiment" / "paths.py").read_text(encoding="utf-8")
    root = re.search(r'ROOT_VARIABLE = "(\w+)"', paths)[1]
    assert f"{root}=/storage" in steps["ENV"].split()
    assert steps["VOLUME"] == "/storage/runs"
    ignored = (project / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert {"runs", ".venv", ".git"} <= set(ignored)
    assert not {"data", "tests", "pyproject.toml"} & set(ignored)


@pytest.mark.parametrize("version", KUBERNETES)
def test_the_manifests_follow_the_schema(project: Path, version: str):
    manifests = manifests_of(project)

    assert list(manifests) == ["PersistentVolumeClaim", "Job"]
    for manifest in manifests.values():
        kubernetes_validate.validate(manifest, version, strict=True)


def test_a_fault_in_a_manifest_would_be_found(project: Path):
    job = manifests_of(project)["Job"]
    job["spec"]["restarts"] = 3

    with pytest.raises(kubernetes_validate.ValidationError, match="restarts"):
        kubernetes_validate.validate(job, KUBERNETES[0], strict=True)


def test_kubernetes_acts_on_the_exit_codes(project: Path):
    job = manifests_of(project)["Job"]["spec"]

    rules = job["podFailurePolicy"]["rules"]
    codes = {
        rule["action"]: rule["onExitCodes"]["values"] for rule in rules if "onExitCodes" in rule
    }
    assert codes == {"Ignore": [143], "FailJob": [2, 3, 4]}
    assert job["template"]["spec"]["restartPolicy"] == "Never"  # as the rules need it
    assert job["podReplacementPolicy"] == "Failed"
    assert job["template"]["spec"]["terminationGracePeriodSeconds"] >= 60


def test_kubernetes_and_the_image_agree(project: Path):
    manifests, steps = manifests_of(project), dict(instructions_of(project))

    pod = manifests["Job"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsUser"] == int(steps["USER"])
    (container,) = pod["containers"]
    assert container["volumeMounts"][0]["mountPath"] == steps["VOLUME"]
    claim = pod["volumes"][0]["persistentVolumeClaim"]["claimName"]
    assert claim == manifests["PersistentVolumeClaim"]["metadata"]["name"]
    assert (project / container["args"][0]).is_file()
    with_gpu = "and-cuda" in (project / "pyproject.toml").read_text(encoding="utf-8")
    assert ("nvidia.com/gpu" in container["resources"]["limits"]) == with_gpu


def test_the_development_container_is_set_up_by_make(bake: Callable[..., Path]):
    project = bake(project_name='A "quoted" name')

    settings = json.loads((project / ".devcontainer.json").read_text(encoding="utf-8"))
    assert settings["name"] == 'A "quoted" name'
    assert set(settings) == {"name", "image", "postCreateCommand", "customizations"}
    assert re.fullmatch(r"mcr\.microsoft\.com/devcontainers/python:3\.1[1-4]", settings["image"])
    assert settings["postCreateCommand"] == "make .venv/installed"
