"""Saving and restoring. A user of the project need not open this folder."""

from .best import Best
from .card import Card
from .errors import (
    CheckpointExists,
    CheckpointMismatch,
    DamagedCheckpoint,
    ForeignCheckpoint,
    NoUsableCheckpoint,
    SaveFailed,
)
from .manager import CheckpointManager
from .reader import read_card

__all__ = [
    "Best",
    "Card",
    "CheckpointExists",
    "CheckpointManager",
    "CheckpointMismatch",
    "DamagedCheckpoint",
    "ForeignCheckpoint",
    "NoUsableCheckpoint",
    "SaveFailed",
    "read_card",
]
