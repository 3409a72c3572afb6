"""Checkpoints as trainers write them: containers, prefixes, EMA copies, other heads, other architectures."""

import argparse
import datetime
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SHARED
from torch import Tensor, nn

from common.errors import UserError
from common.models import state_dict
from common.models.build import create_model, get_backbone
from common.models.state_dict import load_state_dict
from common.models.weights import load_weights

TINY = get_backbone("timm:test_resnet")
Tensors = dict[str, Tensor]


@pytest.fixture(autouse=True)
def fresh_notes() -> Iterator[None]:
    """Notes are printed once per process; each test is one."""
    state_dict.note.cache_clear()
    yield


@pytest.fixture
def trained() -> Tensors:
    """A network of seven classes, unlike any fresh one."""
    torch.manual_seed(1)
    return create_model(TINY, 7, None).state_dict()


def constant(tensors: Tensors, value: float) -> Tensors:
    return {name: torch.full_like(tensor, value) for name, tensor in tensors.items()}


def prefixed(prefix: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {prefix + name: tensor for name, tensor in tensors.items()}


def lightning(tensors: Tensors) -> dict:
    return {
        "epoch": 3, "global_step": 90, "pytorch-lightning_version": "2.5.0", "hyper_parameters": {"lr": 1e-3},
        "state_dict": {**prefixed("model.")(tensors), "criterion.weight": torch.ones(7)},
        "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.9), "best_k_models": {}}},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-3}]}],
    }  # fmt: skip


def timm_train(tensors: Tensors) -> dict:
    return {
        "epoch": 2, "arch": "test_resnet", "state_dict": tensors, "version": 2, "metric": np.float64(81.5),
        "args": argparse.Namespace(model="test_resnet", lr=0.1, opt_betas=None, data=Path("/data")),
    }  # fmt: skip


def torchvision_references(tensors: Tensors) -> dict:
    return {
        "model": prefixed("module.")(tensors), "optimizer": {"state": {}, "param_groups": []}, "epoch": 9,
        "lr_scheduler": {"base_lrs": [0.1], "last": np.int64(3)}, "args": argparse.Namespace(device="cuda"),
        "best": np.arange(3.0), "started": datetime.datetime(2025, 1, 1),
    }  # fmt: skip


CONTAINERS: dict[str, Callable[[Tensors], object]] = {
    "torch.compile": prefixed("_orig_mod."),
    "DataParallel": prefixed("module."),
    "torch.compile in DDP": prefixed("module._orig_mod."),
    "model": prefixed("model."),
    "backbone": prefixed("backbone."),
    "net": prefixed("net."),
    "encoder": prefixed("encoder."),
    "deep": prefixed("_orig_mod.module.student.backbone.net."),
    "FSDP": lambda tensors: {f"_fsdp_wrapped_module.{n.replace('.', '._orig_mod.', 1)}": t for n, t in tensors.items()},
    "timm": timm_train,
    "Lightning": lightning,
    "torchvision": torchvision_references,
    "tutorial": lambda tensors: {"epoch": 1, "model_state_dict": tensors, "loss": np.float32(0.5)},
    "fastai": lambda tensors: {"model": OrderedDict(tensors), "opt": {"hypers": [{"lr": 0.1}], "state": []}},
    "nested": lambda tensors: {"model": {"state_dict": prefixed("net.")(tensors)}},
    "MMPretrain": lambda tensors: {"meta": {"epoch": 1}, "state_dict": prefixed("backbone.")(tensors)},
    "Hugging Face": prefixed("timm_model."),
}  # fmt: skip


@pytest.mark.parametrize("container", CONTAINERS)
def test_containers(tmp_path: Path, trained: Tensors, container: str) -> None:
    torch.save(CONTAINERS[container](trained), tmp_path / "mine.pth")
    loaded, _ = load_weights(TINY, str(tmp_path / "mine.pth"), offline=True)
    net = create_model(TINY, 7, loaded, keep_head=True)
    assert all(torch.equal(tensor, trained[name]) for name, tensor in net.state_dict().items())


def test_old_file_format(tmp_path: Path, trained: Tensors) -> None:
    torch.save(timm_train(trained), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert load_state_dict(tmp_path / "old.pth").keys() == trained.keys()


EMA: dict[str, Callable[[Tensors, Tensors], object]] = {
    "timm": lambda plain, ema: {"state_dict": plain, "state_dict_ema": ema},
    "torchvision": lambda plain, ema: {
        "model": plain, "model_ema": {"n_averaged": torch.tensor(8), **prefixed("module.")(ema)},
    },
    "Lightning": lambda plain, ema: {
        "state_dict": {**prefixed("model.")(plain), **prefixed("ema_model.module.")(ema)},
    },
    "DINO": lambda plain, ema: {"student": prefixed("module.backbone.")(plain), "teacher": prefixed("backbone.")(ema)},
}  # fmt: skip


@pytest.mark.parametrize("container", EMA)
def test_ema_weights_are_preferred(
    tmp_path: Path, trained: Tensors, container: str, capsys: pytest.CaptureFixture
) -> None:
    torch.save(EMA[container](constant(trained, 1), constant(trained, 2)), tmp_path / "mine.pth")
    net = create_model(TINY, 3, load_state_dict(tmp_path / "mine.pth"))
    assert net.get_parameter("conv1.0.weight").eq(2).all()
    assert capsys.readouterr().err.count("EMA weights") == 1


def test_a_head_of_another_size_is_left_out(tmp_path: Path, trained: Tensors, capsys: pytest.CaptureFixture) -> None:
    torch.save(prefixed("model.")(trained), tmp_path / "mine.pth")
    loaded, _ = load_weights(TINY, str(tmp_path / "mine.pth"), offline=True)
    net = create_model(TINY, 3, loaded)
    assert net.fc.weight.shape[0] == 3
    assert torch.equal(net.state_dict()["layer4.0.conv1.weight"], trained["layer4.0.conv1.weight"])
    assert capsys.readouterr().err == (
        f"{tmp_path / 'mine.pth'}: its head (7 classes) is not used, a new one is trained\n"
    )


def test_a_few_missing_layers_are_initialised(trained: Tensors, capsys: pytest.CaptureFixture) -> None:
    del trained["bn1.weight"]
    trained["neck.weight"] = torch.zeros(1)
    create_model(TINY, 3, trained)
    messages = capsys.readouterr().err
    assert "of timm:test_resnet's parameters match; initialised: bn1.weight" in messages
    assert "not used for timm:test_resnet: neck.weight" in messages
    with pytest.raises(UserError, match=r"missing: bn1\.weight; unknown: neck\.weight"):
        create_model(TINY, 7, trained, keep_head=True)


def test_another_architecture_is_refused(trained: Tensors) -> None:
    with pytest.raises(UserError) as refused:
        create_model(get_backbone("timm:test_convnext"), 3, trained)
    message = str(refused.value)
    assert "another architecture than timm:test_convnext: " in message
    assert "missing: stem.0.weight, stem.0.bias, " in message and "unknown: conv1.0.weight, " in message
    other = {name: tensor for name, tensor in trained.items() if "layer4" not in name}
    with pytest.raises(UserError, match=r"% of its parameters match; missing: layer4\.0"):
        create_model(TINY, 3, other)
    wider = {**trained, "layer4.0.conv1.weight": torch.zeros(3, 3)}
    with pytest.raises(UserError, match=r"layer4\.0\.conv1\.weight \(3, 3\) instead of \("):
        create_model(TINY, 7, wider, keep_head=True)


def test_fastai_bodies_have_other_names() -> None:
    """A sequence of a ResNet's children, and a head of its own."""
    row = get_backbone("resnet50")
    net = create_model(row, 1000, None)
    body = nn.Sequential(nn.Sequential(*list(net.children())[:-2]), nn.Sequential(nn.Linear(2048, 3)))
    loaded = create_model(row, 5, body.state_dict())
    for name, tensor in loaded.state_dict().items():
        assert name.startswith("fc.") or torch.equal(tensor, net.state_dict()[name]), name


class Model(nn.Module):
    pass


def test_a_pickled_model_is_rejected(tmp_path: Path) -> None:
    torch.save({"model": Model(), "epoch": 1}, tmp_path / "whole.pth")
    with pytest.raises(UserError, match=r"test_state_dict\.Model.* not loaded for safety: save model.state_dict"):
        load_state_dict(tmp_path / "whole.pth")


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, [torch.zeros(3)], torch.zeros(3), {"model": {"name": "x"}}])
def test_no_state_dict(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(UserError, match="holds no state dict"):
        load_state_dict(tmp_path / "x.pth")


@pytest.mark.parametrize(("name", "model"), [
    ("mobilenetv2_100_features", "timm:mobilenetv2_100"), ("mobilenetv1_100", "timm:mobilenetv1_100"),
])  # fmt: skip
def test_real_files(name: str, model: str, capsys: pytest.CaptureFixture) -> None:
    path = SHARED / "weights" / f"{name}.safetensors"
    if not path.is_file():
        pytest.skip(f"no {path.name} (looked in CLASH_SHARED or ../shared)")
    loaded, _ = load_weights(get_backbone(model), str(path), offline=True)
    net = create_model(get_backbone(model), 5, loaded)
    body = {n: t for n, t in net.state_dict().items() if not n.startswith("classifier.")}
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in body.items())
    assert ("1,000 classes) is not used" in capsys.readouterr().err) == (name == "mobilenetv1_100")
