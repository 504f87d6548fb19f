"""The GPU's kernels: their logic in Triton's interpreter, their compilation, and themselves where there is a GPU."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from alexnet.core.lrn import local_response_norm, lrn_reference, spatial_norm, spatial_norm_reference

if importlib.util.find_spec("triton") is None:
    pytest.skip("Triton is not installed: there are no kernels to test", allow_module_level=True)

FORMATS = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}
# Images, maps, height, width, groups, size, k, beta: windows wider than the maps, one map, more than one block of
# pixels, both exponents.
CASES = [
    (2, 6, 3, 5, 1, 5, 2.0, 0.75),
    (1, 6, 9, 9, 2, 3, 1.0, 0.6),
    (1, 3, 2, 2, 1, 9, 2.0, 0.75),
    (2, 1, 2, 2, 1, 5, 2.0, 1.0),
    (1, 4, 2, 2, 2, 1, 2.0, 0.75),
]
needs_gpu = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a GPU: the kernels run on nothing else"
)


def expected(values, gradient, size, alpha, beta, k, groups):
    """The reference twin's result and gradient, in float64."""
    values = values.double().requires_grad_()
    result = lrn_reference(values, size, alpha, beta, k, groups)
    result.backward(gradient.double())
    return result.detach(), values.grad


def compare_in_interpreter():
    """Called in a process whose Triton interprets: every case, in both memory formats, against the twin."""
    from alexnet.core import lrn_cuda

    for images, maps, height, width, groups, size, k, beta in CASES:
        generator = torch.Generator().manual_seed(0)
        values, gradient = (torch.randn(images, maps, height, width, generator=generator) for _ in range(2))
        wanted = expected(values, gradient, size, 0.3, beta, k, groups)
        for memory_format in FORMATS.values():
            given, incoming = (t.contiguous(memory_format=memory_format) for t in (values, gradient))
            for upstream, twin in zip((None, incoming), wanted, strict=True):
                got = lrn_cuda.across_maps(given, upstream, size, 0.3, beta, k, groups)
                torch.testing.assert_close(got, twin.float(), rtol=2e-6, atol=2e-6)
                assert got.is_contiguous(memory_format=memory_format)


def test_in_the_interpreter_the_kernels_equal_the_plain_twin():
    program = "from tests.unit.core.test_lrn_cuda import compare_in_interpreter; compare_in_interpreter(); print('equal')"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[3],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "equal\n", done.stderr


@pytest.mark.parametrize("name", ["_forward", "_backward"])
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_the_kernels_compile_for_a_gpu_into_registers_alone(name, dtype, tmp_path, monkeypatch):
    from triton import compile as compile_kernel
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from alexnet.core import lrn_cuda

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    kernel = getattr(lrn_cuda, name)
    numbers = {"size": 5, "slots": 8, "block": lrn_cuda.PIXELS}
    kinds = {"values": f"*{dtype}", "gradient": f"*{dtype}", "result": f"*{dtype}"}
    kinds |= dict.fromkeys(("alpha", "beta", "k"), "fp32") | dict.fromkeys(numbers, "constexpr")
    source = ASTSource(
        fn=kernel, signature={name: kinds.get(name, "i32") for name in kernel.arg_names}, constexprs=numbers
    )
    compiled = compile_kernel(source, target=GPUTarget("cuda", 80, 32), options={"num_warps": 1})
    assert compiled.metadata.shared == 0
    assert ".local" not in compiled.asm["ptx"]  # nothing spilled


@needs_gpu
@pytest.mark.parametrize("memory_format", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("case", [*CASES, (4, 96, 55, 55, 2, 5, 2.0, 0.75), (2, 40, 3, 3, 1, 21, 2.0, 0.75)])
def test_on_a_gpu_result_and_gradient_equal_the_plain_twin(case, memory_format):
    images, maps, height, width, groups, size, k, beta = case
    generator = torch.Generator().manual_seed(0)
    values, gradient = (torch.randn(images, maps, height, width, generator=generator) for _ in range(2))
    wanted = expected(values, gradient, size, 0.3, beta, k, groups)
    given = values.cuda().contiguous(memory_format=memory_format).requires_grad_()
    result = local_response_norm(given, size, 0.3, beta, k, groups)
    result.backward(gradient.cuda())
    for got, twin in zip((result, given.grad), wanted, strict=True):
        assert got.is_contiguous(memory_format=memory_format)
        torch.testing.assert_close(got.cpu(), twin.float(), rtol=1e-5, atol=1e-5)


@needs_gpu
def test_on_a_gpu_bfloat16_is_float32_rounded():
    values = torch.randn(2, 8, 5, 5, generator=torch.Generator().manual_seed(0)).bfloat16()
    got = local_response_norm(values.cuda(), 5, 0.3, 0.75, 2.0)
    assert got.dtype == torch.bfloat16
    wanted = lrn_reference(values.double(), 5, 0.3, 0.75, 2.0)
    torch.testing.assert_close(got.cpu().double(), wanted, rtol=2**-8, atol=1e-6)


@needs_gpu
def test_on_a_gpu_the_form_within_maps_equals_its_plain_twin():
    values = torch.randn(2, 8, 13, 11, generator=torch.Generator().manual_seed(0))
    got = spatial_norm(values.cuda(), 5, 0.3, 0.75, 1.0).cpu()
    torch.testing.assert_close(got, spatial_norm_reference(values, 5, 0.3, 0.75, 1.0), rtol=1e-5, atol=1e-5)
