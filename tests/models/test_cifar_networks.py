"""The networks trained from scratch: counted against the reference, built, trained a step."""

import inspect
import json
from pathlib import Path

import pytest
import torch
from conftest import on_meta, trains_a_step_and_predicts
from miniatures import picture
from mistakes import mistake
from torch import nn

import cifar10
from common import main
from common.__main__ import main as command
from common.metrics import cost
from common.models import cifar
from common.models.build import create_model, get_backbone
from common.models.cifar import parts
from common.models.cifar.preact_resnet import PreActBlock
from common.models.cifar.shufflenet import GROUPS, ShuffleUnit, shuffle
from common.models.registry import BACKBONES, CIFAR, Backbone

# measured on the reference's code (10 classes, 32 x 32): millions of parameters, billions of MACs
REFERENCE = {
    "vgg11_cifar": (9.226, 0.153),
    "vgg19_bn_cifar": (20.035, 0.398),
    "resnet18_cifar": (11.174, 0.555),
    "preact_resnet18_cifar": (11.173, 0.555),
    "resnext29_32x4d_cifar": (4.776, 0.673),
    "se_resnet18_cifar": (11.263, 0.556),
    "cbam_resnet18_cifar": (11.264, 0.556),
    "mobilenet_cifar": (3.217, 0.046),
    "shufflenet_g8_cifar": (0.913, 0.043),
    "vit_tiny_cifar": (5.362, 0.365),
}
each = pytest.mark.parametrize("row", CIFAR, ids=lambda row: row.name)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@each
def test_parameters_and_macs(row: Backbone) -> None:
    net = on_meta(row, 10)
    params, macs = cost.parameters(net), cost.macs(net, (32, 32))
    assert (params, macs) == (row.params, row.macs)
    if row.name in REFERENCE:
        assert (round(params / 1e6, 3), round(macs / 1e9, 3)) == REFERENCE[row.name]


def test_attention_counts_as_much_on_a_cpu() -> None:
    row = get_backbone("vit_tiny_cifar")
    assert cost.macs(create_model(row, 10, None), (32, 32)) == row.macs


@each
def test_a_row(row: Backbone) -> None:
    assert get_backbone(row.name) is row and row not in BACKBONES and not row.weights and row.top1 is None
    prepared = row.preprocess((32, 32))
    assert prepared.crop == row.crop == 1.0 and prepared.mean == (0.4914, 0.4822, 0.4465)
    page = inspect.getmodule(getattr(cifar, row.arch)).__doc__
    assert "arXiv" in page and any(word in page for word in ("Table", "Figure", "section", "equation"))


@each
def test_a_head_for_other_classes(row: Backbone) -> None:
    net = on_meta(row, 37)
    head = net.get_submodule(row.head)
    assert isinstance(head, nn.Linear) and head.out_features == 37
    assert not any(isinstance(m, nn.Linear) and m.out_features == 10 for m in net.modules())
    assert net(torch.zeros(1, 3, 32, 32, device="meta")).shape == (1, 37)


@each
def test_trains_a_step_and_predicts(row: Backbone) -> None:
    trains_a_step_and_predicts(row, (torch.float32, (40, 50)), (torch.bfloat16, (32, 32)))


@each
@pytest.mark.parametrize("side", ["smallest", 224])
def test_sizes(row: Backbone, side: str | int) -> None:
    pixels = torch.zeros(1, 3, *2 * [row.min_size if side == "smallest" else side], device="meta")
    assert on_meta(row, 3).eval()(pixels).shape == (1, 3)


@each
def test_weights_of_a_file(row: Backbone) -> None:
    trained = on_meta(row, 5).state_dict()
    state = {name: torch.full(t.shape, 0.5, dtype=t.dtype) for name, t in trained.items()}
    head = f"{row.head}.weight"
    assert torch.equal(create_model(row, 5, state, keep_head=True).state_dict()[head], state[head])
    fresh = create_model(row, 3, state).state_dict()
    assert fresh[head].shape[0] == 3 and all(torch.equal(fresh[k], state[k]) for k in state if row.head not in k)


@each
def test_initialisation(row: Backbone) -> None:
    """ConvNets: He's by the fan out, norms at 1; nothing starts at zero but biases. ViT: timm's."""
    net = create_model(row, 10, None)
    for name, module in net.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.weight.eq(1).all() and module.bias.eq(0).all(), name
        if isinstance(module, nn.Conv2d) and row.arch[:3] != "vit" and module.weight.numel() > 20_000:
            k, _ = module.kernel_size
            expected = (2 / (module.out_channels * k * k)) ** 0.5  # torch's fan out knows no groups
            assert module.weight.std().item() == pytest.approx(expected, rel=0.05), name
    if row.arch.startswith("vit"):
        assert net.blocks[0].attn.qkv.weight.std().item() == pytest.approx(0.02, rel=0.05)
        assert net.pos_embed.std().item() == pytest.approx(0.02, rel=0.05)


def test_the_shuffle_permutes_across_groups() -> None:
    channels = torch.arange(96.0).view(1, 96, 1, 1)
    shuffled = shuffle(channels)
    assert torch.equal(shuffled, nn.functional.channel_shuffle(channels, GROUPS))
    origin = (shuffled.view(GROUPS, -1) // (96 // GROUPS)).int().tolist()
    assert all(set(group) == set(range(GROUPS)) for group in origin)


def test_a_group_of_outputs_sees_all_inputs() -> None:
    unit = ShuffleUnit(384, 384).double()
    parts.initialise(unit)
    x = torch.randn(4, 384, 5, 5, dtype=torch.float64, requires_grad=True)
    first = unit.expand(unit.depthwise(shuffle(unit.squeeze(x))))[:, : 384 // GROUPS]
    (gradient,) = torch.autograd.grad(first.square().sum(), x)
    assert (gradient.abs().amax((0, 2, 3)) > 0).all()


def test_preact_has_no_norm_after_the_stem() -> None:
    stem, block, *_, norm, relu = on_meta(get_backbone("preact_resnet18_cifar"), 10).features
    assert isinstance(stem, nn.Conv2d) and isinstance(block, PreActBlock) and not block.shortcut
    assert isinstance(norm, nn.BatchNorm2d) and isinstance(relu, nn.ReLU)
    x = torch.randn(2, 64, 8, 8)
    whole = PreActBlock(64, 64, 1)
    nn.init.zeros_(whole.residual[-1].weight)
    assert torch.equal(whole(x), x), "the identity is the picture itself, neither normalised nor cut at zero"


def test_stems_keep_the_size() -> None:
    for arch in ("resnet18", "se_resnet18", "cbam_resnet18", "resnext29_32x4d", "resnext29_2x64d"):
        net = on_meta(get_backbone(f"{arch}_cifar"), 10)
        assert (net.conv1.kernel_size, net.conv1.stride) == ((3, 3), (1, 1))
        assert isinstance(net.maxpool, nn.Identity)


def test_attention_is_reduced_sixteen_times() -> None:
    se, cbam = (on_meta(get_backbone("se_resnet18_cifar"), 10), on_meta(get_backbone("cbam_resnet18_cifar"), 10))
    for i, width in enumerate((4, 8, 16, 32), start=1):
        for block in se.get_submodule(f"layer{i}"):
            assert block.se.fc1.out_channels == width
        for block in cbam.get_submodule(f"layer{i}"):
            assert block.se.channel.fc1.out_channels == width and block.se.channel.fc1.bias is not None
            conv = block.se.spatial.conv
            assert conv.kernel_size == (7, 7) and conv.bias.shape == (1,)


def test_vgg19_has_biases_only_in_its_norms() -> None:
    plain, normed = on_meta(get_backbone("vgg11_cifar"), 10), on_meta(get_backbone("vgg19_bn_cifar"), 10)
    assert all(m.bias is not None for m in plain.features if isinstance(m, nn.Conv2d))
    assert all(m.bias is None for m in normed.features if isinstance(m, nn.Conv2d))


def test_vit_drops_where_the_reference_drops() -> None:
    net = on_meta(get_backbone("vit_tiny_cifar"), 10)
    dropouts = {name.split(".", 2)[-1] for name, m in net.named_modules() if isinstance(m, nn.Dropout) and m.p}
    assert dropouts == {"pos_drop", "attn.proj_drop", "mlp.drop2"}
    assert isinstance(net.norm, nn.Identity) and isinstance(net.fc_norm, nn.Identity)


@pytest.mark.parametrize(
    "weights", [(), ("--weights", "imagenet"), ("--offline",)], ids=["default", "asked", "offline"]
)
def test_imagenet_weights_are_a_mistake(tmp_path: Path, cifar_tree: Path, weights: tuple[str, ...]) -> None:
    """Told before torch is loaded."""
    message = mistake(tmp_path, "cifar10.py", "--data_dir", cifar_tree, "-model", "resnet18_cifar", *weights)
    assert message == "error: resnet18_cifar has no ImageNet weights: pass --weights none, or a file"


def test_too_small_for_vgg(tmp_path: Path, cifar_tree: Path) -> None:
    options = ("--data_dir", cifar_tree, "-model", "vgg11_cifar", "--weights", "none", "--image_size", 24)
    assert "pass --image_size 32" in mistake(tmp_path, "cifar10.py", *options)


def test_list_shows_them(capsys: pytest.CaptureFixture) -> None:
    command(["list"])
    lines = capsys.readouterr().out.splitlines()
    for row in CIFAR:
        (line,) = (line for line in lines if line.startswith(f"{row.name} "))
        assert f"{row.params / 1e6:.2f} M" in line and f"{row.macs / 1e9:.3f} G" in line


def test_bench_without_names_uses_backbones_with_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    from common.deploy import bench

    asked: list[str] = []
    monkeypatch.setattr(bench, "bench_each", lambda names, *_: asked.extend(names) or iter(()))
    command(["bench"])
    assert asked == [row.name for row in BACKBONES] and all(row.weights for row in BACKBONES)


def test_a_run_from_scratch_and_its_predictions(
    tmp_path: Path, cifar_tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    options = (
        "-model mobilenet_cifar --weights none --image_size 32 --epochs 1 --precision fp32 --subset --out out".split()
    )
    main(cifar10.DATASET, [*options, "--data_dir", str(cifar_tree)])
    result = json.loads(Path("out/result.json").read_text())
    row = get_backbone("mobilenet_cifar")
    assert (result["parameters"], result["macs"], result["weights"]) == (row.params, row.macs, "none")
    picture(0, (32, 32)).save("new.png")
    capsys.readouterr()
    command(["predict", "out", "new.png"])
    assert capsys.readouterr().out.startswith("new.png: ")
    Path("text.png").write_text("no picture")
    with pytest.raises(SystemExit) as one_of_two:
        command(["predict", "out", "text.png", "new.png"])
    shown = capsys.readouterr()
    assert one_of_two.value.code == 1 and shown.out.startswith("new.png: ") and shown.err.startswith("text.png: ")
    with pytest.raises(SystemExit) as none:
        command(["predict", "out", "text.png"])
    assert none.value.code == 2 and "none of 1 images can be read, the first is text.png" in capsys.readouterr().err
