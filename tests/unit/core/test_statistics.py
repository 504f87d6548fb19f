"""Effects over seeds and images: by hand, against SciPy where one part is alone, and by simulated worlds."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from alexnet.core import statistics
from alexnet.core.statistics import (
    Effect,
    Seeds,
    adjust,
    exact_mcnemar,
    has_spread,
    image_effect,
    images_to_decide,
    interval,
    mean_effect,
    p_value,
    paired_effect,
    seed_effect,
    seeds_to_decide,
    unpaired_effect,
)

T1 = 12.706205  # Student's quantile of 97.5 %, one degree of freedom
Z = 1.959964
Floats = npt.NDArray[np.float64]


def test_two_seeds_and_two_images_by_hand() -> None:
    # Seeds' means 1/2 and 0, images' means 1/2 and 0; residuals all ±1/4, so their variance is 4/16 over one degree.
    effect = paired_effect(np.array([[1, 1], [0, 1]]), np.array([[0, 1], [0, 1]]))
    assert effect == Effect(0.25, (Seeds(2, 0.0, 0.25),), 0.0, 2)
    assert effect.parts() == [(0.0625, 1), (0.0, 1)]
    assert interval(effect, 0.95) == pytest.approx((0.25 - T1 / 4, 0.25 + T1 / 4), abs=1e-6)


def test_both_parts_are_weighed_by_their_variances() -> None:
    effect = Effect(0.0, (Seeds(2, 0.02, 0.0),), 30_000_000.0, 1_000_000_000)  # 0.01 and 0.03
    half = (0.01 * T1 + 0.03 * Z) / 0.2
    assert interval(effect, 0.95) == pytest.approx((-half, half), abs=1e-4)


def test_unpaired_by_hand() -> None:
    # Means 1/2, 1/4 over images whose four values are alike in both: var of seeds' means (1/2)²/2 over 2, and 0.
    first = np.array([[1.0, 1.0, 0.5, 0.5], [0.5, 0.5, 0.0, 0.0]])
    second = np.array([[0.5, 0.5, 0.0, 0.0], [0.5, 0.5, 0.0, 0.0]])
    effect = unpaired_effect(first, second)
    assert (effect.value, effect.num_images) == (0.25, 4)
    assert effect.parts() == [(0.0625, 1), (0.0, 1), (0.0, 3)]


def test_images_of_one_ensemble_are_students_t() -> None:
    values = np.array([1.0, 0.0, -1.0, 1.0, 1.0, 0.0])
    expected = stats.ttest_1samp(values, 0.0)
    effect = image_effect(values)
    low, high = expected.confidence_interval(0.95)
    assert interval(effect, 0.95) == pytest.approx((low, high))
    assert p_value(effect) == pytest.approx(expected.pvalue)


def test_numbers_of_seeds_are_students_t() -> None:
    values = [math.log(5.0), math.log(6.5), math.log(7.0)]
    expected = stats.ttest_1samp(values, math.log(3))
    effect = seed_effect(values)
    assert interval(effect, 0.9) == pytest.approx(tuple(expected.confidence_interval(0.9)))
    assert p_value(effect, math.log(3)) == pytest.approx(expected.pvalue)


def test_the_variance_is_that_of_the_analysis_of_variance() -> None:
    """(seeds + images - residual mean squares) / (seeds · images), whatever the numbers."""
    values = np.random.default_rng(3).normal(size=(4, 30)) + np.arange(4)[:, None] + np.arange(30) / 9
    effect = mean_effect(values)
    squares = {"seeds": 0.0, "images": 0.0, "rest": 0.0}
    for seed in range(4):
        squares["seeds"] += 30 * (values[seed].mean() - values.mean()) ** 2 / 3
        for image in range(30):
            rest = values[seed, image] - values[seed].mean() - values[:, image].mean() + values.mean()
            squares["rest"] += rest**2 / (3 * 29)
    for image in range(30):
        squares["images"] += 4 * (values[:, image].mean() - values.mean()) ** 2 / 29
    total = (squares["seeds"] + squares["images"] - squares["rest"]) / 120
    assert sum(variance for variance, _ in effect.parts()) == pytest.approx(total)


mistakes = st.integers(2, 5).flatmap(
    lambda seeds: st.lists(
        st.lists(st.sampled_from([0.0, 1.0]), min_size=6, max_size=6), min_size=seeds, max_size=seeds
    )
)


@settings(max_examples=50)
@given(mistakes, st.randoms())
def test_what_is_hard_for_both_and_the_order_do_not_matter(rows: list[list[float]], random: Any) -> None:
    first = np.array(rows)
    second = np.roll(first, 1, axis=1)
    hard = np.array([random.random() for _ in range(6)])
    seeds, images = random.sample(range(len(first)), len(first)), random.sample(range(6), 6)
    expected = paired_effect(first, second)
    mixed = paired_effect((first + hard)[seeds][:, images], (second + hard)[seeds][:, images])
    assert mixed.value == pytest.approx(expected.value)
    assert [variance for variance, _ in mixed.parts()] == pytest.approx(
        [variance for variance, _ in expected.parts()]
    )


@settings(max_examples=50)
@given(mistakes)
def test_the_interval_of_confidence_1_minus_p_ends_at_zero(rows: list[list[float]]) -> None:
    effect = mean_effect(np.array(rows) - 0.4)
    p = p_value(effect)
    if not has_spread(effect):
        assert p is None and interval(effect, 0.95) is None
        return
    assert p is not None
    ends = interval(effect, 1 - p)
    assert ends is not None
    assert min(abs(ends[0]), abs(ends[1])) == pytest.approx(0.0, abs=1e-6)


def test_seeds_that_agree_by_luck_are_no_surer_than_their_images_allow() -> None:
    """Three pairs of nets that all differ on 10 images of 1,000, each on others."""
    first = np.zeros((3, 1000))
    for seed in range(3):
        first[seed, 10 * seed : 10 * seed + 10] = 1
    effect = paired_effect(first, np.zeros((3, 1000)))
    ends = interval(effect, 0.95)
    assert ends is not None
    assert (ends[1] - ends[0]) / 2 == pytest.approx(Z * math.sqrt(0.01 * 0.99 / 3000), rel=0.02)


@pytest.mark.parametrize(
    "effect",
    [
        mean_effect(np.array([[0, 1, 1]])),
        unpaired_effect(np.array([[0, 1], [1, 1]]), np.array([[0, 1]])),
        paired_effect(np.ones((3, 9)), np.zeros((3, 9))),
        seed_effect([0.5]),
        seed_effect([0.5, 0.5]),
        image_effect(np.zeros(9)),
    ],
)
def test_without_spread_there_is_no_interval(effect: Effect) -> None:
    assert not has_spread(effect)
    assert interval(effect, 0.95) is None
    assert p_value(effect) is None


def test_no_effect_at_all_has_a_p_value_of_1() -> None:
    assert p_value(image_effect(np.array([1.0, -1.0]))) == 1.0


def test_a_p_value_is_never_zero() -> None:
    assert p_value(Effect(1.0, (), 1e-9, 1000)) == statistics.LEAST_P
    assert exact_mcnemar(np.ones(2000), np.zeros(2000)) == statistics.LEAST_P


def test_mcnemar_counts_images_on_which_one_errs() -> None:
    # One against five: 2 · (1 + 6) / 2^6.
    first = np.array([1, 0, 0, 0, 0, 0, 1, 1, 0])
    second = np.array([0, 1, 1, 1, 1, 1, 1, 1, 0])
    assert exact_mcnemar(first, second) == pytest.approx(14 / 64)
    assert exact_mcnemar(first, first) == 1.0


def test_benjamini_and_hochberg_by_hand() -> None:
    # Sorted 0.01, 0.03, 0.04 times 3/1, 3/2, 3/3, none above the next.
    assert adjust([0.04, None, 0.01, 0.03]) == pytest.approx([0.04, None, 0.03, 0.04])
    assert adjust([None]) == [None]


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (np.zeros((2, 3)), np.zeros((3, 3)), r"^paired values have shapes \(2, 3\) and \(3, 3\)"),
        (np.zeros(3), np.zeros(3), r"^values have shape \(3,\), expected \(seeds, images\)"),
        (np.zeros((2, 0)), np.zeros((2, 0)), r"^values have shape \(2, 0\)"),
    ],
)
def test_values_that_are_no_pairs_are_refused(first: Floats, second: Floats, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        paired_effect(first, second)


def test_unpaired_values_of_different_images_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^there are 3 and 4 images, expected as many of both$"):
        unpaired_effect(np.zeros((2, 3)), np.zeros((2, 4)))


# Worlds: deviations of a seed's own, of an image's and of the residual. In each an effect of known size is measured.
WORLDS = {
    "all from the residual": (0.0, 0.0, 1.0),
    "all from the images": (0.0, 1.0, 0.01),
    "all from the seeds": (1.0, 0.0, 0.01),
    "images and residual": (0.0, 0.5, 1.0),
    "as much from either": (0.07, 1.0, 0.3),
    "seeds and residual": (0.08, 0.0, 1.0),
    "all alike": (0.05, 0.7, 1.0),
}
NUM_WORLDS, NUM_IMAGES, TRUTH = 800, 150, 0.1


def draw(rng: np.random.Generator, seeds: int, deviations: tuple[float, float, float]) -> Floats:
    own, image, residual = deviations
    made = TRUTH + own * rng.normal(size=(seeds, 1)) + image * rng.normal(size=NUM_IMAGES)
    return np.asarray(made + residual * rng.normal(size=(seeds, NUM_IMAGES)))


def covers(effect: Effect, truth: float) -> bool:
    ends = interval(effect, 0.95)
    assert ends is not None
    return ends[0] <= truth <= ends[1]


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("world", WORLDS)
def test_intervals_of_paired_seeds_cover(world: str, seeds: int) -> None:
    rng = np.random.default_rng([seeds, *world.encode()])
    hits = [covers(mean_effect(draw(rng, seeds, WORLDS[world])), TRUTH) for _ in range(NUM_WORLDS)]
    assert 0.93 <= np.mean(hits) <= 0.997


@pytest.mark.parametrize("world", WORLDS)
def test_intervals_of_unpaired_groups_cover(world: str) -> None:
    rng = np.random.default_rng([7, *world.encode()])
    own, image, residual = WORLDS[world]
    hits = []
    for _ in range(NUM_WORLDS):
        shared = rng.normal(size=NUM_IMAGES)  # hard images are hard for both
        first, second = draw(rng, 2, (own, image, residual)), draw(rng, 5, (own, 0.0, residual))
        hits.append(covers(unpaired_effect(first + shared, second + shared), 0.0))
    assert 0.93 <= np.mean(hits) <= 0.997


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_intervals_of_mistakes_cover(seeds: int) -> None:
    """Nets that err where ability, difficulty and luck add up to too little; all of it normal, so the truth is known."""
    rng = np.random.default_rng(seeds)
    ability, change, difficulty, reaction = 0.05, 0.1, 1.0, 0.3
    spread = 1 + difficulty**2 + ability**2
    truth = stats.norm.sf(0.3 / math.sqrt(spread + change**2 + reaction**2)) - stats.norm.sf(
        0.5 / math.sqrt(spread)
    )
    hits = []
    for _ in range(NUM_WORLDS):
        shared = difficulty * rng.normal(size=NUM_IMAGES) + ability * rng.normal(size=(seeds, 1))
        varied = shared + change * rng.normal(size=(seeds, 1)) + reaction * rng.normal(size=NUM_IMAGES)
        second = shared + rng.normal(size=(seeds, NUM_IMAGES)) > 0.5
        first = varied + rng.normal(size=(seeds, NUM_IMAGES)) > 0.3
        hits.append(covers(paired_effect(first, second), truth))
    assert 0.93 <= np.mean(hits) <= 0.997


def test_what_others_would_do_instead_covers_less() -> None:
    """Why not simpler: degrees of freedom by Welch and Satterthwaite at two seeds; a t-interval over seeds alone."""
    rng = np.random.default_rng(11)
    by_satterthwaite, by_seeds_alone = [], []
    for _ in range(NUM_WORLDS):
        values = draw(rng, 2, (0.36, 1.0, 0.01))
        variances = [variance for variance, _ in mean_effect(values).parts()]
        freedom = sum(variances) ** 2 / (variances[0] ** 2 / 1 + variances[1] ** 2 / (NUM_IMAGES - 1))
        half = stats.t.ppf(0.975, freedom) * math.sqrt(sum(variances))
        by_satterthwaite.append(abs(values.mean() - TRUTH) <= half)
        values = draw(rng, 5, (0.02, 1.0, 0.3))
        half = stats.t.ppf(0.975, 4) * values.mean(axis=1).std(ddof=1) / math.sqrt(5)
        by_seeds_alone.append(abs(values.mean() - TRUTH) <= half)
    assert np.mean(by_satterthwaite) < 0.9
    assert np.mean(by_seeds_alone) < 0.8


def test_the_number_of_seeds_asked_for_decides_as_often_as_said() -> None:
    deviations = (0.1, 0.3, 1.0)
    effect = Effect(TRUTH, (Seeds(3, 0.01, 1.0),), 0.09, NUM_IMAGES)
    seeds = seeds_to_decide(effect, TRUTH, 0.95, 0.8)
    assert seeds is not None and 10 < seeds < 40
    rng = np.random.default_rng(5)
    found = []
    for _ in range(600):
        ends = interval(mean_effect(draw(rng, seeds, deviations)), 0.95)
        assert ends is not None
        found.append(ends[0] > 0)
    assert 0.74 <= np.mean(found) <= 0.88


def test_the_number_of_images_asked_for_is_the_least() -> None:
    # One ensemble, variance 1 per image: (1.96 + 0.8416) / sqrt(n) = 0.1 at n = 784.9, a little more by Student's t.
    effect = Effect(0.0, (), 1.0, 50)
    assert images_to_decide(effect, 0.1, 0.95, 0.8) == 787


def test_where_one_kind_of_more_cannot_decide_there_is_no_number() -> None:
    few_images = Effect(0.1, (Seeds(3, 0.0, 0.0),), 1.0, 10)
    assert seeds_to_decide(few_images, 0.1, 0.95, 0.8) is None
    few_seeds = Effect(0.1, (Seeds(2, 1.0, 0.0),), 0.0, 10)
    assert images_to_decide(few_seeds, 0.1, 0.95, 0.8) is None
    one_seed = Effect(0.1, (Seeds(1, 0.0, 0.0),), 1.0, 10)
    assert images_to_decide(one_seed, 0.1, 0.95, 0.8) is None
    given_nets = Effect(0.1, (), 1.0, 10)
    assert seeds_to_decide(given_nets, 0.1, 0.95, 0.8) is None


def test_the_core_does_not_wait_for_scipy() -> None:
    code = "import sys, alexnet.core.statistics; sys.exit('scipy' in sys.modules)"
    environment = {"PYTHONPATH": ":".join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
