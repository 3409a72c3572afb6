"""Many runs: on workers, under a budget, and real ones."""

import fcntl
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scripted import cell, config, script

from common.__main__ import main
from common.errors import UserError
from common.models.build import get_backbone
from common.run.predictions import RunPredictions, write_confusion, write_predictions
from common.run.provenance import this_python
from common.sweep import cost_model, job, priority, state, status, workers
from common.sweep.sweep import Backend, sweep
from common.training.search_budget import MAX_COST

BACKEND = Backend(workers=2, gpus=0, ray=None, cpu_only=True)
RESULT = {  # of a run, as far as the cost model reads it
    "backbone": "net", "batch_size": 10, "preprocess": {"size": [8, 8]}, "last": {"step": 9}, "recipe": {"eval_every": 3},
    "split": {"train": 30, "val": 2, "test": 3}, "cost": {"total_seconds": 93.0, "train_seconds": 50.0}, "protocol": "clean",
}  # fmt: skip


def test_a_locked_run_comes_last(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(job, "LOCK_POLL_SECONDS", 0.05)
    path = script(tmp_path)
    (tmp_path / "out" / "a").mkdir(parents=True)
    with open(tmp_path / "out" / "a" / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        events = filter(None, workers.run([cell(path, "a"), cell(path, "b")], config(tmp_path), 1, 0))
        first, result = next(events)
        assert first.name == "b" and result.state == "finished"
    assert [one.name for one, _ in events] == ["a"]


def test_a_full_disk_fails_one_run(tmp_path: Path, monkeypatch) -> None:
    def fail(*_) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(state, "record_failure", fail)
    path = script(tmp_path, a=["traceback"])
    states = sweep([cell(path, "a"), cell(path, "b")], config(tmp_path), BACKEND, print, quiet=True)
    assert states == {"failed": 1, "finished": 1}


def test_a_crash_costs_one_run(tmp_path: Path) -> None:
    path, out = script(tmp_path, b=["traceback"]), tmp_path / "out"
    cells = [cell(path, name) for name in "abc"]
    lines: list[str] = []
    assert sweep(cells, config(tmp_path), BACKEND, lines.append, quiet=True) == {"finished": 2, "failed": 1}
    assert any("failed: LookupError: a bug of ours" in line for line in lines)
    assert state.pending(cells, out, retry=False) == ([], 2, 1)
    assert state.pending(cells, out, retry=True) == ([cells[1]], 2, 0)
    text = status.format_status(out)
    assert f"again: {this_python()}" in text and text.endswith("2 finished, 0 running, 0 stopped, 1 failed")


def test_the_estimate_is_that_of_similar_runs(tmp_path: Path) -> None:
    folder = tmp_path / "out" / "run"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps(RESULT))
    untrained = folder.with_name("too_few_images")
    untrained.mkdir()
    (untrained / "result.json").write_text(json.dumps(RESULT | {"last": {"step": 0}}))
    rates = cost_model.fit(tmp_path / "out", None)
    passes, path = 90 + (3 * 2 + 3) // 3, script(tmp_path)
    assert cost_model.estimate(cell(path), rates) == pytest.approx(93.0 / passes * 100)
    assert cost_model.estimate(cell(path, backbone="other"), rates) is None
    total = cost_model.format_total([cell(path), cell(path, backbone="other")], rates, 2)
    assert total == "about 50 s with 2 at a time, 1 of unknown cost"
    (folder / "result.json").write_text("{")
    with pytest.raises(UserError, match=r"cannot read .*run/result\.json"):
        cost_model.fit(tmp_path / "out", None)


@pytest.mark.parametrize("key", ["recipe_search", "lr_search"])
def test_the_estimate_counts_a_search(tmp_path: Path, key: str) -> None:
    """A run that searched took a quarter longer; one that does not search is estimated without."""
    rates = {}
    for found in (None, [{"lr": 1e-3, "nll": 0.5, "steps": 2, "seconds": 1.0}]):
        folder = tmp_path / str(bool(found)) / "run"
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(json.dumps(RESULT | {key: found}))
        (rates[bool(found)],) = cost_model.fit(folder.parent, None).values()
    assert rates[True] == pytest.approx(rates[False] / (1 + MAX_COST))


@pytest.fixture
def probed(tmp_path: Path) -> Callable[..., tuple[list[str], priority.Selection]]:
    """Prioritizes two seeds of backbones whose probes have these accuracies on 200 validation images, and one without a probe."""
    out, path = tmp_path / "out", script(tmp_path)

    def prioritize(n: int = 200, **accuracies: float) -> tuple[list[str], priority.Selection]:
        for i, (name, accuracy) in enumerate(accuracies.items()):
            folder = out / f"probe-{name}"
            folder.mkdir(parents=True)
            labels = np.arange(n) % 2
            right = np.random.default_rng(i).permutation(n) < accuracy * n
            logits = np.eye(2, dtype=np.float32)[np.where(right, labels, 1 - labels)]
            images = tuple(map(str, range(n)))
            write_predictions(folder, RunPredictions(images, labels, ("no", "yes"), logits), "val")
            write_confusion(folder, np.zeros((2, 2), int), ("no", "yes"))
            result = {"metric": "top1", "seed": 5, "weights": get_backbone(name).weights}
            (folder / "result.json").write_text(json.dumps(result))
        names = (*accuracies, "resnet18")
        probes = [cell(path, f"probe-{name}", backbone=name) for name in names]
        cells = [cell(path, f"{name}-s{seed}", backbone=name, seed=seed) for seed in (5, 1) for name in names]
        ordered, selection = priority.prioritize(cells, probes, out)
        return [one.name for one in ordered], selection

    return prioritize


def test_probes_rule_out_what_is_not_the_best(probed) -> None:
    """The most promising first, a backbone without a probe last."""
    order, selection = probed(resnet50=0.8, swin_t=0.3, convnext_tiny=0.85, regnet_y_3_2gf=0.5)
    assert order == [f"{name}-s{seed}" for seed in (5, 1) for name in ("convnext_tiny", "resnet50", "resnet18")]
    (p_best,) = selection.values()
    assert list(p_best) == ["convnext_tiny", "resnet50", "regnet_y_3_2gf", "swin_t"]
    assert sum(p_best.values()) == pytest.approx(1) and p_best["convnext_tiny"] > p_best["resnet50"] > 0.1
    text = priority.format_selection(selection)
    assert text.startswith(f"ant, P(best after fine-tuning): convnext_tiny {p_best['convnext_tiny']:.2f}, resnet50 ")
    assert text.endswith("; ruled out: regnet_y_3_2gf 0.000, swin_t 0.000")


def test_probes_that_differ_by_chance_rule_out_nothing(probed) -> None:
    """However many backbones there are: a third of them may not contain the best."""
    names = ("resnet50", "resnet101", "swin_t", "swin_s", "convnext_tiny", "regnet_y_3_2gf")
    order, selection = probed(**{name: 0.8 + 0.005 * i for i, name in enumerate(names)})
    assert len(order) == 14 and "ruled out" not in priority.format_selection(selection)


def test_a_single_probe_has_no_probability(probed) -> None:
    order, selection = probed(resnet50=0.8)
    assert order[:2] == ["resnet50-s5", "resnet18-s5"] and priority.format_selection(selection) == ""


def test_real_runs(class_tree, tmp_path: Path, monkeypatch, capsys) -> None:
    """Under a budget a probe comes first; finished runs are skipped; another option makes another run."""
    monkeypatch.chdir(tmp_path)
    class_tree(n=20, base="data/folder")
    command = ["sweep", "--datasets", "folder", "--models", "timm:test_resnet", "--weights", "none"]
    command += ["--image_size", "32", "-bs", "8", "--steps", "4", "--eval_every", "4"]

    def run(*options: str) -> tuple[str, str]:
        with pytest.raises(SystemExit) as end:
            main([*command, *options])
        assert end.value.code == 0
        return capsys.readouterr()

    assert "2 of 2 runs finished, 0 failed" in run("--budget", "10m").out
    contents = {path: path.read_bytes() for path in Path("runs/sweep").glob("*/result.json")}
    assert sorted(json.loads(content)["protocol"] for content in contents.values()) == ["clean", "probe"]
    again = run("--budget", "10m").err
    assert again.count("1 finished, 0 failed, 0 to do") == 2
    assert {path: path.read_bytes() for path in contents} == contents
    main([*command, "--lr", "0.01", "--plan"])
    assert "1 runs: 0 finished, 0 failed, 1 to do; about" in capsys.readouterr().out
    assert "1 not started: out of time" in run("--budget", "0.01s", "--lr", "0.01").out
