"""CPU seconds of `--help` and of users' mistakes: what a person waits for an answer that needs no network.

python benchmarks/light_path.py --out benchmarks/results/light_path.json
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from common.run.provenance import cpu_name  # noqa: E402

CASES: dict[str, Sequence[str]] = {
    "--help": ("eurosat.py", "--help"),
    "list": ("-m", "common", "list"),
    "unknown model": ("eurosat.py", "-model", "resnt50"),
    "unknown timm model": ("eurosat.py", "-model", "timm:resnt50"),
    "no data": ("eurosat.py", "--data_dir", "nowhere"),
    "batch size 0": ("eurosat.py", "-bs", "0"),
    "counts do not match": ("eurosat.py", "--data_dir", "{folder}"),
    "existing run folder": ("folder.py", "--data_dir", "{folder}", "--out", "{folder}"),
    "unreadable image": ("folder.py", "--data_dir", "{folder}"),
    "no CUDA": ("folder.py", "--data_dir", "{folder}", "--device", "cuda"),
    "no setid.mat": ("flowers102.py", "--data_dir", "{folder}"),
}


def cpu_seconds(command: Sequence[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description="CPU seconds of --help and of users' mistakes")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/light_path.json")
    parser.add_argument("-n", type=int, default=5, help="repetitions of each")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        for name in ("AnnualCrop", "Forest"):
            (Path(folder) / name).mkdir()
            for i in range(10):
                Image.new("RGB", (64, 64)).save(Path(folder) / name / f"{i}.png")
        (Path(folder) / "Forest" / "3.png").write_bytes(b"broken")
        seconds = {}
        for case, command in CASES.items():
            filled = [word.format(folder=folder) for word in command]
            seconds[case] = round(statistics.median(cpu_seconds(filled) for _ in range(options.n)), 3)
            print(f"{case:22} {seconds[case]:.3f} s")
    result = {
        "hardware": cpu_name(),
        "python": sys.version.split()[0],
        "n": options.n,
        "cpu_seconds": seconds,
    }
    options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
