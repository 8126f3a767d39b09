"""Looking into checkpoints: reading, verifying and comparing what is in them."""
