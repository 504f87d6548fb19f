"""claims.yaml: what the paper claims, what of ours is compared with it, and what would count as reproduced.

Parsed here, with every mistake told; judged in `claims`. Errors are fractions.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from alexnet.errors import UserError
from alexnet.report.scores import Metric, View
from alexnet.schema import Params
from alexnet.unique_keys import UniqueKeyLoader

Split = Literal["val", "test"]
Count = Annotated[int, Field(gt=0)]
Groups = Annotated[dict[str, Count], Field(min_length=1)]
Id = Annotated[str, Field(pattern=r"^[a-z0-9_]+(\.[a-z0-9_]+)*$")]
Part = Annotated[float, Field(gt=0, lt=1)]


class Golden(Params):
    """What the 2012 notes have: the value, and the runs it is that of; of two runs, the first less the second."""

    value: float
    runs: Annotated[list[str], Field(min_length=1, max_length=2)]


class Where(Params):
    """Images, and what is counted on them."""

    data: str
    split: Split
    metric: Metric


class Quoted(Where):
    """Another's result that the paper quotes: there is nothing of ours to compare."""

    statistic: Literal["quoted"]


class MeanOverSeeds(Where):
    """The mean error of the first nets of a group; interval over seeds and images."""

    statistic: Literal["mean_over_seeds"]
    group: str
    first: Count
    view: View


class EnsembleOverImages(Where):
    """The error of one ensemble: group -> how many of its nets; interval over images."""

    statistic: Literal["ensemble_over_images"]
    ensemble: Groups


class ViewsOverSeeds(Where):
    """Ten views less the centre view, of the same nets: those of the first of `groups` that has two or more."""

    statistic: Literal["views_over_seeds"]
    groups: Annotated[list[str], Field(min_length=1)]


class GroupsOverSeeds(Where):
    """A group's mean error less another's; seeds are not paired."""

    statistic: Literal["groups_over_seeds"]
    group: str
    against: str


class EnsembleAgainstMean(Where):
    """An ensemble's error less the mean of its own members', over images: of these nets alone."""

    statistic: Literal["ensemble_against_mean"]
    ensemble: Groups


class EnsembleAgainstEnsemble(Where):
    """An ensemble's error less another's, over images: of these nets alone."""

    statistic: Literal["ensemble_against_ensemble"]
    ensemble: Groups
    against: Groups


class Varied(Params):
    """Nets of an entry of `ablations`, known by what it changes; `ablation` is the name it usually has."""

    ablation: str
    variant: str
    protocol: str
    overrides: dict[str, Any]


class AblationOverSeeds(Varied, Where):
    """An ablation's error less that of its base, paired by seed; on its own data and split, as on the paper's."""

    statistic: Literal["ablation_over_seeds"]


class GroupAgainstAblation(Varied, Where):
    """A group's mean error less that of an ablation; seeds are not paired."""

    statistic: Literal["group_against_ablation"]
    group: str


class OverfitOverSeeds(Varied, Where):
    """By how much more an ablation's last val error exceeds its training error than its base's, paired by seed."""

    statistic: Literal["overfit_over_seeds"]


class EpochsOfAblation(Varied, Where):
    """Base's epochs to a val error of `reaches` over those of an ablation, paired by seed."""

    statistic: Literal["epochs_of_ablation"]
    reaches: Part


class EpochsOfActivations(Params):
    """tanh's epochs to a training error of `reaches` over those of ReLU, paired by seed."""

    statistic: Literal["epochs_of_activations"]
    reaches: Part


Absolute = Quoted | MeanOverSeeds | EnsembleOverImages
Ratio = EpochsOfAblation | EpochsOfActivations
Difference = (
    ViewsOverSeeds
    | GroupsOverSeeds
    | EnsembleAgainstMean
    | EnsembleAgainstEnsemble
    | AblationOverSeeds
    | GroupAgainstAblation
    | OverfitOverSeeds
)
Compared = Annotated[Absolute | Difference | Ratio, Field(discriminator="statistic")]
KINDS: Mapping[str, Any] = {"absolute": Absolute, "effect": Difference, "ratio": Ratio}


class Claim(Params):
    """One entry of claims.yaml.

    paper: an error, a difference of errors or a ratio; None where the text gives no number. paper_base: the paper's
    error that a difference is from. expects: on which side of zero (of 1, for a ratio) the paper's effect lies, or
    `equal`: within `within` of the paper's value, of zero where it has none.
    """

    section: str
    claim: str
    kind: Literal["absolute", "effect", "ratio"]
    paper: float | None
    paper_base: Part | None
    golden: Golden | None
    compare: Compared
    expects: Literal["lower", "higher", "equal"]
    within: Part | None

    @property
    def size(self) -> float | None:
        """The effect in the paper, or where it gives no number in the 2012 notes; None if neither has one."""
        return self.paper if self.paper is not None else self.golden.value if self.golden else None

    @model_validator(mode="after")
    def _fits(self) -> Claim:
        if not isinstance(self.compare, KINDS[self.kind]):
            raise ValueError(f"{self.compare.statistic} is no statistic for a claim of kind {self.kind}")
        if (self.within is None) == (self.expects == "equal"):
            raise ValueError("`within` is for what expects `equal`, and only that")
        if self.kind == "absolute" and (self.paper is None or self.expects != "equal"):
            raise ValueError("an absolute claim has the paper's value, and expects `equal`")
        if self.kind == "ratio" and (self.expects == "equal" or (self.size or 1.0) <= 0):
            raise ValueError("a ratio is above 0, and expects `lower` or `higher`")
        zero = 1.0 if self.kind == "ratio" else 0.0
        if self.expects != "equal" and self.size is not None and self.size != zero:
            side = "higher" if self.size > zero else "lower"
            if side != self.expects:
                raise ValueError(f"the paper's effect, {self.size}, is {side}, not {self.expects}")
        return self


class ClaimList(Params):
    """claims.yaml.

    bound: an interval that excludes this part of the paper's effect says `not reproduced`. power: chance with which the
    numbers of seeds and images that an undecided claim asks for would decide it.
    """

    bound: Part
    power: Part
    claims: Annotated[dict[Id, Claim], Field(min_length=1)]


def parse_claims(text: str, where: str = "claims.yaml") -> ClaimList:
    """The claims that `text` holds. Raises UserError on the first mistake. where: what to call the file."""
    try:
        data = yaml.load(text, UniqueKeyLoader)  # noqa: S506 (a SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise UserError(
            f"{where}, line {line}", f"is no YAML: {error.problem}", fix="Mend that line."
        ) from None
    try:
        return ClaimList.model_validate_json(json.dumps(data))
    except ValidationError as error:
        raise _explain(error, where) from None
    except (TypeError, ValueError) as error:
        raise UserError(where, f"holds a value that is no plain data: {error}") from None


def _explain(error: ValidationError, where: str) -> UserError:
    """The mistake to mend first, in our words; an unknown key before the missing one it was meant to be."""
    mistakes = sorted(error.errors(), key=lambda mistake: mistake["type"] != "extra_forbidden")
    mistake = mistakes[0]
    more = f" ({len(mistakes) - 1} more after it)" if len(mistakes) > 1 else ""
    tags = {tag for kind in _statistics() for tag in kind.model_fields["statistic"].annotation.__args__}
    path = [str(key) for key in mistake["loc"] if key not in tags]
    place = f"{where}: {'.'.join(path)}" if path else where
    if mistake["type"] == "extra_forbidden":
        close = difflib.get_close_matches(path[-1], _known_keys(), 1)
        return UserError(
            place, f"unknown key{more}", fix=f"Did you mean {close[0]}?" if close else "Remove it."
        )
    if mistake["type"] == "missing":
        return UserError(place, f"is missing{more}", fix="Add it, as in the other claims.")
    message = mistake["msg"].removeprefix("Value error, ")
    expected = message.removeprefix("Input should be ") if message.startswith("Input should be ") else None
    found = json.dumps(mistake["input"]) if not isinstance(mistake["input"], Mapping) else None
    what = f"has a wrong value{more}" if expected else f"{message}{more}"
    return UserError(place, what, found=found, expected=expected, fix="Correct it.")


def _statistics() -> list[Any]:
    """Every class of `compare`."""
    return [kind for union in KINDS.values() for kind in union.__args__]


def _known_keys() -> list[str]:
    kinds = [Claim, ClaimList, Golden, *_statistics()]
    return sorted({name for kind in kinds for name in kind.model_fields})
