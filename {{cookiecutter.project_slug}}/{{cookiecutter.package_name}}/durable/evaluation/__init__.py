"""Scoring checkpoints, their averages and their ensembles on the held-out examples."""
