"""Every benchmark imports what exists, has a `--help`, and stands in `benchmarks/README.md`; its loops train."""

import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
SCRIPTS = sorted(path.name for path in BENCHMARKS.glob("*.py") if "__main__" in path.read_text("utf-8"))


@pytest.mark.parametrize("name", SCRIPTS)
def test_help(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    if name == "sweep_ray.py":
        pytest.importorskip("ray", reason="Ray has no wheel for this Python or is not installed")
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(BENCHMARKS / name), run_name="__main__")
    assert stopped.value.code == 0 and f"usage: {name}" in capsys.readouterr().out


def test_the_loops_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All four on 16 small images, in this process."""
    from benchmarks import compare_loops

    class InProcess:
        def __init__(self, *_: object, **__: object) -> None: ...
        def __enter__(self) -> "InProcess":
            return self

        def __exit__(self, *_: object) -> None: ...
        def submit(self, function: Callable, *args: object) -> SimpleNamespace:
            result = function(*args)
            return SimpleNamespace(result=lambda: result)

    monkeypatch.setattr(compare_loops, "ProcessPoolExecutor", InProcess)
    out = tmp_path / "loops.json"
    options = f"--models timm:test_resnet --images 16 -bs 8 --size 32 --steps 1 --rounds 1 --workers 0 --out {out}"
    monkeypatch.setattr(sys, "argv", ["compare_loops.py", *options.split()])
    compare_loops.main()
    runs = json.loads(out.read_text())["runs"]
    assert {run["loop"] for run in runs} == set(compare_loops.LOOPS)
    assert all(run["images_per_second"] > 0 for run in runs)


def test_a_peer_trains() -> None:
    """timm's, on 32 random images: its head learns something, and its logits are finite."""
    import numpy as np
    import timm
    import torch

    from benchmarks import peers

    torch.manual_seed(0)
    state = {k: v for k, v in timm.create_model("test_resnet").state_dict().items() if not k.startswith("fc.")}
    generator, labels = np.random.default_rng(0), np.arange(32) % 2
    pixels = generator.integers(0, 256, (32, 64, 64, 3), np.uint8) // 2 + 127 * labels[:, None, None, None].astype(
        np.uint8
    )
    problem = peers.Problem("test_resnet", state, 2, pixels, labels, (0.5,) * 3, (0.5,) * 3)
    net, seconds = peers.timed(peers.PEERS["timm"], problem, 1e-2, 8, 0)
    logits = peers.logits(net, problem, pixels)
    assert logits.shape == (32, 2) and np.isfinite(logits).all() and seconds > 0
    assert (logits.argmax(1) == labels).mean() > 0.9


def test_our_row_has_versions_where_it_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One from `recipes.jsonl` cannot know them."""
    import torch

    from benchmarks import peers

    pair = {"network": "efficientnet_lite0", "data": "eurosat"}
    scores = {"val_top1": 0.9, "val_nll": 0.3, "test_top1": 0.9, "test_nll": 0.3, "seconds": 2.0}
    trainer = SimpleNamespace(probe_seconds=1.0, train=lambda *_: scores)
    monkeypatch.setattr(peers.recipes, "Trainer", lambda *_: trainer)
    monkeypatch.setattr(peers, "RECIPES", tmp_path / "recipes.jsonl")
    rows = [{**pair, **scores, "config": config, "seed": 0} for config in (peers.PROBE, peers.DEFAULT)]
    peers.RECIPES.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    recorded, trained = (peers.ours("efficientnet_lite0", "eurosat", tmp_path, seed) for seed in (0, 1))
    assert recorded["seconds"] == 4 and "versions" not in recorded
    assert trained["seconds"] == 3 and trained["versions"]["torch"] in torch.__version__


def test_the_interval_of_a_difference_may_be_negative() -> None:
    from benchmarks.same_accuracy import difference

    ours, plain = [{"right": "1" * 80 + "0" * 20}], [{"right": "1" * 70 + "0" * 10 + "1" * 20}]
    by_seed, (low, high) = difference(ours, plain)
    assert by_seed.tolist() == pytest.approx([-0.1]) and -0.25 < low < -0.15 and -0.05 < high < 0.05


def test_ranks_of_peers_share_ties() -> None:
    from benchmarks import peer_tables

    scores = {"ours": 0.7, "fastai": 0.5, "timm": 0.5}
    assert [peer_tables.rank(scores, peer) for peer in scores] == [1, 2.5, 2.5]


def test_the_page_lists_them() -> None:
    page = (BENCHMARKS / "README.md").read_text("utf-8")
    assert [name for name in SCRIPTS if f"({name})" not in page] == []
    missing = [path.name for path in (BENCHMARKS / "results").iterdir() if path.name not in page]
    assert [name for name in missing if name != "answers.jsonl"] == []
