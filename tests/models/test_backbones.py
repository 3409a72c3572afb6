"""The table pinned against the libraries' own metadata; every row builds, trains a step and predicts."""

import pytest
import torch
import torchvision
from conftest import on_meta, trains_a_step_and_predicts

from common.errors import UserError
from common.metrics import cost
from common.models import weights
from common.models.build import create_model, get_backbone
from common.models.registry import BACKBONES, MODERN

PAPER = (
    "convnext swin swinv2 efficientnet resnet densenet inception mobilenet regnet resnext shufflenet wavemix".split()
)
INCEPTION_AUX = 3_326_696  # parameters of the head that we leave out
NAMES = [row.name for row in BACKBONES]
LATER = {row.arch.partition(".")[0]: row.name for row in MODERN}.values()  # one of each architecture


@pytest.mark.parametrize("row", [row for row in BACKBONES if row.library == "torchvision"], ids=lambda row: row.name)
def test_torchvision_rows_equal_torchvisions_metadata(row) -> None:
    weights = torchvision.models.get_model_weights(row.arch)[row.enum]
    crop = weights.transforms()
    left_out = INCEPTION_AUX if row.arch == "inception_v3" else 0
    assert row.params + left_out == weights.meta["num_params"]
    assert row.top1 == pytest.approx(weights.meta["_metrics"]["ImageNet-1K"]["acc@1"] / 100)
    assert row.weights == weights.url and row.sha256 in weights.url
    assert row.size == crop.crop_size[0] and row.crop == pytest.approx(crop.crop_size[0] / crop.resize_size[0])
    assert row.interpolation == crop.interpolation.value
    if row.arch != "inception_v3":  # see the row's remark
        assert (list(row.mean), list(row.std)) == (crop.mean, crop.std)


@pytest.mark.parametrize("row", [*BACKBONES, *MODERN], ids=lambda row: row.name)
def test_parameters_and_macs(row) -> None:
    net = on_meta(row, 1000)
    assert cost.parameters(net) == row.params
    macs = cost.macs(net, (row.size, row.size))
    if row.library == "torchvision":
        meta = torchvision.models.get_model_weights(row.arch)[row.enum].meta
        assert macs / 1e9 == pytest.approx(meta["_ops"], rel=0.01)


def test_efficientnet_lite0_equals_timms_metadata() -> None:
    import timm

    row, cfg = get_backbone("efficientnet_lite0"), timm.get_pretrained_cfg("tf_efficientnet_lite0")
    assert (row.head, row.mean, row.std, row.crop, row.interpolation) == (
        cfg.classifier, cfg.mean, cfg.std, cfg.crop_pct, cfg.interpolation,
    )  # fmt: skip


@pytest.mark.parametrize("row", MODERN, ids=lambda row: row.name)
def test_modern_rows_equal_timms_metadata(row) -> None:
    """Where timm tests at another size than it trains at, the row has that of its accuracy."""
    import timm

    cfg = timm.get_pretrained_cfg(row.arch)
    tested_larger = cfg.test_input_size and row.size == cfg.test_input_size[1]
    size, crop = (cfg.test_input_size[1], cfg.test_crop_pct) if tested_larger else (cfg.input_size[1], cfg.crop_pct)
    head = cfg.classifier if isinstance(cfg.classifier, str) else cfg.classifier[0]  # RepViT has two
    assert (row.head, row.mean, row.std, row.size, row.crop) == (head, cfg.mean, cfg.std, size, crop)
    assert row.interpolation == cfg.interpolation and row.params < 30e6
    if row.weights.startswith("hf:"):
        assert row.weights == f"hf:{cfg.hf_hub_id}"
    assert row.fixed_size == cfg.fixed_input_size or row.name == "vit_small_dinov3", "its positions are rotary"


@pytest.mark.parametrize("name", [name for name in LATER if name != "vit_small_dinov2"])  # 518 pixels
def test_every_later_row_trains_a_step_and_predicts(name: str) -> None:
    """From `min_size` on, odd and oblong ones, too."""
    row = get_backbone(name)
    net = trains_a_step_and_predicts(row, (torch.bfloat16, 2 * (row.size if row.fixed_size else 64,)))
    for more in () if row.fixed_size else (0, row.multiple):
        size = (row.min_size, row.min_size + more)
        row.check_size(size)
        with torch.inference_mode():
            assert net(torch.zeros(1, 3, *size)).shape == (1, 7)


def test_whole_patches() -> None:
    row = get_backbone("vit_small_dinov3")
    with pytest.raises(UserError, match=r"multiple of 16 pixels, not 96x100: pass --image_size 112"):
        row.check_size((96, 100))


def test_repvits_second_head_is_ignored() -> None:
    import timm

    row = get_backbone("repvit_m1_5")
    state = timm.create_model(row.arch, pretrained=False).state_dict()
    assert any(key.startswith("head.head_dist.") for key in state)
    body = create_model(row, 3, state).state_dict()
    assert all(torch.equal(body[key], state[key]) for key in body if not key.startswith(row.head))


@pytest.mark.parametrize("name", ["efficientnet_lite1", "efficientnet_lite2"])
def test_real_weights_of_later_rows(name: str) -> None:
    row = get_backbone(name)
    state, sha256 = weights.load_weights(row, "imagenet", offline=True)
    own = create_model(row, 1000, state, keep_head=True).state_dict()
    assert sha256.startswith(row.sha256) and len(own) == len(state) == 386
    assert all(torch.equal(a, b) for a, b in zip(own.values(), state.values(), strict=True))


def test_the_papers_names() -> None:
    assert len({get_backbone(name).name for name in PAPER}) == len(PAPER)
    assert get_backbone("resnet").enum == "IMAGENET1K_V2" and get_backbone("resnet50_v1").enum == "IMAGENET1K_V1"


@pytest.mark.parametrize("name", [n for n in NAMES if n != "resnet50_v1"])
def test_every_row_trains_a_step_and_predicts(name: str) -> None:
    """At the sizes of EuroSAT and CIFAR-10; `test_parameters_and_macs` has 224 pixels."""
    row = get_backbone(name)
    sizes = [2 * (max(side, row.min_size),) for side in (64, 128)]
    trains_a_step_and_predicts(row, (torch.bfloat16, sizes[0]), (torch.float32, sizes[1]))


def test_any_timm_network() -> None:
    row = get_backbone("timm:test_resnet")
    net = create_model(row, 3, None).eval()
    assert net(torch.zeros(1, 3, 64, 64)).shape == (1, 3) and row.weights == "hf:timm/test_resnet.r160_in1k"
    assert row.size == 160


@pytest.mark.parametrize("name", ["timm:vit_tiny_patch16_224", "timm:test_vit", "timm:test_convnext"])
def test_more_of_timms_heads(name: str) -> None:
    row = get_backbone(name)
    assert create_model(row, 3, None).eval()(torch.zeros(1, 3, row.size, row.size)).shape == (1, 3)


def test_a_timm_network_without_a_head() -> None:
    row = get_backbone("timm:vit_small_patch14_dinov2.lvd142m")
    assert row.fixed_size and row.size == 518
    with torch.device("meta"):
        assert create_model(row, 3, None).get_submodule(row.head).out_features == 3


def test_a_timm_network_with_two_heads_is_refused() -> None:
    with pytest.raises(UserError, match="no single linear head"):
        get_backbone("timm:deit_tiny_distilled_patch16_224")


def test_an_unknown_tag() -> None:
    with pytest.raises(UserError, match=r"timm has no weights .* it has .*a1_in1k"):
        get_backbone("timm:resnet50.nobody")
