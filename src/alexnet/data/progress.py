"""How far long work has come: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Any, Protocol

from tqdm import tqdm

LINE_INTERVAL_S = 10.0


class Advance(Protocol):
    """Says that `n` more are done; `note` replaces what stands behind the figures."""

    def __call__(self, n: int = 1, note: str = "") -> None:
        """Advances."""


@contextlib.contextmanager
def progress(total: int | None, what: str, unit: str, done: int = 0) -> Iterator[Advance]:
    """A function that reports progress on stderr, with rate and time left.

    total: how many `unit`s there are, None if unknown. what: the work, such as "prepare ilsvrc2012".
    unit: singular noun; "B" counts bytes and is shown with prefixes. done: how many an earlier run did.
    """
    terminal = sys.stderr.isatty()
    bar: tqdm[Any]
    with tqdm(
        total=total, initial=done, desc=what, unit=unit if unit == "B" else f" {unit}", unit_scale=unit == "B",
        disable=not terminal,
    ) as bar:  # fmt: skip
        yield _on_terminal(bar) if terminal else _on_lines(total, what, unit, done)


def _on_terminal(bar: tqdm[Any]) -> Advance:
    """Moves a bar."""

    def advance(n: int = 1, note: str = "") -> None:
        if note:
            bar.set_postfix_str(note, refresh=False)
        bar.update(n)

    return advance


def _on_lines(total: int | None, what: str, unit: str, before: int) -> Advance:
    """Prints a line when the last one is old; short work prints none."""
    started = last = time.monotonic()
    done = 0

    def advance(n: int = 1, note: str = "") -> None:
        nonlocal done, last
        done += n
        now = time.monotonic()
        if now - last >= LINE_INTERVAL_S:
            last = now
            print(describe(what, unit, done, total, now - started, note, before), file=sys.stderr, flush=True)

    return advance


def describe(
    what: str, unit: str, done: int, total: int | None, elapsed_s: float, note: str = "", before: int = 0
) -> str:
    """One line such as `train cnn1: 1,200 of 4,000 images, 30%, 100/s, 28 s left, loss 2.1`.

    done: in elapsed_s seconds, after the `before` of an earlier run.
    """
    rate = done / elapsed_s if elapsed_s > 0 else 0.0
    done += before
    scale, name = (1e6, "MB") if unit == "B" else (1.0, f"{unit}s")
    parts = [f"{done / scale:,.0f} {name}"]
    if total is not None:
        parts = [f"{done / scale:,.0f} of {total / scale:,.0f} {name}", f"{done / max(total, 1):.0%}"]
    parts.append(f"{rate / scale:,.4g}/s")
    if total is not None and rate > 0:
        parts.append(f"{describe_duration((total - done) / rate)} left")
    return f"{what}: " + ", ".join([*parts, *([note] if note else [])])


def describe_duration(duration_s: float) -> str:
    """A duration in its largest fitting units, such as `45 s`, `12 min` or `3 h 05 min`."""
    if duration_s < 60:
        return f"{duration_s:.0f} s"
    minutes = round(duration_s / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
