"""The rates of each epoch (§5): fixed steps, a rule for plateaus, or the changes of a 2012 run as noted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from alexnet.core.protocol import AS_RUN, LedgerSchedule, PlateauSchedule, ProtocolParams, StepSchedule


@dataclass(frozen=True)
class Rates:
    """What an epoch trains with; a rate of 0 freezes."""

    weights: float
    biases: float
    conv1_weights: float
    conv1_biases: float
    has_colour_noise: bool

    def of(self, name: str) -> float:
        """The rate of a parameter, such as conv2.bias."""
        if name.startswith("conv1."):
            return self.conv1_biases if name.endswith(".bias") else self.conv1_weights
        return self.biases if name.endswith(".bias") else self.weights


@dataclass(frozen=True)
class Ledger:
    """A 2012 run: epochs of its changes, None where it was not noted. Source: the run notes of the 2012 release."""

    begin: int  # epoch at which the recorded part begins
    drops: tuple[tuple[int, float], ...]  # epoch, part of the starting rate from there on
    conv1_slow: int | None  # conv1 at a thousandth of the starting rate
    conv1_frozen: int | None
    colour_off: int | None
    end: int


LEDGERS = {
    "145": Ledger(0, ((25, 1e-1), (51, 1e-2), (79, 1e-3)), 67, 72, 67, 91),
    "145-2010": Ledger(0, ((23, 1e-1), (51, 1e-2), (78, 1e-3)), 68, 72, 68, 93),
    "145-half": Ledger(0, ((20, 1e-1), (48, 1e-2)), 66, 72, 66, 96),
    "148": Ledger(0, ((22, 1e-1), (44, 1e-2), (86, 1e-3)), 69, 73, 69, 97),
    "147": Ledger(0, ((23, 1e-1), (51, 1e-2), (79, 1e-3)), None, 79, None, 90),
    "145-continued": Ledger(91, ((91, 1e-1), (107, 1e-2), (124, 1e-3)), None, 91, 124, 135),
}


@dataclass(frozen=True)
class Decision:
    """What the plateau rule decided after an epoch (from 0): keep, drop or stop, and why."""

    epoch: int
    action: str
    reason: str


def rates_of(protocol: ProtocolParams, epoch: int, val_errors: Sequence[float] = ()) -> Rates:
    """The rates of an epoch (from 0).

    val_errors: validation error of each epoch before it, which only the plateau rule looks at; so a resumed training
    decides as an undisturbed one. Sources: §5 divides the rate by 10 by hand, equal for all layers; the 2012 code keeps
    that of the biases, and freezes conv1 and turns colour noise off towards the end.
    """
    part, slow = _part_of_rate(protocol, epoch, val_errors)
    weights = protocol.lr * part
    biases = weights if protocol.bias_lr == "equal" else protocol.bias_lr
    conv1 = protocol.lr * slow if slow is not None else weights
    is_frozen = _is_past(protocol, epoch, "freeze_conv1_at")
    return Rates(
        weights=weights,
        biases=biases,
        conv1_weights=0.0 if is_frozen else conv1,
        conv1_biases=0.0 if is_frozen else (conv1 if protocol.bias_lr == "equal" else biases),
        has_colour_noise=protocol.colour_std > 0 and not _is_past(protocol, epoch, "colour_off_at"),
    )


def _part_of_rate(
    protocol: ProtocolParams, epoch: int, val_errors: Sequence[float]
) -> tuple[float, float | None]:
    """The part of the starting rate, and that of conv1 where it has its own."""
    schedule = protocol.schedule
    if isinstance(schedule, StepSchedule):
        passed = sum(epoch >= round(part * protocol.epochs) for part in schedule.drops)
        return 1 / 10**passed, None
    if isinstance(schedule, PlateauSchedule):
        dropped = sum(decision.action == "drop" for decision in decide(schedule, val_errors))
        return 1 / 10**dropped, None
    ledger = LEDGERS[schedule.run]
    passed_parts = [part for at, part in ledger.drops if epoch >= scale(ledger, at, protocol.epochs)]
    is_slow = ledger.conv1_slow is not None and epoch >= scale(ledger, ledger.conv1_slow, protocol.epochs)
    follows = is_slow and protocol.freeze_conv1_at == AS_RUN
    return (passed_parts[-1] if passed_parts else 1.0), (1e-3 if follows else None)


def _is_past(protocol: ProtocolParams, epoch: int, switch: str) -> bool:
    """Whether the change that a switch dates has come."""
    value = getattr(protocol, switch)
    if value is None:
        return False
    if value != AS_RUN:
        return bool(epoch >= round(value * protocol.epochs))
    assert isinstance(protocol.schedule, LedgerSchedule)
    ledger = LEDGERS[protocol.schedule.run]
    at = ledger.conv1_frozen if switch == "freeze_conv1_at" else ledger.colour_off
    return at is not None and epoch >= scale(ledger, at, protocol.epochs)


def scale(ledger: Ledger, epoch: int, epochs: int) -> int:
    """The epoch that stands for a recorded one when the run takes `epochs` epochs in all."""
    return round((epoch - ledger.begin) * epochs / (ledger.end - ledger.begin))


def decide(schedule: PlateauSchedule, val_errors: Sequence[float]) -> list[Decision]:
    """The decision after each epoch, from all validation errors so far, with its reason.

    Source: §5 divides the rate by 10 when the validation error stops improving, three times; the rule is ours.
    """
    decisions: list[Decision] = []
    best, best_epoch, waited, dropped = float("inf"), -1, 0, 0
    for epoch, error in enumerate(val_errors):
        if error < best - schedule.least_gain:
            best, best_epoch, waited = error, epoch, 0
            decisions.append(Decision(epoch, "keep", f"validation error {error:.4f} is the best so far"))
            continue
        waited += 1
        reason = (
            f"validation error {error:.4f} is not better than {best:.4f} of epoch {best_epoch + 1} "
            f"by {schedule.least_gain:g}, epoch {waited} of {schedule.patience} in a row"
        )
        if waited < schedule.patience:
            decisions.append(Decision(epoch, "keep", reason))
        elif dropped < schedule.drops:
            dropped, waited = dropped + 1, 0
            decisions.append(
                Decision(epoch, "drop", f"{reason}: lr divided by 10, {dropped} of {schedule.drops} times")
            )
        else:
            decisions.append(Decision(epoch, "stop", f"{reason}, after all {schedule.drops} reductions"))
            break
    return decisions
