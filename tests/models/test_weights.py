"""Weights: found in the caches, their hashes checked, loaded strictly, hostile files refused."""

import hashlib
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from common.errors import UserError
from common.models import weights
from common.models.build import create_model, get_backbone
from common.models.state_dict import load_state_dict

LITE = get_backbone("efficientnet_lite0")
TINY = get_backbone("timm:test_resnet")


def test_lite0_comes_with_its_package_and_fits() -> None:
    state = weights.load_weights(LITE, "imagenet", offline=True)[0]
    net = create_model(LITE, 1000, state, keep_head=True)
    own = net.state_dict()
    assert len(own) == len(state) == 296
    assert all(torch.equal(a, b) for a, b in zip(own.values(), state.values(), strict=True))


def test_a_new_head_and_the_old_body() -> None:
    state = weights.load_weights(LITE, "imagenet", offline=True)[0]
    net = create_model(LITE, 10, state)
    assert net.classifier.weight.shape == (10, 1280)
    assert torch.equal(net.conv_stem.weight, state["_conv_stem.weight"])


def test_a_cached_file_is_read_and_its_hash_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cache = tmp_path / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    torch.save(create_model(TINY, 1000, None).state_dict(), cache / "tiny.pth")
    digest = hashlib.sha256((cache / "tiny.pth").read_bytes()).hexdigest()
    row = replace(TINY, weights="https://example.org/tiny.pth", sha256=digest[:8])
    assert (
        weights.load_weights(row, "imagenet", offline=True)[0].keys()
        == create_model(TINY, 1000, None).state_dict().keys()
    )
    with pytest.raises(UserError, match=f"sha256 {digest[:8]}, expected 00000000; delete it"):
        weights.load_weights(replace(row, sha256="00000000"), "imagenet", offline=True)[0]


def test_the_cache_is_torchs_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert weights.hub_dir() == Path(torch.hub.get_dir()) / "checkpoints"
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert weights.hub_dir() == Path(torch.hub.get_dir()) / "checkpoints"


def test_without_network_the_error_states_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    row = replace(TINY, weights="http://127.0.0.1:9/tiny-00000000.pth")
    with pytest.raises(UserError, match=r"cannot download .*hub/checkpoints/tiny-00000000\.pth.*--weights FILE"):
        weights.load_weights(row, "imagenet", offline=False)[0]
    assert not list(tmp_path.rglob("*.pth*")), "nothing half-fetched stays"


def test_an_offline_timm_network_states_the_path_of_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=r"model\.safetensors of huggingface\.co/timm/test_resnet.*hf download"):
        weights.load_weights(TINY, "imagenet", offline=True)[0]


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("classes", [3, 1000])
def test_a_local_file_with_and_without_its_head(tmp_path: Path, suffix: str, classes: int) -> None:
    torch.manual_seed(0)
    state = create_model(TINY, classes, None).state_dict()
    path = tmp_path / f"mine{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save({"epoch": 3, "state_dict": state}, path)
    loaded, digest = weights.load_weights(TINY, str(path), offline=True)
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    net = create_model(TINY, 3, loaded)
    assert torch.equal(net.state_dict()["conv1.0.weight"], state["conv1.0.weight"])
    assert not torch.equal(net.fc.weight, state["fc.weight"]), "a new task, a new head"
    assert torch.equal(create_model(TINY, classes, loaded, keep_head=True).fc.weight, state["fc.weight"])


def test_a_file_without_a_head(tmp_path: Path) -> None:
    state = {k: v for k, v in create_model(TINY, 5, None).state_dict().items() if not k.startswith("fc.")}
    create_model(TINY, 3, state)


class Payload:
    def __reduce__(self) -> tuple:
        return (Path("pwned").touch, ())


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": Payload()}, tmp_path / "hostile.pth")
    (tmp_path / "hostile.bin").write_bytes(pickle.dumps(Payload()))
    for name in ("hostile.pth", "hostile.bin"):
        with pytest.raises(UserError, match="cannot read weights") as error:
            load_state_dict(tmp_path / name)
        assert "weights_only" not in str(error.value), "no advice to run it all the same"
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint"])
@pytest.mark.parametrize("name", ["x.safetensors", "x.pth"])
def test_a_file_that_is_none(tmp_path: Path, content: bytes, name: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match="cannot read weights"):
        load_state_dict(tmp_path / name)


def test_the_published_spelling_of_densenet() -> None:
    row = get_backbone("densenet")
    state = create_model(row, 2, None).state_dict()
    old = {k.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): v for k, v in state.items()}
    assert old.keys() != state.keys()
    create_model(row, 2, old)


def test_inceptions_extra_head_is_ignored() -> None:
    row = get_backbone("inception")
    state = create_model(row, 2, None).state_dict()
    create_model(row, 2, {**state, "AuxLogits.fc.weight": torch.zeros(1)})
