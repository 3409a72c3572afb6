"""Which weights decay, and how the learning rate moves."""

from dataclasses import replace

import pytest
import torch
from tiny import net
from torch import nn

from common.models.build import create_model, get_backbone
from common.spec import Phase
from common.training.optimizer import lr_factor, optimizer_and_schedule
from common.training.recipes import SCRATCH


def test_norms_scales_and_biases_do_not_decay_and_the_head_is_faster() -> None:
    for name in ("convnext_tiny", "swin_t"):
        backbone = get_backbone(name)
        model = create_model(backbone, 5, None)
        optimizer, _ = optimizer_and_schedule(
            model, backbone.head, Phase(steps=1, lr=1e-3, head_lr=3.0, weight_decay=0.05)
        )
        names = {id(p): n for n, p in model.named_parameters()}
        norms = {id(p) for m in model.modules() if "LayerNorm" in type(m).__name__ for p in m.parameters()}
        for group in optimizer.param_groups:
            for p in group["params"]:
                n = names[id(p)]
                plain = id(p) in norms or "bias" in n or "layer_scale" in n or "logit_scale" in n
                assert group["weight_decay"] == (0 if plain else 0.05), n
                assert group["lr"] == pytest.approx(3e-3 if n.startswith(f"{backbone.head}.") else 1e-3)
        assert sum(len(g["params"]) for g in optimizer.param_groups) == len(names)


def test_everything_decays_from_scratch() -> None:
    model = net()
    optimizer, _ = optimizer_and_schedule(
        model, "4", Phase(steps=1, optimizer="sgd", lr=0.1, weight_decay=5e-4, decay_all=True)
    )
    assert {group["weight_decay"] for group in optimizer.param_groups} == {5e-4}


def test_warmup_and_cosine() -> None:
    phase = Phase(steps=100, lr=1.0, warmup=0.1)
    assert [lr_factor(phase, step) for step in (0, 10, 55, 100)] == pytest.approx([1 / 11, 1, 0.5, 0])
    constant = Phase(steps=9, lr=1.0, schedule="constant")
    assert [lr_factor(constant, i) for i in (0, 8)] == [1.0, 1.0]


def test_the_rates_of_scratch_are_torchs_cosine() -> None:
    """0.1 to 0.001 and 1e-3 to 1e-5, as the published code has it: CosineAnnealingLR, stepped with the optimizer."""
    for kind, floor in (("sgd", 1e-3), ("adam", 1e-5)):
        phase = replace(SCRATCH[kind], steps=50)
        reference = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=phase.lr)
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(reference, 50, floor)
        for step in range(50):
            assert phase.lr * lr_factor(phase, step) == pytest.approx(cosine.get_last_lr()[0])
            reference.step()
            cosine.step()


@pytest.mark.parametrize(
    ("name", "blocks"),
    [
        ("timm:test_vit", ["patch_embed.", "blocks.0.", "blocks.5.", "norm."]),
        ("mobilenet_v3_large", ["features.0.", "features.1.", "features.16."]),
        ("timm:convnext_atto", ["stem.", "stages.0.blocks.0.", "stages.0.blocks.1.", "stages.3.downsample."]),
        ("wavemix", ["conv.0.", "conv.4.", "layers.0.", "layers.15."]),
    ],
)
def test_layers_below_the_head_are_slower(name: str, blocks: list[str]) -> None:
    backbone = get_backbone(name)
    model = create_model(backbone, 5, None)
    optimizer, _ = optimizer_and_schedule(model, backbone.head, Phase(steps=1, lr=1.0, layer_decay=0.5))
    names = {id(p): n for n, p in model.named_parameters()}
    rates = {names[id(p)]: group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert rates.keys() == set(names.values())
    assert {rate for n, rate in rates.items() if n.startswith(f"{backbone.head}.")} == {1.0}
    per_block = [{rate for n, rate in rates.items() if n.startswith(block)} for block in blocks]
    deepest = [min(rates) for rates in per_block]
    assert deepest == sorted(deepest) and len(set(deepest)) == len(blocks), "each below the next"
    assert deepest[0] == min(rates.values()) < 0.05
