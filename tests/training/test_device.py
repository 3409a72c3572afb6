"""Devices, precisions and batches that cannot be had are refused with what to do."""

import pytest
import torch
from torch import nn

from common.errors import UserError
from common.training import device, gpus
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
    with pytest.raises(UserError, match=r"built without CUDA|finds no GPU"):
        make_accelerator("cuda", "auto", False)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """torch and the driver find two GPUs of compute capability 5.2, whose first kernel raises what `zeros` is set to."""
    fakes = {
        "is_available": lambda: True,
        "device_count": lambda: 2,
        "get_device_capability": lambda _: (5, 2),
        "get_arch_list": lambda: ["sm_75", "sm_90"],
        "current_device": lambda: 0,
        "mem_get_info": lambda _: (1_000_000_000, 24_000_000_000),
        "memory_reserved": lambda _: 2_000_000_000,
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    monkeypatch.setattr(gpus, "count_gpus", lambda: 2)
    gpus.note_unused_gpu.cache_clear()
    return monkeypatch


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), "GPU 1 has no memory left"),
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors"), "GPU 1 has no memory left"),
        (
            torch.AcceleratorError("CUDA error: no kernel image is available for execution on the device"),
            r"GPU 1 has compute capability 5.2, for which torch .* is not built \(sm_75, sm_90\)",
        ),
        (
            RuntimeError("CUDA error: CUDA-capable device(s) is/are busy or unavailable\nCompile with"),
            r"GPU 1 cannot be used \(CUDA error: .* busy or unavailable\): choose another GPU",
        ),
    ],
)
def test_a_gpu_that_fails_is_one_line(two_gpus: pytest.MonkeyPatch, error: Exception, line: str) -> None:
    used = []

    def zeros(*_: object, device: torch.device) -> torch.Tensor:
        used.append(device)
        raise error

    two_gpus.setattr(torch, "zeros", zeros)
    two_gpus.setenv("LOCAL_RANK", "1")
    with pytest.raises(UserError, match=line) as raised:
        device.find("auto")
    assert "\n" not in str(raised.value) and "CUDA_VISIBLE_DEVICES" in str(raised.value)
    assert used == [torch.device("cuda", 1)]  # each process its own


def test_more_processes_than_gpus(two_gpus: pytest.MonkeyPatch) -> None:
    two_gpus.setenv("LOCAL_RANK", "2")
    with pytest.raises(UserError, match=r"process 2 .* no GPU, as torch finds 2: start one process per GPU"):
        device.find("cuda")


def test_a_working_gpu_is_used(two_gpus: pytest.MonkeyPatch) -> None:
    zeros = torch.zeros
    two_gpus.setattr(torch, "zeros", lambda *shape, device: zeros(*shape))
    assert device.find("auto") == device.find("cuda") == torch.device("cuda")
    assert device.find("cpu") == torch.device("cpu")


def test_every_process_computes_on_its_own_gpu(two_gpus: pytest.MonkeyPatch) -> None:
    zeros, devices, backends = torch.zeros, [], []
    two_gpus.setattr(torch, "zeros", lambda *shape, device: zeros(*shape))
    two_gpus.setattr(torch.cuda, "set_device", devices.append)
    two_gpus.setattr(torch.distributed, "init_process_group", lambda backend: backends.append(backend))
    two_gpus.setattr(torch.distributed, "get_world_size", lambda: 2)
    two_gpus.setattr(torch.distributed, "get_rank", lambda: 1)
    two_gpus.setattr("accelerate.state.check_cuda_p2p_ib_support", lambda: True)
    two_gpus.setenv("LOCAL_RANK", "1")
    accelerator = make_accelerator("auto", "fp32", False)
    assert accelerator.device == torch.device("cuda", 1)
    assert devices == [accelerator.device] and backends == ["nccl"]
    assert (accelerator.process_index, accelerator.num_processes) == (1, 2)


def test_memory_of_other_processes_is_named(two_gpus: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"other processes use 21.0 of its 24.0 GB"), batch_errors(32):
        raise torch.OutOfMemoryError("CUDA out of memory")
    two_gpus.setattr(torch.cuda, "memory_reserved", lambda _: 22_900_000_000)
    with pytest.raises(UserError) as raised, batch_errors(32):
        raise torch.OutOfMemoryError("CUDA out of memory")
    assert "other processes" not in str(raised.value)


@pytest.mark.parametrize(("cuda", "line"), [(None, "is built without CUDA"), ("13.0", "driver may be too old")])
def test_a_gpu_that_torch_cannot_use_is_named(
    two_gpus: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, cuda: str | None, line: str
) -> None:
    two_gpus.setattr(torch.cuda, "is_available", lambda: False)
    two_gpus.setattr(torch.version, "cuda", cuda)
    with pytest.raises(UserError, match=line):
        device.find("cuda")
    assert device.find("auto") == device.find("auto") == torch.device("cpu")
    (note,) = capsys.readouterr().err.splitlines()
    assert note.startswith("the GPU is not used: torch") and line in note


class NoDevice:
    """A driver for which nothing is visible: CUDA_ERROR_NO_DEVICE."""

    def cuInit(self, flags: int) -> int:
        return 100


@pytest.mark.parametrize(
    ("visible", "line"),
    [
        ("", r"CUDA_VISIBLE_DEVICES='' leaves no GPU"),
        ("MIG-1234", r"CUDA_VISIBLE_DEVICES='MIG-1234' leaves no GPU"),
        (None, "no NVIDIA driver with a GPU, or with an instance of one in MIG mode"),
    ],
)
def test_a_driver_without_a_visible_gpu(visible: str | None, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus.ctypes, "CDLL", lambda _: NoDevice())
    monkeypatch.delenv(gpus.VISIBLE, raising=False)
    if visible is not None:
        monkeypatch.setenv(gpus.VISIBLE, visible)
    with pytest.raises(UserError, match=line):
        gpus.check_driver()
