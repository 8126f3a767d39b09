"""Saving and restoring. A user of the project need not open this folder."""

from ..errors import (
    CardMissing,
    CheckpointExists,
    CheckpointMismatch,
    DamagedCheckpoint,
    NoUsableCheckpoint,
    SaveFailed,
)
from .card import Card
from .manager import CheckpointManager
from .reader import read_card
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
