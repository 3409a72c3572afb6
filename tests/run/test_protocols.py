"""Fair training: the paper's protocol and its faults by name, the search for a rate, classes out of balance."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from miniatures import picture
from PIL import Image
from torch import nn

import flowers102
import folder
from common import main
from common.cli import catalog
from common.cli.parse import make_config, parse
from common.data.images.decode import decode
from common.data.loader import Batches
from common.errors import UserError
from common.models.build import get_backbone
from common.run.rates import search as search_rate
from common.spec import Augment, Dataset, Phase, Preprocess, Published, Recipe, RunConfig
from common.training import recipes
from common.training.device import make_accelerator
from common.training.finetune import Fitted, finetune
from common.training.lr_search import RATES, best_rate, search

TINY = ["-model", "timm:test_resnet", "--weights", "none", "--image_size", "32", "-bs", "8"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def ran(dataset: Dataset, *options: object, out: str = "out") -> dict:
    main(dataset, [*TINY, *map(str, options), "--out", out])
    return json.loads(Path(out, "result.json").read_text())


def asked(sheet: Dataset, data: Path, *options: str) -> RunConfig:
    namespace = parse((sheet,), [*options, "--data_dir", str(data)])
    return make_config((sheet,), namespace)


def test_what_the_published_code_does() -> None:
    """paper: size, augmentation, rate, patience, read from github.com/pranavphoenix/Backbones at 6e73e17."""
    told = {sheet.name: sheet.published for sheet in catalog.datasets() if sheet.published}
    assert {name for name, how in told.items() if how.trivial} == {
        "cifar10",
        "cifar100",
        "flowers102",
        "food101",
        "dtd",
    }
    sizes = {name: how.image_size for name, how in told.items() if how.image_size != (256, 256)}
    assert sizes == {"eurosat": (224, 224)} | {f"breakhis-{m}x": (448, 672) for m in (40, 100, 200, 400)}
    patience = {name: how.patience for name, how in told.items() if how.patience != (10, 10)}
    assert patience == {"flowers102": (20, 20), "food101": (10, 20), "galaxy10": (10, 20)}
    assert {name: how.lr for name, how in told.items() if how.lr != 1e-3} == {"galaxy10": 1e-4}
    without = {sheet.script for sheet in catalog.datasets()} - {name.partition("-")[0] for name in told}
    assert without == {"digits", "folder", "rsna_pneumonia", "stanford_cars", "stanford_dogs", "tinyimagenet"}


def test_the_papers_recipe(flowers_tree: Path) -> None:
    run = asked(
        flowers102.DATASET, flowers_tree, "--protocol", "paper", "-model", "swin_t", "--weights", "none"
    )
    assert (run.split, run.image_size, run.batch_size) == ("paper", (256, 256), 32)
    assert run.dataset.augment == Augment(trivial=True)
    recipe = recipes.from_config(run, get_backbone("swin_t"), epoch=7)
    first, second = recipe.phases
    assert (first.optimizer, first.lr, first.weight_decay, first.patience) == ("adamw", 1e-3, 0.01, 20)
    assert first.decay_all, "there are no groups in their code"
    assert (second.optimizer, second.lr, second.weight_decay, second.patience) == ("sgd", 1e-3, 0, 20)
    assert {first.schedule, second.schedule} == {"constant"} and recipe.label_smoothing == 0
    assert (recipe.choose_on, recipe.eval_every, recipe.test_last) == ("test", 7, True)


def test_a_run_by_the_papers_protocol(flowers_tree: Path, capsys: pytest.CaptureFixture) -> None:
    """Chosen on test, and it says so everywhere; train is whole; the last epoch stands beside the best."""
    result = ran(
        flowers102.DATASET, "--data_dir", flowers_tree, "--subset", "--protocol", "paper", "--epochs", 2
    )
    split = result["split"]
    assert [split[part] for part in ("train", "val", "test")] == [20, 0, 15] and split["kind"] == "paper"
    assert result["chosen_on"] == "test" and result["protocol"] == "paper" and result["preprocess"]["squash"]
    assert result["caveats"][0].startswith(
        "Protocol of arXiv 2406.05612: the epoch is chosen on the test set"
    )
    log = [json.loads(line) for line in Path("out/log.jsonl").read_text().splitlines()]
    tops = [record["test_top1"] for record in log]
    assert len(tops) == 4, "two epochs of each phase"
    assert result["test"]["top1"]["value"] == pytest.approx(max(tops))
    assert result["test_last"]["top1"] == pytest.approx(tops[-1]) and result["temperature"] is None
    printed = capsys.readouterr().out
    assert "the paper's split" in printed and "chosen on 15 test images" in printed


def test_pictures_are_squashed() -> None:
    """The whole picture, whatever its proportions, as torchvision's Resize([h, w]) has it."""
    image = np.asarray(picture(0, (96, 48)))
    plain = Preprocess(
        size=(32, 32), crop=1.0, interpolation="bilinear", squash=True, mean=(0.5,) * 3, std=(0.5,) * 3
    )
    pixels, _ = decode(image[None], plain, None)
    whole = Image.fromarray(image).resize((32, 32), Image.Resampling.BILINEAR)
    assert np.array_equal(pixels[0], np.asarray(whole))


def small(labels: np.ndarray, **more) -> Batches:
    noise = np.random.default_rng(0).integers(0, 60, (len(labels), 8, 8, 3))
    return Batches(
        pixels=(noise + 90 * labels[:, None, None, None]).astype(np.uint8),
        indices=np.arange(len(labels)),
        labels=labels,
        preprocess=Preprocess(
            size=(8, 8), crop=1.0, interpolation="bilinear", mean=(0.5,) * 3, std=(0.5,) * 3
        ),
        batch_size=8,
        device=torch.device("cpu"),
        **more,
    )


@pytest.mark.parametrize(
    ("scores", "patience", "ends"),
    [
        (
            [0.1, 0.5, 0.4, 0.5, 0.9],
            (2, 1),
            [1, 2, 3, 4, 5, 6],
        ),  # a tie is no better; the second phase betters, once
        ([0.5, 0.4, 0.3, 0.2, 0.1], (2, 3), [1, 2, 3, 4, 5, 6]),
    ],
)
def test_patience(scores, patience, ends) -> None:
    """A phase ends after so many evaluations in a row that were no better than the best of all."""
    phases = tuple(Phase(steps=50, lr=1e-3, schedule="constant", patience=each) for each in patience)
    recipe, told = Recipe(name="t", phases=phases, eval_every=1), iter([*scores, *[0.0] * 50])
    log: list[dict] = []
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 2))
    run = make_accelerator("cpu", "fp32", False)
    finetune(
        net, "1", small(np.arange(16) % 2), Augment(), lambda n: (next(told), {}), recipe, run, 0, log.append
    )
    assert [record["step"] for record in log] == ends


def test_the_search_halves() -> None:
    """Five rates for a tenth of the steps, the two best for a quarter; the winner is judged at its longest."""
    recipe, seen = Recipe(name="t", phases=(Phase(steps=200, lr=1.0),), eval_every=50), []
    quick = {3e-5: 0.1, 1e-4: 0.7, 3e-4: 0.9, 1e-3: 0.2, 3e-3: None}

    def trial(short: Recipe) -> float | None:
        (phase,) = short.phases
        seen.append((phase.lr, phase.steps, short.eval_every))
        return quick[phase.lr] if phase.steps == 20 else {1e-4: 0.95, 3e-4: 0.91}[phase.lr]

    tried = search(recipe, trial)
    assert seen == [*((lr, 20, 20) for lr in RATES["adamw"]), (3e-4, 50, 50), (1e-4, 50, 50)]
    assert best_rate(tried) == 1e-4 and [each["score"] for each in tried][-2:] == [0.91, 0.95]


def test_a_run_that_searches_its_rate(class_tree) -> None:
    images = class_tree(n=20)
    result = ran(folder.DATASET, "--data_dir", images, "--epochs", 4, "--lr", "auto")
    tried = result["lr_search"]
    assert [each["steps"] for each in tried] == [2] * 5 + [5] * 2
    assert result["recipe"]["phases"][0]["lr"] == best_rate(tried)
    other = ran(folder.DATASET, "--data_dir", images, "--epochs", 4, "--lr", best_rate(tried), out="same")
    assert Path("out/best.safetensors").read_bytes() == Path("same/best.safetensors").read_bytes()
    assert other["lr_search"] is None


def counted(monkeypatch: pytest.MonkeyPatch, stop_at: int) -> list[Recipe]:
    """All recipes that are trained by; Ctrl-C comes before one of them."""
    seen: list[Recipe] = []

    def train(*given, **how):
        seen.append(next(each for each in given if isinstance(each, Recipe)))
        if len(seen) == stop_at:
            raise KeyboardInterrupt
        return finetune(*given, **how)

    monkeypatch.setattr("common.training.finetune.finetune", train)
    return seen


def test_a_search_that_breaks_goes_on(class_tree, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ("--data_dir", class_tree(n=20), "--epochs", 4, "--lr", "auto")
    counted(monkeypatch, stop_at=4)
    with pytest.raises(SystemExit) as stop:
        ran(folder.DATASET, *options)
    assert stop.value.code == 130 and not Path("out").exists()
    seen = counted(monkeypatch, stop_at=0)
    result = ran(folder.DATASET, *options)
    assert len(seen) == 2 + 2 + 1, "three of seven trials are remembered"
    assert len(result["lr_search"]) == 7
    for n, (change, why) in enumerate(
        ((("--seed", 1), "another seed's trials are others"), (("--no_cache",), "nothing is kept"))
    ):
        other = counted(monkeypatch, stop_at=0)
        ran(folder.DATASET, *options, *change, out=f"other{n}")
        assert len(other) == 8, why
    picture(12345).save("images/ant/ant_0.jpg")
    other = counted(monkeypatch, stop_at=0)
    ran(folder.DATASET, *options, out="pictures")
    assert len(other) == 8, "other pictures of the same names"


def test_a_rate_that_ruins_the_network_is_the_worst(class_tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its only update: the losses before it were numbers, the evaluation is not."""
    monkeypatch.setitem(RATES, "sgd", (3e-3, 1e-2, 3e-2, 1e-1, 1e38))
    options = ("--data_dir", class_tree(n=20), "-bs", 64, "--epochs", 2, "--optimizer", "sgd")
    tried = ran(folder.DATASET, *options, "--lr", "auto")["lr_search"]
    assert [each["score"] is None for each in tried] == [False] * 4 + [True] + [False] * 2
    with pytest.raises(SystemExit) as stop:
        ran(folder.DATASET, *options, "--lr", 1e38, out="lost")
    assert stop.value.code == 2


def test_a_rate_leaves_the_loss_scaler_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """An overflow halves it, so that the next rate's gradients would be smaller than float16 tells."""
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    found, told = [], []

    def train(*_: object) -> Fitted:
        found.append(scaler.get_scale())
        scaler.load_state_dict(scaler.state_dict() | {"scale": 1.0})
        if len(found) == 2:
            raise UserError("lost")
        return Fitted(weights={}, best={}, best_score=0.5, records=[], seconds=0, joules=None, breaks=[])

    monkeypatch.setattr("common.training.finetune.finetune", train)
    run = SimpleNamespace(scaler=scaler, device=torch.device("cpu"), free_memory=lambda: None)
    asked = SimpleNamespace(seed=0, dataset=folder.DATASET)
    data = SimpleNamespace(memory_format=torch.channels_last)
    recipe = Recipe(name="t", phases=(Phase(steps=20, lr=1.0),), eval_every=10)
    tried = search_rate(
        asked,
        get_backbone("timm:test_resnet"),
        2,
        None,
        data,
        lambda net: (0.0, {}),
        recipe,
        None,
        run,
        told.append,
    )
    assert found == [1024.0] * 7 and scaler.get_scale() == 1024.0
    assert [each["score"] for each in tried] == [0.5, None, *[0.5] * 5]
    assert [trial["score"] for trial in told] == [each["score"] for each in tried]


def test_a_search_without_memory_names_the_smaller_batch(class_tree, monkeypatch, capsys) -> None:
    def train(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("common.training.finetune.finetune", train)
    with pytest.raises(SystemExit) as stop:
        ran(folder.DATASET, "--data_dir", class_tree(n=20), "--lr", "auto")
    assert stop.value.code == 2 and "out of memory at a batch of 8: try -bs 4" in capsys.readouterr().err


def test_rare_classes_count_more() -> None:
    labels = np.array([0] * 24 + [1] * 8)
    data = small(labels)
    assert data.class_weights.tolist() == pytest.approx([32 / 48, 32 / 16])
    losses = []
    for weighted in (False, True):
        recipe = Recipe(name="t", phases=(Phase(steps=1, lr=0.0),), eval_every=1, class_weights=weighted)
        torch.manual_seed(0)
        net, log = nn.Sequential(nn.Flatten(), nn.Linear(192, 2)), []
        run = make_accelerator("cpu", "fp32", False)
        finetune(net, "1", small(labels), Augment(), lambda n: (0.0, {}), recipe, run, 0, log.append)
        losses.append(log[0]["train_loss"])
    x, y = next(data.train(Augment(), 0))
    with torch.no_grad():
        each = nn.functional.cross_entropy(net(x), y, reduction="none")
    assert losses == pytest.approx([each.mean().item(), (data.class_weights[y] * each).mean().item()])


def test_pieces_of_a_batch_weigh_classes_as_the_whole_does() -> None:
    recipe = Recipe(
        name="t", phases=(Phase(steps=1, lr=1.0, optimizer="sgd"),), eval_every=1, class_weights=True
    )
    ends = []
    for pieces in (1, 8, 32):
        torch.manual_seed(0)
        net, run = (
            nn.Sequential(nn.Flatten(), nn.Linear(192, 2)),
            make_accelerator("cpu", "fp32", False, pieces),
        )
        data = replace(small(np.array([0] * 29 + [1] * 3), micro_batches=pieces), batch_size=32)
        finetune(net, "1", data, Augment(), lambda n: (0.0, {}), recipe, run, 0, lambda record: None)
        ends.append(net[1].weight.detach())
    for end in ends[1:]:
        torch.testing.assert_close(end, ends[0], rtol=1e-4, atol=1e-6)


def test_balanced_sampling() -> None:
    """Every class as often as any other; an image that comes twice comes with two changes."""
    labels = np.array([0] * 720 + [1] * 80)
    data = small(labels, balanced=True)
    stream = data.train(Augment(shift=0.5), 0)
    batches = [next(stream) for _ in range(data.steps)]
    seen = torch.cat([y for _, y in batches])
    assert len(seen) == 800 and 340 < int(seen.sum()) < 460
    rare = torch.cat([x[y == 1] for x, y in batches]).flatten(1)
    assert len(rare) > 4 * 80 and len(rare.unique(dim=0)) > 0.95 * len(rare)


def test_two_classes_lead_with_auroc(class_tree, capsys: pytest.CaptureFixture) -> None:
    images = class_tree(("no", "yes"), n=20)
    result = ran(
        folder.DATASET, "--data_dir", images, "--epochs", 1, "--class_weights", "--balanced_sampling"
    )
    assert result["metric"] == "auroc" and "balanced_accuracy" in result["test"]
    assert result["recipe"]["class_weights"] and result["balanced_sampling"]
    printed = capsys.readouterr().out
    assert "scratch: auroc " in printed and ", balanced_accuracy " in printed


def test_published_is_a_record() -> None:
    assert recipes.published(folder.DATASET) == Published()
