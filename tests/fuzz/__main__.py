"""python -m tests.fuzz [--cases N] [--seed N] [--photos TAR] [--workers N] [--case KIND:NUMBER], from the repository's root.

Damages archives, images and the project's own files in N ways and reads them. Every case must end in a sound result or
in one of the two errors that users are to meet, in time and within memory. Says how to see a failure again; the last
line is one JSON object with the counts; leaves with 1 if a case failed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.fuzz.cases import KINDS, Room, schedule
from tests.fuzz.run import read_photos, run_case, run_cases, say


def main(arguments: list[str]) -> int:
    """Runs the cases; 1 if one failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.partition("\n\n")[2])
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--photos", type=Path, help="a tar of photographs, to be damaged too")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--case", metavar="KIND:NUMBER", help=f"one case, here, kinds: {', '.join(KINDS)}")
    asked = parser.parse_args(arguments)
    if asked.case:
        kind, _, number = asked.case.partition(":")
        with tempfile.TemporaryDirectory() as folder:
            print(run_case(kind, int(number), asked.seed, Room(Path(folder), read_photos(asked.photos))))
        return 0
    kinds = schedule(asked.photos is not None)
    cases = [(kinds[number % len(kinds)], number) for number in range(asked.cases)]
    began, counts, failures = time.monotonic(), {kind: Counter[str]() for kind in kinds}, 0
    for done, ((kind, number), outcome, happened) in enumerate(
        run_cases(cases, asked.seed, asked.photos, asked.workers), 1
    ):
        counts[kind][outcome or "failed"] += 1
        if outcome is None:
            failures += 1
            photos = f" --photos {asked.photos}" if kind == "photo" else ""
            say(
                f"{happened.rstrip()}\nFAILED: python -m tests.fuzz --seed {asked.seed}{photos} --case {kind}:{number}"
            )
        if done % 1000 == 0:
            say(f"{done:,} of {len(cases):,} cases, {failures} failed, {time.monotonic() - began:.0f} s")
    total: Counter[str] = sum(counts.values(), Counter())
    result = {
        "cases": len(cases), "seed": asked.seed, "seconds": round(time.monotonic() - began, 1), "failures": failures,
        "outcomes": dict(total), "kinds": {kind: dict(count) for kind, count in counts.items()},
    }  # fmt: skip
    print(json.dumps(result))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
