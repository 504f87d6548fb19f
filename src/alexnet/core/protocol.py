"""How a member is trained and tested: the numbers of §4 and §5, and a switch for each point in doubt."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from alexnet.core.layers import NetworkSwitches
from alexnet.schema import Params

Count = Annotated[int, Field(gt=0)]
AtLeastZero = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Part = Annotated[float, Field(ge=0, le=1)]
AS_RUN = "as_run"


class StepSchedule(Params):
    """lr a tenth of what it was at each of `drops`, which are parts of the epochs."""

    kind: Literal["steps"]
    drops: tuple[Part, ...]

    @field_validator("drops")
    @classmethod
    def _rise(cls, drops: tuple[float, ...]) -> tuple[float, ...]:
        if list(drops) != sorted(drops):
            raise ValueError("the parts of the epochs must rise")
        return drops


class PlateauSchedule(Params):
    """lr a tenth of what it was when the validation error stalls, `drops` times; the next stall ends the training.

    It stalls when `patience` epochs in a row are not better than the best so far by `least_gain`, a fraction of
    the images.
    """

    kind: Literal["plateau"]
    patience: Count
    least_gain: AtLeastZero
    drops: Count


class LedgerSchedule(Params):
    """The changes of a 2012 run as its authors noted them, scaled to the number of epochs."""

    kind: Literal["ledger"]
    run: Literal["145", "145-2010", "145-half", "148", "147", "145-continued"]


Schedule = Annotated[
    Annotated[StepSchedule, Tag("steps")]
    | Annotated[PlateauSchedule, Tag("plateau")]
    | Annotated[LedgerSchedule, Tag("ledger")],
    Discriminator("kind"),
]


class ProtocolParams(NetworkSwitches):
    """One entry of `protocols`, joined with the default one, a member's overrides joined in."""

    crop: Count
    mirror: bool
    crop_offsets: Literal["with_last", "without_last", "centre"]
    crop_chunk: Count
    colour_std: AtLeastZero
    colour_basis: Literal["stddev", "eigenvalue01"]
    colour_rescale: bool
    colour_off_at: Part | Literal["as_run"] | None
    fixed_order: bool
    batch: Count
    epochs: Count
    lr: Positive
    schedule: Schedule
    bias_lr: Positive | Literal["equal"]
    freeze_conv1_at: Part | Literal["as_run"] | None
    momentum: Annotated[float, Field(gt=0, lt=1)]
    weight_decay: AtLeastZero
    decay_biases: bool
    lr_in_velocity: bool
    start_layers: Literal["all", "all_but_fc8", "convs"]
    stuck_after: Count
    precision: Literal["float32", "bfloat16"]

    @model_validator(mode="after")
    def _recorded_changes_need_a_ledger(self) -> ProtocolParams:
        for name in ("colour_off_at", "freeze_conv1_at"):
            if getattr(self, name) == AS_RUN and not isinstance(self.schedule, LedgerSchedule):
                raise ValueError(
                    f"{name} is {AS_RUN}, which a schedule of kind {self.schedule.kind} does not record"
                )
        return self


class PredictParams(Params):
    """The `predict` section."""

    batch: Count
    store_probs_up_to: Annotated[int, Field(ge=0)]
