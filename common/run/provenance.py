"""The code, the libraries, the machine and the command line of a result."""

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

COMMON = Path(__file__).resolve().parents[1]
# The code that determines a result: whole rooms, and files of this one
ROOMS = ("data", "models", "training", "metrics", "transfer")
RUN_FILES = ("augment", "config", "evaluation", "head_start", "probe_run", "run", "search", "setup")
LIBRARIES = (
    "torch", "torchvision", "timm", "accelerate", "safetensors", "numpy", "scipy", "pillow", "scikit-learn",
)  # fmt: skip


def collect(device: "torch.device", precision: str) -> dict[str, Any]:
    """The versions, the machine and the command line, as `result.json` records them."""
    import torch

    return {
        "commit": commit(),
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "precision": precision,
        "command": command(),
    }


def command() -> str:
    """The command line, without the interpreter and the script's folder."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def this_python() -> str:
    """This interpreter as a shell command: `python` if that runs it, else its path."""
    if shutil.which("python") == sys.executable:
        return "python"
    path, cwd = Path(sys.executable), Path.cwd()
    return shlex.quote(str(path.relative_to(cwd) if path.is_relative_to(cwd) else path))


def commit() -> str | None:
    """The commit of the checkout, `-dirty` with uncommitted changes; None outside a checkout."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        head = subprocess.run(
            [*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--untracked-files=no"], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{head}-dirty" if changed else head


def code_hash(script: str) -> str:
    """A hash of all code that determines the result of a script (named without .py)."""
    digest, file = shared_code().copy(), COMMON.parent / f"{script}.py"
    digest.update(file.read_bytes() if file.exists() else b"")
    return digest.hexdigest()[:16]


@cache
def shared_code() -> "hashlib._Hash":
    """The digest of the code that all scripts share, as of the first call in this process."""
    files = [COMMON / "spec.py", *(COMMON / "run" / f"{name}.py" for name in RUN_FILES)]
    files += sorted(file for room in ROOMS for file in (COMMON / room).rglob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files))


def device_name(device: "torch.device") -> str:
    """The name of the GPU, or of the processor with its number of cores."""
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()


def cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores"
