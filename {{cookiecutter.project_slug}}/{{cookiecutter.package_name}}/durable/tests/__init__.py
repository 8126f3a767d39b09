"""The tests of this folder, on a small program of their own."""
