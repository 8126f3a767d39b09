"""report: the learning curves of runs."""

from dataclasses import dataclass

import tyro
from etils import epath
from rich.console import Console

from ..errors import ConfigurationError
from ..evaluation.results import png
from ..files import absolute, write_bytes
from ..report.curves import metric_names, read_run
from ..report.drawing import COLORS, MOST_PANELS, draw
from ..report.table import run_as_json, runs_table
from ..run.experiment import Project
from .console import CommonOptions, print_json


@tyro.conf.configure(tyro.conf.OmitArgPrefixes)
@dataclass(frozen=True)
class ReportOptions(CommonOptions):
    """Draw the learning curves of runs, with marks for checkpoints, resumes, rewinds and forks."""

    run: tuple[str, ...] = ("default",)
    """Names of the runs."""
    output: str | None = None
    """The PNG file to write; by default one in runs/, named after the runs."""

    def __post_init__(self) -> None:
        """Raises ConfigurationError for a value that is not possible."""
        count = len(set(self.run))
        if not 1 <= count <= len(COLORS):
            raise ConfigurationError(f"--run: give 1 to {len(COLORS)} runs, not {count}.")
        if self.output is not None and not self.output.endswith(".png"):
            raise ConfigurationError(f"--output {self.output} is not possible: give a .png file.")


def report(project: Project, options: ReportOptions) -> int:
    """Draw the learning curves of runs, with marks for checkpoints, resumes, rewinds and forks."""
    names = list(dict.fromkeys(options.run))
    runs = [read_run(project.paths(options.root, name)) for name in names]
    if options.output is None:
        output = project.paths(options.root).report(names)
    else:
        output = epath.Path(absolute(options.output))
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(output, png(draw(runs)))
    except OSError as error:
        raise ConfigurationError(f"{output} cannot be written: {error}") from error
    undrawn = metric_names(runs)[MOST_PANELS:]
    if options.json:
        entries = [run_as_json(run) for run in runs]
        print_json({"picture": str(output), "not_drawn": undrawn, "runs": entries})
    else:
        Console().print(runs_table(runs))
        print(f"Drew {output}")
        if undrawn:
            print(f"It has room for {MOST_PANELS} metrics; not drawn: {', '.join(undrawn)}.")
    return 0
