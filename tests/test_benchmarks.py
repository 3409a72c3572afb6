"""Every benchmark imports what exists, has a `--help`, and stands in `benchmarks/README.md`."""

import runpy
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
SCRIPTS = sorted(path.name for path in BENCHMARKS.glob("*.py"))


@pytest.mark.parametrize("name", SCRIPTS)
def test_help(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    if name == "sweep_ray.py":
        pytest.importorskip("ray", reason="Ray has no wheel for this Python or is not installed")
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(BENCHMARKS / name), run_name="__main__")
    assert stopped.value.code == 0 and f"usage: {name}" in capsys.readouterr().out


def test_the_page_lists_them() -> None:
    page = (BENCHMARKS / "README.md").read_text("utf-8")
    assert [name for name in SCRIPTS if f"({name})" not in page] == []
    missing = [path.name for path in (BENCHMARKS / "results").iterdir() if path.name not in page]
    assert [name for name in missing if name != "answers.jsonl"] == []
