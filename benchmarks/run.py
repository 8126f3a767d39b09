"""Measures everything and writes docs/benchmarks.md: `make bench`."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow reads it when it is imported

import matplotlib as mpl

mpl.use("Agg")

import data
import failures
import saving
import scaling
import training
from report import DOCUMENTS, machine

TITLE = "# Benchmarks\n\nWritten by `make bench`. Ratios hold elsewhere; times do not."

if __name__ == "__main__":
    parts = (training, data, saving, scaling, failures)
    sections = [part.report() for part in parts]
    text = "\n\n".join([TITLE, f"Measured on {machine()}.", *sections])
    (DOCUMENTS / "benchmarks.md").write_text(f"{text}\n", encoding="utf-8")
    print(text)
