"""The energy counter of a GPU."""

import math
from collections.abc import Callable

import torch


def meter(device: torch.device) -> Callable[[], float]:
    """Returns a function that reads the GPU's energy counter in joules; NaN where there is none.

    It counts the whole GPU, with other processes and idle time. NVML has it since Volta, not for MIG instances. The
    counters of CPUs are readable by root only (CVE-2020-8694): NaN.
    """
    if device.type != "cuda":
        return lambda: math.nan
    try:
        from cuda.bindings import nvml  # installed with torch for CUDA
    except ImportError:
        return lambda: math.nan
    try:
        nvml.init_v2()
        gpu = nvml.device_get_handle_by_uuid(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
        nvml.device_get_total_energy_consumption(gpu)
    except (nvml.NvmlError, RuntimeError):  # no counter; no driver library
        return lambda: math.nan
    return lambda: nvml.device_get_total_energy_consumption(gpu) / 1000
