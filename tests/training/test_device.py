"""Devices, precisions and batches that cannot be had are refused with what to do."""

import pytest
import torch
from torch import nn

from common.errors import UserError
from common.training.device import batch_errors, make_accelerator


def test_out_of_memory_names_the_next_smaller_batch() -> None:
    with (
        pytest.raises(UserError, match="out of memory at a batch of 32: try -bs 16, or --micro_bs 16"),
        batch_errors(32),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(UserError, match="try a smaller --image_size"), batch_errors(1):
        torch.empty(2**60)
    with pytest.raises(RuntimeError, match="shape"), batch_errors(32):
        torch.zeros(2) @ torch.zeros(3, 1).T.expand(4, 3).reshape(7, 1)


def test_batch_norm_of_a_single_value() -> None:
    with pytest.raises(UserError, match="use a larger -bs"), batch_errors(1):
        nn.BatchNorm1d(3)(torch.zeros(1, 3))


def test_fp16_needs_cuda() -> None:
    if torch.cuda.is_available():
        pytest.skip("a CUDA device is available")
    with pytest.raises(UserError, match="--precision fp16 needs CUDA"):
        make_accelerator("cpu", "fp16", False)
    with pytest.raises(UserError, match="torch finds no CUDA device"):
        make_accelerator("cuda", "auto", False)
