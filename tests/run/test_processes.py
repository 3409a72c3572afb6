"""Two processes, as torchrun and accelerate start them: one network, one order of samples, every image counted once."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import folder
from common import main
from common.data.images.decode import decode
from common.models.build import create_model, get_backbone
from common.models.state_dict import load_state_dict
from common.run.results import read_model_card

ROOT = Path(__file__).resolve().parents[2]
TINY = ["-model", "timm:test_resnet", "--weights", "none", "--image_size", "32", "-bs", "8", "--epochs", "2"]
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
ACCELERATE = ["-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def launched(launcher: list[str], *options: object) -> subprocess.Popen:
    script = [str(ROOT / "folder.py"), *map(str, options), "--device", "cpu"]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, *launcher, *script],
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def two(*options: object, launcher: list[str] = TORCHRUN) -> str:
    """What they print."""
    process = launched(launcher, *options)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    return out


def test_two_processes_make_one_network(class_tree) -> None:
    """The saved network gives the reported logits, whichever process has seen an image; one process writes."""
    images = class_tree(n=20)
    printed = two(*TINY, "--data_dir", images, "--out", "out", launcher=ACCELERATE)
    assert len(printed.splitlines()) == 1, "one result line"

    about = read_model_card(Path("out/best.safetensors"))
    net = create_model(
        get_backbone("timm:test_resnet"), 3, load_state_dict(Path("out/best.safetensors")), keep_head=True
    ).eval()
    with open("out/predictions.csv") as file:
        names = [row["image"] for row in csv.DictReader(file)]
    pixels, _ = decode([str(images / name) for name in names], about["preprocess"], None)
    mean, std = (torch.tensor(about["preprocess"].__dict__[key]) for key in ("mean", "std"))
    inputs = ((torch.from_numpy(pixels) / 255 - mean) / std).permute(0, 3, 1, 2)
    with torch.inference_mode():
        torch.testing.assert_close(net(inputs).numpy(), np.load("out/test_logits.npy"), rtol=1e-3, atol=1e-3)


def test_two_processes_take_the_steps_of_one(class_tree) -> None:
    """No batch norm, no dropout: 50 steps of the same batches come to the same losses and the same weights."""
    options = [
        "--protocol",
        "scratch",
        "-model",
        "vgg11_cifar",
        "--image_size",
        "32",
        "-bs",
        "8",
        "--lr",
        "1e-3",
    ]
    options += [
        "--precision",
        "fp32",
        "--steps",
        "50",
        "--eval_every",
        "10",
        "--data_dir",
        str(class_tree(n=20)),
    ]
    main(folder.DATASET, [*options, "--device", "cpu", "--out", "one"])
    two(*options, "--out", "two")
    logs = [Path(out, "log.jsonl").read_text().splitlines() for out in ("one", "two")]
    losses = [[json.loads(line)["train_loss"] for line in log] for log in logs]
    assert len(losses[0]) == 5 and losses[0][-1] < losses[0][0] - 0.02
    np.testing.assert_allclose(*losses, rtol=1e-4)
    one, other = (load_file(f"{out}/last.safetensors") for out in ("one", "two"))
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, rtol=1e-3, atol=1e-5)
    results = [json.loads(Path(out, "result.json").read_text()) for out in ("one", "two")]
    assert [r["processes"] for r in results] == [1, 2]
    assert results[0]["batch_size"] == results[1]["batch_size"] == 8


def test_two_processes_stop_together_and_go_on(class_tree) -> None:
    """Dropout differs between processes and steps, and not between a run with a break and one without."""
    options = [
        "--protocol",
        "scratch",
        "-model",
        "vit_tiny_cifar",
        "--image_size",
        "16",
        "-bs",
        "8",
        "--steps",
        "60",
    ]
    options += ["--eval_every", "20", "--data_dir", str(class_tree(n=20))]
    two(*options, "--out", "whole")
    process = launched(TORCHRUN, *options, "--out", "out")
    log, end = Path("out/log.jsonl"), time.monotonic() + 200
    while not (log.exists() and log.read_text()):
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=240)[1]
    assert "everything is saved; continue with: " in said and "folder.py --resume out" in said
    assert not Path("out/result.json").exists()
    two("--resume", "out")
    whole, broken = (load_file(f"{out}/last.safetensors") for out in ("whole", "out"))
    assert all(torch.equal(value, broken[name]) for name, value in whole.items())
