"""A TensorFlow training project whose runs cannot be lost."""

import os

# TensorFlow reads this once, when it is first imported: warnings and errors only.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
