"""How the tests do harm: a small world (a server, a script, its data, its runs), and what must hold in it afterwards.

Scripts are started by a server of processes that has imported torch already: a start takes a tenth of a second instead of
five, and is a process all the same, that SIGKILL ends for good.
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

ROOT = Path(__file__).resolve().parents[2]
SEED = int(os.environ.get("CLASH_SEED", time.time_ns() % 10**6))  # of the moments; printed
CLASSES = ("ant", "bee", "cow")
TINY = (
    *("-model", "timm:test_resnet", "--weights", "none", "--image_size", "32", "-bs", "8", "--epochs", "2"),
    *("--save_every", "2", "--device", "cpu", "--precision", "fp32"),
)  # fmt: skip
TIMES = ("train_seconds", "data_seconds", "train_images_per_second")
WRITES = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.truncate", "shutil.rmtree")

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    ["pytest", "miniatures", "torch", "torch.utils.tensorboard", "timm", "accelerate", "scipy.special", "scipy.optimize", "safetensors.torch",
     "matplotlib.pyplot", "sklearn.metrics", "common.run.run", "common.run.artifacts", "common.training.finetune", "common.metrics.cost"]
)  # fmt: skip


@dataclass
class Process:
    """A script at work, and what it says."""

    process: multiprocessing.Process
    told: Path

    @property
    def said(self) -> str:
        return self.told.read_text("utf-8")

    def kill(self) -> None:
        self.process.kill()
        self.process.join()

    def end(self, seconds: float = 120) -> int:
        """Its exit status, a signal's number below 0."""
        self.process.join(seconds)
        if self.process.is_alive():
            self.kill()
            raise AssertionError(f"it hangs: {self.said}")
        return self.process.exitcode


def _work(script: Path, argv: list[str], cwd: Path, cache: Path, told: Path, harm: Callable | None) -> None:
    os.chdir(cwd)
    os.environ.update(CLASH_CACHE=str(cache), OMP_NUM_THREADS="1", no_proxy="*")
    words = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(words, 1)
    os.dup2(words, 2)
    sys.stdout, sys.stderr = (open(fd, "w", buffering=1, encoding="utf-8") for fd in (1, 2))  # noqa: SIM115
    tqdm.set_lock(threading.RLock())  # its own, between processes, would be missed after a SIGKILL
    sys.argv = [str(script), *argv]
    sys.path.insert(0, str(ROOT))
    if harm:
        harm()
    runpy.run_path(str(script), run_name="__main__")


# what happens at a change of the disk


def watch(below: Path, act: Callable[[int], object]) -> None:
    """`act` whenever this process is about to change something below a folder; it is given how often that was so."""
    here, changes = str(below), 0

    def look(event: str, what: tuple) -> None:
        nonlocal changes
        written = event == "open" and what[2] & (os.O_WRONLY | os.O_RDWR)
        if not (written or event in WRITES) or isinstance(what[0], int):
            return
        if os.path.abspath(os.fsdecode(what[0])).startswith(here):
            changes += 1
            act(changes)

    sys.addaudithook(look)


def count(below: Path, into: Path) -> None:
    watch(below, lambda n: into.write_text(str(n)))


def kill_at(below: Path, when: int) -> None:
    watch(below, lambda n: n == when and kill_me())


def fill_at(below: Path, when: int) -> None:
    watch(below, lambda n: n == when and fill(below))


def at_checkpoint(step: int, act: Callable[[], object]) -> None:
    """`act` before the checkpoint of a step is written."""
    import torch

    plain = torch.save

    def save(content: dict, file: object) -> None:
        if content["progress"]["step"] == step:
            act()
        plain(content, file)

    torch.save = save


def kill_me() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def wait_for(go: Path) -> None:
    """Say that we are there, and wait until `go` is gone."""
    go.write_text("")
    while go.exists():
        time.sleep(0.01)


def fill(folder: Path) -> None:
    """Nobody gets another byte of this disk until `ballast` goes."""
    with suppress(OSError), open(folder / "ballast", "ab", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            with suppress(OSError):
                while file.write(bytes(size)):
                    pass


@contextmanager
def tmpfs(folder: Path, megabytes: int) -> Iterator[Path]:
    """A disk of its own, so small that it can be filled."""
    folder.mkdir(exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)], capture_output=True
    )
    if done.returncode:
        pytest.skip("no disk may be mounted here: needs root, or unshare --map-root-user --mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


# the world


def pictures() -> dict[str, bytes]:
    """Twelve JPEGs of each class."""
    found = {}
    for label, name in enumerate(CLASSES):
        for i in range(12):
            buffer = io.BytesIO()
            picture(100 * label + i, hue=label).save(buffer, "JPEG")
            found[f"{name}/{name}{i:02d}.jpg"] = buffer.getvalue()
    return found


CONTENT = {**pictures(), "noise.bin": np.random.default_rng(0).bytes(300_000)}  # something to wait for
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
class World:
    """`place` holds the script, the data, the cache and the runs."""

    place: Path
    told: Path  # what processes say lies elsewhere: the place may be full
    url: str
    archive: bytes
    count: int = 0
    sent: list[str | None] = field(default_factory=list)  # the Range of every answer

    def __post_init__(self) -> None:
        digest = hashlib.sha256(self.archive).hexdigest()
        sheet = SHEET.format(classes=CLASSES, url=self.url, size=len(self.archive), digest=digest)
        (self.place / "toy.py").write_text(sheet)

    @property
    def cache(self) -> Path:
        return self.place / "cache"

    def unpack(self) -> None:
        """The data, without a download."""
        for name, content in CONTENT.items():
            path = self.place / "data" / "toy" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def start(self, *options: object, harm: Callable | None = None, script: Path | None = None) -> Process:
        """The script, told nothing but these; `harm` is done in the new process before it begins."""
        self.count += 1
        told, argv = self.told / f"{self.count}.txt", [*map(str, options)]
        args = (script or self.place / "toy.py", argv, self.place, self.cache, told, harm)
        process = PROCESSES.Process(target=_work, args=args, daemon=True)
        process.start()
        return Process(process, told)

    def again(self, out: str = "out", harm: Callable | None = None) -> Process:
        """The same command; `--resume` where the run says that it can go on."""
        if (self.place / out / "options.yaml").exists():
            return self.start("--resume", out, harm=harm)
        return self.start(*TINY, "--data_dir", "data/toy", "--download", "--out", out, harm=harm)

    def finish(self, out: str = "out") -> None:
        process = self.again(out)
        assert process.end() == 0, process.said

    def held(self, step: int) -> tuple[Process, Path]:
        """A run that waits before it writes the checkpoint of a step, until the file is gone."""
        go = self.told / "go"
        process = self.again(harm=partial(at_checkpoint, step, partial(wait_for, go)))
        self.wait(process, go)
        return process, go

    def wait(self, process: Process, go: Path) -> None:
        while not go.exists():
            assert process.process.is_alive(), process.said
            time.sleep(0.01)

    def killed(self, step: int) -> Path:
        """The folder of a run that died before it had written the checkpoint of a step."""
        assert self.again(harm=partial(at_checkpoint, step, kill_me)).end() == -9
        return self.place / "out"

    def finished(self, out: str = "out") -> bool:
        return (self.place / out / "result.json").exists()


@contextmanager
def world(place: Path, told: Path, midway: Callable[[], None] | None = None) -> Iterator[World]:
    """`midway` is done when half of the first answer is sent."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in CONTENT.items():
            archive.writestr(name, content)
    whole, sent = buffer.getvalue(), []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            sent.append(wanted)
            at = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
            self.send_response(206 if wanted else 200)
            self.send_header("Content-Length", str(len(whole) - at))
            if wanted:
                self.send_header("Content-Range", f"bytes {at}-{len(whole) - 1}/{len(whole)}")
            self.end_headers()
            rest = whole[at:]
            with suppress(OSError):  # whoever asked is dead
                for begin in range(0, len(rest), 1 << 14):
                    if midway and len(sent) == 1 and begin <= len(rest) // 2 < begin + (1 << 14):
                        midway()
                    self.wfile.write(rest[begin : begin + (1 << 14)])
                    time.sleep(0.01)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True).start()
        told.mkdir(exist_ok=True)
        place.mkdir(exist_ok=True)
        yield World(place, told, f"http://127.0.0.1:{http.server_port}/toy.zip", whole, sent=sent)
        http.shutdown()


# what must hold


@dataclass(frozen=True)
class Undisturbed:
    """How a run ends that nobody disturbs, how long it takes, and how often it changes the disk."""

    ends: tuple
    seconds: float
    changes: int


@cache
def undisturbed() -> Undisturbed:
    with tempfile.TemporaryDirectory() as folder, world(Path(folder, "world"), Path(folder, "told")) as here:
        process = here.again(harm=partial(count, here.place, here.told / "changes"))
        assert process.end() == 0, process.said
        begun = time.monotonic()
        here.finish("warm")
        return Undisturbed(
            ends=ends(here.place / "out"),
            seconds=time.monotonic() - begun + 0.5,  # of the download
            changes=int((here.told / "changes").read_text()),
        )


def ends(folder: Path) -> tuple:
    """All that must not depend on what happened on the way."""
    result = json.loads((folder / "result.json").read_text())
    files = ("best.safetensors", "test_logits.npy", "predictions.csv", "split.csv")
    return [(folder / name).read_bytes() for name in files], records(folder), result["test"]


def records(folder: Path) -> list[dict]:
    lines = (folder / "log.jsonl").read_text().splitlines() if (folder / "log.jsonl").exists() else []
    return [{k: v for k, v in json.loads(line).items() if k not in TIMES} for line in lines]


def check_sound(world: World, out: str = "out") -> None:
    """Whatever bears its own name is whole, and what was reported stands as it was."""
    whole = undisturbed().ends
    data, run = world.place / "data" / "toy", world.place / out
    if data.exists():
        there = {p.relative_to(data).as_posix(): p.read_bytes() for p in data.rglob("*") if p.is_file()}
        assert there == CONTENT
    for folder in world.cache.glob("[!.]*/about.json"):
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

        assert records(run) == whole[1][: len(records(run))], "other figures"
        checkpoint.load(run)
    if (run / "result.json").exists():
        assert ends(run) == whole


def check_refusal(process: Process, *says: str) -> str:
    """Exit status 2 and one line of complaint; returns it."""
    assert process.end() == 2, process.said
    assert "Traceback" not in process.said, process.said
    lines = [line for line in process.said.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, process.said
    assert all(word in lines[0] for word in says), lines[0]
    return lines[0]
