"""The 2012 search of ensemble weights against a plain twin, and where it flatters itself."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from alexnet.core import ensemble_weights
from alexnet.core.ensemble import rank_average
from alexnet.core.ensemble_weights import (
    STEPS,
    find_rivals,
    is_wrong,
    measure_optimism,
    rank_weighted,
    search_weights,
)
from alexnet.core.metrics import is_top5_correct, rank
from alexnet.core.order import seeded_order

CLASSES, IMAGES = 7, 6
# Few values, so that ties are common; 6e-8 is the smallest float16.
PROBS = arrays.arrays(
    np.float16, (IMAGES, CLASSES), elements=st.sampled_from([np.float16(p) for p in (0, 6e-8, 0.1, 0.25, 0.5, 1)])
)  # fmt: skip
MEMBERS = st.lists(PROBS, min_size=1, max_size=3)
LABELS = arrays.arrays(np.int64, IMAGES, elements=st.integers(0, CLASSES - 1))


def plain_wrong(probs, labels, coefficients) -> npt.NDArray[np.bool_]:
    total = sum(c * each.astype(np.float64) for c, each in zip(coefficients, probs, strict=True))
    return ~is_top5_correct(labels, rank(total, 5)[0])


def plain_search(probs, labels) -> tuple[int, ...]:
    """The same search, every error counted anew from whole sums."""
    found = [STEPS] * len(probs)
    for _ in range(5):
        before = tuple(found)
        for member in range(len(found)):
            best = None
            for step in range(STEPS + 1):
                tried = [*found[:member], step, *found[member + 1 :]]
                if not any(tried):
                    continue
                cost = (plain_wrong(probs, labels, tried).sum(), abs(step - before[member]), -step)
                if best is None or cost < best[0]:
                    best = (cost, step)
            found[member] = best[1]
        if tuple(found) == before:
            break
    return tuple(found)


@given(MEMBERS, LABELS, st.data())
def test_wrong_images_are_those_of_the_whole_weighted_sum(probs, labels, data):
    coefficients = data.draw(
        st.lists(st.integers(0, STEPS), min_size=len(probs), max_size=len(probs)).filter(any)
    )
    expected = plain_wrong(probs, labels, coefficients)
    rivals = find_rivals(probs, labels)
    assert is_wrong(rivals, coefficients).tolist() == expected.tolist()
    best = rank_weighted(probs, 5, coefficients)
    assert (~is_top5_correct(labels, best)).tolist() == expected.tolist()
    chosen = labels % 2 == 0
    assert is_wrong(rivals.among(chosen), coefficients).tolist() == expected[chosen].tolist()


def draw_case(seed: int, num_images: int):
    """A few members that often tie, with labels they know a little of."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, num_images)
    values = np.array([0, 6e-8, 0.1, 0.25, 0.5], np.float16)
    probs = [rng.choice(values, (num_images, CLASSES)) for _ in range(rng.integers(2, 5))]
    for each in probs:
        each[np.arange(num_images), labels] += rng.choice(values[:4], num_images)
    return probs, labels


@pytest.mark.parametrize("num_images", [1, 2, 16])
def test_the_search_finds_what_a_search_over_whole_sums_finds(num_images):
    for seed in range(50):
        probs, labels = draw_case(seed, num_images)
        assert search_weights(find_rivals(probs, labels)) == plain_search(probs, labels), seed


def guess(seed: int, num_images: int, members: int):
    """Members that know nothing of the labels, of eight classes."""
    rng = np.random.default_rng(seed)
    probs = [rng.dirichlet(np.ones(8), num_images).astype(np.float16) for _ in range(members)]
    return probs, rng.integers(0, 8, num_images)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(draw_case(911, 40), id="two coefficients as good and as near"),
        pytest.param(guess(193, 80, 5), id="four passes"),
    ],
)
def test_a_rare_search_agrees_too(case):
    assert search_weights(find_rivals(*case)) == plain_search(*case)


def test_not_all_coefficients_become_zero():
    """Images 0 and 1 want the first net gone, at the cost of image 2; a sum of nothing would be right for all."""
    first, second = (np.full((3, 6), 0.5, np.float16) for _ in range(2))
    first[:2, 0] = second[2, 0] = 0.25
    first[2, 1:] = 0.25
    assert search_weights(find_rivals([first, second], np.zeros(3, np.int64))) == (0, STEPS)


def test_optimism_is_the_mean_over_both_ways_of_each_split():
    probs, labels = guess(8, 31, 3)
    searched, held_out = np.zeros(31), np.zeros(31)
    for split in range(3):
        first = seeded_order(31, 9, "halves", str(split))[:15]
        for half in (first, np.setdiff1d(np.arange(31), first)):
            wrong = plain_wrong(probs, labels, plain_search([each[half] for each in probs], labels[half]))
            others = np.setdiff1d(np.arange(31), half)
            searched[half] += wrong[half] / 3
            held_out[others] += wrong[others] / 3
    equal = plain_wrong(probs, labels, [STEPS] * len(probs))
    found = measure_optimism(find_rivals(probs, labels), splits=3, seed=9)
    assert (found.searched, found.held_out) == pytest.approx((searched.mean(), held_out.mean()))
    assert found.equal == pytest.approx(equal.mean()) and found.splits == 3
    difference, gain = held_out - searched, held_out - equal
    assert found.difference == pytest.approx(difference.mean()) and found.gain == pytest.approx(gain.mean())
    assert found.difference_error == pytest.approx(difference.std(ddof=1) / np.sqrt(31))
    assert found.gain_error == pytest.approx(gain.std(ddof=1) / np.sqrt(31))


def test_blocks_of_images_change_nothing(monkeypatch):
    rng = np.random.default_rng(3)
    probs = [rng.dirichlet(np.ones(9), 50).astype(np.float16) for _ in range(3)]
    labels = rng.integers(0, 9, 50)
    whole, best = find_rivals(probs, labels), rank_weighted(probs, 5, (3, 20, 7))
    monkeypatch.setattr(ensemble_weights, "IMAGES_AT_ONCE", 7)
    cut = find_rivals(probs, labels)
    for name in ("leads", "wins_ties", "images", "is_hopeless"):
        assert np.array_equal(getattr(whole, name), getattr(cut, name)), name
    assert np.array_equal(rank_weighted(probs, 5, (3, 20, 7)), best)


def test_equal_coefficients_are_the_average():
    rng = np.random.default_rng(4)
    probs = [rng.dirichlet(np.ones(9), 50).astype(np.float16) for _ in range(3)]
    assert np.array_equal(rank_weighted(probs, 9, [STEPS] * 3), rank_average(probs, 9))


def test_a_search_by_hand():
    """Six classes. The good net has the label ahead by 0.375, each bad one behind by 0.25."""
    good = np.array([[0.125, 0.125, 0.125, 0.125, 0.125, 0.5]], np.float16)
    bad = np.array([[0.25, 0.25, 0.25, 0.25, 0.25, 0.0]], np.float16)
    last, first = np.array([5]), np.array([0])
    # Right as it is: nothing moves.
    assert search_weights(find_rivals([good, bad], last)) == (STEPS, STEPS)
    # 0.375 < 0.25 + 0.25: the first bad net falls to where 0.375 * 20 > 0.25 * (c + 20), the good one having all it can.
    assert search_weights(find_rivals([good, bad, bad], last)) == (STEPS, 9, STEPS)
    # Label 0 wins ties, so 10 is enough.
    mirrored = [np.ascontiguousarray(each[:, ::-1]) for each in (good, bad, bad)]
    assert search_weights(find_rivals(mirrored, first)) == (STEPS, 10, STEPS)
    # 0.375 < 3 * 0.25, and no single step mends it: 0.375 < 2 * 0.25. One at a time gets nowhere.
    assert search_weights(find_rivals([good, bad, bad, bad], last)) == (STEPS,) * 4


def test_images_that_no_weights_change_have_no_rivals():
    """Seven classes: four are ever ahead of label 4, five always of label 5; two of label 6's six only in one net."""
    falling = np.array([0.4, 0.2, 0.1, 0.1, 0.1, 0.05, 0.05], np.float16)
    other = np.array([0.4, 0.2, 0.1, 0.1, 0.02, 0.02, 0.05], np.float16)
    labels = np.array([4, 5, 6])
    rivals = find_rivals([np.stack([falling] * 3), np.stack([falling, falling, other])], labels)
    assert rivals.is_hopeless.tolist() == [False, True, False]
    assert rivals.images.tolist() == [2] * 6 and rivals.leads.shape == (2, 6)


def test_where_nets_only_guess_the_search_flatters_itself():
    """Probabilities that know nothing of the label: no weights have another error than 1 - 5/8 on images to come."""
    num_images, classes = 400, 8
    probs, labels = guess(5, num_images, 4)
    found = measure_optimism(find_rivals(probs, labels), splits=6, seed=1)
    assert found.searched < found.equal - 0.02
    assert found.difference == pytest.approx(found.held_out - found.searched)
    assert found.difference > 3 * found.difference_error > 0
    assert abs(found.held_out - (1 - 5 / classes)) < 0.075  # three standard errors of 400 images
    assert abs(found.gain) < 3 * found.gain_error


def test_where_one_net_is_good_the_search_keeps_its_promise():
    rng = np.random.default_rng(6)
    num_images, classes = 400, 8
    labels = rng.integers(0, classes, num_images)
    guessing = [rng.dirichlet(np.full(classes, 0.3), num_images).astype(np.float16) for _ in range(4)]
    good = np.full((num_images, classes), 0.05, np.float16)
    good[np.arange(num_images), labels] = 0.3
    rivals = find_rivals([good, *guessing], labels)
    found = search_weights(rivals)
    assert found[0] == STEPS and min(found[1:]) < 3
    optimism = measure_optimism(rivals, splits=3, seed=1)
    assert optimism.gain < -3 * optimism.gain_error < 0
    assert abs(optimism.difference) < 0.02 < optimism.equal - optimism.searched


def test_halves_are_drawn_from_the_seed_alone():
    rivals = find_rivals(*guess(7, 60, 3))
    assert measure_optimism(rivals, 3, 1) == measure_optimism(rivals, 3, 1)
    assert measure_optimism(rivals, 3, 1) != measure_optimism(rivals, 3, 2)


@pytest.mark.parametrize(
    ("coefficients", "text"), [((0, 0), "one above 0"), ((1,), "expected 2"), ((-1, 3), "none negative")]
)
def test_impossible_coefficients_are_refused(coefficients, text):
    probs = [np.full((1, 6), 1 / 6, np.float16)] * 2
    with pytest.raises(ValueError, match=text):
        is_wrong(find_rivals(probs, np.array([0])), coefficients)
    with pytest.raises(ValueError, match=text):
        rank_weighted(probs, 5, coefficients)


def test_members_of_different_shapes_and_too_few_images_are_refused():
    one = np.full((3, 6), 1 / 6, np.float16)
    for probs in ([], [one, one[:2]], [one[:, :5], one]):
        with pytest.raises(ValueError, match="expected one for all"):
            find_rivals(probs, np.zeros(3, np.int64))
    with pytest.raises(ValueError, match="four images"):
        measure_optimism(find_rivals([one], np.zeros(3, np.int64)), 1, 0)
