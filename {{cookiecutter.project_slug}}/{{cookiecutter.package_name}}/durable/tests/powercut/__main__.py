"""The long form of the proof."""

import argparse
import random
import sys
import tempfile
import time

from ..helpers import PROJECT
from . import __doc__ as described
from .mistakes import MUTANTS
from .proof import Tally, first_loss, prove, record, resume, stories_with
from .story import SCENES
from .tracing import can_trace


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=described.partition("\n\n    ")[0],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--points", type=int, default=1000, help="at how many operations to cut")
    parser.add_argument("--resumed", type=int, default=20, help="how often to train on, besides")
    parser.add_argument("--seed", type=int, default=7, help="of what is drawn by chance")
    parser.add_argument(
        "--mutants", action="store_true", help="break the code instead: see what is found"
    )
    options = parser.parse_args(arguments)
    if not can_trace():
        parser.error("strace is needed: it is not installed, or may not trace here.")
    chance = random.Random(options.seed)
    return find_mistakes(chance) if options.mutants else prove_all(options, chance)


def find_mistakes(chance):
    """Shows what each mistake in the code loses; 0 where each loses something."""
    found = 0
    with tempfile.TemporaryDirectory() as folder:
        stories = record(folder, stories_with(MUTANTS, folder))
        for mutant, told in zip(MUTANTS, stories, strict=True):
            loss = first_loss(told, chance)
            found += loss is not None
            print(f"{mutant.mistake}\n    {loss or 'NOT FOUND'}", flush=True)
    print(f"{found} of {len(MUTANTS)} mistakes were found.")
    return 0 if found == len(MUTANTS) else 1


def prove_all(options, chance):
    """Cuts the power in all stories; 0 where nothing is lost."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        stories = record(folder, [(scene, PROJECT) for scene in SCENES])
    total = sum(len(told.operations) for told in stories)
    tally = Tally()
    for told in stories:
        count = len(told.operations)
        prove(told, 0, min(count, -(-options.points * count // total)), chance, tally)
        print(f"{told.scene}: {count} operations, {len(told.reports)} reports", flush=True)
    for _ in range(options.resumed):
        tally.losses += resume(chance.choice(stories), chance)
    print(
        f"{total} operations, cut at {tally.points} points into {tally.states} states "
        f"({', '.join(f'{count} {model}' for model, count in sorted(tally.models.items()))}), "
        f"of which {tally.judged} runs were different; {options.resumed} were trained on. "
        f"Seed {options.seed}, {time.monotonic() - began:.0f} s."
    )
    print("\n".join(tally.losses[:50]) or "Nothing was lost.")
    return 1 if tally.losses else 0


if __name__ == "__main__":
    sys.exit(main())
