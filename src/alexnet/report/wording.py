"""Numbers as readers are shown them: errors in percent, differences of errors in points, and how many decimals."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

import pandas as pd

MINUS, NO_BREAK = "\N{MINUS SIGN}", "\N{NO-BREAK SPACE}"
MANY_IMAGES = 10_000  # from here on a hundredth of a percent is an image or more
MOST_DECIMALS = 3
LEAST_P = 0.001
_MARGIN = re.compile(r"\b(within|further than) (\d[\d.]*(?:e-\d+)?) (of|from)\b")


def decimals_for(num_images: Any) -> int:
    """How many decimals of a percent are worth showing of an error over so many images (NA: few)."""
    return 2 if not is_missing(num_images) and num_images >= MANY_IMAGES else 1


def decimals_of(differences: Iterable[float], decimals: int) -> int:
    """As many decimals of points as it takes that no difference but zero looks like zero; MOST_DECIMALS at most.

    An interval that just excludes zero must not seem to hold it. differences: NaN where there is none.
    """
    known = [abs(100 * difference) for difference in differences if not is_missing(difference)]
    while decimals < MOST_DECIMALS and any(0 < each < 0.5 * 10**-decimals for each in known):
        decimals += 1
    return decimals


def is_missing(value: Any) -> bool:
    """Whether a cell of a table is empty."""
    return value is None or bool(pd.isna(value))


def percent(fraction: float, decimals: int = 1) -> str:
    """An error, say `37.5 %`."""
    return f"{_number(100 * fraction, decimals)}{NO_BREAK}%"


def level(confidence: float) -> str:
    """That of an interval: `95 %`."""
    return f"{100 * confidence:g}{NO_BREAK}%"


def points(difference: float, decimals: int = 1) -> str:
    """A difference of errors in percent points, with its sign, say `+1.4`; none for zero."""
    text = _number(100 * difference, decimals)
    return f"+{text}" if round(100 * difference, decimals) > 0 else text


def value(number: float, kind: str, decimals: int = 1) -> str:
    """A value of a claim: an error in percent, an effect in points, a ratio as so many times."""
    if kind == "ratio":
        return f"{number:.1f} times"
    return f"{points(number, decimals)}{NO_BREAK}points" if kind == "effect" else percent(number, decimals)


def span(low: float, high: float, kind: str, decimals: int = 1) -> str:
    """An interval in the units of `value`, without naming them."""
    if kind == "ratio":
        return f"{low:.1f} to {high:.1f}"
    show = points if kind == "effect" else lambda number, places: _number(100 * number, places)
    return f"{show(low, decimals)} to {show(high, decimals)}"


def p_value(p: float) -> str:
    """A p-value to three decimals."""
    return f"under {LEAST_P}" if p < LEAST_P else f"{p:.3f}"


def count(number: int, noun: str) -> str:
    """A number of things: `1 net`, `1,000 images`, `2 classes`."""
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{number:,}{NO_BREAK}{noun if number == 1 else plural}"


def duration(seconds: float) -> str:
    """A time in the units one would say it in."""
    if seconds < 60:
        return f"{seconds:.1f}{NO_BREAK}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}{NO_BREAK}min {rest:02}{NO_BREAK}s"
    return f"{minutes // 60:,}{NO_BREAK}h {minutes % 60:02}{NO_BREAK}min"


def reason(text: str, kind: str) -> str:
    """A verdict's reason; margins, which stand there as fractions, in points."""
    if kind == "ratio":
        return text

    def in_points(found: re.Match[str]) -> str:
        number = f"{100 * float(found[2]):.2g}"
        return f"{found[1]} {number} point{'s' * (number != '1')} {found[3]}"

    return _MARGIN.sub(in_points, text)


def sentences(text: str) -> list[str]:
    """A text's sentences: each ends before a capital letter."""
    return re.split(r"(?<=[.!?]) (?=[A-Z])", text)


def listing(names: list[str]) -> str:
    """`a, b and c`."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def _number(number: float, decimals: int) -> str:
    """With a real minus; zero has no sign."""
    text = f"{number:,.{decimals}f}"
    if not math.isfinite(number):
        return text
    return text.removeprefix("-") if float(text.replace(",", "")) == 0 else text.replace("-", MINUS)
