"""How a member is trained and tested: the numbers of §4 and §5, and the learning rate they give."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from alexnet.schema import Params

Count = Annotated[int, Field(gt=0)]
AtLeastZero = Annotated[float, Field(ge=0)]
Part = Annotated[float, Field(ge=0, le=1)]


class ProtocolParams(Params):
    """One entry of `protocols`, a member's overrides joined in."""

    crop: Count
    mirror: bool
    colour_std: AtLeastZero
    batch: Count
    epochs: Count
    lr: Annotated[float, Field(gt=0)]
    drops: tuple[Part, ...]
    momentum: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: AtLeastZero
    precision: Literal["float32"]

    @field_validator("drops")
    @classmethod
    def _rise(cls, drops: tuple[float, ...]) -> tuple[float, ...]:
        if list(drops) != sorted(drops):
            raise ValueError("the parts of the epochs must rise")
        return drops


class PredictParams(Params):
    """The `predict` section."""

    batch: Count
    store_probs_up_to: Annotated[int, Field(ge=0)]


def learning_rate(protocol: ProtocolParams, epoch: int) -> float:
    """The rate of an epoch (from 0): a tenth of the one before at each of `drops`, which are parts of `epochs`.

    Source: §5 divides by 10 by hand, three times; the places are those of the 2012 runs.
    """
    passed = sum(epoch >= round(part * protocol.epochs) for part in protocol.drops)
    return float(protocol.lr / 10**passed)
