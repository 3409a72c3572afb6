"""Where a run computes and in which number format, told to Accelerate."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from accelerate import Accelerator

from ..errors import UserError


def accelerator(device: str, precision: str, cpu_bf16: bool) -> Accelerator:
    """`device`: auto, cpu, cuda; `precision`: auto, fp32, bf16, fp16.

    `auto` on CUDA is bfloat16 where the GPU computes it, else float16 with a scaled loss; on a CPU that computes it
    bfloat16 for the networks that gain by it (`cpu_bf16`); else float32.

    Raises:
        UserError: CUDA asked for and not there, or float16 without CUDA.
    """
    cuda = torch.cuda.is_available() and device != "cpu"
    if device == "cuda" and not cuda:
        raise UserError(
            "--device cuda: torch finds no CUDA device; drop it to use the CPU, or install torch's CUDA build"
        )
    if precision == "fp16" and not cuda:
        raise UserError("--precision fp16 needs CUDA: take bf16 or fp32 on a CPU")
    if precision == "auto" and cuda:
        precision = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    elif precision == "auto":
        precision = "bf16" if cpu_bf16 and _cpu_computes_bf16() else "fp32"
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")
    return Accelerator(cpu=device == "cpu", mixed_precision=precision.replace("fp32", "no"))


def _cpu_computes_bf16() -> bool:
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()  # torch before 2.12 does not tell: float32
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


@contextmanager
def out_of_memory(batch_size: int) -> Iterator[None]:
    """Name the next smaller batch size when the device's memory does not suffice."""
    try:
        yield
    except RuntimeError as error:  # torch.OutOfMemoryError on a GPU, a plain one from the CPU's allocator
        if not isinstance(error, torch.OutOfMemoryError) and "tried to allocate" not in str(error):
            raise
        smaller = f"try -bs {batch_size // 2}" if batch_size > 1 else "try a smaller --image_size"
        raise UserError(f"out of memory at a batch of {batch_size}: {smaller}") from None
