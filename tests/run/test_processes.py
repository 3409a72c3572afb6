"""Runs of two processes, launched by torchrun. (`accelerate launch` starts only one on CPUs.)"""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from conftest import PLOTS, ROOT, make_class_tree
from safetensors.torch import load_file
from tiny import TINY

import folder
from common import main
from common.data.augment.augment import eval_transform
from common.data.images.decode import decode
from common.models.build import create_model, get_backbone
from common.models.state_dict import load_state_dict
from common.run.results import read_model_card

TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
SCRATCH = "--protocol scratch -bs 8 --device cpu --precision fp32".split()
# no batch norm, no dropout: the same sums of gradients, whatever the number of processes
VGG = [*SCRATCH, *"-model vgg11_cifar --image_size 32 --lr 1e-3 --steps 8 --eval_every 2".split()]
VIT = [*SCRATCH, *"-model vit_tiny_cifar --image_size 16 --steps 16 --eval_every 4".split()]  # dropout
RUNS = f"""
import json, sys
from importlib import import_module
import folder
from common.cli import main as cli
for module, plot in {PLOTS}:
    setattr(import_module(module), plot, lambda path, *_: path.touch())
destroy, cli._destroy_process_group = cli._destroy_process_group, lambda: None  # a second group may hang
*first, last = json.loads(sys.argv.pop())
for options in first:
    cli.main(folder.DATASET, options)
cli._destroy_process_group = destroy
cli.main(folder.DATASET, last)
"""


def test_two_processes(tmp_path: Path) -> None:
    """Two launches, as a start takes seconds."""
    launch_runs(tmp_path)
    check_one_network(tmp_path)
    check_same_bits(tmp_path)
    check_same_steps(tmp_path)


def launch_runs(root: Path) -> None:
    """First `two`, with dropout `uninterrupted`, and the same as `resumed`, stopped by SIGTERM.

    Then `evaluated` and the rest of `resumed`.
    """
    images = ["--data_dir", str(make_class_tree(root, n=20))]
    (root / "runs.py").write_text(RUNS)
    process = launch(
        root,
        [*VGG, *images, "--out", "two"],
        [*VIT, *images, "--out", "uninterrupted"],
        [*VIT, *images, "--out", "resumed"],
    )
    log, end = root / "resumed/log.jsonl", time.monotonic() + 600
    while not (log.exists() and log.read_text()):
        assert time.monotonic() < end and process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    error = process.communicate(timeout=600)[1]
    assert "everything is saved; continue with: " in error and "folder.py --resume resumed" in error
    assert not (root / "resumed/result.json").exists()
    evaluated = [*TINY, "--device", "cpu", "--precision", "fp32", *images, "--out", "evaluated"]
    process = launch(root, evaluated, ["--resume", "resumed"])
    printed, error = process.communicate(timeout=600)
    assert process.returncode == 0, error
    assert len(printed.splitlines()) == 2, "a result line per run"


def launch(root: Path, *runs: list[str]) -> subprocess.Popen:
    """Start two processes that execute the runs one after another."""
    return subprocess.Popen(
        [sys.executable, *TORCHRUN, "runs.py", json.dumps(runs)],
        cwd=root,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CLASH_CACHE": str(root / "cache")},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def check_one_network(out: Path) -> None:
    """The saved network gives the reported logits, whichever process evaluated an image."""
    assert json.loads((out / "evaluated/result.json").read_text())["processes"] == 2
    about = read_model_card(out / "evaluated/best.safetensors")
    state = load_state_dict(out / "evaluated/best.safetensors")
    net = create_model(get_backbone("timm:test_resnet"), 3, state, keep_head=True).eval()
    with open(out / "evaluated/predictions.csv") as file:
        names = [row["image"] for row in csv.DictReader(file)]
    pixels, _ = decode([str(out / "images" / name) for name in names], about["preprocess"], None)
    mean, std = (torch.tensor(about["preprocess"].__dict__[key]).view(3, 1, 1) for key in ("mean", "std"))
    center = eval_transform(torch.from_numpy(pixels).permute(0, 3, 1, 2).float(), about["preprocess"])
    inputs = (center / 255 - mean) / std
    logits = np.load(out / "evaluated/test_logits.npy")
    with torch.inference_mode():
        torch.testing.assert_close(net(inputs).numpy(), logits, rtol=1e-3, atol=1e-3)


def check_same_bits(out: Path) -> None:
    """A run that was stopped and resumed has the weights of an uninterrupted one."""
    uninterrupted, resumed = (load_file(out / name / "last.safetensors") for name in ("uninterrupted", "resumed"))
    assert all(torch.equal(value, resumed[name]) for name, value in uninterrupted.items())


def check_same_steps(out: Path) -> None:
    """One process computes the same losses and weights, within rounding."""
    main(folder.DATASET, [*VGG, "--data_dir", str(out / "images"), "--out", str(out / "one")])
    logs = [(out / name / "log.jsonl").read_text().splitlines() for name in ("one", "two")]
    losses = [[json.loads(line)["train_loss"] for line in log] for log in logs]
    assert len(losses[0]) == 4 and losses[0][-1] < losses[0][0]
    np.testing.assert_allclose(*losses, rtol=1e-4)
    one, two = (load_file(out / name / "last.safetensors") for name in ("one", "two"))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-3, atol=1e-5)
    results = [json.loads((out / name / "result.json").read_text()) for name in ("one", "two")]
    assert [r["processes"] for r in results] == [1, 2]
    assert results[0]["batch_size"] == results[1]["batch_size"] == 8
