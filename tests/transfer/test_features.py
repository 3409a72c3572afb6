"""Frozen features."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from common.data.loader import Batches
from common.errors import UserError
from common.metrics import cost
from common.models import build
from common.training.device import prepared
from common.transfer import features
from common.transfer.features import Features


@pytest.mark.parametrize(
    "name", ["mobilenet_v3_large", "shufflenet_v2_x2_0", "efficientnet_lite0", "timm:test_vit", "timm:test_convnext"]
)
def test_features_are_the_input_of_the_head(name: str) -> None:
    row = build.get_backbone(name)
    torch.manual_seed(0)
    net = build.create_model(row, 7, None).eval()
    head, images = net.get_submodule(row.head), torch.randn(2, 3, *row.supported_size((64, 64)))
    with torch.inference_mode():
        expected = net(images)
        assert torch.equal(head(features.remove_head(net, row.head)(images)), expected)


def ten_images(batch_size: int) -> Batches:
    return Batches(
        pixels=np.random.default_rng(0).integers(0, 256, (10, 32, 32, 3), np.uint8),
        indices=np.arange(10),
        labels=np.zeros(10, int),
        preprocess=build.get_backbone("timm:test_resnet").preprocess((32, 32)),
        batch_size=batch_size,
        device=torch.device("cpu"),
    )


def test_a_batch_is_halved_until_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    row = build.get_backbone("timm:test_resnet")
    batches = ten_images(16)
    torch.manual_seed(0)
    net = build.create_model(row, 2, None)
    whole = features.forward_features(net, row, batches, "fp32").values
    forward, tried = features._forward, []

    def tight(net, batches: Batches, title: str) -> Features:
        tried.append(batches.batch_size)
        if batches.batch_size > limit:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        return forward(net, batches, title)

    monkeypatch.setattr(features, "_forward", tight)
    torch.manual_seed(0)
    net, limit = build.create_model(row, 2, None), 4
    assert np.allclose(features.forward_features(net, row, batches, "fp32").values, whole, atol=1e-5)
    assert tried == [16, 8, 4]
    limit = 0
    with pytest.raises(UserError, match="out of memory for a single image"):
        features.forward_features(build.create_model(row, 2, None), row, batches, "fp32")


def test_a_busy_machine_does_not_change_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two images a batch; the first batch warms up, the others take 2 CPU seconds each, and 30 by the clock."""
    row, now = build.get_backbone("timm:test_resnet"), SimpleNamespace(wall=0.0, cpu=0.0)
    net = build.create_model(row, 2, None)

    def wait(*_: object) -> None:
        now.wall, now.cpu = now.wall + 30, now.cpu + 2

    net.register_forward_hook(wait)
    clock = SimpleNamespace(perf_counter=lambda: now.wall, process_time=lambda: now.cpu)
    monkeypatch.setattr(cost, "time", clock)
    found = features.forward_features(net, row, ten_images(2), "fp32")
    assert found.images_per_second == 8 / (4 * 2)


def test_the_precision_of_a_run_stays() -> None:
    """Features in float32, between the setup of a run in bfloat16 and its training."""
    row = build.get_backbone("timm:test_resnet")
    with prepared(torch.device("cuda"), "bf16"):
        features.forward_features(build.create_model(row, 2, None), row, ten_images(8), "fp32")
        assert torch.get_float32_matmul_precision() == "high" and torch.backends.cudnn.allow_tf32
