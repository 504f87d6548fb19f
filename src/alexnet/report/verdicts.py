"""Whether what was measured bears a claim out, by rules fixed beforehand in claims.yaml."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from alexnet.core.statistics import Effect, has_spread, images_to_decide, seeds_to_decide
from alexnet.report.claim_list import Claim, ClaimList
from alexnet.report.comparisons import Finding

Verdict = Literal["reproduced", "not reproduced", "undecided", "not run"]
VERDICTS: tuple[Verdict, ...] = ("reproduced", "not reproduced", "undecided", "not run")
DOUBLINGS = 16  # of the images there are


@dataclass(frozen=True)
class Judgement:
    """A verdict with its reason, in whole sentences."""

    verdict: Verdict
    reason: str


def judge(claim: Claim, finding: Finding, rules: ClaimList, confidence: float) -> Judgement:
    """The verdict on a claim.

    An effect is reproduced if its interval excludes zero on the expected side; not, if it lies on the other side or
    excludes `rules.bound` of the expected effect. What is expected to be equal is reproduced if the interval lies
    within `within`; not, if it lies wholly outside. Otherwise undecided. Without a measurement, and for an absolute
    error on other images than the paper's or by nets of another size, not run.
    """
    if finding.missing is not None:
        return Judgement("not run", finding.missing)
    if claim.kind == "absolute" and not finding.is_papers:
        return Judgement("not run", _say(_why_not_absolute(finding), *finding.notes))
    if reason := _why_no_interval(finding):
        return Judgement("undecided", _say(reason, *finding.notes))
    assert finding.interval is not None
    rule = _Equal.of(claim, finding) if claim.expects == "equal" else _Sided.of(claim, finding, rules.bound)
    verdict, reason = rule.judge(*finding.interval)
    if verdict == "undecided":
        assert finding.value is not None and finding.effect is not None
        needed = what_would_decide(finding.effect, rule.distance(finding.value), confidence, rules.power)
        reason = f"{reason} {needed}"
    return Judgement(verdict, _say(reason, *finding.notes))


def what_would_decide(effect: Effect, distance: float, confidence: float, power: float) -> str:
    """How many seeds or images would decide, the value and the spread staying as they are, as a sentence."""
    chance = f"with a chance of {100 * power:.0f} %"
    if distance <= 0:
        return "The value lies on the very limit, which no number of seeds or images decides."
    seeds = seeds_to_decide(effect, distance, confidence, power)
    images = images_to_decide(effect, distance, confidence, power)
    ways = []
    if seeds is not None:
        ways.append(f"{seeds:,} seeds" + (" on these images" if effect.num_images else ""))
    if images is not None:
        ways.append(f"{images:,} images" + (" with these seeds" if effect.seeds else ""))
    if ways:
        return f"If it stays as it is, {' or '.join(ways)} would decide {chance}."
    both = _least_of_both(effect, distance, confidence, power)
    if both is not None:
        return f"If it stays as it is, {both[0]:,} seeds on {both[1]:,} images would decide {chance}."
    return "If it stays as it is, no number of seeds or images in reach would decide."


def _least_of_both(
    effect: Effect, distance: float, confidence: float, power: float
) -> tuple[int, int] | None:
    """Seeds and images that together would decide, neither being many times more than there are; None if none do."""
    if not effect.seeds or not effect.num_images:
        return None
    found = []
    for doublings in range(1, DOUBLINGS + 1):
        images = effect.num_images << doublings
        seeds = seeds_to_decide(effect.resized(num_images=images), distance, confidence, power)
        if seeds is not None:
            found.append((max(seeds / effect.seeds[0].num, 1 << doublings), seeds, images))
    return min(found)[1:] if found else None


@dataclass(frozen=True)
class _Sided:
    """An effect is on one side of zero; all numbers are turned so that this side is above. least: what an interval must
    reach to agree with the paper, None where its size is not known."""

    sign: int
    least: float | None
    scaled: bool
    bound: float

    @classmethod
    def of(cls, claim: Claim, finding: Finding, bound: float) -> _Sided:
        sign = 1 if claim.expects == "higher" else -1
        if claim.size is None:
            return cls(sign, None, False, bound)
        size = math.log(claim.size) if claim.kind == "ratio" else claim.size
        factor = _factor(claim, finding)
        return cls(sign, bound * abs(size) * factor, factor != 1, bound)

    def judge(self, low: float, high: float) -> tuple[Verdict, str]:
        low, high = sorted((self.sign * low, self.sign * high))
        is_small = self.least is not None and high < self.least
        size = f"{self.bound:g} of the expected effect" + (
            ", scaled to the error here" if self.scaled else ""
        )
        if low > 0:
            more = f" It also excludes {size}: the effect is smaller here." if is_small else ""
            return "reproduced", f"The interval excludes zero on the expected side.{more}"
        if high < 0:
            return "not reproduced", "The interval lies on the other side of zero than expected."
        if is_small:
            return "not reproduced", f"The interval holds zero and excludes {size}."
        also = f" and {size}" if self.least is not None else ""
        return "undecided", f"The interval holds zero{also}."

    def distance(self, value: float) -> float:
        """From the value to the limit that an interval about it would exclude first, at best."""
        value = self.sign * value
        if self.least is None:
            return abs(value)
        return max(abs(value), self.least - value)


@dataclass(frozen=True)
class _Equal:
    """A value is where it is expected, within a margin."""

    centre: float
    within: float
    what: str

    @classmethod
    def of(cls, claim: Claim, finding: Finding) -> _Equal:
        assert claim.within is not None
        factor = _factor(claim, finding)
        what = "the paper's value" if claim.paper is not None else "zero"
        return cls((claim.paper or 0.0) * factor, claim.within * factor, what)

    def judge(self, low: float, high: float) -> tuple[Verdict, str]:
        low, high, margin = low - self.centre, high - self.centre, f"{self.within:.2g}"
        if -self.within < low and high < self.within:
            return "reproduced", f"The interval lies within {margin} of {self.what}."
        if low > self.within or high < -self.within:
            return "not reproduced", f"All of the interval lies further than {margin} from {self.what}."
        return "undecided", f"The interval reaches from within {margin} of {self.what} to beyond."

    def distance(self, value: float) -> float:
        """From the value to the margin's nearer end."""
        return abs(abs(value - self.centre) - self.within)


def _factor(claim: Claim, finding: Finding) -> float:
    """What the paper's effect is multiplied by on other data: the base's error there over that in the paper."""
    if claim.kind != "effect" or claim.paper_base is None or finding.is_papers or not finding.base:
        return 1.0
    return finding.base / claim.paper_base


def _why_not_absolute(finding: Finding) -> str:
    what = "An absolute error is judged only on the paper's own images by nets of its size"
    return f"{what}; this one is of {finding.scope}."


def _why_no_interval(finding: Finding) -> str | None:
    """Why an effect cannot be judged, or None."""
    assert finding.effect is not None
    if any(seeds.num < 2 for seeds in finding.effect.seeds):
        return "A claim about a method needs two seeds or more, of each kind of net; there is one."
    if not has_spread(finding.effect):
        what = "on any image" if finding.images else "in any seed"
        return f"Nothing differs {what}, so there is no spread to judge by."
    return None


def _say(*sentences: str) -> str:
    return " ".join(filter(None, sentences))
