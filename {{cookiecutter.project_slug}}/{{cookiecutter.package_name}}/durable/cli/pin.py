"""pin and unpin: what retention leaves alone."""

import tyro
from etils import epath

from .. import files
from ..checkpoint import bundle
from ..checkpoint.directory import Directory
from ..checkpoint.reader import condition_of
from ..errors import ConfigurationError, DamagedCheckpoint
from ..remote import storage_errors
from ..run.paths import RunPaths
from ..run.references import find, resolve
from ..run.settings import Project
from .console import Options, print_json


def pin(project: Project, common: Options, at: tyro.conf.Positional[str]) -> int:
    """Pin a checkpoint: it is kept, however many newer ones there are, until it is unpinned.

    One that is only in best/ is copied into checkpoints/ first. A trainer may be running.

    Args:
        project: whose run it is.
        common: what every command takes.
        at: A step, latest, best or epoch:N; or RUN@ and one of these.
    """
    paths, at = resolve(project.paths(common.root, common.run), at)
    found = find(paths, at)
    checkpoint = paths.checkpoints / found.name
    if bundle.is_pinned(checkpoint):
        return tell(common, checkpoint, pinned=True, changed=False)
    put_pin(paths, found)
    return tell(common, checkpoint, pinned=True, changed=True)


def unpin(project: Project, common: Options, at: tyro.conf.Positional[str]) -> int:
    """Unpin a checkpoint: the next save may remove it, as any other.

    Args:
        project: whose run it is.
        common: what every command takes.
        at: A step, latest, best or epoch:N; or RUN@ and one of these.
    """
    paths, at = resolve(project.paths(common.root, common.run), at)
    checkpoint = paths.checkpoints / find(paths, at).name
    changed = bundle.is_pinned(checkpoint)
    if changed:
        files.remove(bundle.pin_file(checkpoint))
    return tell(common, checkpoint, pinned=False, changed=changed)


def put_pin(paths: RunPaths, found: epath.Path) -> None:
    """Pins a checkpoint that may be only in best/.

    Raises:
        DamagedCheckpoint: it is not worth keeping, or was removed meanwhile.
        ConfigurationError: the disk is full, say.
    """
    if damage := condition_of(found).damage:
        raise damage
    checkpoint = paths.checkpoints / found.name
    try:
        Directory(paths.checkpoints).bring_back(found)
        files.write_text(bundle.pin_file(checkpoint), "")
    except storage_errors(checkpoint) as error:
        raise ConfigurationError(f"{found} could not be pinned: {error}") from error
    if not bundle.is_whole(checkpoint):
        bundle.pin_file(checkpoint).unlink(missing_ok=True)
        raise DamagedCheckpoint(found, "its trainer removed it just now; it is not pinned")


def tell(common: Options, checkpoint: epath.Path, *, pinned: bool, changed: bool) -> int:
    """Prints what is so now."""
    if common.json:
        print_json({"path": str(checkpoint), "pinned": pinned, "changed": changed})
    else:
        state = {
            (True, True): "is pinned now",
            (True, False): "was pinned already",
            (False, True): "is not pinned any more",
            (False, False): "was not pinned",
        }
        print(f"{checkpoint} {state[pinned, changed]}.")
    return 0
