"""Names as users type them: the table's, timm's, torchvision's, those of papers; suggestions for the rest."""

import subprocess
import sys

import pytest
import torchvision
from conftest import ROOT

from common.errors import UserError
from common.models import names
from common.models.build import check_name, get_backbone
from common.models.names import resolve
from common.models.state_dict import note


@pytest.mark.parametrize(("name", "known"), [
    ("convnext_tiny", "convnext_tiny"), ("ConvNeXt-Tiny", "convnext_tiny"), ("ConvNeXt-T", "convnext_tiny"),
    ("vit_b_16", "torchvision:vit_b_16"), ("ViT-B/16", "torchvision:vit_b_16"), ("ViT-S/16", "timm:vit_small_patch16_224"),
    ("resnext50", "resnext50_32x4d"), ("ResNet-18", "torchvision:resnet18"), ("Swin-T", "swin_t"),
    ("EfficientNetV2-S", "efficientnet_v2_s"), ("squeezenet1_1", "torchvision:squeezenet1_1"),
    ("vit_tiny_patch16_224", "timm:vit_tiny_patch16_224"),
    ("vit_tiny_patch16_224.augreg_in21k_ft_in1k", "timm:vit_tiny_patch16_224.augreg_in21k_ft_in1k"),
    ("MobileNetV2", "torchvision:mobilenet_v2"), ("resnet", "resnet"), ("timm:resnet50.a1_in1k", "timm:resnet50.a1_in1k"),
])  # fmt: skip
def test_resolve(name: str, known: str, capsys: pytest.CaptureFixture) -> None:
    note.cache_clear()
    assert resolve(name) == known
    check_name(name)
    assert capsys.readouterr().err == ("" if name == known else f"-model {name}: using {known}\n")


def test_every_alias_is_a_backbone() -> None:
    assert all(resolve(known) == known for known in names.ALIASES.values())
    assert not names.ALIASES.keys() & (names.rows().keys() | names.torchvision_names() | names.timm_names())


@pytest.mark.parametrize(("name", "suggested"), [
    ("resnt50", "resnet50"), ("convnext_tinny", "convnext_tiny"), ("timm:resnet50d1", "timm:resnet50d"),
    ("vit_b_116", "torchvision:vit_b_16"), ("torchvision:resnet19", "torchvision:resnet18"), ("resnext5", "resnext50_32x4d"),
])  # fmt: skip
def test_suggestions(name: str, suggested: str) -> None:
    with pytest.raises(UserError) as unknown:
        get_backbone(name)
    assert str(unknown.value) == f"unknown model {name!r}: did you mean {suggested!r}? {names.LIST_HINT}"


def test_nothing_is_near() -> None:
    with pytest.raises(UserError, match=r"^unknown model '!!!!': python -m common list"):
        resolve("!!!!")


def test_the_names_are_the_libraries() -> None:
    import timm

    assert names.torchvision_names() == set(torchvision.models.list_models(module=torchvision.models))
    assert names.timm_names() >= set(timm.list_models())


def test_a_name_is_resolved_without_the_libraries() -> None:
    script = "import sys; from common.models import build; build.check_name('ViT-B/16'); print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"torch", "timm", "torchvision"} & set(run.stdout.split())
