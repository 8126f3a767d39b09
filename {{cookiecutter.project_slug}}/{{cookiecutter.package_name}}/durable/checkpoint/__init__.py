"""Saving and restoring. A user of the project need not open this folder."""

from ..errors import (
    CardMissing,
    CheckpointExists,
    CheckpointMismatch,
    DamagedCheckpoint,
    NoUsableCheckpoint,
    SaveFailed,
)
from .card import Card, read_card
from .manager import CheckpointManager
from .retention import Best

__all__ = [
    "Best",
    "Card",
    "CardMissing",
    "CheckpointExists",
    "CheckpointManager",
    "CheckpointMismatch",
    "DamagedCheckpoint",
    "NoUsableCheckpoint",
    "SaveFailed",
    "read_card",
]
