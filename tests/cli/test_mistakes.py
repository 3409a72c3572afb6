"""User errors: one line, exit status 2, nothing written, torch not imported."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from mistakes import mistake

import folder
from common import main


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("-model", "resnt50"), "did you mean 'resnet50'?"),
        (("-model", "timm:resnet50d1"), "did you mean 'timm:resnet50d'?"),
        (("-model", "torchvision:resnet19"), "did you mean 'torchvision:resnet18'?"),
        (("-model", "timm:resnet18"), "no data in data/eurosat"),
        (("--steps", 0), "--steps 0: expected 1 or more"),
        (("--steps", 9, "--epochs", 1), "not allowed with argument"),
        (("--weight_decay", -1), "--weight_decay -1.0: expected 0 or more"),
        (("--layer_decay", 0), "--layer_decay 0.0: expected more than 0 and at most 1"),
        (("--label_smoothing", 1), "--label_smoothing 1.0: expected 0 or more and less than 1"),
        (("--crop_pct", 0.4), "--crop_pct 0.4: expected 0.8 to 1"),
        (("--mixup_alpha", -0.2), "--mixup_alpha -0.2: expected 0 or more"),
        (("--ema_decay", "nan"), "--ema_decay nan: expected 0 or more and less than 1"),
        (("--resume", "runs/none"), "no run to resume in runs/none: expected its options.yaml"),
        (("--resume", "runs/none", "--out", "x"), "--resume continues in its own run folder"),
        (("--config", "none.yaml"), "cannot read options from none.yaml"),
        (("-bs", 0), "--batch_size 0: expected 1 or more"),
        (("--seed", 2**63), f"--seed {2**63}: expected less than 2^63"),
        (("-bs", "many"), "invalid int value"),
        (("--epochs", 0), "--epochs 0: expected 1 or more"),
        (("--lr", -1), "'-1' is not a positive learning rate, such as 1e-3, or auto"),
        (("--protocol", "paper", "--lr", "auto"), "has its own optimizers and no validation set"),
        (("--protocol", "probe", "--lr", "1e-3"), "--protocol probe trains nothing: drop --lr"),
        (("--protocol", "probe", "--augment", "none"), "no data in data/eurosat"),
        (("--seed", -1), "--seed -1: expected 0 or more"),
        (("--image_size", "big"), "expected 224 or 448x672"),
        (("--data_dir", "nowhere"), "no data in nowhere (not found): unpack EuroSAT.zip"),
        (("--epoch", 3), "unrecognized arguments: --epoch 3; did you mean --epochs?"),
        (("--epoch", "invalid choice: 'x'"), "did you mean --epochs?"),
    ],
)
def test_options(tmp_path: Path, options: tuple, expected: str) -> None:
    assert expected in mistake(tmp_path, "eurosat.py", *options)


def test_micro_batch_size(tmp_path: Path, class_tree) -> None:
    message = mistake(tmp_path, "folder.py", "--data_dir", class_tree(), "--micro_bs", 5)
    assert "--micro_bs 5: expected a divisor of -bs 32" in message


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("epoch: 3", "unknown option 'epoch': did you mean 'epochs'?"),
        ("lr: fast", "argument --lr: 'fast' is not a positive learning rate"),
        ("lr: [1, 2]", "lr is [1, 2]: expected one value"),
        ("subset: 3", "subset is 3: expected true or false"),
        ("- lr", "contains no options"),
        ("a: b: c", "is not valid YAML in line 1"),
        ("precision: fp8", "invalid choice: 'fp8'"),
        ("resume: runs", "unknown option 'resume'"),
    ],
)
def test_options_from_a_file(tmp_path: Path, content: str, expected: str) -> None:
    (tmp_path / "my.yaml").write_text(content)
    assert expected in mistake(tmp_path, "eurosat.py", "--config", "my.yaml")


def test_image_size_below_the_minimum(tmp_path: Path, class_tree) -> None:
    message = mistake(tmp_path, "eurosat.py", "--data_dir", class_tree(), "-model", "inception")
    assert "inception_v3 needs images of 75 pixels or more, not 64x64: pass --image_size 96" in message


def test_empty_data(tmp_path: Path) -> None:
    (tmp_path / "data" / "eurosat").mkdir(parents=True)
    assert "(empty): unpack EuroSAT.zip" in mistake(tmp_path, "eurosat.py")


def test_offline_without_cached_weights(tmp_path: Path, class_tree) -> None:
    message = mistake(tmp_path, "folder.py", "--data_dir", class_tree(), "-model", "swin", "--offline")
    assert "swin_t-704ceda3.pth" in message and str(tmp_path / "hub") in message and "download.pytorch.org" in message


def test_no_weights_file(tmp_path: Path, class_tree) -> None:
    message = mistake(tmp_path, "folder.py", "--data_dir", class_tree(), "--weights", "mine.pth")
    assert "no weights file mine.pth" in message


def test_no_cuda(tmp_path: Path, class_tree) -> None:
    if shutil.which("nvidia-smi"):
        pytest.skip("this machine may have CUDA")
    assert "no NVIDIA driver" in mistake(tmp_path, "folder.py", "--data_dir", class_tree(), "--device", "cuda")


def test_existing_run_folder(tmp_path: Path, class_tree) -> None:
    (tmp_path / "old").mkdir()
    assert "exists already" in mistake(tmp_path, "folder.py", "--data_dir", class_tree(), "--out", "old")


def test_wrong_counts(tmp_path: Path, class_tree) -> None:
    import eurosat

    message = mistake(tmp_path, "eurosat.py", "--data_dir", class_tree(eurosat.DATASET.classes, n=2))
    assert "found 20 images in all (expected 27,000)" in message and "--subset" in message


def test_wrong_counts_of_official_parts(tmp_path: Path, cifar_tree: Path) -> None:
    message = mistake(tmp_path, "cifar10.py", "--data_dir", cifar_tree)
    assert "100 images train (expected 50,000), 20 images test (expected 10,000)" in message


def test_class_folder_without_images(tmp_path: Path, class_tree) -> None:
    folder = class_tree()
    (folder / "dog").mkdir()
    (folder / "dog" / "notes.txt").write_text("no picture")
    assert f"class folder without images: {folder / 'dog'}" in mistake(tmp_path, "folder.py", "--data_dir", folder)


def test_one_class(tmp_path: Path, class_tree) -> None:
    assert "a single class" in mistake(tmp_path, "folder.py", "--data_dir", class_tree(("ant",)))


def test_too_few_images(tmp_path: Path, class_tree) -> None:
    message = mistake(tmp_path, "folder.py", "--data_dir", class_tree(n=2))
    assert "class 'ant' has no image in" in message and "(2 in all)" in message


def test_test_folder_without_train(tmp_path: Path, class_tree) -> None:
    class_tree(base="images/val")
    message = mistake(tmp_path, "folder.py", "--data_dir", class_tree(base="images/test"))
    assert "holds test/ and val/ but no train/" in message or "holds val/ and test/ but no train/" in message


@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff no picture", None])
def test_unreadable_image(tmp_path: Path, class_tree, content: bytes | None) -> None:
    folder = class_tree()
    path = folder / "bee" / "bee_3.jpg"
    path.write_bytes(path.read_bytes()[:300] if content is None else content)  # None: truncated
    message = mistake(tmp_path, "folder.py", "--data_dir", folder)
    assert f"1 of 30 images cannot be read, the first is {path}" in message and "--skip_bad" in message


def test_unknown_class_folder(tmp_path: Path, class_tree) -> None:
    import eurosat

    folder = class_tree((*eurosat.DATASET.classes, "Volcano"), n=1)
    message = mistake(tmp_path, "eurosat.py", "--data_dir", folder, "--subset")
    assert "labels outside the data sheet: class folder 'Volcano'" in message


def test_unknown_label_in_a_pickle(tmp_path: Path, cifar_tree: Path) -> None:
    import pickle

    path = cifar_tree / "cifar-10-batches-py" / "data_batch_2"
    content = pickle.loads(path.read_bytes())
    content["labels"][0] = 10
    path.write_bytes(pickle.dumps(content, protocol=2))
    assert "labels outside the data sheet: 10" in mistake(tmp_path, "cifar10.py", "--data_dir", cifar_tree, "--subset")


def test_malicious_pickle(tmp_path: Path, cifar_tree: Path) -> None:
    path = cifar_tree / "cifar-10-batches-py" / "data_batch_2"
    path.write_bytes(b"cos\nsystem\n(S'touch pwned'\ntR.")
    assert "refuses os.system" in mistake(tmp_path, "cifar10.py", "--data_dir", cifar_tree, "--subset")


def test_missing_flower(tmp_path: Path, flowers_tree: Path) -> None:
    (flowers_tree / "flowers-102" / "jpg" / "image_00004.jpg").unlink()
    message = mistake(tmp_path, "flowers102.py", "--data_dir", flowers_tree)
    assert "1 of 35 images missing" in message and "image_00004.jpg" in message


def test_weights_of_another_architecture(tmp_path: Path, class_tree, capsys) -> None:
    """The one user error that needs torch: the keys are those of the network."""
    import torch
    from safetensors.torch import save_file

    save_file({"stem.weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    options = f"--data_dir {class_tree()} --weights {tmp_path}/other.safetensors --offline --image_size 32"
    with pytest.raises(SystemExit) as stop:
        main(folder.DATASET, [*options.split(), "--out", str(tmp_path / "out")])
    message = capsys.readouterr().err.splitlines()[-1]
    assert stop.value.code == 2 and not (tmp_path / "out").exists()
    assert "weights of another architecture than efficientnet_lite0" in message and "stem.weight" in message


def test_predict_without_a_run(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "common", "predict", "run", "x.jpg"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=env)
    assert run.returncode == 2 and "expected best.safetensors of a finished run" in run.stderr
