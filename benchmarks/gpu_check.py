"""Does every CUDA branch work on this machine's GPU? Sections in order of importance, without a network.

    python benchmarks/gpu_check.py --minutes 8 --out DIR      # one NVIDIA GPU
    python benchmarks/gpu_check.py --smoke --out DIR          # the same sections on a CPU, two minutes

Every section (`benchmarks/gpu/`) runs in its own process, forked from one that has imported the libraries: a crash, even of the CUDA
context, ends only this section, with its traceback recorded. It gets a share of the minutes that are left; checks completed before its timeout count. Images are synthetic or
scikit-learn's digits, weights are random. Writes DIR/gpu_check.json; exits with 1 if a check failed or, with --smoke, a
section was cut short.
"""

import argparse
import json
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from common.sweep.process import Process

# name -> share of the time
SECTIONS = {
    "branches": 2,
    "precision": 5,
    "accumulation": 1,
    "compilation": 3,
    "probe": 1,
    "resume": 2,
    "memory": 2,
    "syncs": 1,
    "peak": 1,
    "joules": 1,
    "target": 3,
    "limit": 1,
    "bench": 3,
    "loops": 5,
}
SCRIPT = Path(__file__).with_name("gpu_sections.py")


def run_section(name: str, seconds: float, out: Path, smoke: bool) -> dict:
    """Status, checks and, of an exception, the traceback."""
    start = time.perf_counter()
    log = out / f"{name}.log"
    log.write_text("")
    process = Process([str(SCRIPT), name, *(["--smoke"] if smoke else [])], os.environ, log)
    if (code := process.wait(seconds)) is None:
        process.kill()
        with suppress(ProcessLookupError):  # it has not started its processes yet
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)
    checks = [json.loads(line) for line in log.read_text().splitlines() if line.startswith('{"check"')]
    failed = [check for check in checks if not check["ok"]]
    status = "error" if code else "failed" if failed else "time over" if code is None else "passed"
    section = {"section": name, "status": status, "seconds": round(time.perf_counter() - start, 1), "checks": checks}
    if code:
        section["traceback"] = log.read_text()[-4000:]
    return section


def table(sections: list[dict]) -> str:
    lines = [f"{'section':14}{'status':11}{'checks':>7}{'failed':>7}{'seconds':>9}"]
    for section in sections:
        failed = [check["check"] for check in section["checks"] if not check["ok"]]
        row = f"{section['section']:14}{section['status']:11}{len(section['checks']):7}{len(failed):7}{section['seconds']:9.1f}"
        lines += [row, *(f"  {name}" for name in failed)]
        if traceback := section.get("traceback"):
            lines.append(f"  {traceback.strip().splitlines()[-1]}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=8.0, help="default: %(default)s")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--smoke", action="store_true", help="small, on the CPU: a test of the sections")
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + 60 * options.minutes
    sections: list[dict] = []
    for i, name in enumerate(options.sections):
        left = sum(SECTIONS[other] for other in options.sections[i:])
        seconds = max(1.0, end - time.monotonic()) * SECTIONS[name] / left
        sections.append(run_section(name, seconds, options.out, options.smoke))
        (options.out / "gpu_check.json").write_text(json.dumps(sections, indent=1) + "\n")
        print(table(sections[-1:]).split("\n", 1)[1], flush=True)
    print(f"\n{table(sections)}\n{sum(len(section['checks']) for section in sections)} checks")
    failures = {"failed", "error", *(["time over"] if options.smoke else [])}
    sys.exit(any(section["status"] in failures for section in sections))


if __name__ == "__main__":
    main()
