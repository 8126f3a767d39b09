"""The script for Slurm, run with stand-ins for Slurm and for the trainer."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Slurm runs on Linux")

SRUN = '#!/bin/sh\n[ "$1" = --ntasks=1 ] && shift\nexec "$@"\n'
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
print(*sys.argv, flush=True)
sys.exit(int(open("code").read()))
"""


@pytest.fixture
def project(bake: Callable[..., Path]) -> Path:
    """A project with stand-ins for Slurm and for the Python of its environment."""
    project = bake()
    os.mkfifo(project / "code")  # reading it waits until there is a code
    scripts = {"bin/srun": SRUN, "bin/scontrol": SCONTROL, ".venv/bin/python": TRAINER}
    for name, text in scripts.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text)
        (project / name).chmod(0o755)
    return project


Job = subprocess.Popen[str]


@pytest.fixture
def job(project: Path, tmp_path: Path) -> Iterator[Job]:
    """The script in a job, with the trainer begun."""
    environment = os.environ | {
        "PATH": f"{project / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "SLURM_SUBMIT_DIR": str(project),
        "SLURM_JOB_ID": "42",
    }
    process = subprocess.Popen(
        ["bash", str(project / "docs" / "slurm.sbatch"), "--run", "a b"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout.readline() == ".venv/bin/python train.py --run a b\n"
    yield process
    process.kill()
    process.communicate()


def lines_of(file: Path) -> list[str]:
    """The lines of a file, none where it is missing."""
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []


def test_a_job_whose_time_is_over_saves_and_is_queued_again(project: Path, job: Job):
    job.send_signal(signal.SIGUSR1)

    assert job.wait(60) == 143
    assert lines_of(project / "signals") == ["TERM"]
    assert lines_of(project / "requeued") == ["requeue 42"]


@pytest.mark.parametrize("code", [0, 1, 2, 3, 4, 5])
def test_a_job_that_ends_by_itself_is_not_queued_again(project: Path, job: Job, code: int):
    (project / "code").write_text(str(code))

    assert job.wait(60) == code
    assert lines_of(project / "requeued") == []


def test_a_job_that_is_cancelled_saves_and_is_not_queued_again(project: Path, job: Job):
    os.killpg(job.pid, signal.SIGTERM)  # the script and the trainer

    # It waits for the trainer. Nobody reads its code, which bash may lose if both end at once.
    assert job.wait(60) != -signal.SIGTERM
    assert lines_of(project / "signals") == ["TERM"]
    assert lines_of(project / "requeued") == []


def test_it_must_be_submitted(project: Path):
    process = subprocess.run(
        ["bash", "docs/slurm.sbatch"], cwd=project, capture_output=True, text=True, check=False
    )

    assert process.returncode != 0
    assert "submit this script with sbatch" in process.stderr


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="there is none for this machine")
def test_shellcheck_finds_nothing(bake: Callable[..., Path]):
    script = bake(tensorflow="tensorflow[and-cuda]") / "docs" / "slurm.sbatch"

    process = subprocess.run(
        ["shellcheck", str(script)], capture_output=True, text=True, check=False
    )

    assert process.returncode == 0, process.stdout
    text = script.read_text(encoding="utf-8")
    assert "#SBATCH --gpus=1\n" in text
    assert "#SBATCH --requeue\n" in text
    assert "#SBATCH --signal=B:USR1@" in text
