"""Looking into checkpoints: the statistics and the comparison of their values."""
