"""The device and the precision of a run, and errors when its memory is too small."""

import ctypes
import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Literal

import torch
from accelerate import Accelerator
from accelerate.utils import GradientAccumulationPlugin

from ..errors import OUT_OF_MEMORY, TrainingError, UserError
from . import gpus

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h


@dataclass(frozen=True, kw_only=True)
class Speed:
    """How a network is executed. Only the precision changes results, by rounding."""

    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    channels_last: bool = True
    compile_mode: Literal["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"] | None = None


def find(device: str) -> torch.device:
    """`device`: auto, cpu, cuda.

    Raises:
        UserError: CUDA is requested but not available, or the GPU of this process cannot be used.
    """
    if device == "cpu":
        return torch.device("cpu")
    if torch.cuda.is_available():
        gpus.check_usable(torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))))
        return torch.device("cuda")
    if device == "cuda":
        raise UserError(f"--device cuda: {gpus.format_no_cuda()}; or drop it to use the CPU")
    gpus.note_unused_gpu()
    return torch.device("cpu")


def fast_precisions(device: torch.device) -> list[str]:
    """The precisions that may be the fastest on a device, the safest first."""
    if device.type == "cuda":
        return ["bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"]
    return ["fp32", "bf16"] if _cpu_computes_bf16() else ["fp32"]


def prepare(device: torch.device, precision: str) -> None:
    """Set the process-wide state of allocator, garbage collector, cuDNN and TF32, before anything runs or is timed.

    Raises:
        UserError: float16 without CUDA.
    """
    if precision == "fp16" and device.type == "cpu":
        raise UserError("--precision fp16 needs CUDA: use bf16 or fp32 on a CPU")
    if device.type == "cpu":
        _keep_freed_memory()
    if not gc.get_freeze_count():
        gc.freeze()  # no collection searches the imported libraries, which takes 0.3 s
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = precision != "fp32"  # fp32 means IEEE float32
    torch.set_float32_matmul_precision("highest" if precision == "fp32" else "high")


@contextmanager
def prepared(device: torch.device, precision: str) -> Iterator[None]:
    """`prepare` within the block: afterwards cuDNN and TF32 are as before, for a run on another device or in another precision."""
    cudnn, matmul = torch.backends.cudnn, torch.get_float32_matmul_precision()
    before = cudnn.benchmark, cudnn.allow_tf32
    prepare(device, precision)
    try:
        yield
    finally:
        cudnn.benchmark, cudnn.allow_tf32 = before
        torch.set_float32_matmul_precision(matmul)


def resolve_precision(device: torch.device, precision: str, cpu_bf16: bool) -> str:
    """`precision`, with auto resolved to fp32, bf16 or fp16.

    On CUDA: bfloat16 where the GPU supports it, else float16 with loss scaling. On a CPU with bfloat16 instructions:
    bfloat16 for networks that it speeds up (`cpu_bf16`). Else float32.
    """
    return fast_precisions(device)[-1 if cpu_bf16 else 0] if precision == "auto" else precision


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Forward passes in `precision`: fp32, bf16 or fp16."""
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
    return torch.autocast(device.type, dtype, enabled=dtype is not None)


def make_accelerator(device: str, precision: str, cpu_bf16: bool, micro_batches: int = 1) -> Accelerator:
    """`device`: auto, cpu, cuda; `precision`: auto, fp32, bf16, fp16, see `resolve_precision`.

    Raises:
        UserError: CUDA is requested but not available, or float16 without CUDA.
    """
    torch_device = find(device)
    precision = resolve_precision(torch_device, precision, cpu_bf16)
    prepare(torch_device, precision)
    mixed = precision.replace("fp32", "no")
    plugin = GradientAccumulationPlugin(num_steps=micro_batches)  # takes precedence over the environment
    return Accelerator(cpu=torch_device.type == "cpu", mixed_precision=mixed, gradient_accumulation_plugin=plugin)


def _keep_freed_memory() -> None:
    """Keep glibc from returning large blocks to the system at every free: page faults when they are allocated again are slow.

    mallopt(3): blocks above 32 MB are mapped and unmapped each time, which took half of a step of EfficientNet-Lite0 at
    224 px (LOG.md). Other C libraries have no mallopt, or ignore it.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, 1 << 30)
        mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)


def _cpu_computes_bf16() -> bool:
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()  # not in torch before 2.12: float32
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether it is torch.OutOfMemoryError (GPU) or the plain RuntimeError of the CPU's allocator."""
    return isinstance(error, torch.OutOfMemoryError) or "tried to allocate" in str(error)


def is_compile_error(error: RuntimeError) -> bool:
    """Whether TorchDynamo or a compiler behind it raised it, such as for a missing C++ compiler."""
    return type(error).__module__.startswith(("torch._dynamo", "torch._inductor"))


@contextmanager
def batch_errors(batch_size: int) -> Iterator[None]:
    """Turn torch's errors for too large or too small batches into a `UserError` that suggests another size."""
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise UserError("batch norm has a single value per channel: use a larger -bs or --image_size") from None
    except RuntimeError as error:
        if is_compile_error(error):
            raise UserError(
                f"the network cannot be compiled here ({str(error).splitlines()[0]}): drop --compile"
            ) from None
        if not is_out_of_memory(error):
            raise
        half = batch_size // 2
        smaller = f"try -bs {half}, or --micro_bs {half} for the same steps" if half else "try a smaller --image_size"
        if isinstance(error, torch.OutOfMemoryError) and torch.cuda.is_available():
            smaller += gpus.format_others_memory(torch.device("cuda", torch.cuda.current_device()))
        raise TrainingError(f"{OUT_OF_MEMORY} {batch_size}: {smaller}") from None
