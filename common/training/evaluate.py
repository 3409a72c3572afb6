"""Network + batches -> logits of every image, each exactly once, on however many processes."""

from collections.abc import Callable

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from ..data.loader import Batches


def evaluate(
    net: nn.Module, batches: Batches, accelerator: Accelerator, beat: Callable[[], None] = lambda: None
) -> np.ndarray:
    """(N, C) float32 logits in the order of the samples, the same on every process; `beat` is called at every batch."""

    def logits(images: torch.Tensor) -> torch.Tensor:
        beat()
        return net(images).float()

    net.eval()
    with torch.inference_mode(), accelerator.autocast():
        mine = torch.cat([logits(images) for images, _ in batches.eval()])
    if batches.world > 1:  # process r holds images r, r + world, ...; the short ones are padded, then cut
        rows = accelerator.gather(accelerator.pad_across_processes(mine, dim=0))
        mine = rows.unflatten(0, (batches.world, -1)).transpose(0, 1).flatten(0, 1)[: len(batches)]
    return mine.cpu().numpy()
