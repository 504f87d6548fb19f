"""What params.yaml says of the figures. Apart from what computes them, so that reading it imports no PyTorch."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from alexnet.schema import Params

Rate = Annotated[float, Field(gt=0)]
Seed = Annotated[int, Field(ge=0, lt=1 << 63)]
Count = Annotated[int, Field(gt=0)]


class RatesTried(Params):
    """Rates to choose from, for each activation; the likeliest first, as it ends the others early."""

    relu: Annotated[list[Rate], Field(min_length=1)]
    tanh: Annotated[list[Rate], Field(min_length=1)]


class ReluTanhParams(Params):
    """One line of params.yaml: relu_tanh, by data set."""

    classes: Annotated[int, Field(ge=2)]  # images of the first so many alone; no more than there are
    rates: RatesTried
    choice_seeds: Annotated[list[Seed], Field(min_length=1)]  # by which the rates are chosen
    seeds: Annotated[list[Seed], Field(min_length=1)]  # of the nets that count
    batch: Count
    momentum: Annotated[float, Field(ge=0, lt=1)]
    max_epochs: Count
    target: Annotated[float, Field(gt=0, lt=1)]  # training error at which a training stops

    @model_validator(mode="after")
    def _seeds_are_their_own(self) -> Self:
        if shared := set(self.choice_seeds) & set(self.seeds):
            raise ValueError(f"seed {min(shared)} chooses a rate and counts: the count would flatter it")
        return self


class NeighbourParams(Params):
    """One line of params.yaml: neighbours, by member."""

    data: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]  # the member's data set
    seed: Annotated[int, Field(ge=0, lt=1 << 63)]  # which images are shown
