"""Seconds and memory to list, split, fingerprint and plan a folder of a million images, and how they grow.

    python benchmarks/scale.py                                          # twenty minutes of a core, 5 GB of disk
    python benchmarks/scale.py --images 10000 100000 --folder images    # keeps the files

Files of 32 x 32 random pixels in 100 class folders. Each stage is a process of its own, from its start: every one lists the files;
"hash" reads them, "hash again" only their sizes and times, as later runs do. `sweep --plan` is the whole command, with hashes cached,
and finds copies and groups among all images. The exponent of growth is that of CPU seconds from the second largest folder to the
largest: 1 is linear, 2 quadratic.
"""

import argparse
import json
import math
import os
import platform
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np

from common.cli.main import GC_THRESHOLD
from common.run.provenance import cpu_name

OUT = ROOT / "benchmarks" / "results" / "scale.json"
CLASSES, SIDE = 100, 32
LIST = "import folder, gc; gc.set_threshold({threshold}); samples = folder.DATASET.load({data!r}, None); "
SPLIT = LIST + "from common.data.splits import splits; splits.split(folder.DATASET, samples, 0)"
GROUPED = (
    LIST + "from dataclasses import replace; from common.data.splits import splits; "
    "samples = replace(samples, groups=[samples.names[i // 10] for i in range(len(samples))]); splits.split(folder.DATASET, samples, 0)"
)
HASH = LIST + "from common.data.images.cache import files_hash; files_hash(samples.images)"
PLAN = "--datasets folder --models efficientnet_lite0 --weights none --seeds 0 1 2 --plan --data"


def stages(data: Path) -> dict[str, list[str]]:
    """{stage: command}; what depends on names alone comes before the files are read."""
    code = {"list": LIST, "split": SPLIT, "split in groups of ten": GROUPED, "hash": HASH, "hash again": HASH}
    commands = {
        name: [sys.executable, "-c", text.format(data=str(data), threshold=GC_THRESHOLD)] for name, text in code.items()
    }
    plan = [
        sys.executable,
        "-m",
        "common",
        "sweep",
        *PLAN.split(),
        str(data.parent),
        "--out",
        str(data.parent / "runs"),
    ]
    return {**commands, "sweep --plan, three seeds": plan}


def write_images(data: Path, n: int) -> None:
    """Files that are there stay."""
    for c in range(CLASSES):
        (data / f"class_{c:02d}").mkdir(parents=True, exist_ok=True)
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    for i in range(n):
        file = data / f"class_{i % CLASSES:02d}" / f"{i:07d}.png"
        if file.exists():
            continue
        pixels = np.zeros((SIDE, 1 + 3 * SIDE), np.uint8)  # each row begins with its filter, none
        pixels[:, 1:] = np.random.default_rng(i).integers(256, size=(SIDE, 3 * SIDE), dtype=np.uint8)
        chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(pixels, 0)), (b"IEND", b""))
        body = b"".join(struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
        file.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def measure(command: list[str], cache: Path) -> dict[str, float]:
    """CPU seconds and peak memory of a process."""
    process = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "CLASH_CACHE": str(cache)}, stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{command} failed")
    return {"cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2), "peak_gb": round(usage.ru_maxrss / 1e6, 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, nargs="+", default=[100_000, 1_000_000], help="ascending")
    parser.add_argument("--folder", type=Path, help="of the files (default: a temporary one)")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    found: dict[str, dict[str, dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for images in options.images:
            data = (options.folder or Path(temporary)).resolve() / str(images) / "folder"
            write_images(data, images)
            for stage, command in stages(data).items():
                found.setdefault(stage, {})[str(images)] = measure(command, Path(temporary) / "cache")
                print(f"{images:,} {stage}: {found[stage][str(images)]}", flush=True)
    if len(options.images) > 1:
        small, large = options.images[-2:]
        for by_size in found.values():
            ratio = by_size[str(large)]["cpu_seconds"] / by_size[str(small)]["cpu_seconds"]
            by_size["exponent"] = round(math.log(ratio) / math.log(large / small), 2)
    machine = {"hardware": cpu_name(), "python": platform.python_version()}
    options.out.write_text(
        json.dumps({**machine, "classes": CLASSES, "pixels": SIDE, "stages": found}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
