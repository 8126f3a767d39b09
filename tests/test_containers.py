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
from bake import bake as bake_project

DISTRIBUTIONS = ["tensorflow", "tensorflow[and-cuda]"]
KUBERNETES = ["1.31", "1.37"]


@pytest.fixture(scope="module", params=DISTRIBUTIONS)
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with and without a GPU, to look at."""
    return bake_project(tmp_path_factory.mktemp("baked"), tensorflow=request.param)


def instructions_of(project: Path) -> list[tuple[str, str]]:
    """The instructions of the Dockerfile and what they are given, in order."""
    text = (project / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", "")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(instruction, rest) for instruction, _, rest in (line.partition(" ") for line in lines)]


def manifests_of(project: Path, name: str = "kubernetes.yaml") -> dict[str, dict]:
    """The Kubernetes manifests in a file, by kind."""
    text = (project / "docs" / name).read_text(encoding="utf-8")
    return {manifest["kind"]: manifest for manifest in yaml.safe_load_all(text)}


def workers_of(project: Path) -> dict[str, dict]:
    """The manifests for several workers, with the job that the JobSet makes of its template."""
    manifests = manifests_of(project, "kubernetes-workers.yaml")
    assert list(manifests) == ["PersistentVolumeClaim", "JobSet"]
    (replicated,) = manifests["JobSet"]["spec"]["replicatedJobs"]
    name = f"{manifests['JobSet']['metadata']['name']}-{replicated['name']}-0"
    head = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}}
    return manifests | {"Job": head | replicated["template"]}


def lint(project: Path) -> None:
    """Checks the Dockerfile."""
    if shutil.which("hadolint") is None:
        pytest.skip("there is no hadolint for this machine")
    command = ["hadolint", "--failure-threshold", "style", "Dockerfile"]
    process = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout


def test_the_dockerfile_has_no_fault(project: Path):
    lint(project)


def test_a_fault_in_the_dockerfile_would_be_found(bake: Callable[..., Path]):
    project = bake()
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


@pytest.mark.parametrize("version", KUBERNETES)
def test_what_jobset_makes_follows_the_schema(project: Path, version: str):
    manifests = workers_of(project)

    for kind in ("PersistentVolumeClaim", "Job"):
        kubernetes_validate.validate(manifests[kind], version, strict=True)
    # The schema of a JobSet itself is not in Kubernetes: these are the fields that v1alpha2 has.
    jobset = manifests["JobSet"]
    assert jobset["apiVersion"] == "jobset.x-k8s.io/v1alpha2"
    assert set(jobset["spec"]) == {"network", "failurePolicy", "replicatedJobs"}
    assert set(jobset["spec"]["network"]) == {"enableDNSHostnames", "publishNotReadyAddresses"}
    policy = jobset["spec"]["failurePolicy"]
    assert set(policy) == {"maxRestarts", "restartStrategy", "rules"}
    assert policy["restartStrategy"] == "BlockingRecreate"
    assert policy["rules"] == [
        {
            "name": "onlyYouCanHelp",
            "action": "FailJobSet",
            "onJobFailureReasons": ["PodFailurePolicy"],  # FailJob by an exit code
        }
    ]


def test_workers_on_kubernetes_find_each_other(project: Path):
    manifests = workers_of(project)

    job = manifests["Job"]["spec"]
    (container,) = job["template"]["spec"]["containers"]
    variables = {entry["name"]: entry["value"] for entry in container["env"]}
    assert job["completionMode"] == "Indexed"
    assert job["completions"] == job["parallelism"] == int(variables["WORKER_COUNT"])
    # JobSet's own names: JOBSET-REPLICATED_JOB-NUMBER-INDEX, in the domain of the JobSet.
    host, domain = manifests["Job"]["metadata"]["name"], manifests["JobSet"]["metadata"]["name"]
    (port,) = container["ports"]
    address = f"{host}-{{index}}.{domain}:{port['containerPort']}"
    assert variables["WORKER_ADDRESS"] == address
    assert container["args"][:3] == ["train.py", "--strategy", "multi-worker"]
    assert job["backoffLimit"] == 0  # all are started again when one has failed
    assert manifests["PersistentVolumeClaim"]["spec"]["accessModes"] == ["ReadWriteMany"]


def test_a_long_name_leaves_room_for_those_of_the_pods(bake: Callable[..., Path]):
    manifests = workers_of(bake(project_slug=f"{'k' * 39}-{'k' * 20}"))

    name = manifests["Job"]["metadata"]["name"]
    assert name == f"{'k' * 39}-workers-0"
    assert len(f"{name}-9999-abcde") <= 63  # as Kubernetes names them


def test_one_trainer_and_several_workers_have_what_is_theirs_in_common(project: Path):
    """But for the number of pods and for what tells them of each other."""
    one, several = manifests_of(project)["Job"]["spec"], workers_of(project)["Job"]["spec"]

    own = ("args", "env", "ports")
    for job in (one, several):
        (container,) = job["template"]["spec"]["containers"]
        for name in own:
            container.pop(name, None)
        job["template"]["spec"]["volumes"][0]["persistentVolumeClaim"].clear()
    assert one["template"] == several["template"]


@pytest.mark.parametrize("manifests", [manifests_of, workers_of])
def test_kubernetes_acts_on_the_exit_codes(
    project: Path, manifests: Callable[[Path], dict[str, dict]]
):
    job = manifests(project)["Job"]["spec"]

    rules = job["podFailurePolicy"]["rules"]
    codes = {
        rule["action"]: rule["onExitCodes"]["values"] for rule in rules if "onExitCodes" in rule
    }
    assert codes == {"Ignore": [143], "FailJob": [2, 3, 4]}
    assert job["template"]["spec"]["restartPolicy"] == "Never"  # as the rules need it
    assert job["podReplacementPolicy"] == "Failed"
    assert job["template"]["spec"]["terminationGracePeriodSeconds"] >= 60


@pytest.mark.parametrize("read", [manifests_of, workers_of])
def test_kubernetes_and_the_image_agree(project: Path, read: Callable[[Path], dict[str, dict]]):
    manifests, steps = read(project), dict(instructions_of(project))

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
