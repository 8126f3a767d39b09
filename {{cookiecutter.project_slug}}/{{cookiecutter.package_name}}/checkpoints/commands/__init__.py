"""The commands of `python -m <package>.checkpoints`, one file each."""
