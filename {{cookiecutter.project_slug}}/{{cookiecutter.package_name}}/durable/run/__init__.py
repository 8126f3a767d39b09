"""One run: its settings, files, lock and signals, how it begins, and what it learns."""
