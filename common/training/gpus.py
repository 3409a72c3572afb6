"""The GPUs that the driver finds, and what is wrong where torch cannot use them."""

import ctypes
import os
import sys
from functools import cache
from typing import TYPE_CHECKING

from ..errors import UserError

if TYPE_CHECKING:
    import torch

VISIBLE = "CUDA_VISIBLE_DEVICES"
OTHER = f"choose another GPU with {VISIBLE}, or --device cpu"


def count_gpus() -> int:
    """NVIDIA GPUs according to the driver, or instances of one in MIG mode, as far as CUDA_VISIBLE_DEVICES shows them; without torch."""
    count = ctypes.c_int(0)
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return 0
    return count.value if driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 else 0


def check_driver() -> None:
    """Raises: UserError: the driver has no GPU for this process."""
    if count_gpus():
        return
    reason = "no NVIDIA driver with a GPU, or with an instance of one in MIG mode, on this machine"
    if (visible := os.environ.get(VISIBLE)) is not None:
        reason = f"{VISIBLE}={visible!r} leaves no GPU: unset it"
    raise UserError(f"--device cuda: {reason}; or drop --device to use the CPU")


def format_no_cuda() -> str:
    """Why torch finds no CUDA device, although the driver may have a GPU."""
    import torch

    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built without CUDA: install its CUDA build"
    return (
        f"torch {torch.__version__} for CUDA {torch.version.cuda} finds no GPU: the driver may be too old for it "
        "(nvidia-smi names the CUDA version that it supports)"
    )


@cache
def note_unused_gpu() -> None:
    """Print, once, that a GPU is not used, if there is one."""
    if count_gpus():
        print(f"the GPU is not used: {format_no_cuda()}", file=sys.stderr)


def check_usable(device: "torch.device") -> None:
    """Run a kernel on a CUDA device.

    Raises:
        UserError: the device does not exist, has no memory left, is too old for this build of torch, or is in use exclusively.
    """
    import torch

    if device.index >= torch.cuda.device_count():
        raise UserError(
            f"process {device.index} of this machine has no GPU, as torch finds {torch.cuda.device_count()}: "
            "start one process per GPU"
        )
    try:
        torch.zeros(1, device=device).add_(1).item()
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError) or "out of memory" in str(error):
            reason = "has no memory left, as other processes use it"
        elif "no kernel image" in str(error):
            major, minor = torch.cuda.get_device_capability(device)
            built = ", ".join(torch.cuda.get_arch_list())
            reason = (
                f"has compute capability {major}.{minor}, for which torch {torch.__version__} is not built ({built})"
            )
        else:
            reason = f"cannot be used ({str(error).splitlines()[0]})"
        raise UserError(f"GPU {device.index} {reason}: {OTHER}") from None


def format_others_memory(device: "torch.device") -> str:
    """Of a GPU that is out of memory: how much of it other processes use, if that is more than a tenth; else nothing."""
    import torch

    free, total = torch.cuda.mem_get_info(device)
    others = total - free - torch.cuda.memory_reserved(device)
    if others < total / 10:
        return ""
    return f"; other processes use {others / 1e9:.1f} of its {total / 1e9:.1f} GB: or {OTHER}"
