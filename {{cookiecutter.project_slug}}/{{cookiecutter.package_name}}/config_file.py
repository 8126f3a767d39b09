"""The configuration as JSON: in the run's folder, and in the cards of its checkpoints."""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import Any, get_type_hints

from etils import epath

from .checkpoints.files import write_text
from .config import Config

log = logging.getLogger(__name__)

# Settings that say nothing of the run itself.
OF_THE_CALL = {"run", "root", "resume", "fork_from", "partial", "debug"}


def record_config(config: Config, path: epath.Path) -> None:
    """Writes the configuration, and tells which settings changed since the last start."""
    present = json.loads(json.dumps(asdict(config)))
    before, after = flat(read_settings(path)), flat(present)
    for name in sorted((before.keys() & after.keys()) - OF_THE_CALL):
        old, new = before[name], after[name]
        if old != new:
            log.info("Changed since the last start: %s %s → %s.", name, old, new)
    write_text(path, json.dumps(present, indent=2) + "\n")


def read_settings(path: epath.Path) -> dict[str, Any]:
    """The settings in a file; none where there is no file, or it cannot be read."""
    try:
        return json.loads(path.read_text()) if path.exists() else {}
    except ValueError:
        log.warning("%s cannot be read; it is written anew.", path)
        return {}


def flat(values: Mapping[str, Any], inside: str = "") -> dict[str, Any]:
    """Nested settings by their dotted names: {'model.name': 'mlp', …}."""
    settings: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            settings |= flat(value, f"{inside}{name}.")
        else:
            settings[inside + name] = value
    return settings


def config_from(values: Mapping[str, Any], kind: type = Config) -> Any:
    """The configuration that a card or a config.json holds; names it does not know are left out."""
    hints = get_type_hints(kind)
    known = {}
    for name in {field.name for field in fields(kind)} & values.keys():
        value = values[name]
        if is_dataclass(hints[name]):
            value = config_from(value, hints[name])
        known[name] = tuple(value) if isinstance(value, list) else value
    return kind(**known)
