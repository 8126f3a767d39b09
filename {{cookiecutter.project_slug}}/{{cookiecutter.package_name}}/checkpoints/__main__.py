"""Look at the checkpoints of a run, without the code that wrote them, and go back to one."""

from collections.abc import Sequence

import tyro

from .. import session
from .commands.diff import diff
from .commands.export import export
from .commands.import_ import import_
from .commands.list import list_checkpoints
from .commands.pin import pin, unpin
from .commands.rewind import rewind_run
from .commands.show import show
from .commands.verify import verify


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one of the commands and gives its exit code."""
    return tyro.extras.subcommand_cli_from_dict(
        {
            "list": list_checkpoints,
            "show": show,
            "verify": verify,
            "diff": diff,
            "rewind": rewind_run,
            "pin": pin,
            "unpin": unpin,
            "export": export,
            "import": import_,
        },
        prog=f"python -m {__package__}",
        description=__doc__,
        args=arguments,
    )


if __name__ == "__main__":
    session.run(main)
