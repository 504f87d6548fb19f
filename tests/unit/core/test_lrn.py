"""LRN against the formula of §3.3, written out map by map, and values worked by hand."""

import math
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from alexnet.core import lrn
from alexnet.core.lrn import local_response_norm, lrn_reference, spatial_norm, spatial_norm_reference

SIX_MAPS = torch.tensor([100.0, 200, 300, 400, 500, 600], dtype=torch.float64).view(1, 6, 1, 1)
FORMATS = [torch.contiguous_format, torch.channels_last]
TOLERANCES = {torch.float32: 3e-6, torch.float64: 1e-12}


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def with_gradient(operator, values, gradient):
    """The operator's result and the gradient of its input."""
    values = values.detach().requires_grad_()
    result = operator(values)
    result.backward(gradient)
    return result.detach(), values.grad


def assert_equals_its_twin(operator, twin, values, dtype, memory_format=torch.contiguous_format):
    """Result and gradient: in `dtype` and the memory format, against the twin in float64."""
    gradient = draw(*values.shape, seed=99)
    expected = with_gradient(twin, values, gradient)
    cast = (tensor.to(dtype).contiguous(memory_format=memory_format) for tensor in (values, gradient))
    for got, wanted in zip(with_gradient(operator, *cast), expected, strict=True):
        tolerance = TOLERANCES[dtype]
        torch.testing.assert_close(got, wanted.to(dtype), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("alpha", "k", "expected"),
    [
        (1e-4, 2.0, [12.5, 14.865089, 14.461559, 13.465396, 17.402354, 22.642842]),
        (2e-5, 2.0, [30.836784, 42.044821, 43.819129, 42.294851, 54.512247, 70.427020]),
    ],
)
def test_six_maps_give_the_hand_worked_values(alpha, k, expected, dtype):
    got = local_response_norm(SIX_MAPS.to(dtype), 5, alpha, 0.75, k).flatten()
    rtol = 0 if dtype == torch.float64 else 3e-7
    torch.testing.assert_close(got, torch.tensor(expected, dtype=dtype), rtol=rtol, atol=5e-7)


def test_k_of_one_gives_the_hand_worked_first_value():
    assert local_response_norm(SIX_MAPS, 5, 2e-5, 0.75, 1.0).flatten()[0].item() == pytest.approx(
        36.741959, abs=5e-7
    )


def test_ones_give_mirrored_values_since_the_window_is_cut_at_both_ends():
    got = local_response_norm(torch.ones(1, 6, 1, 1, dtype=torch.float64), 5, 2e-5, 0.75, 2.0).flatten()
    expected = torch.tensor([0.59459018, 0.59458572, 0.59458126], dtype=torch.float64)
    torch.testing.assert_close(got, torch.cat([expected, expected.flip(0)]), rtol=0, atol=5e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("alpha", "pixel", "expected"),
    [
        (15 / 4, (0, 0), 1 / 8),  # 4 pixels in the window: 1 + 15 = 16, and 16 ** 0.75 = 8
        (15 / 6, (0, 1), 1 / 8),
        (80 / 9, (1, 1), 1 / 27),  # 9 pixels: 1 + 80 = 81, and 81 ** 0.75 = 27
    ],
)
def test_ones_within_a_map_give_the_hand_worked_values_at_corner_edge_and_centre(
    alpha, pixel, expected, dtype
):
    got = spatial_norm(torch.ones(1, 2, 3, 3, dtype=dtype), 3, alpha, 0.75, 1.0)
    assert got[0, 0][pixel].item() == pytest.approx(expected, rel=1e-6)
    assert got[0, 1][pixel].item() == got[0, 0][pixel].item()


def test_the_layer_of_the_2012_code_divides_a_lone_pixel_by_the_hand_worked_value():
    value = math.sqrt(375_000)  # 1 + 1e-3 / 25 * 375,000 = 16
    got = spatial_norm(torch.full((1, 1, 1, 1), value), 5, 1e-3 / 25, 0.75, 1.0)
    assert got.item() == pytest.approx(value / 8, rel=1e-6)


CASES = {
    "images": st.integers(1, 3),
    "size": st.sampled_from([1, 3, 5, 9]),
    "beta": st.sampled_from([0.5, 0.75, 1.0]),
    "k": st.sampled_from([1.0, 2.0]),
    "dtype": st.sampled_from([torch.float32, torch.float64]),
    "memory_format": st.sampled_from(FORMATS),
    "seed": st.integers(0, 1000),
}


@settings(deadline=None)  # the first call compiles
@given(groups=st.integers(1, 3), maps=st.integers(1, 7), **CASES)
def test_equals_its_plain_twin(groups, maps, images, size, beta, k, dtype, memory_format, seed):
    assert_equals_its_twin(
        lambda values: local_response_norm(values, size, 0.3, beta, k, groups),
        lambda values: lrn_reference(values, size, 0.3, beta, k, groups),
        draw(images, groups * maps, 2, 3, seed=seed),
        dtype,
        memory_format,
    )


@settings(deadline=None)
@given(maps=st.integers(1, 3), height=st.integers(1, 6), width=st.integers(1, 6), **CASES)
def test_spatial_norm_equals_its_plain_twin(
    maps, height, width, images, size, beta, k, dtype, memory_format, seed
):
    assert_equals_its_twin(
        lambda values: spatial_norm(values, size, 0.3, beta, k),
        lambda values: spatial_norm_reference(values, size, 0.3, beta, k),
        draw(images, maps, height, width, seed=seed),
        dtype,
        memory_format,
    )


@pytest.mark.parametrize("alpha", [1e-4, 1e-4 / 5])
@pytest.mark.parametrize("k", [1.0, 2.0])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("memory_format", FORMATS)
def test_both_layers_of_the_paper_equal_the_plain_twin(alpha, k, groups, memory_format):
    for maps, side in ((96, 17), (256, 3)):
        assert_equals_its_twin(
            lambda values: local_response_norm(values, 5, alpha, 0.75, k, groups),
            lambda values: lrn_reference(values, 5, alpha, 0.75, k, groups),
            100 * draw(1, maps, side, side),
            torch.float32,
            memory_format,
        )


@pytest.mark.parametrize("memory_format", FORMATS)
def test_more_maps_than_fit_one_tile_are_normalized_within_each(memory_format):
    assert_equals_its_twin(
        lambda values: spatial_norm(values, 5, 4e-5, 0.75, 1.0),
        lambda values: spatial_norm_reference(values, 5, 4e-5, 0.75, 1.0),
        100 * draw(2, 35, 13, 11),
        torch.float32,
        memory_format,
    )


@pytest.mark.parametrize("beta", [0.75, 0.6])
def test_backward_pass_is_the_gradient(beta):
    values = draw(2, 8, 2, 2, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: local_response_norm(x, 5, 0.3, beta, 2.0, 2), values)
    assert torch.autograd.gradcheck(lambda x: spatial_norm(x, 3, 0.3, beta, 2.0), values)


def test_a_second_derivative_is_refused():
    values = draw(1, 4, 2, 2).requires_grad_()
    (gradient,) = torch.autograd.grad(
        local_response_norm(values, 5, 0.3, 0.75, 2.0).sum(), values, create_graph=True
    )
    message = "^response normalization can be differentiated once, not twice$"
    with pytest.raises(NotImplementedError, match=message):
        gradient.sum().backward()


@pytest.mark.parametrize("operator", [local_response_norm, spatial_norm])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_memory_format_is_kept_forward_and_backward(operator, dtype):
    for memory_format in FORMATS:
        values = draw(2, 6, 4, 5, dtype=dtype).contiguous(memory_format=memory_format)
        gradient = draw(2, 6, 4, 5, seed=1, dtype=dtype)  # whatever the format of what comes in
        for tensor in with_gradient(lambda x: operator(x, 5, 0.3, 0.75, 2.0), values, gradient):
            assert tensor.is_contiguous(memory_format=memory_format)


@pytest.mark.parametrize("operator", [local_response_norm, spatial_norm])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_tensor_with_gaps_gives_what_its_copy_gives(operator, dtype):
    whole = draw(2, 6, 8, 5, dtype=dtype)
    gradient = draw(1, 6, 1, 5, seed=1, dtype=dtype).expand(2, 6, 4, 5)
    for gapped in (whole[:, :, ::2], whole.transpose(0, 1)[:, :, :4].transpose(0, 1)):
        apart, copied = (
            with_gradient(lambda x: operator(x, 5, 0.3, 0.75, 2.0), values, gradient)
            for values in (gapped, gapped.contiguous())
        )
        assert torch.equal(apart[0], copied[0])
        assert torch.equal(apart[1], copied[1])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_the_float32_result_rounded_once(dtype):
    values, gradient = draw(2, 6, 4, 4).to(dtype), draw(2, 6, 4, 4, seed=1).to(dtype)
    for operator in (local_response_norm, spatial_norm):
        for beta in (0.75, 0.6):
            halves = with_gradient(lambda x: operator(x, 5, 0.3, beta, 2.0), values, gradient)  # noqa: B023
            singles = with_gradient(
                lambda x: operator(x, 5, 0.3, beta, 2.0),  # noqa: B023
                values.float(),
                gradient.float(),
            )
            for half, single in zip(halves, singles, strict=True):
                assert half.dtype == dtype
                assert torch.equal(half, single.to(dtype))


def test_under_autocast_the_type_of_the_convolution_before_goes_through():
    convolution = nn.Conv2d(3, 6, 3)
    with torch.autocast("cpu", torch.bfloat16):
        result = spatial_norm(
            local_response_norm(convolution(torch.ones(2, 3, 6, 6)), 5, 0.3, 0.75, 2.0), 5, 0.3, 0.75, 1.0
        )
    assert result.dtype == torch.bfloat16
    result.float().sum().backward()
    assert convolution.weight.grad.abs().sum() > 0


def test_a_compiled_module_with_both_gives_the_same_values_and_gradients():
    def module(values):
        return spatial_norm(local_response_norm(values.relu(), 5, 0.3, 0.75, 2.0, 2), 3, 0.3, 0.75, 1.0) * 2

    values, gradient = draw(2, 6, 4, 4, dtype=torch.float32), draw(2, 6, 4, 4, seed=1, dtype=torch.float32)
    # This backend needs no C++ compiler; `fullgraph` refuses to leave anything outside the graph.
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
    for got, wanted in zip(
        with_gradient(compiled, values, gradient), with_gradient(module, values, gradient), strict=True
    ):
        assert torch.equal(got, wanted)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # of the checker's own
@pytest.mark.parametrize("groups", [1, 2, None])
@pytest.mark.parametrize("memory_format", FORMATS)
def test_the_operator_is_registered_as_pytorch_demands(groups, memory_format):
    values = draw(2, 4, 3, 3, dtype=torch.float32).contiguous(memory_format=memory_format).requires_grad_()
    torch.library.opcheck(torch.ops.alexnet.response_norm.default, (values, 5, 0.3, 0.75, 2.0, groups))


def test_only_the_input_is_kept_for_the_backward_pass():
    kept = []
    values = draw(2, 6, 4, 4, dtype=torch.float32).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.data_ptr()), lambda _: 0):
        local_response_norm(values, 5, 0.3, 0.75, 2.0)
        spatial_norm(values, 5, 0.3, 0.75, 2.0)
    assert kept == [values.data_ptr()] * 2


@pytest.mark.parametrize("operator", [local_response_norm, spatial_norm])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_images_give_no_images(operator, dtype):
    values = torch.empty(0, 6, 4, 4, dtype=dtype)
    result, gradient = with_gradient(lambda x: operator(x, 5, 0.3, 0.75, 2.0), values, values)
    assert result.shape == gradient.shape == values.shape


@pytest.mark.parametrize("groups", [1, 2, None])
@pytest.mark.parametrize("beta", [0.75, 0.6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_without_a_kernel_plain_operations_give_the_same_for_every_type(groups, beta, dtype):
    def plain(values, gradient=None):
        return lrn._compute_plainly(values, gradient, 5, 0.3, beta, 2.0, groups)

    def twin(values):
        if groups is None:
            return spatial_norm_reference(values, 5, 0.3, beta, 2.0)
        return lrn_reference(values, 5, 0.3, beta, 2.0, groups)

    values, gradient = draw(2, 6, 4, 4), draw(2, 6, 4, 4, seed=1)
    expected = with_gradient(twin, values, gradient)
    got = plain(values.to(dtype)), plain(values.to(dtype), gradient.to(dtype))
    for ours, wanted in zip(got, expected, strict=True):
        torch.testing.assert_close(ours, wanted.to(dtype), rtol=TOLERANCES[dtype], atol=TOLERANCES[dtype])


def test_many_chunks_equal_one(monkeypatch):
    values, gradient = draw(7, 6, 3, 3, seed=2), draw(7, 6, 3, 3, seed=3)
    whole = with_gradient(lambda x: local_response_norm(x, 5, 0.1, 0.75, 2.0), values, gradient)
    monkeypatch.setattr("alexnet.core.lrn.CHUNK_VALUES", 60)
    chunked = with_gradient(lambda x: local_response_norm(x, 5, 0.1, 0.75, 2.0), values, gradient)
    assert torch.equal(chunked[0], whole[0])
    assert torch.equal(chunked[1], whole[1])


@pytest.mark.parametrize("size", [0, 4, -1])
@pytest.mark.parametrize("operator", [local_response_norm, spatial_norm])
def test_a_window_without_a_centre_is_refused(operator, size):
    message = f"^the window's size is {size}, expected an odd number: it has a value at its centre$"
    with pytest.raises(ValueError, match=message):
        operator(torch.ones(1, 4, 2, 2), size, 0.3, 0.75, 2.0)


def test_groups_of_unequal_size_are_refused():
    with pytest.raises(ValueError, match="^5 maps do not make 2 equal groups$"):
        local_response_norm(torch.ones(1, 5, 2, 2), 5, 0.3, 0.75, 2.0, 2)


def test_importing_it_loads_no_compiler():
    program = "import sys, alexnet.core.lrn; assert not {'numba', 'alexnet.core.lrn_cuda'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_joint_lrn_differs_from_one_per_column_only_beside_the_border():
    values = torch.rand(1, 96, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) + 1
    joint, apart = (local_response_norm(values, 5, 0.1, 0.75, 2.0, groups) for groups in (1, 2))
    differing = (joint - apart).abs().amax(dim=(0, 2, 3)) > 1e-12
    assert differing.nonzero().flatten().tolist() == [46, 47, 48, 49]
