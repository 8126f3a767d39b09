"""The commands of `python -m <package>`, one file each."""
