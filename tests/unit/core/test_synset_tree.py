"""The embedded tree is to the paper's data sets as a model railway is to a railway."""

import re

import pytest

from alexnet.core.synset_tree import (
    DATASETS,
    SYNSETS,
    find_cost,
    list_ancestors,
    list_classes,
    list_devkit,
)


def wnids_of(dataset):
    return {synset.wnid for synset in list_classes(dataset)}


@pytest.mark.parametrize(
    ("dataset", "count"), [("ilsvrc2010", 20), ("ilsvrc2012", 20), ("fall2011", 30), ("fall2009", 24)]
)
def test_each_data_set_holds_its_number_of_different_synsets(dataset, count):
    assert len(list_classes(dataset)) == len(wnids_of(dataset)) == count


def test_the_contests_share_13_of_20_classes():
    assert len(wnids_of("ilsvrc2010") & wnids_of("ilsvrc2012")) == 13


def test_fall2011_holds_all_others():
    assert wnids_of("fall2011") > wnids_of("ilsvrc2012") | wnids_of("ilsvrc2010") | wnids_of("fall2009")


def test_wnids_are_well_formed_and_in_a_range_that_wordnet_does_not_use():
    assert all(re.fullmatch(r"n9\d{7}", wnid) for wnid in SYNSETS)
    assert len(SYNSETS) == 1 + 3 + 9 + 27


@pytest.mark.parametrize(("dataset", "same"), [("ilsvrc2010", 1), ("ilsvrc2012", 0)])
def test_one_class_of_2010_and_none_of_2012_has_one_place_in_devkit_and_sorted_order(dataset, same):
    devkit = [synset.wnid for synset in list_classes(dataset)]
    assert sum(wnid == other for wnid, other in zip(devkit, sorted(devkit), strict=True)) == same


@pytest.mark.parametrize("dataset", ["ilsvrc2010", "ilsvrc2012"])
def test_a_contest_holds_leaves_alone(dataset):
    parents = {synset.parent for synset in SYNSETS.values()}
    assert not wnids_of(dataset) & parents


@pytest.mark.parametrize("dataset", ["fall2011", "fall2009"])
def test_a_fall_release_holds_inner_nodes_too(dataset):
    parents = {synset.parent for synset in SYNSETS.values()}
    assert wnids_of(dataset) & parents


def test_every_synset_with_images_has_looks_of_its_own():
    looks = [look for dataset in DATASETS for wnid in wnids_of(dataset) for look in SYNSETS[wnid].looks]
    assert all(synset.looks for dataset in DATASETS for synset in list_classes(dataset))
    every = [look for synset in SYNSETS.values() for look in synset.looks]
    assert len(every) == len(set(every)) == 9 * 6 * 4
    assert set(looks) <= set(every)


def test_siblings_share_their_shape():
    for wnid in wnids_of("fall2011"):
        leaf, family = SYNSETS[wnid], SYNSETS[SYNSETS[wnid].parent]
        if family.looks:
            assert leaf.looks[0].shape == family.words


def test_above_a_leaf_are_its_family_its_group_and_the_root():
    star = SYNSETS["n91104697"]
    assert star.words.startswith("striped yellow star")
    assert [node.words for node in list_ancestors(star)] == ["star", "figure with arms", "figure"]
    assert list_ancestors(SYNSETS["n90001740"]) == ()


@pytest.mark.parametrize("dataset", ["ilsvrc2010", "ilsvrc2012"])
def test_a_devkit_lists_the_classes_then_the_root_then_all_other_ancestors_once(dataset):
    rows = list_devkit(dataset)
    assert rows[:20] == list_classes(dataset)
    assert rows[20].parent is None
    wanted = {node.wnid for leaf in list_classes(dataset) for node in list_ancestors(leaf)}
    assert {row.wnid for row in rows[20:]} == wanted
    assert len(rows) == 20 + len(wanted)


@pytest.mark.parametrize(
    ("other", "cost"),
    [("n95118042", 0), ("n90274416", 1), ("n93645281", 2), ("n91104697", 3)],  # itself, disc, ring, star
)
def test_a_mistake_costs_the_height_of_the_lowest_common_ancestor(other, cost):
    disc = SYNSETS["n95118042"]
    assert find_cost(disc, SYNSETS[other]) == find_cost(SYNSETS[other], disc) == cost
