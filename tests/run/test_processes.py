"""Runs of two processes, launched by torchrun and by accelerate."""

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
from conftest import ROOT
from safetensors.torch import load_file
from tiny import TINY

import folder
from common import main
from common.data.images.decode import decode
from common.models.build import create_model, get_backbone
from common.models.state_dict import load_state_dict
from common.run.results import read_model_card

TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
ACCELERATE = ["-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2"]
SCRATCH = "--protocol scratch -bs 8 --device cpu --precision fp32".split()
# no batch norm, no dropout: the same sums of gradients, whatever the number of processes
VGG = [
    *SCRATCH,
    *"-model vgg11_cifar --image_size 32 --lr 1e-3 --steps 8 --eval_every 2".split(),
]
VIT = [*SCRATCH, *"-model vit_tiny_cifar --image_size 16 --steps 16 --eval_every 4".split()]  # dropout
RUNS = """
import json, sys
import folder
from common.cli import main as cli
destroy, cli._destroy_process_group = cli._destroy_process_group, lambda: None  # a second group may hang
*first, last = json.loads(sys.argv.pop())
for options in first:
    cli.main(folder.DATASET, options)
cli._destroy_process_group = destroy
cli.main(folder.DATASET, last)
"""


@pytest.fixture(autouse=True)
def _in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def launch(launcher: list[str], *script: object) -> subprocess.Popen:
    """Start two processes of a script."""
    return subprocess.Popen(
        [sys.executable, *launcher, *map(str, script)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def output(process: subprocess.Popen) -> str:
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    return out


def test_two_processes_make_one_network(class_tree) -> None:
    """The saved network gives the reported logits, whichever process evaluated an image; one process writes."""
    images = class_tree(n=20)
    printed = output(
        launch(ACCELERATE, ROOT / "folder.py", *TINY, "--device", "cpu", "--data_dir", images, "--out", "out")
    )
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


def test_two_processes_compute_what_one_does_and_resume(class_tree) -> None:
    """One launch of three runs: as one process does; with dropout; and with dropout, stopped by SIGTERM, then resumed."""
    images = ["--data_dir", str(class_tree(n=20))]
    main(folder.DATASET, [*VGG, *images, "--out", "one"])
    runs = [
        [*VGG, *images, "--out", "two"],
        [*VIT, *images, "--out", "uninterrupted"],
        [*VIT, *images, "--out", "out"],
    ]
    Path("runs.py").write_text(RUNS)
    process = launch(TORCHRUN, "runs.py", json.dumps(runs))
    log, end = Path("out/log.jsonl"), time.monotonic() + 200
    while not (log.exists() and log.read_text()):
        assert time.monotonic() < end and process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    error = process.communicate(timeout=240)[1]
    assert "everything is saved; continue with: " in error and "folder.py --resume out" in error
    assert not Path("out/result.json").exists()
    output(launch(TORCHRUN, ROOT / "folder.py", "--resume", "out"))
    assert_same_steps()
    uninterrupted, resumed = (load_file(f"{out}/last.safetensors") for out in ("uninterrupted", "out"))
    assert all(torch.equal(value, resumed[name]) for name, value in uninterrupted.items())


def assert_same_steps() -> None:
    """The runs `one` and `two` have the same losses and weights, within rounding."""
    logs = [Path(out, "log.jsonl").read_text().splitlines() for out in ("one", "two")]
    losses = [[json.loads(line)["train_loss"] for line in log] for log in logs]
    assert len(losses[0]) == 4 and losses[0][-1] < losses[0][0]
    np.testing.assert_allclose(*losses, rtol=1e-4)
    one, two = (load_file(f"{out}/last.safetensors") for out in ("one", "two"))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-3, atol=1e-5)
    results = [json.loads(Path(out, "result.json").read_text()) for out in ("one", "two")]
    assert [r["processes"] for r in results] == [1, 2]
    assert results[0]["batch_size"] == results[1]["batch_size"] == 8
