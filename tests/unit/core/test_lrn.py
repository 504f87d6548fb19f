"""LRN against the formula of §3.3, written out map by map, and values worked by hand."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from alexnet.core.lrn import local_response_norm, lrn_reference

SIX_MAPS = torch.tensor([100.0, 200, 300, 400, 500, 600], dtype=torch.float64).view(1, 6, 1, 1)


@pytest.mark.parametrize(
    ("alpha", "k", "expected"),
    [
        (1e-4, 2.0, [12.5, 14.865089, 14.461559, 13.465396, 17.402354, 22.642842]),
        (2e-5, 2.0, [30.836784, 42.044821, 43.819129, 42.294851, 54.512247, 70.427020]),
    ],
)
def test_six_maps_give_the_hand_worked_values(alpha, k, expected):
    got = local_response_norm(SIX_MAPS, 5, alpha, 0.75, k).flatten()
    torch.testing.assert_close(got, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=5e-7)


def test_k_of_one_gives_the_hand_worked_first_value():
    assert local_response_norm(SIX_MAPS, 5, 2e-5, 0.75, 1.0).flatten()[0].item() == pytest.approx(
        36.741959, abs=5e-7
    )


def test_ones_give_mirrored_values_since_the_window_is_cut_at_both_ends():
    got = local_response_norm(torch.ones(1, 6, 1, 1, dtype=torch.float64), 5, 2e-5, 0.75, 2.0).flatten()
    expected = torch.tensor([0.59459018, 0.59458572, 0.59458126], dtype=torch.float64)
    torch.testing.assert_close(got, torch.cat([expected, expected.flip(0)]), rtol=0, atol=5e-9)


@given(
    groups=st.integers(1, 3),
    maps=st.integers(1, 7),
    size=st.sampled_from([1, 3, 5, 9]),
    beta=st.sampled_from([0.5, 0.75, 1.0]),
    images=st.integers(1, 3),
    seed=st.integers(0, 1000),
)
def test_equals_its_plain_twin(groups, maps, size, beta, images, seed):
    values = torch.randn(
        images, groups * maps, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )
    got = local_response_norm(values, size, 0.3, beta, 2.0, groups)
    torch.testing.assert_close(
        got, lrn_reference(values, size, 0.3, beta, 2.0, groups), rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("beta", [0.75, 0.6])
def test_backward_pass_is_the_gradient(beta):
    values = torch.randn(
        2, 8, 2, 2, dtype=torch.float64, requires_grad=True, generator=torch.Generator().manual_seed(1)
    )
    assert torch.autograd.gradcheck(lambda x: local_response_norm(x, 5, 0.3, beta, 2.0, 2), values)


def test_many_chunks_equal_one(monkeypatch):
    values = torch.randn(7, 6, 3, 3, generator=torch.Generator().manual_seed(2))
    whole = local_response_norm(values, 5, 0.1, 0.75, 2.0)
    monkeypatch.setattr("alexnet.core.lrn.CHUNK_VALUES", 60)
    assert torch.equal(local_response_norm(values, 5, 0.1, 0.75, 2.0), whole)


def test_joint_lrn_differs_from_one_per_column_only_beside_the_border():
    values = torch.rand(1, 96, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) + 1
    joint, apart = (local_response_norm(values, 5, 0.1, 0.75, 2.0, groups) for groups in (1, 2))
    differing = (joint - apart).abs().amax(dim=(0, 2, 3)) > 1e-12
    assert differing.nonzero().flatten().tolist() == [46, 47, 48, 49]
