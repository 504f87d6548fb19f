"""What a file of weights holds, from its header alone."""

from __future__ import annotations

import json

import pytest
import torch

from alexnet.data.tensor_names import StoredTensor, hash_file, list_tensors
from alexnet.data.weights import write_tensors
from alexnet.errors import UserError


def test_names_types_and_shapes_are_those_that_were_written(tmp_path):
    tensors = {"b": torch.zeros(2, 3, dtype=torch.float64), "a": torch.zeros(4)}
    write_tensors(tmp_path / "weights", tensors, {"some": "metadata"})
    found = list_tensors(tmp_path / "weights")
    assert found == [StoredTensor("b", "F64", (2, 3)), StoredTensor("a", "F32", (4,))]
    assert [tensor.size for tensor in found] == [6, 4]
    (tmp_path / "abc").write_bytes(b"abc")
    assert hash_file(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize(
    "content", [b"", b"\xff" * 20, (4).to_bytes(8, "little") + b"[1,]", (10).to_bytes(8, "little") + b'{"a":{}}  ']
)  # fmt: skip
def test_other_files_are_refused(content, tmp_path):
    (tmp_path / "weights").write_bytes(content)
    with pytest.raises(UserError, match="is no whole safetensors file"):
        list_tensors(tmp_path / "weights")
    with pytest.raises(UserError, match="is missing"):
        list_tensors(tmp_path / "nowhere")


def test_a_header_is_all_that_is_read(tmp_path):
    text = json.dumps({"x": {"dtype": "F32", "shape": [1000, 1000], "data_offsets": [0, 4000000]}}).encode()
    (tmp_path / "weights").write_bytes(len(text).to_bytes(8, "little") + text)
    assert list_tensors(tmp_path / "weights")[0].size == 1_000_000
