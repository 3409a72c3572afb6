"""Does a run that is killed again and again end with the same bits? On real images, through the script, by SIGKILL.

    python benchmarks/kill_and_resume.py --data ../shared/data/cifar10_small

First, in both protocols, a run that is killed ten times, each time at a moment drawn at random behind a new
checkpoint; then the twelve networks from scratch, each killed once. Every run is compared with one that nobody disturbed: the bytes of its weights, of
the logits of all test images, and what is logged of every evaluation, but for times.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from common.models.registry import CIFAR  # noqa: E402
from common.run.results import read_json, write_json  # noqa: E402

CLEAN = [
    "-model",
    "efficientnet_lite0",
    "--image_size",
    "32",
    "--steps",
    "150",
    "--eval_every",
    "25",
    "--offline",
]
TIMES = ("train_seconds", "data_seconds", "train_images_per_second")


def script(*options: object) -> subprocess.Popen:
    command = [sys.executable, str(ROOT / "cifar10.py"), *map(str, options)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(*options: object) -> None:
    process = script(*options)
    told = process.communicate()[0]
    if process.returncode:
        sys.exit(told)


def ends(folder: Path) -> tuple:
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    files = [(folder / name) for name in ("best.safetensors", "last.safetensors", "test_logits.npy")]
    told = [{name: value for name, value in record.items() if name not in TIMES} for record in log]
    return told, [file.read_bytes() for file in files if file.exists()]


def disturbed(options: list, folder: Path, kills: int, dice: random.Random) -> list[int]:
    """Kill a run `kills` times, each a moment after a new checkpoint, then let it end; the steps that it went on from."""
    last = folder / "checkpoints" / "last.pt"
    for _ in range(kills):
        begun = (folder / "options.yaml").exists()
        before = last.stat().st_mtime_ns if last.exists() else 0
        process = script(*(["--resume", folder] if begun else [*options, "--out", folder]))
        while process.poll() is None and not (last.exists() and last.stat().st_mtime_ns > before):
            time.sleep(0.005)
        time.sleep(dice.uniform(0, 1))
        if process.poll() is not None:
            break
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    if not (folder / "result.json").exists():
        finish("--resume", folder)
    return read_json(folder / "result.json")["resumed_at"]


def main() -> None:
    parser = argparse.ArgumentParser(description="kill runs at random and compare what they end with")
    parser.add_argument("--data", type=Path, default=Path("../shared/data/cifar10_small"))
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/kill_and_resume.json")
    args = parser.parse_args()
    dice = random.Random(args.seed)
    data = ["--data_dir", args.data, "--subset"]
    scratch = [
        "--protocol",
        "scratch",
        "-bs",
        "32",
        "--steps",
        "12",
        "--eval_every",
        "6",
        "--save_every",
        "2",
    ]
    long = [
        *scratch[:4],
        "--steps",
        "60",
        "--eval_every",
        "15",
        "--save_every",
        "5",
        "-model",
        "vit_tiny_cifar",
    ]
    jobs = [("scratch, again and again", long, args.kills)]
    jobs += [("clean, again and again", [*CLEAN, "--save_every", "3"], args.kills)]
    jobs += [(f"scratch, {row.name}", [*scratch, "-model", row.name], 1) for row in CIFAR]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for i, (name, options, kills) in enumerate(jobs):
            whole, broken = Path(folder, f"whole{i}"), Path(folder, f"broken{i}")
            finish(*options, *data, "--out", whole)
            at = disturbed([*options, *data], broken, kills, dice)
            result = read_json(whole / "result.json")
            rows.append(
                {"run": name, "kills": len(at), "resumed_at": at, "same_bits": ends(whole) == ends(broken)}
            )
            print(*rows[-1].values(), flush=True)
            about = {key: result[key] for key in ("commit", "torch", "device", "threads")}
            write_json(args.out, {**about, "seed": args.seed, "runs": rows})


if __name__ == "__main__":
    main()
