"""Logits of all images of a part, each exactly once, on any number of processes."""

from collections.abc import Callable

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from ..data.loader import Batches


def evaluate(
    net: nn.Module, batches: Batches, accelerator: Accelerator, on_batch: Callable[[], None] = lambda: None
) -> np.ndarray:
    """(N, C) float32 logits in the order of the samples, the same on every process; `on_batch` is called per batch.

    A compiled network is evaluated eagerly: its compiled code is for batches of training, each of the same size.
    """

    def logits(images: torch.Tensor) -> torch.Tensor:
        on_batch()
        return net(images).float()

    net.eval()
    with torch.inference_mode(), accelerator.autocast(), torch.compiler.set_stance("force_eager"):
        local = torch.cat([logits(images) for images, _ in batches.eval()])
    if batches.world > 1:  # process r has images r, r + world, ...; the padding of shorter ones is cut
        padded = accelerator.gather(accelerator.pad_across_processes(local, dim=0))
        local = padded.unflatten(0, (batches.world, -1)).transpose(0, 1).flatten(0, 1)[: len(batches)]
    return local.cpu().numpy()
