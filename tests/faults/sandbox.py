"""A sandbox for fault injection: a server, a script, its data and its runs; and what must hold in it afterwards.

Scripts are forked from a server that has imported torch already: a start takes a tenth of a second instead of five, and
is a process of its own, which SIGKILL ends for good.
"""

import hashlib
import io
import json
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache, partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from miniatures import picture
from PIL import Image
from tqdm import tqdm

from common.sweep.process import FORKSERVER

ROOT = Path(__file__).resolve().parents[2]
SEED = int(os.environ.get("CLASH_SEED", time.time_ns() % 10**6))  # of random times; printed
CLASSES = ("ant", "bee", "cow")
TINY = (
    *("-model", "timm:test_resnet", "--weights", "none", "--image_size", "32", "-bs", "8", "--epochs", "2"),
    *("--save_every", "2", "--device", "cpu", "--precision", "fp32"),
)  # fmt: skip
TIMES = ("train_seconds", "data_seconds", "train_images_per_second")
WRITES = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.truncate", "shutil.rmtree")

FORKSERVER.set_forkserver_preload(["pytest", "miniatures", "common.sweep.preload"])


@dataclass
class Process:
    """A running script, and its output."""

    process: multiprocessing.Process
    log: Path

    @property
    def output(self) -> str:
        return self.log.read_text("utf-8")

    def kill(self) -> None:
        self.process.kill()
        self.process.join()

    def end(self, seconds: float = 120) -> int:
        """Its exit status, a signal's number below 0."""
        self.process.join(seconds)
        if self.process.is_alive():
            self.kill()
            raise AssertionError(f"it hangs: {self.output}")
        return self.process.exitcode


def _work(script: Path, argv: list[str], cwd: Path, cache: Path, log: Path, fault: Callable | None) -> None:
    os.chdir(cwd)
    os.environ.update(CLASH_CACHE=str(cache), OMP_NUM_THREADS="1", no_proxy="*")
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.stdout, sys.stderr = (open(fd, "w", buffering=1, encoding="utf-8") for fd in (1, 2))  # noqa: SIM115
    tqdm.set_lock(threading.RLock())  # the default lock is shared by processes, and lost with a killed one
    sys.argv = [str(script), *argv]
    sys.path.insert(0, str(ROOT))
    if fault:
        fault()
    runpy.run_path(str(script), run_name="__main__")


# faults


def on_disk_change(folder: Path, action: Callable[[int], object]) -> None:
    """Call `action` with a counter whenever this process is about to change something in a folder."""
    prefix, changes = str(folder), 0

    def audit(event: str, args: tuple) -> None:
        nonlocal changes
        writes = event == "open" and args[2] & (os.O_WRONLY | os.O_RDWR)
        if not (writes or event in WRITES) or isinstance(args[0], int):
            return
        if os.path.abspath(os.fsdecode(args[0])).startswith(prefix):
            changes += 1
            action(changes)

    sys.addaudithook(audit)


def count_changes(folder: Path, logs: Path) -> None:
    (logs / "begin").touch()
    on_disk_change(folder, lambda n: (logs / "changes").write_text(str(n)))


def kill_at_change(folder: Path, at: int) -> None:
    on_disk_change(folder, lambda n: n == at and kill_process())


def fill_at_change(folder: Path, at: int) -> None:
    on_disk_change(folder, lambda n: n == at and fill(folder))


def at_checkpoint(step: int, action: Callable[[], object]) -> None:
    """Call `action` before the checkpoint of a step is written."""
    import torch

    original = torch.save

    def save(content: dict, file: object) -> None:
        if content["progress"]["step"] == step:
            action()
        original(content, file)

    torch.save = save


def kill_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def wait_at(gate: Path) -> None:
    """Create the file, and wait until it is removed."""
    gate.write_text("")
    while gate.exists():
        time.sleep(0.01)


def fill(folder: Path) -> None:
    """Fill the disk, until `ballast` is removed."""
    with suppress(OSError), open(folder / "ballast", "ab", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            with suppress(OSError):
                while file.write(bytes(size)):
                    pass


@contextmanager
def tmpfs(folder: Path, megabytes: int) -> Iterator[Path]:
    """A small disk of its own."""
    folder.mkdir(exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)], capture_output=True
    )
    if done.returncode:
        pytest.skip("cannot mount a disk: needs root, or unshare --map-root-user --mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


# the sandbox


def make_images() -> dict[str, bytes]:
    """Twelve JPEGs of each class."""
    images = {}
    for label, name in enumerate(CLASSES):
        for i in range(12):
            buffer = io.BytesIO()
            picture(100 * label + i, hue=label).save(buffer, "JPEG")
            images[f"{name}/{name}{i:02d}.jpg"] = buffer.getvalue()
    return images


CONTENT = {**make_images(), "noise.bin": np.random.default_rng(0).bytes(300_000)}  # makes the download last
SHEET = """
from common import Dataset, File, Holdout, class_folders, main

DATASET = Dataset(
    name="toy", title="Toy", domain="none", load=class_folders, split=Holdout(test=0.2), classes={classes},
    counts=None, image_size=(32, 32), get="it is made up",
    sources=(File(name="toy.zip", mirrors=({url!r},), bytes={size}, digest="sha256:{digest}"),),
)
if __name__ == "__main__":
    main(DATASET)
"""


@dataclass
class Sandbox:
    """`root` holds the script, the data, the cache and the runs."""

    root: Path
    logs: Path  # elsewhere, because the disk of `root` may be full
    url: str
    archive: bytes
    starts: int = 0
    ranges: list[str | None] = field(default_factory=list)  # the Range header of every request

    def __post_init__(self) -> None:
        digest = hashlib.sha256(self.archive).hexdigest()
        sheet = SHEET.format(classes=CLASSES, url=self.url, size=len(self.archive), digest=digest)
        (self.root / "toy.py").write_text(sheet)

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    def unpack(self) -> None:
        """Write the data, without a download."""
        for name, content in CONTENT.items():
            path = self.root / "data" / "toy" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def start(self, *options: object, fault: Callable | None = None, script: Path | None = None) -> Process:
        """The script with these options; `fault` is called in the new process first."""
        self.starts += 1
        log, argv = self.logs / f"{self.starts}.txt", [*map(str, options)]
        args = (script or self.root / "toy.py", argv, self.root, self.cache, log, fault)
        process = FORKSERVER.Process(target=_work, args=args, daemon=True)
        process.start()
        return Process(process, log)

    def run(self, out: str = "out", fault: Callable | None = None) -> Process:
        """The same command always; with `--resume` once the run has options to resume from."""
        if (self.root / out / "options.yaml").exists():
            return self.start("--resume", out, fault=fault)
        return self.start(*TINY, "--data_dir", "data/toy", "--download", "--out", out, fault=fault)

    def finish(self, out: str = "out") -> None:
        process = self.run(out)
        assert process.end() == 0, process.output

    def paused_at(self, step: int) -> tuple[Process, Path]:
        """A run that waits before it writes the checkpoint of a step, until the file is removed."""
        gate = self.logs / "gate"
        process = self.run(fault=partial(at_checkpoint, step, partial(wait_at, gate)))
        self.wait_until_paused(process, gate)
        return process, gate

    def wait_until_paused(self, process: Process, gate: Path) -> None:
        while not gate.exists():
            assert process.process.is_alive(), process.output
            time.sleep(0.01)

    def killed_at(self, step: int) -> Path:
        """The folder of a run that was killed before it wrote the checkpoint of a step."""
        assert self.run(fault=partial(at_checkpoint, step, kill_process)).end() == -9
        return self.root / "out"

    def finished(self, out: str = "out") -> bool:
        return (self.root / out / "result.json").exists()


@contextmanager
def open_sandbox(root: Path, logs: Path, halfway: Callable[[], None] | None = None) -> Iterator[Sandbox]:
    """`halfway` is called when half of the first response is sent."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in CONTENT.items():
            archive.writestr(name, content)
    payload, ranges = buffer.getvalue(), []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            header = self.headers.get("Range")
            ranges.append(header)
            at = int(header.removeprefix("bytes=").rstrip("-")) if header else 0
            self.send_response(206 if header else 200)
            self.send_header("Content-Length", str(len(payload) - at))
            if header:
                self.send_header("Content-Range", f"bytes {at}-{len(payload) - 1}/{len(payload)}")
            self.end_headers()
            body = payload[at:]
            with suppress(OSError):  # the client was killed
                for start in range(0, len(body), 1 << 14):
                    if halfway and len(ranges) == 1 and start <= len(body) // 2 < start + (1 << 14):
                        halfway()
                    self.wfile.write(body[start : start + (1 << 14)])
                    time.sleep(0.01)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True).start()
        logs.mkdir(exist_ok=True)
        root.mkdir(exist_ok=True)
        yield Sandbox(root, logs, f"http://127.0.0.1:{http.server_port}/toy.zip", payload, ranges=ranges)
        http.shutdown()


# invariants


@dataclass(frozen=True)
class Reference:
    """The result of an undisturbed run, its duration, and how often it changes the disk."""

    artifacts: tuple
    seconds: float
    changes: int


@cache
def reference() -> Reference:
    with tempfile.TemporaryDirectory() as folder, open_sandbox(Path(folder, "root"), Path(folder, "logs")) as sandbox:
        process = sandbox.run(fault=partial(count_changes, sandbox.root, sandbox.logs))
        assert process.end() == 0, process.output
        end = sandbox.root / "out" / "result.json"
        return Reference(
            artifacts=artifacts(sandbox.root / "out"),
            seconds=end.stat().st_mtime - (sandbox.logs / "begin").stat().st_mtime,
            changes=int((sandbox.logs / "changes").read_text()),
        )


def artifacts(folder: Path) -> tuple:
    """All that must not depend on faults."""
    result = json.loads((folder / "result.json").read_text())
    files = ("best.safetensors", "test_logits.npy", "predictions.csv", "split.csv")
    return [(folder / name).read_bytes() for name in files], records(folder), result["test"]


def records(folder: Path) -> list[dict]:
    lines = (folder / "log.jsonl").read_text().splitlines() if (folder / "log.jsonl").exists() else []
    return [{k: v for k, v in json.loads(line).items() if k not in TIMES} for line in lines]


def check_intact(sandbox: Sandbox, out: str = "out") -> None:
    """Every file under its final name is complete, and the records and results are those of an undisturbed run."""
    expected = reference().artifacts
    data, run = sandbox.root / "data" / "toy", sandbox.root / out
    if data.exists():
        contents = {p.relative_to(data).as_posix(): p.read_bytes() for p in data.rglob("*") if p.is_file()}
        assert contents == CONTENT
    for folder in sandbox.cache.glob("[!.]*/about.json"):
        if not folder.parent.name.endswith(".part"):
            assert np.load(folder.parent / "pixels.npy").shape == (36, 32, 32, 3)
            assert json.loads(folder.read_text()) == {"bad": {}}
    for path in run.rglob("[!.]*"):
        if path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".png":
            Image.open(path).load()
        elif path.suffix == ".safetensors":
            from safetensors.numpy import load_file

            load_file(path)
    if run.exists():
        from common.training import checkpoint

        assert records(run) == expected[1][: len(records(run))], "other figures"
        checkpoint.load(run)
    if (run / "result.json").exists():
        assert artifacts(run) == expected


def check_refusal(process: Process, *expected: str) -> str:
    """Exit status 2 and one line of error; returns it."""
    assert process.end() == 2, process.output
    assert "Traceback" not in process.output, process.output
    lines = [line for line in process.output.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, process.output
    assert all(word in lines[0] for word in expected), lines[0]
    return lines[0]
