"""The learning curves of runs, as a picture and as a table."""
