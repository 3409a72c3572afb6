"""The energy that a GPU has used, by its own counter."""

import math
from collections.abc import Callable

import torch


def meter(device: torch.device) -> Callable[[], float]:
    """Returns a function that reads the GPU's energy counter in joules; NaN where there is none.

    Of the whole GPU, whoever uses it, idle or not; NVML counts them in millijoules since Volta, not for a part of one (MIG).
    CPUs count as well, but for the superuser alone (CVE-2020-8694): NaN.
    """
    if device.type != "cuda":
        return lambda: math.nan
    try:
        from cuda.bindings import nvml  # torch for CUDA brings it
    except ImportError:
        return lambda: math.nan
    try:
        nvml.init_v2()
        gpu = nvml.device_get_handle_by_uuid(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
        nvml.device_get_total_energy_consumption(gpu)
    except (nvml.NvmlError, RuntimeError):  # it does not count; no driver library
        return lambda: math.nan
    return lambda: nvml.device_get_total_energy_consumption(gpu) / 1000
