"""Any classifier of torchvision and timm: rows from their metadata, heads, sizes, published weights."""

import json
from pathlib import Path

import pytest
import timm
import torch
from conftest import SHARED, on_meta, trains_a_step_and_predicts

import folder
from common import main
from common.__main__ import main as command
from common.errors import UserError
from common.models.build import check_size, create_model, get_backbone
from common.models.names import torchvision_names
from common.models.registry import BACKBONES
from common.models.weights import load_weights
from common.transfer.features import remove_head, set_head

FAMILIES = """alexnet convnext_small densenet121 efficientnet_b0 googlenet inception_v3 maxvit_t mnasnet0_5 mobilenet_v2
regnet_x_400mf resnet18 shufflenet_v2_x0_5 squeezenet1_0 swin_s vgg11_bn vit_b_16 wide_resnet50_2""".split()
OTHERS = sorted(torchvision_names() - set(FAMILIES))
SMALL = ["alexnet", "squeezenet1_1", "mnasnet0_5", "vgg11", "googlenet", "resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5"]  # fmt: skip


@pytest.mark.parametrize("arch", [*FAMILIES, *(pytest.param(n, marks=pytest.mark.slow) for n in OTHERS)])
def test_every_torchvision_classifier_has_a_row(arch: str) -> None:
    row = get_backbone(f"torchvision:{arch}")
    net = on_meta(row, 7).eval()
    side = row.size if row.fixed_size else max(64, row.min_size)
    assert net(torch.zeros(2, 3, side, side, device="meta")).shape == (2, 7)
    assert row.fixed_size == arch.startswith(("vit_", "maxvit"))
    assert row.top1 and row.sha256 and row.sha256 in row.weights


@pytest.mark.parametrize("row", [row for row in BACKBONES if row.library == "torchvision"], ids=lambda row: row.name)
def test_they_agree_with_the_table(row) -> None:
    if row.name == "resnet50_v1":
        return
    other = get_backbone(f"torchvision:{row.arch}")
    for name in (
        "head",
        "params",
        "top1",
        "weights",
        "enum",
        "sha256",
        "size",
        "interpolation",
        "mean",
        "std",
        "fixed_size",
    ):
        assert getattr(row, name) == getattr(other, name), name
    assert row.crop == pytest.approx(other.crop)


@pytest.mark.parametrize("arch", SMALL)
def test_they_train_a_step_and_predict(arch: str) -> None:
    row = get_backbone(f"torchvision:{arch}")
    trains_a_step_and_predicts(row, (torch.float32, (64, 64)))


def test_squeezenets_head_is_linear() -> None:
    """A 1 x 1 convolution before the mean: the same as a linear layer of the mean, which a probe sets."""
    row, images = get_backbone("torchvision:squeezenet1_1"), torch.randn(3, 3, 64, 64)
    net = create_model(row, 5, None).eval()
    weight, bias = torch.randn(5, 512), torch.randn(5)
    set_head(net, row.head, weight.numpy(), bias.numpy())
    with torch.inference_mode():
        logits = net(images)
        features = remove_head(net, row.head)(images)
    assert features.shape == (3, 512)
    torch.testing.assert_close(logits, features @ weight.T + bias, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("protocol", ["clean", "probe"])
def test_a_run_of_squeezenet(tmp_path: Path, monkeypatch, capsys, class_tree, protocol: str) -> None:
    weights = SHARED / "weights" / "squeezenet1_1.safetensors"
    if not weights.is_file():
        pytest.skip(f"no {weights.name} (looked in CLASH_SHARED or ../shared)")
    monkeypatch.chdir(tmp_path)
    options = f"-model squeezenet1_1 --image_size 64 --protocol {protocol} --weights {weights} --out run -bs 8"
    steps = ["--epochs", "1"] if protocol == "clean" else []
    main(folder.DATASET, [*options.split(), *steps, "--data_dir", str(class_tree())])
    result = json.loads(Path("run/result.json").read_text())
    assert result["backbone"] == "torchvision:squeezenet1_1"
    for kind in ("onnx", "torchscript"):
        command(["export", "run", "--format", kind])
    assert capsys.readouterr().out.count("largest logit difference") == 2
    command(["predict", "run", "images"])
    assert capsys.readouterr().out.count(" %") >= 30


def test_a_real_file_of_squeezenet() -> None:
    path = SHARED / "weights" / "squeezenet1_1.safetensors"
    if not path.is_file():
        pytest.skip(f"no {path.name} (looked in CLASH_SHARED or ../shared)")
    row = get_backbone("torchvision:squeezenet1_1")
    state, _ = load_weights(row, str(path), offline=True)
    net = create_model(row, 1000, state, keep_head=True)
    assert all(torch.equal(tensor, state[name]) for name, tensor in net.state_dict().items())


@pytest.mark.parametrize(("name", "size"), [
    ("timm:vit_tiny_patch16_224", (96, 128)), ("timm:vit_tiny_patch16_224", (100, 100)), ("hiera_tiny", (96, 96)),
    ("vit_small_dinov2", (70, 70)), ("timm:swin_tiny_patch4_window7_224", (256, 256)), ("timm:test_vit", (64, 64)),
])  # fmt: skip
def test_timm_networks_at_other_sizes(name: str, size: tuple[int, int]) -> None:
    """Position embeddings are resampled from weights of the native size."""
    row = get_backbone(name)
    check_size(row, size)
    native = create_model(row, 3, None).state_dict()
    net = create_model(row, 3, native, keep_head=True, size=size).eval()
    with torch.inference_mode():
        assert net(torch.zeros(1, 3, *size)).shape == (1, 3)


def test_sizes_that_timm_refuses() -> None:
    with pytest.raises(
        UserError, match=r"does not accept images of 100x100 pixels \(timm: .*\): pass --image_size 224"
    ):
        check_size(get_backbone("hiera_tiny"), (100, 100))
    with pytest.raises(UserError, match="takes only images of 224 pixels"):
        check_size(get_backbone("torchvision:vit_b_16"), (96, 96))


def test_a_row_of_timm_has_the_settings_of_its_weights() -> None:
    for name in ("tf_efficientnet_lite4", "resnet50.a1_in1k", "test_resnet"):
        cfg, row = timm.get_pretrained_cfg(name), get_backbone(f"timm:{name}")
        assert (row.crop, row.size, row.mean, row.std) == (cfg.crop_pct, cfg.input_size[1], cfg.mean, cfg.std)
    assert row.preprocess().crop == cfg.crop_pct and row.preprocess((64, 64)).crop == 1
