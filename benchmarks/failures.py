"""How often to save a job of many workers, on paper: from what saves and restarts cost here."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from matplotlib import pyplot
from my_experiment.durable import CheckpointManager
from my_experiment.durable.run.cadence import best_interval
from report import DOCUMENTS, seconds, table
from saving import Variables, wait_for_threads
from scaling import measure_case

SAVES = 5
HALF_AN_HOUR = 1800
STATE = (256, 1 << 20)  # variables, and numbers in each: 1.07 GB
WORKERS = (8, 64, 1024)
DAY = 86400
# Of one worker. The second: 419 failures in 54 days of 2,048 machines (The Llama 3 Herd of Models,
# 2024, section 3.3.4).
FAILS_EVERY = {"30 days": 30 * DAY, "264 days": 54 * DAY * 2048 / 419}


@dataclass(frozen=True)
class Save:
    """What a save takes, in seconds.

    Attributes:
        still: for how long training stands still.
        late: for how long after that a failure still loses it, since it is not on the disk.
    """

    still: float
    late: float

    def interval(self, between: float) -> float:
        """The best interval for failures every `between` seconds; none begins before the last."""
        return max(best_interval(self.still, between), self.late)

    def lost(self, interval: float, between: float) -> float:
        """The share of the time that saves, and what is trained anew after failures, take."""
        return self.still / interval + (interval / 2 + self.late) / between


def measure_saves() -> dict[str, Save]:
    """What a save of the state takes, by mode."""
    found = {}
    for mode in ("blocking", "background"):
        state = Variables(*STATE)
        with tempfile.TemporaryDirectory() as folder:
            manager = CheckpointManager(
                state.checkpoint, Path(folder) / "saves", 2, background=mode == "background"
            )
            still, late = [], []
            for _ in range(SAVES + 1):  # the first one prepares the others
                state.train(1)
                os.sync()  # what others have left unwritten must not slow this one
                still.append(seconds(manager.save))
                late.append(seconds(manager.finish))
                wait_for_threads()
        found[mode] = Save(median(still[1:]), median(late[1:]))
    return found


def rows_of(saves: Mapping[str, Save], restart: float) -> Iterator[list[object]]:
    """The rows of the table: each failure rate, number of workers and mode of saving."""
    for rate, seconds_between in FAILS_EVERY.items():
        for workers in WORKERS:
            between = seconds_between / workers
            for mode, save in saves.items():
                best = save.interval(between)
                shares = (100 * save.lost(interval, between) for interval in (best, HALF_AN_HOUR))
                row = [rate, f"{workers:,}", between / 3600, mode, best / 60, *shares]
                yield [*row, 100 * restart / between]


def draw(saves: Mapping[str, Save]) -> str:
    """Draws what is lost over the interval, and gives the Markdown that shows the picture."""
    figure, axes = pyplot.subplots(figsize=(9, 4.5))
    rate, seconds_between = next(iter(FAILS_EVERY.items()))
    colors = ("#4878a8", "#c08030", "#a84860")
    for workers, color in zip(WORKERS, colors, strict=True):
        between = seconds_between / workers
        for mode, style in (("blocking", "-"), ("background", "--")):
            save = saves[mode]
            best = save.interval(between)
            intervals = np.geomspace(max(save.late, 1), 7200, 200)
            shares = [100 * save.lost(interval, between) for interval in intervals]
            axes.plot(intervals, shares, style, color=color, label=f"{workers:,} workers, {mode}")
            axes.plot(best, 100 * save.lost(best, between), "o", color=color)
    axes.set(xscale="log", yscale="log", xlim=(2, 7200), ylim=(0.01, 100))
    axes.set_xlabel("seconds between two saves")
    axes.set_ylabel("time lost, %")
    axes.set_title(f"Saves of 1 GB, and failures of each worker every {rate}")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(DOCUMENTS / "failures.png", dpi=120, metadata={"Software": None})
    pyplot.close(figure)
    return "![Time lost to saves and failures](failures.png)"


def report() -> str:
    """Measures what saves and restarts cost and gives the section of the document."""
    saves = measure_saves()
    blocking, background = saves["blocking"], saves["background"]
    restart = measure_case("generated train.py", "device", 1)["resume"]
    note = (
        "On paper, from what was measured here: for a save of "
        f"{4 * STATE[0] * STATE[1] / 1e9:.2f} GB, training stands still for {blocking.still:.2g} "
        f"s; written in the background, for {background.still:.2g} s, and it is on the disk "
        f"{background.late:.2g} s later, which a failure loses besides; a restart takes "
        f"{restart:.0f} s until the first step is over. Each "
        "worker has the whole state, and the first one saves it: what a save costs does not "
        "depend on how many there are. A job of N workers, each of which fails every M, fails "
        "every M / N. Saves every t seconds that cost C lose C / t of the time, and failures "
        "t / (2 M / N); the sum is least, √(2 C N / M), with t = √(2 C M / N) (Young 1974; Daly "
        "2006 corrects it where a save takes more than some hundredths of M / N). This is what "
        "`--save-every auto --worker-fails-every 30d` does, within `--save-shortest` and "
        "`--save-longest`. Not on this paper: what the copy from an accelerator takes, and how "
        "much the writing slows the steps beside it. The second rate is that of the training of "
        "Llama 3: 419 failures of 2,048 machines in 54 days."
    )
    columns = ["a worker fails every", "workers", "the job fails every, h", "saves"]
    columns += ["best interval, min", "lost, %", "lost every 30 min, %", "restarts besides, %"]
    rows = rows_of(saves, restart)
    return "\n\n".join(["## How often to save", note, table(columns, rows), draw(saves)])


if __name__ == "__main__":
    print(report())
