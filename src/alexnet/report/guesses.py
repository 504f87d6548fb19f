"""What nets say of images, for a terminal: five labels with words, probabilities and bars."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

BARS = (8, 24)  # characters of a bar of probability 1, at least and at most
LEAST_WORDS, WANTED_WORDS = 8, 24  # characters of a name
FRAME = len("      100.0 %  ")  # what stands about a line's wnid, words and bar
EIGHTHS = " ▏▎▍▌▋▊▉"


@dataclass(frozen=True)
class Label:
    """A class an image may be of. prob: from 0 to 1."""

    wnid: str
    words: str
    prob: float


@dataclass(frozen=True)
class Guess:
    """The best labels of an image, best first. by: the net, or the nets that were averaged."""

    image: str
    by: str
    labels: list[Label]


def to_json(guesses: Sequence[Guess]) -> str:
    """The guesses as a JSON list."""
    return json.dumps([asdict(guess) for guess in guesses], indent=1, ensure_ascii=False) + "\n"


def render(guesses: Sequence[Guess], width: int, *, is_plain: bool) -> str:
    """The guesses as text, a line for each label. width: characters of a line. is_plain: ASCII alone, no blocks."""
    labels = [label for guess in guesses for label in guess.labels]
    ids = max((len(label.wnid) for label in labels), default=0)
    left = width - FRAME - ids
    bar = min(max(left - WANTED_WORDS, BARS[0]), BARS[1])
    longest = max((len(_name(label)) for label in labels), default=0)
    words = min(max(left - bar, LEAST_WORDS), longest)
    lines: list[str] = []
    for guess in guesses:
        lines.append(f"{guess.image} ({guess.by})")
        for label in guess.labels:
            name = shorten(_name(label), words, "..." if is_plain else "…")
            percent, drawn = f"{100 * label.prob:5.1f} %", _bar(label.prob, bar, is_plain)
            lines.append(f"  {label.wnid:{ids}}  {name:{words}}  {percent}  {drawn}".rstrip())
        lines.append("")
    return "\n".join(lines[:-1]) + "\n"


def _name(label: Label) -> str:
    return label.words or label.wnid


def _bar(prob: float, width: int, is_plain: bool) -> str:
    """A bar whose length is the probability, to an eighth of a character."""
    if is_plain:
        return "#" * round(width * prob)
    whole, part = divmod(round(width * prob * 8), 8)
    return "█" * whole + EIGHTHS[part].strip()


def shorten(text: str, width: int, mark: str = "…") -> str:
    """The text, cut to a width with a mark where it was longer."""
    return text if len(text) <= width else text[: max(0, width - len(mark))].rstrip(" ,") + mark
