"""Saving and restoring. A user of the project need not open this folder."""
