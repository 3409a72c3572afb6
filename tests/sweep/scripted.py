"""Cells with a script that acts as a test says, without torch."""

import json
from pathlib import Path

from common.sweep.job import JobConfig
from common.sweep.plan import Cell

CONFIG = {"dataset": "ant", "backbone": "net", "seed": 0, "metric": "top1", "chosen_on": "val", "steps_per_epoch": 5, "micro_bs": 32,
          "precision": "bf16", "recipe": {"phases": []}}  # fmt: skip
RESULT = {"metric": "top1", "test": {"top1": {"value": 0.75, "interval": None}}}
# From outside it looks like the script of a data sheet
SCRIPT = """
import json, os, signal, sys, time
from pathlib import Path

args = sys.argv[1:]
out = Path(args[args.index("--out" if "--out" in args else "--resume") + 1])
calls = Path(__file__).parent / f"{out.name}.jsonl"
with open(calls, "a") as file:
    print(json.dumps(args), file=file)
acts = json.loads((Path(__file__).parent / "acts.json").read_text()).get(out.name, ["finish"])
act, _, more = acts[min(len(calls.read_text().splitlines()), len(acts)) - 1].partition(":")
if "started" in more:
    out.mkdir(exist_ok=True)
    (out / "options.yaml").write_text("")
    (out / "config.json").write_text(json.dumps(CONFIG))
if act == "finish":
    out.mkdir(exist_ok=True)
    (out / "result.json").write_text(json.dumps(RESULT))
if act == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
if act == "hang":
    (out / "progress.json").write_text(json.dumps({"step": 3}))
    time.sleep(600)
if act == "stopped":
    sys.exit(128 + signal.SIGTERM)
if act == "traceback":
    raise LookupError("a bug of ours")
if act == "say":
    print("error:", more.removeprefix("started "), file=sys.stderr)
    sys.exit(2)
""".replace("CONFIG", repr(CONFIG)).replace("RESULT", repr(RESULT))


def script(tmp_path: Path, **acts: list[str]) -> Path:
    """A script and what its processes do in turn, by run."""
    (tmp_path / "acts.json").write_text(json.dumps(acts))
    (tmp_path / "script.py").write_text(SCRIPT)
    return tmp_path / "script.py"


def cell(script: Path, name: str = "run", **fields) -> Cell:
    defaults = {
        "dataset": "ant", "backbone": "net", "seed": 0, "train_size": "", "protocol": "clean", "rate": "measured", "batch_size": 32, "micro_bs": 32,
        "image_passes": 100, "pixels": 64,
    }  # fmt: skip
    return Cell(name=name, script=script, args=("--lr", "0.1"), **defaults | fields)


def config(tmp_path: Path, **fields) -> JobConfig:
    return JobConfig(out=tmp_path / "out", threads=1, **{"stall": 60.0} | fields)


def started(tmp_path: Path, name: str = "run") -> list[list[str]]:
    """The arguments of each process of a run."""
    return [json.loads(line) for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()]
