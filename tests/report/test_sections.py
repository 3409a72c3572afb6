"""Sections: only comparable runs share a table."""

import csv
import re
from html import unescape
from pathlib import Path

from fabricated_runs import build, fabricate, fabricate_grid, page_text, write_page

from common.report import tables
from common.report.runs import load_runs


def test_settings_are_never_mixed_in_one_table(tmp_path: Path) -> None:
    """Protocol, selection, pretraining, subset, split and number of images: each makes a section."""
    runs = fabricate_grid(tmp_path)
    paper = {"protocol": "paper", "chosen_on": "test", "best": {"epoch": 1, "test_top1": 1.0}}
    changes = [
        paper, {"weights": "none"}, {"weights": "mine.pth"}, {"subset": True}, {"shots": 5}, {"fraction": 0.1}, {"protocol": "probe"},
        {"split": {"kind": "paper", "fingerprint": "f" * 16, "train": 80, "val": 10, "test": 120}},
    ]  # fmt: skip
    for i, change in enumerate(changes):
        fabricate(runs / f"more{i}", "eurosat", "resnet50", 0, 0.9, **change)
    sections = build(runs)
    assert len(sections) == len(changes) + 1 and len({s.setting for s in sections}) == len(sections)
    assert all(
        len({run.setting for d in s.datasets for c in d.cells.values() for run in c.runs}) == 1 for s in sections
    )
    assert [len(d.cells["resnet50"].runs) for d in sections[0].datasets if d.name == "eurosat"] == [2]
    html = write_page(runs)
    assert [unescape(title) for title in re.findall(r'<h2 id="s\d+-title">(.*?)</h2>', html)] == [
        s.setting.title for s in sections if not s.setting.train_size
    ]


def test_hyperparameters_are_selected_on_validation(tmp_path: Path) -> None:
    """Hyperparameters that are better on test but worse on validation are excluded, and the page lists them."""
    runs = tmp_path / "runs"
    fabricate(runs / "a", "dtd", "resnet50", 0, 0.7, best={"epoch": 1, "val_top1": 0.8})
    fabricate(runs / "b", "dtd", "resnet50", 0, 1.0, best={"epoch": 1, "val_top1": 0.6}, batch_size=64)
    cell = build(runs)[0].datasets[0].cells["resnet50"]
    assert [run.folder.name for run in cell.runs] == ["a"] and cell.excluded == 1
    trials = [{"lr": 1e-3, "steps": 2, "score": 0.5}]
    fabricate(runs / "c", "dtd", "swin_t", 0, 0.7, preprocess={"size": [64, 64]}, lr_search=trials)
    html_text = page_text(runs)
    assert "dtd, resnet50: 1 more" in html_text
    assert (
        "n = 1 32x32, 2 epochs" in html_text and "n = 1 64x64, 2 epochs, rate searched" in html_text
    )  # shown where they differ
    assert (
        "Search budgets differ: one setting, rate searched (swin_t); the best of 2 settings on validation" in html_text
    )
    with open(tmp_path / "out" / "results.csv", newline="") as file:
        assert [row["in_tables"] for row in csv.DictReader(file)] == ["True", "False", "True"]


def test_tables_mark_several_recipes(tmp_path: Path) -> None:
    """In tables.md and results.csv, as on the page; a row of one recipe has no marks."""
    runs = tmp_path / "runs"
    for dataset in ("dtd", "eurosat"):
        fabricate(runs / f"{dataset}-a", dataset, "resnet50", 0, 0.9, recipe_source="measured")
        fabricate(runs / f"{dataset}-b", dataset, "swin_t", 0, 0.8, recipe_source="measured")
    fabricate(runs / "c", "dtd", "convnext_tiny", 0, 0.7, lr_search=[{"lr": 1e-3, "steps": 2, "score": 0.5}])
    sections, finished = build(runs), load_runs([runs]).finished
    markdown = tables.to_markdown(sections)
    rows = {line.split(" | ")[0]: line.split(" | ")[2:] for line in markdown.splitlines() if "| top-1 (%) |" in line}
    assert [re.findall(r"<sup>(\d)</sup>", cell) for cell in rows["| dtd"]] == [["2"], ["1"], ["1"]]
    assert "sup" not in "".join(rows["| eurosat"])
    assert re.search(
        r"<sup>1</sup> 32x32, 2 epochs, rate measured before.*; <sup>2</sup> 32x32, 2 epochs, rate searched", markdown
    )
    assert len(re.findall(r"^\|.*\| 2 \| rate measured before", markdown, re.M)) == 4
    tables.write_csv(tmp_path / "results.csv", finished, sections)
    with open(tmp_path / "results.csv", newline="") as file:
        assert [row["recipe"] for row in csv.DictReader(file)] == [run.recipe for run in finished]


def test_augmentations_that_images_decide_are_one_setting(tmp_path: Path) -> None:
    """Seeds of `--shots` have other images, which may show no orientation."""
    for seed, dihedral in enumerate((True, False)):
        decided = {"augment": {"dihedral": dihedral}, "orientation": {"rotation": 0.32 + seed / 100}}
        fabricate(tmp_path / str(seed), "folder", "resnet50", seed, 0.8 + seed / 10, **decided)
    fabricate(tmp_path / "stated", "folder", "resnet50", 2, 0.7, augment={"dihedral": False}, orientation=None)
    cell = build(tmp_path)[0].datasets[0].cells["resnet50"]
    assert [run.seed for run in cell.runs] == [0, 1] and (cell.settings, cell.excluded) == (2, 1)


def test_the_search_budget_is_stated(tmp_path: Path) -> None:
    """The number of settings of which a cell is the best, and whether its learning rate was searched or measured before."""
    runs, measured = tmp_path / "runs", {"recipe_source": "measured"}
    for dataset in ("dtd", "eurosat"):
        for backbone in ("resnet50", "swin_t"):
            fabricate(runs / dataset / backbone, dataset, backbone, 0, 0.8, **measured)
    (section,) = build(runs)
    assert tables.search_note(section) == "Search budget of every backbone: one setting, rate measured before."
    for i, size in enumerate((16, 64)):
        fabricate(runs / f"more{i}", "dtd", "resnet50", 0, 0.9, batch_size=size, **measured)
    trials = [{"lr": 1e-3, "steps": 2, "score": 0.5}]
    fabricate(runs / "searched", "dtd", "convnext_tiny", 0, 0.7, recipe_source="searched", recipe_search=trials)
    note = (
        "Search budgets differ: one setting, rate measured before (resnet50 on eurosat, swin_t); one setting, rate "
        "searched (convnext_tiny); the best of 3 settings on validation, rate measured before (resnet50 on dtd)."
    )
    assert note in tables.to_markdown(build(runs))


def test_same_name_with_other_test_images_is_another_dataset(tmp_path: Path) -> None:
    """Two image folders are both "folder"; the fingerprint of their test images distinguishes them."""
    for i, (backbone, tested) in enumerate((("resnet50", "a"), ("resnet50", "b"), ("swin_t", "a"))):
        for seed in (0, 1):
            split = {
                "kind": "clean", "fingerprint": f"{tested}{seed}", "test_fingerprint": tested, "train": 80, "val": 10, "test": 120,
            }  # fmt: skip
            fabricate(tmp_path / "runs" / f"{i}{seed}", "folder", backbone, seed, 0.9, split=split)
    datasets = build(tmp_path / "runs")[0].datasets
    assert [(d.name, sorted(d.cells)) for d in datasets] == [
        ("folder (test images a)", ["resnet50", "swin_t"]), ("folder (test images b)", ["resnet50"]),
    ]  # fmt: skip
    assert {len(cell.runs) for d in datasets for cell in d.cells.values()} == {2}


def test_image_folders_are_named_consistently(tmp_path: Path) -> None:
    split = {"kind": "clean", "fingerprint": "x", "train": 80, "val": 10, "test": 120}
    run = {"folder": "my_images", "split": split | {"test_fingerprint": "a"}}
    fabricate(tmp_path / "runs" / "0", "folder", "resnet50", 0, 0.9, **run)
    fabricate(tmp_path / "runs" / "1", "folder", "resnet50", 0, 0.9, weights="none", **run)
    fabricate(tmp_path / "runs" / "2", "folder", "resnet50", 0, 0.9, folder="pets", split=run["split"])
    assert [[d.name for d in s.datasets] for s in build(tmp_path / "runs")] == [["my_images", "pets"], ["my_images"]]
    other = run | {"split": split | {"test_fingerprint": "b"}}
    fabricate(tmp_path / "runs" / "3", "folder", "resnet50", 0, 0.9, **other)
    names = {d.name for s in build(tmp_path / "runs") for d in s.datasets}
    assert names == {"my_images (test images a)", "my_images (test images b)", "pets"}
    for i, name in enumerate(("pets-2024", "pets-2025")):
        fabricate(tmp_path / "runs" / f"year{i}", "folder", "resnet50", 0, 0.9, folder=name, split=run["split"])
    datasets = [d for s in build(tmp_path / "runs", {"folder": "your own"}) for d in s.datasets]
    assert {"pets-2024", "pets-2025"} < {d.unit for d in datasets}, "no magnifications of one dataset"
    assert {d.domain for d in datasets} == {"your own"}


def test_older_results_without_test_fingerprint(tmp_path: Path) -> None:
    split = {"kind": "clean", "fingerprint": "x", "train": 80, "val": 10, "test": 120}
    fabricate(tmp_path / "runs" / "old", "dtd", "resnet50", 0, 0.9, split=split)
    fabricate(tmp_path / "runs" / "new", "dtd", "resnet50", 1, 0.9, split=split | {"test_fingerprint": "a"})
    (dataset,) = build(tmp_path / "runs")[0].datasets
    assert len(dataset.cells["resnet50"].runs) == 2
    fabricate(tmp_path / "runs" / "other", "dtd", "resnet50", 1, 0.9, split=split | {"test_fingerprint": "b"})
    names = [dataset.name for dataset in build(tmp_path / "runs")[0].datasets]
    assert names == [f"dtd (test images {images})" for images in ("a", "b", "unknown")]


def test_repeated_seed_is_selected_on_validation(tmp_path: Path) -> None:
    for name, precision, accuracy in (("a", "fp32", 0.9), ("b", "bf16", 0.8)):
        fabricate(tmp_path / "runs" / name, "dtd", "resnet50", 0, accuracy, precision=precision)
    (dataset,) = build(tmp_path / "runs")[0].datasets
    cell = dataset.cells["resnet50"]
    assert [run.precision for run in cell.runs] == ["fp32"] and cell.excluded == 1


def test_retried_seeds_share_a_cell(tmp_path: Path) -> None:
    """A sweep retries failed runs with float32 or smaller micro-batches."""
    for seed, options in enumerate(({}, {"precision": "bf16"}, {"micro_bs": 4})):
        fabricate(tmp_path / "runs" / str(seed), "dtd", "resnet50", seed, 0.9 - seed / 100, **options)
    (dataset,) = build(tmp_path / "runs")[0].datasets
    cell = dataset.cells["resnet50"]
    assert len(cell.runs) == 3 and cell.excluded == 0
    assert (
        "resnet50: its seeds were trained with precisions bf16 and fp32, micro-batch sizes 4 and 8" in dataset.caveats
    )
