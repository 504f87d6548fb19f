"""What a claim compares, measured: which nets, on which images, how large the effect is and how sure.

Knows nothing of what the paper says; `claims` judges.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import pandas as pd

from alexnet.core.epochs import epochs_to
from alexnet.core.intervals import interval_over_images
from alexnet.core.predictions import Predictions
from alexnet.core.statistics import (
    Effect,
    exact_mcnemar,
    image_effect,
    interval,
    mean_effect,
    p_value,
    paired_effect,
    seed_effect,
    unpaired_effect,
)
from alexnet.report.claim_list import (
    AblationOverSeeds,
    EnsembleAgainstEnsemble,
    EnsembleAgainstMean,
    EnsembleOverImages,
    EpochsOfAblation,
    EpochsOfActivations,
    GroupAgainstAblation,
    GroupsOverSeeds,
    MeanOverSeeds,
    OverfitOverSeeds,
    Quoted,
    Varied,
    ViewsOverSeeds,
    Where,
)
from alexnet.report.paper import TABLES
from alexnet.report.scores import (
    Floats,
    Metric,
    View,
    check_same_images,
    ensemble_mistakes,
    mistakes,
    why_unscored,
)

OFFICIAL = ("ilsvrc", "fall")  # kinds of source that are the paper's own images
BASE_VARIANT, BASE_PROTOCOL = "two_columns", "default"  # of the nets that claims about one change are against
TUNED = frozenset(
    {"lr", "epochs", "batch", "stuck_after", "precision"}
)  # what an ablation may need besides its change
ABSENT = object()
QUOTED = "Another's result, which the paper quotes: there is nothing of ours to compare."


class NetLine(Protocol):
    """What is asked of a line of `members`."""

    @property
    def group(self) -> str:
        """Which row it belongs to."""

    @property
    def data(self) -> str:
        """The data set it is trained on and predicts."""

    @property
    def variant(self) -> str:
        """Its network."""

    @property
    def protocol(self) -> str:
        """How it is trained."""

    @property
    def overrides(self) -> Mapping[str, Any]:
        """Switches of the protocol that it changes."""

    @property
    def seed(self) -> int:
        """Of its draws."""


class AblationLine(Protocol):
    """What is asked of an entry of `ablations`."""

    @property
    def base(self) -> str:
        """The group it is compared with."""

    @property
    def data(self) -> str:
        """The data set it is trained on and predicts."""

    @property
    def split(self) -> str:
        """The images it is compared on."""

    @property
    def variant(self) -> str:
        """Its network."""

    @property
    def protocol(self) -> str:
        """How it is trained."""

    @property
    def overrides(self) -> Mapping[str, Any]:
        """Switches of the protocol that it changes."""

    @property
    def seeds(self) -> Sequence[int]:
        """Of its nets."""


class Store(Protocol):
    """Where predictions and histories come from; each raises UserError if what it is asked for is missing."""

    def predictions(self, member: str, split: str, *, with_probs: bool = False) -> Predictions:
        """Those of a member; probabilities of ten views only where they are asked for."""

    def ablation_predictions(self, ablation: str, seed: int) -> Predictions:
        """Those of an ablation's net for the ablation's split."""

    def history(self, member: str) -> pd.DataFrame:
        """A row per epoch of a member's training."""

    def ablation_history(self, ablation: str, seed: int) -> pd.DataFrame:
        """A row per epoch of the training of an ablation's net."""

    def activations(self) -> tuple[pd.DataFrame, str] | None:
        """Training errors of ReLU and tanh at their chosen rates (activation, seed, epoch, train_top1_error) and the
        data they are of; None where there are none."""


@dataclass(frozen=True)
class Run:
    """A run of the workflow: its nets, its data and what came of them.

    kinds: data set -> kind of its source. left_out: data set -> reason. is_full_size: nets and images of the paper's
    size. confidence: of intervals.
    """

    members: Mapping[str, NetLine]
    ablations: Mapping[str, AblationLine]
    left_out: Mapping[str, str]
    kinds: Mapping[str, str]
    is_full_size: bool
    confidence: float
    store: Store
    _ensembles: dict[tuple[tuple[str, ...], str], dict[str, Floats]] = field(default_factory=dict, repr=False)

    def of_group(self, group: str, data: str) -> dict[str, NetLine]:
        """The members of a group that are trained on `data`, in order."""
        return {name: line for name, line in self.members.items() if (line.group, line.data) == (group, data)}

    def is_official(self, data: str) -> bool:
        """Whether the images are the paper's own."""
        return self.kinds.get(data) in OFFICIAL

    def scope(self, data: str, split: str) -> str:
        """The images by name, with what they are where they are not the paper's."""
        return f"{data} {split}" + (
            "" if self.is_official(data) else f" ({self.kinds.get(data, 'no source')})"
        )


@dataclass(frozen=True)
class Finding:
    """What was measured, or `missing`, why nothing was.

    value, interval: a fraction, a difference, or the logarithm of a ratio. effect: with its spread, as far as that can
    be judged by. base: the error that a difference is from. is_papers: the paper's own images, nets of its size.
    """

    scope: str = ""
    missing: str | None = None
    value: float | None = None
    interval: tuple[float, float] | None = None
    p_value: float | None = None
    effect: Effect | None = None
    base: float | None = None
    seeds: int | None = None
    images: int | None = None
    is_papers: bool = False
    notes: tuple[str, ...] = ()


class NotRunError(Exception):
    """Why something was not measured, as a sentence."""


def measure(run: Run, compare: Any) -> Finding:
    """What a claim's `compare` finds in a run.

    Raises UserError if predictions are missing or damaged, or nets that are compared predict different images.
    """
    if isinstance(compare, Quoted):
        return Finding(missing=QUOTED)
    try:
        return _MEASURES[type(compare)](run, compare)
    except NotRunError as error:
        scope = run.scope(compare.data, compare.split) if isinstance(compare, Where) else ""
        return Finding(scope=scope, missing=str(error))


def p_against(finding: Finding, error: float) -> float | None:
    """The chance of so large a distance of a measured error from `error`: over seeds and images, of one net or one
    ensemble over images (exact binomial test). None where nothing was measured."""
    if finding.effect is None or finding.value is None or finding.images is None:
        return None
    if any(seeds.num > 1 for seeds in finding.effect.seeds):
        return p_value(finding.effect, error)
    from scipy.stats import binomtest

    return float(binomtest(round(finding.value * finding.images), finding.images, error).pvalue)


def find_ablation(run: Run, wanted: Varied) -> tuple[str, tuple[str, ...]]:
    """The name of the run's ablation that changes what is wanted, and nothing but that, with notes on what it needs
    besides. Of several the first on the paper's own images.

    Raises NotRunError if there is none.
    """
    found: list[tuple[int, bool, int, str, set[str]]] = []
    for name, line in run.ablations.items():
        bases = run.of_group(line.base, line.data).values()
        if (line.variant, line.protocol) != (wanted.variant, wanted.protocol) or not bases:
            continue
        base = next(iter(bases))
        if (base.variant, base.protocol) != (BASE_VARIANT, BASE_PROTOCOL):
            continue
        changed = changed_switches(line.overrides, base.overrides)
        besides = changed - set(wanted.overrides)
        fits = all(
            is_same(line.overrides.get(switch, ABSENT), value) for switch, value in wanted.overrides.items()
        )
        if fits and besides <= TUNED:
            where = (line.data, line.split) == (getattr(wanted, "data", ""), getattr(wanted, "split", ""))
            found.append((len(besides), not where, len(found), name, besides))
    if found:
        _, _, _, name, besides = min(found)
        notes = (f"Its nets also differ in {', '.join(sorted(besides))}.",) if besides else ()
        return name, notes
    data = getattr(wanted, "data", "")
    if data in run.left_out:
        raise NotRunError(f"Needs {data}, which was left out: {run.left_out[data]}.")
    if wanted.ablation in run.ablations:
        raise NotRunError(
            f"The ablation `{wanted.ablation}` of params.yaml changes something else than this claim."
        )
    raise NotRunError(
        f"params.yaml has no ablation `{wanted.ablation}`; it is an entry of the profile imagenet."
    )


def changed_switches(overrides: Mapping[str, Any], base: Mapping[str, Any]) -> set[str]:
    """The switches that two sets of overrides of one protocol do not have in common."""
    return {
        name
        for name in {*overrides, *base}
        if not is_same(overrides.get(name, ABSENT), base.get(name, ABSENT))
    }


def is_same(one: Any, other: Any) -> bool:
    """Whether two values of a switch are written alike, a list or a tuple; true is not 1."""
    return bool(_plain(one) == _plain(other) and isinstance(one, bool) == isinstance(other, bool))


def pair_by_seed(run: Run, name: str) -> tuple[list[int], list[str], tuple[str, ...]]:
    """The seeds an ablation shares with its base, the base's members with them, and notes on seeds left out.

    Raises NotRunError if they share none.
    """
    line = run.ablations[name]
    by_seed = {member.seed: found for found, member in reversed(run.of_group(line.base, line.data).items())}
    seeds = [seed for seed in line.seeds if seed in by_seed]
    if not seeds:
        raise NotRunError(f"No net of group {line.base} on {line.data} has a seed of the ablation `{name}`.")
    lone = [str(seed) for seed in line.seeds if seed not in by_seed]
    notes = (f"The base has no net of seed {', '.join(lone)}.",) if lone else ()
    return seeds, [by_seed[seed] for seed in seeds], notes


def paired_mistakes(run: Run, name: str, metric: Metric) -> tuple[list[int], Floats, Floats, tuple[str, ...]]:
    """Seeds, the mistakes of an ablation's nets and those of its base's, (seeds, images) each, and notes."""
    line = run.ablations[name]
    seeds, bases, notes = pair_by_seed(run, name)
    varied = [run.store.ablation_predictions(name, seed) for seed in seeds]
    plain = [run.store.predictions(base, line.split) for base in bases]
    both = _mistakes([*varied, *plain], metric, "ten")
    return seeds, both[: len(seeds)], both[len(seeds) :], notes


def compare_paired(
    run: Run, first: Floats, second: Floats, *, scope: str, is_papers: bool, notes: Iterable[str] = ()
) -> Finding:
    """The finding of (seeds, images) mistakes paired by seed; of a single pair, McNemar's test in words."""
    effect, notes = paired_effect(first, second), list(notes)
    if len(first) == 1:
        notes.append(
            f"Of these two nets alone McNemar's test has p = {exact_mcnemar(first[0], second[0]):.2g}."
        )
    finding = Finding(scope=scope, base=float(second.mean()), is_papers=is_papers, notes=tuple(notes))
    return _with_effect(run, finding, effect, seeds=len(first), images=first.shape[1])


def _with_effect(run: Run, finding: Finding, effect: Effect, *, seeds: int, images: int | None) -> Finding:
    return replace(
        finding,
        value=effect.value,
        interval=interval(effect, run.confidence),
        p_value=p_value(effect),
        effect=effect,
        seeds=seeds,
        images=images,
    )


def _plain(value: Any) -> Any:
    """Lists for tuples, as YAML and Python write the same thing."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _mistakes(nets: Sequence[Predictions], metric: Metric, view: View) -> Floats:
    """(nets, labelled images) mistakes. Raises NotRunError where there are no labels."""
    for net in nets:
        if reason := why_unscored(net):
            raise NotRunError(f"{reason[0].upper()}{reason[1:]}.")
    check_same_images(nets)
    return np.stack([mistakes(net, metric, view) for net in nets])


def _names(run: Run, group: str, data: str, first: int | None = None) -> list[str]:
    """Members of a group on `data`. Raises NotRunError, with the reason, if there is none."""
    names = list(run.of_group(group, data))[:first]
    if names:
        return names
    needed = {data, *(each for table in TABLES.values() for each in table.groups.get(group, ()))}
    reasons = [
        f"{each}, which was left out: {run.left_out[each]}" for each in sorted(needed & set(run.left_out))
    ]
    if reasons:
        raise NotRunError(f"Needs {'; and '.join(reasons)}.")
    raise NotRunError(f"params.yaml has no member of group {group} on {data}.")


def _of_group(run: Run, where: Where, group: str, view: View = "ten", first: int | None = None) -> Floats:
    nets = [run.store.predictions(name, where.split) for name in _names(run, group, where.data, first)]
    return _mistakes(nets, where.metric, view)


def _start(run: Run, where: Where, base: float | None = None, notes: tuple[str, ...] = ()) -> Finding:
    is_papers = run.is_official(where.data) and run.is_full_size
    return Finding(run.scope(where.data, where.split), base=base, is_papers=is_papers, notes=notes)


def _mean_over_seeds(run: Run, compare: MeanOverSeeds) -> Finding:
    wrong = _of_group(run, compare, compare.group, compare.view, compare.first)
    effect, (seeds, images) = mean_effect(wrong), wrong.shape
    finding = _with_effect(run, _start(run, compare), effect, seeds=seeds, images=images)
    finding = replace(finding, p_value=None)
    if seeds > 1:
        return finding
    low, high = interval_over_images(int(wrong.sum()), images, run.confidence)
    note = "The interval is of this one net, over images."
    return replace(finding, interval=(low, high), notes=(note,))


def _ensemble(run: Run, ensemble: Mapping[str, int], where: Where) -> Floats:
    """(images,) mistakes of an ensemble. Raises NotRunError if a member or its probabilities are missing."""
    names: list[str] = []
    for group, count in ensemble.items():
        found = _names(run, group, where.data, count)
        if len(found) < count:
            raise NotRunError(f"params.yaml has {len(found)} members of group {group}; {count} are needed.")
        names += found
    key = (tuple(names), where.split)
    if key not in run._ensembles:
        nets = [run.store.predictions(name, where.split, with_probs=True) for name in names]
        for net in nets:
            if reason := why_unscored(net):
                raise NotRunError(f"{reason[0].upper()}{reason[1:]}.")
            if net.ten.probs is None:
                raise NotRunError(
                    f"{net.member} has {net.num_classes} classes, more than predict.store_probs_up_to: "
                    "there are no probabilities to average."
                )
        metrics: tuple[Metric, ...] = ("top1_error", "top5_error")
        run._ensembles[key] = {metric: ensemble_mistakes(nets, metric) for metric in metrics}
    return run._ensembles[key][where.metric]


def _ensemble_over_images(run: Run, compare: EnsembleOverImages) -> Finding:
    wrong = _ensemble(run, compare.ensemble, compare)
    num_wrong, images = int(wrong.sum()), len(wrong)
    return replace(
        _start(run, compare, notes=("It is of these nets alone, over images.",)),
        value=num_wrong / images,
        interval=interval_over_images(num_wrong, images, run.confidence),
        effect=image_effect(wrong),
        seeds=sum(compare.ensemble.values()),
        images=images,
    )


def _views_over_seeds(run: Run, compare: ViewsOverSeeds) -> Finding:
    """On the data of each group: that of the first group is the paper's, any other's its own."""
    places: list[tuple[str, str]] = []
    for group in compare.groups:
        datas = dict.fromkeys(line.data for line in run.members.values() if line.group == group)
        places += [(group, data) for data in datas]
    enough = [place for place in places if len(run.of_group(*place)) > 1]
    if not places:
        _names(run, compare.groups[0], compare.data)
    group, data = (enough or places)[0]
    split = compare.split if data == compare.data else "val"
    where = compare.model_copy(update={"data": data, "split": split})
    ten, centre = _of_group(run, where, group, "ten"), _of_group(run, where, group, "centre")
    start = _start(run, where)
    return compare_paired(run, ten, centre, scope=start.scope, is_papers=start.is_papers)


def _groups_over_seeds(run: Run, compare: GroupsOverSeeds) -> Finding:
    names = [_names(run, group, compare.data) for group in (compare.group, compare.against)]
    nets = [run.store.predictions(name, compare.split) for group in names for name in group]
    both = _mistakes(nets, compare.metric, "ten")
    return _unpaired(run, _start(run, compare), both[: len(names[0])], both[len(names[0]) :])


def _group_against_ablation(run: Run, compare: GroupAgainstAblation) -> Finding:
    name, notes = find_ablation(run, compare)
    line = run.ablations[name]
    members = _names(run, compare.group, line.data)
    nets = [run.store.predictions(member, line.split) for member in members]
    nets += [run.store.ablation_predictions(name, seed) for seed in line.seeds]
    both = _mistakes(nets, compare.metric, "ten")
    where = compare.model_copy(update={"data": line.data, "split": line.split})
    return _unpaired(run, _start(run, where, notes=notes), both[: len(members)], both[len(members) :])


def _unpaired(run: Run, start: Finding, first: Floats, second: Floats) -> Finding:
    start = replace(start, base=float(second.mean()))
    effect = unpaired_effect(first, second)
    return _with_effect(run, start, effect, seeds=len(first) + len(second), images=first.shape[1])


def _ensemble_against_mean(run: Run, compare: EnsembleAgainstMean) -> Finding:
    ensemble = _ensemble(run, compare.ensemble, compare)
    means = [_of_group(run, compare, group, first=count) for group, count in compare.ensemble.items()]
    return _over_images(run, compare, ensemble, np.concatenate(means).mean(axis=0), compare.ensemble)


def _ensemble_against_ensemble(run: Run, compare: EnsembleAgainstEnsemble) -> Finding:
    first, second = (_ensemble(run, ensemble, compare) for ensemble in (compare.ensemble, compare.against))
    finding = _over_images(run, compare, first, second, compare.ensemble)
    return replace(finding, p_value=exact_mcnemar(first, second))


def _over_images(
    run: Run, where: Where, first: Floats, second: Floats, ensemble: Mapping[str, int]
) -> Finding:
    start = _start(run, where, float(second.mean()), ("It is of these nets alone, over images.",))
    num = sum(ensemble.values())
    return _with_effect(run, start, image_effect(first - second), seeds=num, images=len(first))


def _ablation_over_seeds(run: Run, compare: AblationOverSeeds) -> Finding:
    name, notes = find_ablation(run, compare)
    line = run.ablations[name]
    _, varied, plain, more = paired_mistakes(run, name, compare.metric)
    is_papers = run.is_official(line.data) and run.is_full_size
    scope = run.scope(line.data, line.split)
    return compare_paired(run, varied, plain, scope=scope, is_papers=is_papers, notes=(*notes, *more))


def _overfit_over_seeds(run: Run, compare: OverfitOverSeeds) -> Finding:
    _, seeds, histories, finding = _histories(run, compare)
    gaps = [[_overfit(history) for history in pair] for pair in histories]
    finding = replace(finding, base=float(np.mean([base for _, base in gaps])))
    effect = seed_effect([varied - base for varied, base in gaps])
    return _with_effect(run, finding, effect, seeds=len(seeds), images=None)


def _epochs_of_ablation(run: Run, compare: EpochsOfAblation) -> Finding:
    name, seeds, histories, finding = _histories(run, compare)
    goal = f"validation error of {compare.reaches:g}"
    logs = []
    for seed, (varied, base) in zip(seeds, histories, strict=True):
        slow = _reach(base.val_top1_error, compare.reaches, goal, f"the base's net of seed {seed}")
        fast = _reach(varied.val_top1_error, compare.reaches, goal, f"the net of seed {seed} of `{name}`")
        logs.append(math.log(slow / fast))
    return _with_effect(run, finding, seed_effect(logs), seeds=len(seeds), images=None)


def _epochs_of_activations(run: Run, compare: EpochsOfActivations) -> Finding:
    read = run.store.activations()
    if read is None:
        raise NotRunError("There is no training of ReLU and tanh; `alexnet relu-tanh` makes it.")
    frame, data = read
    kind = run.kinds.get(data)
    scope = data if kind is None or run.is_official(data) else f"{data} ({kind})"
    runs: dict[tuple[str, int], pd.DataFrame] = {
        (str(activation), int(seed)): rows.sort_values("epoch") for (activation, seed), rows in _groups(frame)
    }
    seeds = sorted(seed for activation, seed in runs if activation == "relu" and ("tanh", seed) in runs)
    if not seeds:
        return Finding(scope, missing="ReLU and tanh have no seed in common.")
    goal = f"training error of {compare.reaches:g}"
    logs = []
    try:
        for seed in seeds:
            tanh, relu = (
                _reach(
                    runs[activation, seed].train_top1_error,
                    compare.reaches,
                    goal,
                    f"the net of seed {seed} with {activation}",
                )
                for activation in ("tanh", "relu")
            )
            logs.append(math.log(tanh / relu))
    except NotRunError as error:
        return Finding(scope, missing=str(error))
    return _with_effect(run, Finding(scope), seed_effect(logs), seeds=len(seeds), images=None)


def _groups(frame: pd.DataFrame) -> Iterable[tuple[tuple[Any, Any], pd.DataFrame]]:
    groups: Any = frame.groupby(["activation", "seed"])
    return list(groups)


def _histories(
    run: Run, compare: OverfitOverSeeds | EpochsOfAblation
) -> tuple[str, list[int], list[tuple[pd.DataFrame, pd.DataFrame]], Finding]:
    """An ablation's name and seeds, its histories beside those of its base, and the finding to fill."""
    name, notes = find_ablation(run, compare)
    line = run.ablations[name]
    seeds, bases, more = pair_by_seed(run, name)
    histories = [
        (run.store.ablation_history(name, seed), run.store.history(base))
        for seed, base in zip(seeds, bases, strict=True)
    ]
    where = compare.model_copy(update={"data": line.data, "split": line.split})
    return name, seeds, histories, _start(run, where, notes=(*notes, *more))


def _overfit(history: pd.DataFrame) -> float:
    last = history.iloc[-1]
    return float(last.val_top1_error) - float(last.train_top1_error)


def _reach(errors: pd.Series[float], level: float, goal: str, what: str) -> float:
    epochs = epochs_to([float(error) for error in errors], level)
    if epochs is None:
        raise NotRunError(f"{what[0].upper()}{what[1:]} does not get down to a {goal}.")
    return epochs


_MEASURES: Mapping[type, Callable[[Run, Any], Finding]] = {
    MeanOverSeeds: _mean_over_seeds,
    EnsembleOverImages: _ensemble_over_images,
    ViewsOverSeeds: _views_over_seeds,
    GroupsOverSeeds: _groups_over_seeds,
    GroupAgainstAblation: _group_against_ablation,
    EnsembleAgainstMean: _ensemble_against_mean,
    EnsembleAgainstEnsemble: _ensemble_against_ensemble,
    AblationOverSeeds: _ablation_over_seeds,
    OverfitOverSeeds: _overfit_over_seeds,
    EpochsOfAblation: _epochs_of_ablation,
    EpochsOfActivations: _epochs_of_activations,
}
