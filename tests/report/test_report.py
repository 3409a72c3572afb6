"""The report of fabricated runs: its figures against direct computation, nothing mixed, nothing left unsaid."""

import csv
import json
import re
import sys
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score

import digits
from common import main
from common.__main__ import main as command
from common.metrics import classification
from common.models.registry import BACKBONES
from common.report.costs import tradeoffs
from common.report.extras import low_data, optimism, sensitivity
from common.report.predictions import Predictions, predictions_of
from common.report.read import Row, read, start
from common.report.sections import Section, sections
from common.report.verdicts import duels, ranking
from common.run.results import write_confusion, write_json, write_predictions
from common.statistics import paired

ROOT = Path(__file__).resolve().parents[2]
IMAGENET = {row.name: row.weights for row in BACKBONES}
CLASSES = ("cat", "<script>alert(1)</script>", "猫 $x_1$ & b")
RIGHT = {"resnet50": 0.97, "convnext_tiny": 0.85, "swin_t": 0.6}  # how often each is right


def fabricate(
    folder: Path, dataset: str, backbone: str, seed: int, right: float, /, n: int = 120, **changes
) -> dict:
    """A run folder of the real shape, whose predictions are right about as often as `right`."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng([seed, *map(ord, dataset + backbone)])
    labels = np.arange(n) % 3
    logits = rng.normal(size=(n, 3)).astype(np.float32)
    logits[np.arange(n), np.where(rng.random(n) < right, labels, (labels + 1) % 3)] += 6
    scores = {
        name: {"value": value, "interval": [value - 0.01, value + 0.01]}
        for name, value in classification.score(logits, labels).items()
    }
    place = list(RIGHT).index(backbone) if backbone in RIGHT else 9
    result = {
        "dataset": dataset, "fold": None, "backbone": backbone, "weights": IMAGENET.get(backbone, "none"), "protocol": "clean",
        "chosen_on": "val", "seed": seed, "batch_size": 8, "micro_bs": 8, "steps_per_epoch": 10, "balanced_sampling": False,
        "recipe": {"name": "clean", "phases": [{"steps": 20, "lr": 1e-3}], "eval_every": 10}, "augment": {"crop": 1.0},
        "preprocess": {"size": [32, 32], "mean": [0.5, 0.5, 0.5]}, "classes": 3,
        "split": {"kind": "clean", "fingerprint": f"{seed:016x}", "train": 80, "val": 10, "test": n, "unused": 0},
        "split_file": None, "shots": None, "fraction": None, "subset": False, "caveats": [f"A leak of {dataset}."],
        "parameters": 1_000_000 * (3 - place % 3), "macs": 2_000_000_000 // (1 + place % 3), "commit": "abc", "python": "3.11", "torch": "2.15",
        "torchvision": "0.29", "timm": "1.0", "device": "A machine, 2 cores", "threads": 2, "precision": "fp32",
        "command": f"{dataset}.py -model {backbone} --seed {seed} --out '<b>'", "metric": "top1", "test": scores, "test_last": None,
        "temperature": None, "test_calibrated": None, "lr_search": None, "best": {"epoch": 2, "val_top1": right},
        "cost": {"train_images_per_second": 10.0 + place, "peak_memory_bytes": 10**9, "train_seconds": 5.0, "test_images_per_second": 9.0},
    }  # fmt: skip
    result |= changes
    write_predictions(folder, [f"{i}.png" for i in range(n)], labels, logits, CLASSES)
    write_confusion(folder, classification.confusion(logits, labels), CLASSES)
    part = result["chosen_on"]
    epochs = [{"epoch": e, f"{part}_top1": right * e / 2} for e in (1, 2)]
    (folder / "log.jsonl").write_text("".join(f"{json.dumps(epoch)}\n" for epoch in epochs))
    write_json(folder / "config.json", {})
    write_json(folder / "result.json", result)
    return result


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Three backbones on two datasets and BreakHis, of which one magnification misses one backbone; two seeds."""
    for dataset in ("eurosat", "dtd", "breakhis-40x", "breakhis-100x"):
        for backbone, right in RIGHT.items():
            for seed in (0, 1):
                if (dataset, backbone) != ("breakhis-40x", "swin_t"):
                    fabricate(
                        tmp_path / "runs" / f"{dataset}-{backbone}-{seed}", dataset, backbone, seed, right
                    )
    return tmp_path / "runs"


def told(folder: Path, domains: dict[str, str] | None = None) -> tuple[Section, ...]:
    return sections(read([folder]).rows, domains or {})


def page(folder: Path) -> str:
    out = folder.parent / "out" / "report.html"
    command(["report", str(folder), "-o", str(out)])
    return out.read_text("utf-8")


def text(html: str) -> str:
    return " ".join(
        unescape(re.sub(r"<[^>]+>", " ", re.sub(r"<(style|script)>.*?</\1>", "", html, flags=re.S))).split()
    )


def test_the_table_holds_what_the_predictions_say(runs: Path) -> None:
    shown = text(page(runs))
    values = []
    for seed in (0, 1):
        with open(runs / f"eurosat-resnet50-{seed}" / "predictions.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        values.append(accuracy_score([r["label"] for r in rows], [r["predicted"] for r in rows]))
    mean, spread = 100 * np.mean(values), 100 * np.std(values, ddof=1)
    assert f"{mean:.2f} [{mean - 1:.2f}, {mean + 1:.2f}] ± {spread:.2f}, n = 2" in shown
    with open(runs.parent / "out" / "results.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == 22 and {
        float(r["top1"]) for r in table if r["dataset"] == "eurosat" and r["backbone"] == "resnet50"
    } == set(values)
    markdown = (runs.parent / "out" / "tables.md").read_text()
    assert f"{mean:.2f} ± {spread:.2f} (2)" in markdown


def test_missing_cells_are_named_and_not_ranked(runs: Path) -> None:
    shown = text(page(runs))
    assert "Missing: swin_t on breakhis-40x." in shown
    assert "| missing |" in (runs.parent / "out" / "tables.md").read_text()
    ranked = ranking(told(runs)[0])
    assert (ranked.units, ranked.backbones, ranked.unranked) == (
        ("dtd", "eurosat"), ("resnet50", "convnext_tiny", "swin_t"), ("breakhis",),
    )  # fmt: skip
    assert "Not ranked, because of missing results: breakhis." in shown


def test_breakhis_is_one_dataset(runs: Path) -> None:
    fabricate(runs / "a", "breakhis-40x", "swin_t", 0, 0.6)
    section = told(runs)[0]
    ranked = ranking(section)
    assert ranked.units == ("breakhis", "dtd", "eurosat")
    both = [q.cells["resnet50"].value for q in section.questions if q.unit == "breakhis"]
    assert len(both) == 2 and ranked.scores[0, ranked.backbones.index("resnet50")] == pytest.approx(
        np.mean(both)
    )
    assert ranking(section, "other").units == ranked.units and ranking(section, "nature") is None


def test_what_differs_is_never_in_one_table(runs: Path) -> None:
    """Protocol, selection, start, pretraining, subset, split and number of images: each makes a section."""
    paper = {"protocol": "paper", "chosen_on": "test", "best": {"epoch": 1, "test_top1": 1.0}}
    changes = [
        paper, {"weights": "none"}, {"weights": "mine.pth"}, {"subset": True}, {"shots": 5}, {"fraction": 0.1}, {"protocol": "probe"},
        {"split": {"kind": "paper", "fingerprint": "f" * 16, "train": 80, "val": 10, "test": 120}},
    ]  # fmt: skip
    for i, change in enumerate(changes):
        fabricate(runs / f"more{i}", "eurosat", "resnet50", 0, 0.9, **change)
    found = told(runs)
    assert len(found) == len(changes) + 1 and len({section.terms for section in found}) == len(found)
    assert all(
        len({row.terms for q in s.questions for c in q.cells.values() for row in c.rows}) == 1 for s in found
    )
    assert [len(q.cells["resnet50"].rows) for q in found[0].questions if q.name == "eurosat"] == [2]
    html = page(runs)
    assert [unescape(title) for title in re.findall(r'<h2 id="s\d+-title">(.*?)</h2>', html)] == [
        s.terms.title for s in found if not s.terms.few
    ]


def test_two_datasets_are_ranked_over_what_both_have(tmp_path: Path) -> None:
    for dataset, names in {"dtd": ("a", "b", "c", "d"), "eurosat": ("a", "b")}.items():
        for name in names:
            fabricate(tmp_path / "runs" / f"{dataset}-{name}", dataset, name, 0, 0.9)
    ranked = ranking(told(tmp_path / "runs")[0])
    assert (ranked.units, set(ranked.backbones), ranked.unranked) == (
        ("dtd", "eurosat"), {"a", "b"}, ("c", "d"),
    )  # fmt: skip


def test_what_weights_have_seen() -> None:
    assert start("resnet50", IMAGENET["resnet50"]) == "ImageNet-1k"
    assert start("resnet50", "none") == start("timm:vit_small_patch16_224", "none") == "from scratch"
    timm = {
        "a1_in1k": "ImageNet-1k",
        "augreg_in21k_ft_in1k": "timm's augreg_in21k_ft_in1k",
        "ns_jft_in1k": "timm's ns_jft_in1k",
    }
    assert {tag: start("timm:x", f"hf:timm/x.{tag}") for tag in timm} == timm
    assert start("timm:x", "my.safetensors") == "weights my.safetensors"


def test_one_cell_per_backbone_chosen_on_validation(tmp_path: Path) -> None:
    """Other settings that do better on test but worse on validation stay out, and the page says so."""
    runs = tmp_path / "runs"
    fabricate(runs / "a", "dtd", "resnet50", 0, 0.7, best={"epoch": 1, "val_top1": 0.8})
    fabricate(runs / "b", "dtd", "resnet50", 0, 1.0, best={"epoch": 1, "val_top1": 0.6}, batch_size=64)
    cell = told(runs)[0].questions[0].cells["resnet50"]
    assert [row.folder.name for row in cell.rows] == ["a"] and cell.others == 1
    tried = [{"lr": 1e-3, "steps": 2, "score": 0.5}]
    fabricate(runs / "c", "dtd", "swin_t", 0, 0.7, preprocess={"size": [64, 64]}, lr_search=tried)
    shown = text(page(runs))
    assert "dtd, resnet50: 1 more" in shown
    assert (
        "n = 1 32x32, 2 epochs" in shown and "n = 1 64x64, 2 epochs, LR searched" in shown
    )  # told where they differ
    with open(tmp_path / "out" / "results.csv", newline="") as file:
        assert [row["in_tables"] for row in csv.DictReader(file)] == ["True", "False", "True"]


def test_other_images_under_one_name_are_other_datasets(tmp_path: Path) -> None:
    """Two folders of images are both "folder": told apart by their test images, which their seeds share."""
    for i, (backbone, tested) in enumerate((("resnet50", "a"), ("resnet50", "b"), ("swin_t", "a"))):
        for seed in (0, 1):
            split = {
                "kind": "clean", "fingerprint": f"{tested}{seed}", "test_fingerprint": tested, "train": 80, "val": 10, "test": 120,
            }  # fmt: skip
            fabricate(tmp_path / "runs" / f"{i}{seed}", "folder", backbone, seed, 0.9, split=split)
    questions = told(tmp_path / "runs")[0].questions
    assert [(q.name, sorted(q.cells)) for q in questions] == [
        ("folder (test images a)", ["resnet50", "swin_t"]), ("folder (test images b)", ["resnet50"]),
    ]  # fmt: skip
    assert {len(cell.rows) for q in questions for cell in q.cells.values()} == {2}


def test_own_images_go_by_their_folder_in_every_table(tmp_path: Path) -> None:
    split = {"kind": "clean", "fingerprint": "x", "train": 80, "val": 10, "test": 120}
    ours = {"folder": "my_images", "split": split | {"test_fingerprint": "a"}}
    fabricate(tmp_path / "runs" / "0", "folder", "resnet50", 0, 0.9, **ours)
    fabricate(tmp_path / "runs" / "1", "folder", "resnet50", 0, 0.9, weights="none", **ours)
    fabricate(tmp_path / "runs" / "2", "folder", "resnet50", 0, 0.9, folder="pets", split=ours["split"])
    assert [[q.name for q in s.questions] for s in told(tmp_path / "runs")] == [
        ["my_images", "pets"],
        ["my_images"],
    ]
    again = ours | {"split": split | {"test_fingerprint": "b"}}
    fabricate(tmp_path / "runs" / "3", "folder", "resnet50", 0, 0.9, **again)
    names = {q.name for s in told(tmp_path / "runs") for q in s.questions}
    assert names == {"my_images (test images a)", "my_images (test images b)", "pets"}
    for i, own in enumerate(("pets-2024", "pets-2025")):
        fabricate(
            tmp_path / "runs" / f"year{i}", "folder", "resnet50", 0, 0.9, folder=own, split=ours["split"]
        )
    questions = [q for s in told(tmp_path / "runs", {"folder": "your own"}) for q in s.questions]
    assert {"pets-2024", "pets-2025"} < {q.unit for q in questions}, "no magnifications of one dataset"
    assert {q.domain for q in questions} == {"your own"}


def test_older_results_do_not_tell_their_test_images(tmp_path: Path) -> None:
    split = {"kind": "clean", "fingerprint": "x", "train": 80, "val": 10, "test": 120}
    fabricate(tmp_path / "runs" / "old", "dtd", "resnet50", 0, 0.9, split=split)
    fabricate(tmp_path / "runs" / "new", "dtd", "resnet50", 1, 0.9, split=split | {"test_fingerprint": "a"})
    (question,) = told(tmp_path / "runs")[0].questions
    assert len(question.cells["resnet50"].rows) == 2
    fabricate(tmp_path / "runs" / "other", "dtd", "resnet50", 1, 0.9, split=split | {"test_fingerprint": "b"})
    names = [question.name for question in told(tmp_path / "runs")[0].questions]
    assert names == [f"dtd (test images {images})" for images in ("a", "b", "unknown")]


def test_of_a_seed_in_two_number_formats_validation_chooses(tmp_path: Path) -> None:
    for name, precision, right in (("a", "fp32", 0.9), ("b", "bf16", 0.8)):
        fabricate(tmp_path / "runs" / name, "dtd", "resnet50", 0, right, precision=precision)
    (question,) = told(tmp_path / "runs")[0].questions
    cell = question.cells["resnet50"]
    assert [row.precision for row in cell.rows] == ["fp32"] and cell.others == 1


def test_a_seed_that_was_tried_again_is_a_seed(tmp_path: Path) -> None:
    """A sweep takes float32, or smaller pieces, when a run has failed."""
    for seed, more in enumerate(({}, {"precision": "bf16"}, {"micro_bs": 4})):
        fabricate(tmp_path / "runs" / str(seed), "dtd", "resnet50", seed, 0.9 - seed / 100, **more)
    (question,) = told(tmp_path / "runs")[0].questions
    cell = question.cells["resnet50"]
    assert len(cell.rows) == 3 and cell.others == 0
    assert (
        "resnet50: its seeds were trained with precisions bf16 and fp32, micro-batch sizes 4 and 8"
        in question.caveats
    )


def test_epochs_are_those_that_were_trained(tmp_path: Path) -> None:
    """The paper's protocol may take 2,000, and stops when its patience is over."""
    result = fabricate(tmp_path / "runs" / "a", "dtd", "resnet50", 0, 0.9)
    per_epoch = result["steps_per_epoch"]
    long = {**result["recipe"], "phases": [{**result["recipe"]["phases"][0], "steps": 2000 * per_epoch}]}
    fabricate(
        tmp_path / "runs" / "b",
        "dtd",
        "swin_t",
        0,
        0.9,
        recipe=long,
        last={"step": 7 * per_epoch, "epoch": 7},
    )
    (question,) = told(tmp_path / "runs")[0].questions
    assert [cell.rows[0].epochs for cell in question.cells.values()] == [2, 7]


def test_duels_are_paired_and_corrected(runs: Path) -> None:
    (question,) = [q for q in told(runs)[0].questions if q.name == "eurosat"]
    seen = predictions_of(question)
    fought = duels(question, seen)
    assert fought.leader == "resnet50" and fought.images == 120
    for duel in fought.others:
        difference = question.cells[duel.backbone].value - question.cells["resnet50"].value
        assert duel.difference.difference == pytest.approx(difference)
        assert duel.difference.low <= difference <= duel.difference.high
    assert fought.tied == tuple(duel.backbone for duel in fought.others if duel.p >= 0.05)
    assert "swin_t" not in fought.tied and fought.best + sum(
        duel.best for duel in fought.others
    ) == pytest.approx(1)
    assert seen.confusion["swin_t"].sum() == 240
    weighted = seen.values("swin_t", "balanced_accuracy").mean()
    assert weighted == pytest.approx(question.cells["swin_t"].score("balanced_accuracy")[0])


@pytest.mark.parametrize("metric", ["top1", "balanced_accuracy", "auroc"])
def test_values_of_images_stand_for_the_score(metric: str) -> None:
    """Their mean is the score; resampled, it spreads as the score itself does."""
    rng = np.random.default_rng(0)
    labels = (rng.random(800) < 0.2).astype(int)
    logits = [np.round(8 * rng.normal(size=(800, 2)) + 8 * np.eye(2)[labels]) / 8 for _ in range(2)]
    seen = Predictions(
        labels=labels,
        classes=("no", "yes"),
        right={"a": np.stack([own.argmax(1) == labels for own in logits])},
        margins={"a": np.stack([own[:, 1] - own[:, 0] for own in logits])},
        logits={},
        confusion={},
        without=(),
    )
    values = seen.values("a", metric)
    scorers = [classification.scorer(own, labels) for own in logits]
    assert values.mean() == pytest.approx(np.mean([score(np.ones(800))[metric] for score in scorers]))
    drawn = paired.resample_scores(
        [lambda w: np.mean([score(w)[metric] for score in scorers])], 800, resamples=400
    )
    assert values.std() / np.sqrt(800) == pytest.approx(drawn.std(), rel=0.1)


def test_runs_without_predictions_are_named(runs: Path) -> None:
    (runs / "eurosat-swin_t-1" / "test_logits.npy").unlink()
    (runs / "eurosat-convnext_tiny-0" / "test_logits.npy").write_bytes(b"\x93NUMPY, or so it says")
    (question,) = [q for q in told(runs)[0].questions if q.name == "eurosat"]
    assert predictions_of(question).without == ("convnext_tiny", "swin_t")
    assert "Without predictions, so not tested: convnext_tiny, swin_t." in text(page(runs))


def test_a_leader_without_predictions_is_not_replaced(tmp_path: Path) -> None:
    for lost in ("convnext_tiny", "resnet50"):
        for backbone, right in (("convnext_tiny", 0.95), ("resnet50", 0.9), ("swin_t", 0.6)):
            fabricate(tmp_path / lost / "runs" / backbone, "dtd", backbone, 0, right)
        (tmp_path / lost / "runs" / lost / "test_logits.npy").unlink()
    shown = text(page(tmp_path / "convnext_tiny" / "runs"))
    assert "convnext_tiny is highest" in shown and "so the lead cannot be tested" in shown
    shown = text(page(tmp_path / "resnet50" / "runs"))
    assert "better than every other. Not compared, as predictions are missing: resnet50." in shown


def test_nothing_is_cheaper_and_better_than_the_front(runs: Path) -> None:
    section = told(runs)[0]
    found = {t.cost.name: t for t in tradeoffs(section, ranking(section))}
    assert set(found) == {
        "macs",
        "parameters",
        "train_images_per_second",
        "peak_memory_bytes",
        "train_seconds",
    }
    assert found["train_seconds"].front == ("resnet50",)  # all cost the same
    assert found["macs"].front == ("swin_t", "convnext_tiny", "resnet50")  # the better, the dearer
    assert found["train_images_per_second"].front == ("swin_t", "convnext_tiny", "resnet50")
    fabricate(runs / "elsewhere", "eurosat", "resnet50", 2, 0.9, device="another")
    section = told(runs)[0]
    assert {t.cost.name for t in tradeoffs(section, ranking(section))} == {"macs", "parameters"}


def test_few_images_rates_and_choosing_on_test(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    tried = [
        {"lr": lr, "steps": s, "score": x} for lr, s, x in ((1e-4, 8, 0.5), (1e-3, 8, 0.4), (1e-4, 20, 0.9))
    ]
    paper = {"protocol": "paper", "chosen_on": "test", "best": {"test_top1": 1.0}, "test_last": {"top1": 0.5}}
    fabricate(runs / "all", "dtd", "resnet50", 0, 0.9, lr_search=tried)
    best = fabricate(runs / "paper", "dtd", "resnet50", 0, 0.9, **paper)["test"]["top1"]["value"]
    few = []
    for shots, right, probe in ((5, 0.3, 0.7), (20, 0.95, 0.5)):
        split = {"kind": "clean", "fingerprint": f"{shots:016}", "train": 3 * shots, "val": 6, "test": 120}
        for name, share, protocol in (("s", right, "clean"), ("p", probe, "probe")):
            run = {"shots": shots, "split": split, "protocol": protocol}
            result = fabricate(runs / f"{name}{shots}", "dtd", "resnet50", 0, share, **run)
            few.append(result["test"]["top1"]["value"])
    found = told(runs)
    (low,) = low_data(found)
    assert [x for x, _ in low.lines["resnet50 (clean)"]] == [15, 60, 80]
    assert low.overtakes == (("resnet50", "clean", 60),)
    searched = sensitivity(found[0].questions[0])
    assert searched.lines == {"resnet50": ((1e-4, 0.5), (1e-3, 0.4))} and searched.regret[
        "resnet50"
    ] == pytest.approx(0.1)
    (chosen,) = optimism(found)
    assert (chosen.best, chosen.last) == (best, 0.5) and chosen.clean is not None
    shown = text(page(runs))
    assert "resnet50: protocol clean overtakes the probe from 60 images on." in shown
    assert all(f"{100 * value:.2f}" in shown for value in few)
    assert "resnet50 10.00 points" in shown and "Choosing on the test set" in shown


def test_what_there_is_nothing_of_is_not_there(tmp_path: Path) -> None:
    fabricate(tmp_path / "runs" / "a", "dtd", "resnet50", 0, 0.9)
    shown = text(page(tmp_path / "runs"))
    assert "No other backbone was run there: nothing to compare." in shown
    for chapter in (
        "Mean ranks",
        "Accuracy against cost",
        "Few images",
        "Choosing on the test set",
        "McNemar",
        "Missing",
    ):
        assert chapter not in shown


class Outline(HTMLParser):
    """The page as a browser would see it: elements, and addresses that it would load."""

    def __init__(self, html: str):
        super().__init__()
        self.opened, self.loads, self.ids = [], [], []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.opened.append((tag, dict(attrs)))
        self.loads += [
            v for k, v in attrs if k in ("src", "href", "xlink:href", "srcset", "data", "action") and v
        ]
        self.ids += [v for k, v in attrs if k == "id"]


def test_the_page_is_self_contained_and_hostile_names_are_text(runs: Path) -> None:
    fabricate(runs / "evil", '<img src="//evil.example/x">', "timm:<script>alert(2)</script>", 0, 0.9)
    html = page(runs)
    assert len(html.encode()) < 5_000_000
    outline = Outline(html)
    local = ("#", "data:image/png;base64,")
    assert {a for a in outline.loads if not a.startswith(local)} == {"results.csv", "tables.md"}
    assert not re.search(r"@import|url\((?!#)", html)
    assert [tag for tag, _ in outline.opened].count("script") == 1 and "img" not in [
        tag for tag, _ in outline.opened
    ]
    assert "<script>alert(1)</script>" in text(html.replace("<script>addEventListener", "<script>"))
    assert len(outline.ids) == len(set(outline.ids))
    targets = {address[1:] for address in outline.loads if address.startswith("#")}
    assert targets <= set(outline.ids)
    charts = [attrs for tag, attrs in outline.opened if tag == "svg" and "aria-hidden" not in attrs]
    assert charts and all(attrs["role"] == "img" and attrs["aria-label"] for attrs in charts)
    assert all("scope" in attrs for tag, attrs in outline.opened if tag == "th")


def test_unfinished_and_unreadable_folders_are_named(runs: Path, capsys: pytest.CaptureFixture) -> None:
    odd = json.loads((runs / "dtd-swin_t-0" / "result.json").read_text()) | {"metric": "beauty"}
    for name, content in (
        ("broken", "{"), ("other", '{"accuracy": 1}'), ("list", "[]"), ("odd", json.dumps(odd)), ("half", None),
    ):  # fmt: skip
        (runs / name).mkdir()
        (runs / name / ("config.json" if content is None else "result.json")).write_text(content or "{}")
    shown = text(page(runs))
    assert capsys.readouterr().out.startswith("22 runs, 1 unfinished, 4 unreadable -> ")
    assert f"{runs / 'half'}: not finished" in shown and f"{runs / 'other'}: unreadable" in shown


@pytest.mark.parametrize("there", ["report.html", "results.csv", "tables.md"])
def test_nothing_is_overwritten(
    runs: Path, there: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / there).write_text("mine")
    with pytest.raises(SystemExit) as stopped:
        command(["report", str(runs), "-o", str(tmp_path / "report.html")])
    assert stopped.value.code == 2 and f"{there} exists already" in capsys.readouterr().err
    assert {p.name for p in tmp_path.iterdir() if p.is_file()} == {there} and (
        tmp_path / there
    ).read_text() == "mine"


def test_mistakes_cost_one_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "empty").mkdir()
    for name, message in (("empty", "no finished run in"), ("nowhere", "no folder")):
        with pytest.raises(SystemExit) as stopped:
            command(["report", str(tmp_path / name), "-o", str(tmp_path / "o" / "report.html")])
        error = capsys.readouterr().err
        assert stopped.value.code == 2 and message in error and error.count("\n") == 1
    assert not (tmp_path / "o").exists()


def test_a_real_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the scripts write is what the report reads."""
    monkeypatch.chdir(tmp_path)
    tiny = [
        "-model",
        "timm:test_resnet",
        "--weights",
        "none",
        "--image_size",
        "32",
        "--epochs",
        "1",
        "-bs",
        "64",
    ]
    main(digits.DATASET, [*tiny, "--out", "runs/a"])
    result = json.loads(Path("runs/a/result.json").read_text())
    (row,) = read([Path("runs")]).rows
    assert isinstance(row, Row) and row.value == result["test"]["top1"]["value"] and row.epochs == 1
    command(["report", "runs"])
    assert Path("runs/a/mistakes.jpg").exists(), "after one epoch it is wrong about some"
    assert 'src="data:image/jpeg;base64,' in Path("report.html").read_text()
    shown = text(Path("report.html").read_text())
    assert (
        f"{100 * row.value:.2f}" in shown
        and f"python {result['command']}" in shown
        and "handwriting" in shown
    )
    assert sys.version.split()[0] in shown
