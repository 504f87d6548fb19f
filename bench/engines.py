"""What it costs to find that nothing changed: `dvc repro` and `snakemake -n` here, against as many empty stages.

Run it in the project's folder after a build: `python bench/engines.py [--rounds 5]`. The empty pipelines have as many
stages as dvc.yaml, each with one small input and one output, chained by tens; Snakemake's is a plain Snakefile.
Prints progress on standard error, and one JSON object of medians (seconds) and ratios on standard output.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COMMANDS = {
    "dvc repro": [sys.executable, "-m", "dvc", "repro"],
    "snakemake -n": [sys.executable, "-m", "snakemake", "-n", "--quiet", "all"],
}
CHAIN = 10  # stages in a row: the depth of a graph counts too


def count_stages() -> int:
    """How many stages dvc.yaml has here, templates resolved."""
    listed = subprocess.run(
        [sys.executable, "-m", "dvc", "stage", "list", "--name-only"],
        check=True,
        capture_output=True,
        text=True,
    )
    return len(listed.stdout.split())


def write_empty(folder: Path, count: int) -> None:
    """A built pipeline of `count` empty stages, for each engine, in a folder of its own."""
    for engine in COMMANDS:
        place = folder / engine.split()[0]
        place.mkdir()
        (place / "input").write_text("x\n")
    stages, rules = [], [f"rule all:\n    input:\n        [f'out{{i}}' for i in range({count})],\n"]
    for i in range(count):
        source = "input" if i % CHAIN == 0 else f"out{i - 1}"
        stages.append(f"  stage{i}:\n    cmd: cp {source} out{i}\n    deps: [{source}]\n    outs: [out{i}]\n")
        rules.append(
            f"rule stage{i}:\n    input: '{source}'\n    output: 'out{i}'\n    shell: 'cp {{input}} {{output}}'\n"
        )
    (folder / "dvc" / "dvc.yaml").write_text("stages:\n" + "".join(stages))
    (folder / "snakemake" / "Snakefile").write_text("\n\n".join(rules))
    for command in (["git", "init", "--quiet"], ["dvc", "init", "--quiet"], ["dvc", "repro", "--quiet"]):
        call([sys.executable, "-m", *command] if command[0] == "dvc" else command, folder / "dvc")
    call([sys.executable, "-m", "snakemake", "--cores", "2", "--quiet", "all"], folder / "snakemake")


def call(command: list[str], folder: Path) -> float:
    """Wall-clock seconds of a command. Raises CalledProcessError if it fails."""
    begun = time.perf_counter()
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1"}
    )
    seconds = time.perf_counter() - begun
    if done.returncode:
        print(done.stdout, done.stderr, file=sys.stderr)
        done.check_returncode()
    return seconds


def main() -> None:
    """Measures ours and empty in turn, so that a busy machine slows both alike."""
    parser = argparse.ArgumentParser(description="Time the engines with nothing to do.")
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    count = count_stages()
    seconds: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        write_empty(Path(temporary), count)
        places = {"ours": Path(), "empty": Path(temporary)}
        for turn in range(rounds + 1):  # the first warms caches and does not count
            for engine, command in COMMANDS.items():
                for whose, place in places.items():
                    took = call(command, place if whose == "ours" else place / engine.split()[0])
                    print(f"{turn}: {engine}, {whose}: {took:.2f} s", file=sys.stderr)
                    seconds.setdefault((engine, whose), []).extend([took] * (turn > 0))
    report: dict[str, object] = {"stages": count, "rounds": rounds}
    for engine in COMMANDS:
        ours, empty = (statistics.median(seconds[engine, whose]) for whose in ("ours", "empty"))
        report[engine] = {
            "ours_s": round(ours, 2),
            "empty_s": round(empty, 2),
            "ratio": round(ours / empty, 2),
        }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
