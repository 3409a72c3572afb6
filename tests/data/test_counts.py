"""The arithmetic of the published tables: what a sheet's split rule makes of the published class sizes."""

import pytest
from miniatures import listed

from common import Holdout
from common.cli import catalog
from common.cli.parse import with_split
from common.data.splits.splits import holdout, split

# fmt: off
CLASS_SIZES = {
    "eurosat": (3000, 3000, 3000, 2500, 2500, 2000, 2500, 3000, 2500, 3000),
    "ucmerced": (100,) * 21,
    "plantvillage": (
        630, 621, 275, 1645, 1143, 1502, 854, 1052, 513, 1192, 1162, 985, 1180, 1383, 423, 1076, 5507, 2297, 360, 997,
        1478, 1000, 152, 1000, 371, 5090, 1835, 456, 1109, 2127, 1000, 1591, 1909, 952, 1771, 1676, 1404, 373, 5357,
    ),
    "galaxy10": (1081, 1853, 2645, 2027, 334, 2043, 1829, 2628, 1423, 1873),
    "breakhis-40x": (625, 1370),
    "breakhis-100x": (644, 1437),
    "breakhis-200x": (623, 1390),
    "breakhis-400x": (588, 1232),
    "rsna_pneumonia": (20_672, 6_012),
}
# fmt: on
SHEETS = {sheet.name: sheet for sheet in catalog.datasets()}
IN_ALL = {
    "cifar100": 60_000, "tinyimagenet": 110_000, "stanford_dogs": 20_580, "cub200": 11_788, "stanford_cars": 16_185,
    "food101": 101_000, "dtd": 5_640, "plantvillage": 55_448, "plantclef": 11_590, "galaxy10": 17_736,
    "breakhis-40x": 1_995, "breakhis-100x": 2_081, "breakhis-200x": 2_013, "breakhis-400x": 1_820,
    "rsna_pneumonia": 26_684,
}  # fmt: skip


@pytest.mark.parametrize("name", CLASS_SIZES)
def test_held_out(name: str) -> None:
    sheet, samples = SHEETS[name], listed({f"c{i}": n for i, n in enumerate(CLASS_SIZES[name])})
    taken = holdout(samples.names, samples.labels, None, sheet.split.test, sheet.split.seed, "test")
    assert sheet.counts == {"train": len(samples) - len(taken), "test": len(taken)}
    assert isinstance(sheet.classes, int) or len(sheet.classes) == len(samples.classes)


@pytest.mark.parametrize("name", IN_ALL)
def test_in_all(name: str) -> None:
    assert sum(SHEETS[name].counts.values()) == IN_ALL[name]


def test_every_held_out_sheet_is_pinned() -> None:
    held_out = {n for n, s in SHEETS.items() if isinstance(s.split, Holdout) and s.counts and not s.bundled}
    assert held_out == set(CLASS_SIZES)


BOXES = (20_672, 9_555)  # RSNA's rows without and with one


@pytest.mark.parametrize("name", [name for name in CLASS_SIZES if SHEETS[name].paper])
def test_the_papers_split(name: str) -> None:
    sizes = BOXES if name == "rsna_pneumonia" else CLASS_SIZES[name]
    samples = listed({f"c{i}": n for i, n in enumerate(sizes)})
    rest = split(with_split(SHEETS[name], None, "paper"), samples, seed=0)
    assert SHEETS[name].paper.counts == {"train": len(rest.train) + len(rest.val), "test": len(rest.test)}


def test_the_papers_figures() -> None:
    assert SHEETS["eurosat"].counts["test"] == 8_100
    assert SHEETS["ucmerced"].counts["test"] == 420
    assert SHEETS["plantvillage"].counts["test"] == 11_105
    # the paper draws a tenth without regard to class; a tenth of every class, rounded up, is five more
    assert SHEETS["galaxy10"].paper.counts == {"train": 15_962, "test": 1_774}
    assert SHEETS["galaxy10"].counts["test"] == 1_779
    assert SHEETS["flowers102"].paper.counts == {"train": 2_040, "test": 6_149}
    assert SHEETS["dtd"].paper.counts == {"train": 1_880, "test": 1_880}
    # the paper's BreakHis is nine larger at every magnification, and its RSNA counts boxes
    paper = {"40x": 2_004, "100x": 2_090, "200x": 2_022, "400x": 1_829}
    assert {m: n - sum(SHEETS[f"breakhis-{m}"].counts.values()) for m, n in paper.items()} == dict.fromkeys(paper, 9)
    assert SHEETS["rsna_pneumonia"].paper.counts == {"train": 24_181, "test": 6_046}
