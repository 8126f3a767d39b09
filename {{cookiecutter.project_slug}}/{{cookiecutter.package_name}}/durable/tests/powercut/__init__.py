"""Power cuts: what was reported before one is there after it, whatever the disk may have lost.

Runs that see everything a run can (`program/story.py`) are recorded by strace. From their file
operations the states are built that a power cut may leave at any moment (`disk_states.py`), and the
program's own code judges them: the newest reported checkpoint or a newer one is restored, what was
reported as pinned, rewound, forked, averaged or imported is so, the log has no gap up to the
restored step, and `list` and `verify` end well.

    python -m <package>.durable.tests.powercut --points 1000 --seed 7
    python -m <package>.durable.tests.powercut --mutants
"""
