"""The README's figures are generated, its commands parse, its dataset of twenty lines runs."""

import argparse
import re
import runpy
import shlex
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")

sys.path.insert(0, str(ROOT))

from benchmarks import readme  # noqa: E402


def test_tables_are_generated() -> None:
    """`python benchmarks/readme.py` writes them."""
    assert readme.filled(README) == README


def test_every_command_parses() -> None:
    """Options that the README names exist."""
    from common.__main__ import main
    from common.cli import catalog
    from common.cli.commands import sweep
    from common.cli.options import build_parser

    scripts = {s.script: [v for v in catalog.datasets() if v.script == s.script] for s in catalog.datasets()}
    lines = [line for block in re.findall(r"```bash\n(.*?)```", README, re.S) for line in block.splitlines()]
    checked: Counter[str] = Counter()
    for words in (shlex.split(line, comments=True) for line in lines):
        script = words[1].removesuffix(".py") if len(words) > 1 else ""
        if script in scripts:
            build_parser(*scripts[script]).parse_args(words[2:])
            checked["scripts"] += 1
        if words[1:4] == ["-m", "common", "sweep"]:
            _, rest = sweep._parser().parse_known_args(words[4:])
            build_parser(*scripts["eurosat"]).parse_args(rest)
            checked["sweep"] += 1
        elif words[1:3] == ["-m", "common"] or script == "split":
            with pytest.MonkeyPatch.context() as patch, pytest.raises(Parsed):
                patch.setattr(argparse.ArgumentParser, "parse_args", parsed)
                patch.setattr(sys, "argv", words[1:])
                main(words[3:]) if script != "split" else runpy.run_path("split.py", run_name="__main__")
            checked[words[3] if script != "split" else "split"] += 1
    assert checked["scripts"] >= 10
    assert checked.keys() >= {
        "split", "list", "fetch", "check", "predict", "export", "bench", "table", "report", "recommend", "validate_recommend", "sweep", "status",
    }, checked  # fmt: skip


class Parsed(Exception):
    """The command line is right; what it asks for is not done."""


def parsed(self: argparse.ArgumentParser, argv: list[str] | None = None, *_: object) -> None:
    _, unknown = self.parse_known_args(argv)
    assert not unknown
    raise Parsed


def test_the_dataset_of_twenty_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, class_tree) -> None:
    """The sheet in the README, as pasted, trains on class folders; only its counts are made those of the miniature."""
    (source,) = re.findall(r"```python\n(.*?)```", README, re.S)
    space = {"__name__": "beetles"}
    exec(source.replace('"train": 960, "test": 240', '"train": 32, "test": 8'), space)
    images = class_tree(("dung", "ground", "leaf", "stag"))
    monkeypatch.chdir(tmp_path)
    options = [
        "-model",
        "timm:test_resnet",
        "--weights",
        "none",
        "--image_size",
        "32",
        "-bs",
        "8",
        "--epochs",
        "1",
    ]
    space["main"](space["DATASET"], [*options, "--data_dir", str(images), "--out", "out"])
    assert (tmp_path / "out" / "result.json").exists()
