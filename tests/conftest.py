"""Small data and real data for the tests; the miniatures of the other layouts are in `miniatures.py`."""

import gc
import os
import pickle
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from fetch_server import CONTENT, Server, published, serving, sheet, zipped
from miniatures import picture

from common.spec import Dataset

if TYPE_CHECKING:
    import torch
    from torch import nn

    from common.models.registry import Backbone

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("CLASH_SHARED", ROOT.parent / "shared"))
PLOTS = (
    *(("common.run.plots", name) for name in ("learning_curve", "confusion_matrix", "mistakes")),
    ("common.run.contact_sheet", "write_contact_sheet"),
)

# a shell's background jobs and `nohup` ignore these, and processes inherit that
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture
def real() -> Callable[[str], Path]:
    """A folder of real images; without it the test is skipped."""

    def find(name: str) -> Path:
        if not (SHARED / "data" / name).is_dir():
            pytest.skip(f"no real images {name} (looked in CLASH_SHARED or ../shared)")
        return SHARED / "data" / name

    return find


@pytest.fixture(autouse=True)
def _temporary_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's cache."""
    monkeypatch.setenv("CLASH_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(autouse=True)
def _fresh_accelerate() -> Iterator[None]:
    """Accelerate keeps device and precision per process: forget them after every test."""
    yield
    if "accelerate" in sys.modules:
        from accelerate.state import AcceleratorState

        AcceleratorState._reset_state(reset_partial_state=True)


def pytest_collection_finish() -> None:
    """The libraries' objects live as long as the process: garbage collection skips them from now on."""
    gc.freeze()


@pytest.fixture(autouse=True)
def _empty_plots(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs draw no plots, which take most of a tiny run's seconds, unless the test is marked `draws`."""
    if "draws" not in request.keywords:
        for module, plot in PLOTS:
            if module in sys.modules:
                monkeypatch.setattr(sys.modules[module], plot, lambda path, *_: path.touch())
        if "common.run.mistakes" in sys.modules:
            monkeypatch.setattr(sys.modules["common.run.mistakes"], "_explained", lambda *_: [])


@pytest.fixture
def quick_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few resamples, in tests of what comes before them."""
    shorten_intervals(monkeypatch)


def shorten_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    from common.statistics import intervals

    if not isinstance(intervals.bootstrap, partial):
        monkeypatch.setattr(intervals, "bootstrap", partial(intervals.bootstrap, resamples=20))


@pytest.fixture
def class_tree(tmp_path: Path) -> Callable[..., Path]:
    """Class folders of a few images each."""
    return partial(make_class_tree, tmp_path)


def make_class_tree(
    root: Path, classes: tuple[str, ...] = ("ant", "bee", "cow"), n: int = 10, base: str = "images"
) -> Path:
    for c, name in enumerate(classes):
        folder = root / base / name
        folder.mkdir(parents=True)
        for i in range(n):
            picture(100 * c + i, hue=c).save(folder / f"{name}_{i}.jpg")
    return root / base.split("/")[0]


@pytest.fixture
def cifar_tree(tmp_path: Path) -> Path:
    """CIFAR-10's batches: five of train and one of test, two images of every class in each."""
    folder = tmp_path / "data" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for b, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        labels = [i % 10 for i in range(20)]
        planes = [np.asarray(picture(100 * b + i, (32, 32), hue=y)).transpose(2, 0, 1) for i, y in enumerate(labels)]
        content = {"batch_label": name, "labels": labels, "data": np.stack(planes).reshape(20, 3072), "filenames": []}
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
    return tmp_path / "data"


@pytest.fixture
def flowers_tree(tmp_path: Path) -> Path:
    """Flowers-102 with five classes: two images of each in train and val, three in test; ids are not in class order."""
    from scipy.io import savemat

    folder = tmp_path / "data" / "flowers-102"
    (folder / "jpg").mkdir(parents=True)
    ids = np.random.default_rng(0).permutation(np.arange(1, 36))
    labels = np.zeros(35, np.uint8)
    sets: dict[str, list[int]] = {"trnid": [], "valid": [], "tstid": []}
    for position, i in enumerate(ids):
        label = position % 5
        labels[i - 1] = label + 1
        turn = position // 5
        sets["trnid" if turn < 2 else "valid" if turn < 4 else "tstid"].append(int(i))
        picture(int(i), (50, 40 + label), hue=label).save(folder / "jpg" / f"image_{i:05d}.jpg")
    savemat(folder / "imagelabels.mat", {"labels": labels[None]})
    savemat(folder / "setid.mat", {key: np.array([values], np.uint16) for key, values in sets.items()})
    return tmp_path / "data"


def on_meta(row: "Backbone", classes: int) -> "nn.Module":
    """A network of the row on the meta device: shapes alone, no arithmetic."""
    import torch

    from common.models.build import create_model

    try:
        with torch.device("meta"):
            return create_model(row, classes, None)
    except NotImplementedError:  # RegNet computes its widths with tensors
        return create_model(row, classes, None).to("meta")


def trains_a_step_and_predicts(row: "Backbone", *cases: tuple["torch.dtype", tuple[int, int]]) -> "nn.Module":
    """A network of the row, with another head, in each precision and at its (H, W) pixels: every weight learns, and
    evaluation gives logits. Returns the network: to build one takes longer than a step."""
    import torch

    from common.models.build import create_model

    torch.manual_seed(0)
    net = create_model(row, 7, None).to(memory_format=torch.channels_last)
    for dtype, size in cases:
        images, labels = torch.randn(2, 3, *size), torch.tensor([1, 5])
        net.train().zero_grad()
        before = net.get_submodule(row.head).weight.clone()
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            loss = torch.nn.functional.cross_entropy(net(images), labels)
        loss.backward()
        missing = [name for name, p in net.named_parameters() if p.grad is None]
        assert torch.isfinite(loss) and not missing
        torch.optim.SGD(net.parameters(), 0.01).step()
        assert not torch.equal(before, net.get_submodule(row.head).weight)
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            logits = net.eval()(images)
        assert logits.shape == (2, 7) and torch.isfinite(logits).all()
    return net


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with serving(monkeypatch) as server:
        yield server


@pytest.fixture
def toy(server: Server) -> Dataset:
    """A dataset of one archive that the server has."""
    return sheet(published(server, "toy.zip", zipped(CONTENT)))


@pytest.fixture
def browser() -> Iterator[object]:
    """A headless browser; without one the test is skipped."""
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    with api.sync_playwright() as playwright:
        found, system = None, shutil.which("chromium")  # Debian's, or Playwright's own
        for kind, path in ((playwright.chromium, system), (playwright.chromium, None), (playwright.firefox, None)):
            with suppress(api.Error):
                found = found or kind.launch(executable_path=path, args=["--no-sandbox"] * (path is not None))
        if not found:
            pytest.skip("no browser: apt install chromium, or playwright install chromium")
        yield found
        found.close()
