"""Taking over checkpoints that other programs wrote, and writing what other programs read."""
