"""The scripts for Slurm, run with stand-ins for Slurm and for the trainer."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from bake import bake

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Slurm runs on Linux")

# Each script, how many nodes it gets, and what each of them runs.
SCRIPTS = [
    ("slurm.sbatch", 1, "train.py --run a b"),
    ("slurm-workers.sbatch", 3, "train.py --strategy multi-worker --run a b"),
]

# Starts a task on each node, and ends with the highest code of theirs. As the real one does, it
# kills them when it gets SIGTERM.
SRUN = f"""\
#!{sys.executable}
import os, signal, subprocess, sys

words = sys.argv[1:]
while words[0].startswith("--"):
    words.pop(0)
assert os.environ["SRUN_CPUS_PER_TASK"] == "4"
tasks = [
    subprocess.Popen(words, env=os.environ | {{"SLURM_PROCID": str(number)}})
    for number in range(int(os.environ["SLURM_NNODES"]))
]
signal.signal(signal.SIGTERM, lambda *_: [task.kill() for task in tasks])
with open("tasks", "w") as file:
    print(*[task.pid for task in tasks], file=file)
print("srun has started them", flush=True)
sys.exit(max(code if code >= 0 else 128 - code for code in [task.wait() for task in tasks]))
"""
# Sends a signal to the tasks, and to none else.
SCANCEL = '#!/bin/sh\n[ "$*" = "--signal=TERM 42" ] && kill -TERM $(cat tasks)\n'
SCONTROL = '#!/bin/sh\necho "$*" >> requeued\n'

# Says that it has begun, waits for a signal or a line, and ends with a code.
TRAINER = f"""\
#!{sys.executable}
import os, signal, sys

def stop(number, frame):
    with open("signals", "a") as file:
        file.write("TERM\\n")
    raise SystemExit(128 + number)

signal.signal(signal.SIGTERM, stop)
os.write(1, (" ".join(sys.argv) + "\\n").encode())  # at once: no line of another in between
sys.exit(int(open("code-" + os.environ["SLURM_PROCID"]).read()))
"""


class Job:
    """A script in a job, with the trainers begun.

    Attributes:
        process: that of the script.
        project: where it was submitted.
        nodes: how many it has.
    """

    def __init__(self, project: Path, script: str, nodes: int, folder: Path) -> None:
        self.project, self.nodes = project, nodes
        environment = os.environ | {
            "PATH": f"{project / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "SLURM_SUBMIT_DIR": str(project),
            "SLURM_JOB_ID": "42",
            "SLURM_NNODES": str(nodes),
            "SLURM_CPUS_PER_TASK": "4",
        }
        self.process = subprocess.Popen(
            ["bash", str(project / "docs" / script), "--run", "a b"],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def lines_of(self, name: str) -> list[str]:
        """The lines of a file, none where it is missing."""
        file = self.project / name
        return file.read_text(encoding="utf-8").splitlines() if file.exists() else []


@pytest.fixture(scope="module")
def docs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that has the scripts, of a project on GPUs."""
    folder = tmp_path_factory.mktemp("baked")
    return bake(folder, tensorflow="tensorflow[and-cuda]") / "docs"


@pytest.fixture
def project(docs: Path, tmp_path: Path) -> Path:
    """A project with stand-ins for Slurm and for the Python of its environment."""
    project = tmp_path / "a pröject"
    shutil.copytree(docs, project / "docs")
    for node in range(3):
        os.mkfifo(project / f"code-{node}")  # reading it waits until there is a code
    scripts = {
        "bin/srun": SRUN,
        "bin/scancel": SCANCEL,
        "bin/scontrol": SCONTROL,
        ".venv/bin/python": TRAINER,
    }
    for name, text in scripts.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text)
        (project / name).chmod(0o755)
    return project


@pytest.fixture(params=SCRIPTS, ids=lambda entry: entry[0])
def job(project: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Job]:
    """Each of the scripts in a job."""
    script, nodes, words = request.param
    job = Job(project, script, nodes, tmp_path)
    lines = sorted(job.process.stdout.readline() for _ in range(nodes + 1))
    assert lines == [f".venv/bin/python {words}\n"] * nodes + ["srun has started them\n"]
    yield job
    with suppress(ProcessLookupError):
        os.killpg(job.process.pid, signal.SIGKILL)
    job.process.communicate()


def test_a_job_whose_time_is_over_saves_and_is_queued_again(job: Job):
    job.process.send_signal(signal.SIGUSR1)

    assert job.process.wait(60) == 143
    assert job.lines_of("signals") == ["TERM"] * job.nodes
    assert job.lines_of("requeued") == ["requeue 42"]


@pytest.mark.parametrize("code", [0, 1, 2, 3, 4, 5])
def test_a_job_that_ends_by_itself_is_not_queued_again(job: Job, code: int):
    for node in range(job.nodes):
        (job.project / f"code-{node}").write_text(str(code))

    assert job.process.wait(60) == code
    assert job.lines_of("requeued") == []


def test_a_job_that_is_preempted_saves_and_is_not_queued_again(job: Job):
    job.process.send_signal(signal.SIGTERM)  # Slurm sends it to the script and to the tasks
    for pid in job.lines_of("tasks")[0].split():
        os.kill(int(pid), signal.SIGTERM)

    # It waits for the trainer. Nobody reads its code, which bash may lose if both end at once.
    assert job.process.wait(60) != -signal.SIGTERM
    assert job.lines_of("signals") == ["TERM"] * job.nodes
    assert job.lines_of("requeued") == []


@pytest.mark.parametrize("script", [script for script, _, _ in SCRIPTS])
def test_it_must_be_submitted(project: Path, script: str):
    process = subprocess.run(
        ["bash", f"docs/{script}"], cwd=project, capture_output=True, text=True, check=False
    )

    assert process.returncode != 0
    assert "submit this script with sbatch" in process.stderr


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="there is none for this machine")
@pytest.mark.parametrize("script", [script for script, _, _ in SCRIPTS])
def test_shellcheck_finds_nothing(docs: Path, script: str):
    file = docs / script

    process = subprocess.run(["shellcheck", str(file)], capture_output=True, text=True, check=False)

    assert process.returncode == 0, process.stdout
    text = file.read_text(encoding="utf-8")
    assert text.count("#SBATCH --gpus") == 1
    assert "#SBATCH --requeue\n" in text
    assert "#SBATCH --signal=B:USR1@" in text
