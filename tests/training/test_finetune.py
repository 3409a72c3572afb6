"""The loop: what is chosen, what decays, how rates move, what a batch holds."""

import math
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from tiny import batches, net, recipe
from torch import nn

from common import Augment
from common.data.loader import Batches
from common.errors import UserError
from common.metrics.classification import effective_sample_size, standard_error
from common.models.build import create_model, get_backbone
from common.spec import Phase, Recipe
from common.training.device import batch_errors, make_accelerator
from common.training.evaluate import evaluate
from common.training.finetune import Fitted, finetune
from common.training.optimizer import factor, optimizer_and_schedule
from common.training.recipes import SCRATCH


def train(
    model: nn.Module, choose, how: Recipe | None = None, data: Batches | None = None
) -> tuple[Fitted, list[dict]]:
    log: list[dict] = []
    run = make_accelerator("cpu", "fp32", False)
    trained = finetune(
        model, "4", data or batches(), Augment(flip=True), choose, how or recipe(), run, 0, log.append
    )
    return trained, log


def test_it_learns() -> None:
    model, run = net(), make_accelerator("cpu", "fp32", False)
    train(model, lambda n: (1.0, {}))
    assert (evaluate(model, batches(), run).argmax(1) == batches().labels).mean() == 1


def test_the_best_epoch_is_kept_and_the_first_of_equals() -> None:
    scores, seen = iter([0.1, 0.7, 0.7, 0.3]), []

    def choose(asked: nn.Module) -> tuple[float, dict]:
        seen.append({k: v.clone() for k, v in asked.state_dict().items()})
        return next(scores), {}

    model = net()
    trained, log = train(model, choose)
    assert trained.best["epoch"] == 2 and [r["epoch"] for r in log] == [1, 2, 3, 4]
    assert [r["step"] for r in log] == [5, 10, 15, 20] and trained.records == log
    assert all(torch.equal(v, seen[1][k]) for k, v in trained.weights.items())
    assert all(torch.equal(v, seen[3][k]) for k, v in model.state_dict().items()), (
        "the last are in the network"
    )


@pytest.mark.parametrize(
    ("judges", "chosen"),
    [(70, 4), (10_000, 2)],  # the standard error of 0.90 is 3.6 points of 70 images, 0.3 of 10,000
)
def test_the_last_within_a_standard_error_is_kept(judges: int, chosen: int) -> None:
    scores = iter([0.5, 0.9, 0.8, 0.88, 0.85])
    trained = finetune(
        net(), "4", batches(), Augment(), lambda n: (next(scores), {}), recipe(epochs=5, within=1.0),
        make_accelerator("cpu", "fp32", False), 0, lambda record: None, judges=judges,
    )  # fmt: skip
    assert trained.best["epoch"] == chosen and trained.best_score == 0.9


def test_of_how_many_images_a_score_tells() -> None:
    even, odd = np.arange(100) % 2, np.array([0] * 90 + [1] * 10)
    assert effective_sample_size("top1", odd) == 100 and effective_sample_size(
        "auroc", even
    ) == pytest.approx(100)
    assert effective_sample_size("balanced_accuracy", odd) == pytest.approx(36)
    dice = np.random.default_rng(0)
    means = [(dice.random(90) < 0.8).mean() / 2 + (dice.random(10) < 0.8).mean() / 2 for _ in range(20_000)]
    assert np.std(means) == pytest.approx(math.sqrt(0.8 * 0.2 / 36), rel=0.03)


def test_the_standard_error() -> None:
    """Of shares that are not 0 nor 1 it is the textbook's, for many images; of those it is not 0."""
    assert standard_error(0.9, 10_000) == pytest.approx(math.sqrt(0.9 * 0.1 / 10_000), rel=1e-3)
    assert 0.01 < standard_error(1.0, 70) < 0.02


def test_a_later_phase_starts_from_the_best() -> None:
    phases = (Phase(steps=10, lr=1e-2), Phase(steps=5, optimizer="sgd", lr=0.0, schedule="constant"))
    scores, seen = iter([0.9, 0.1, 0.0]), []

    def choose(asked: nn.Module) -> tuple[float, dict]:
        seen.append(asked.state_dict()["4.weight"].clone())
        return next(scores), {}

    train(net(), choose, Recipe(name="t", phases=phases, eval_every=5))
    assert torch.equal(seen[2], seen[0]) and not torch.equal(seen[1], seen[0])


def test_a_loss_that_is_no_number() -> None:
    model = net()
    nn.init.constant_(model[4].weight, float("nan"))
    with pytest.raises(UserError, match="NaN or infinite before step 5: try a lower --lr"):
        train(model, lambda n: (0.0, {}))
    with pytest.raises(UserError, match="NaN or infinite before step 5: try a lower --lr"):
        train(net(), lambda n: (math.nan, {}))


def test_norms_scales_and_biases_do_not_decay_and_the_head_is_faster() -> None:
    for name in ("convnext_tiny", "swin_t"):
        row = get_backbone(name)
        model = create_model(row, 5, None)
        optimizer, _ = optimizer_and_schedule(
            model, row.head, Phase(steps=1, lr=1e-3, head_lr=3.0, weight_decay=0.05)
        )
        names = {id(p): n for n, p in model.named_parameters()}
        norms = {id(p) for m in model.modules() if "LayerNorm" in type(m).__name__ for p in m.parameters()}
        for group in optimizer.param_groups:
            for p in group["params"]:
                n = names[id(p)]
                plain = id(p) in norms or "bias" in n or "layer_scale" in n or "logit_scale" in n
                assert group["weight_decay"] == (0 if plain else 0.05), n
                assert group["lr"] == pytest.approx(3e-3 if n.startswith(f"{row.head}.") else 1e-3)
        assert sum(len(g["params"]) for g in optimizer.param_groups) == len(names)


def test_everything_decays_from_scratch() -> None:
    model = net()
    optimizer, _ = optimizer_and_schedule(
        model, "4", Phase(steps=1, optimizer="sgd", lr=0.1, weight_decay=5e-4, decay_all=True)
    )
    assert {group["weight_decay"] for group in optimizer.param_groups} == {5e-4}


def test_rates() -> None:
    phase = Phase(steps=100, lr=1.0, warmup=0.1)
    assert [factor(phase, step) for step in (0, 10, 55, 100)] == pytest.approx([1 / 11, 1, 0.5, 0])
    constant = Phase(steps=9, lr=1.0, schedule="constant")
    assert [factor(constant, i) for i in (0, 8)] == [1.0, 1.0]


def test_the_rates_of_scratch_are_torchs_cosine() -> None:
    """0.1 to 0.001 and 1e-3 to 1e-5, as the published code has it: CosineAnnealingLR, stepped with the optimizer."""
    for kind, floor in (("sgd", 1e-3), ("adam", 1e-5)):
        phase = replace(SCRATCH[kind], steps=50)
        reference = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=phase.lr)
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(reference, 50, floor)
        for step in range(50):
            assert phase.lr * factor(phase, step) == pytest.approx(cosine.get_last_lr()[0])
            reference.step()
            cosine.step()


def test_an_epoch_sees_every_image_once() -> None:
    data = batches(40, 8)
    labels = torch.cat([y for _, y in islice(data.train(Augment(), 0), 5)])
    assert len(labels) == 40 and labels.sum() == 20 and data.steps == 5
    assert batches(41, 8).steps == 5 and batches(5, 8).steps == 1


def test_processes_share_one_order() -> None:
    """Two processes together see the batches that one sees, and evaluation counts each image once."""
    alone = batches(20, 8)
    both = [batches(20, 8, rank=r, world=2) for r in range(2)]
    for (x, _), (x0, _), (x1, _) in zip(
        *(islice(b.train(Augment(crop=0.5), 3), 5) for b in (alone, *both)), strict=True
    ):
        torch.testing.assert_close(torch.stack((x0, x1), 1).flatten(0, 1), x)
    whole = torch.cat([x for x, _ in alone.eval()])
    shares = [torch.cat([x for x, _ in b.eval()]) for b in both]
    torch.testing.assert_close(torch.stack(shares, 1).flatten(0, 1), whole)


def test_batches_go_on_at_any_step() -> None:
    """Across the end of an epoch, and with micro-batches, too."""
    data = batches(20, 8, micro_batches=2)
    augment = Augment(crop=0.5, flip=True, trivial=True)
    whole = list(islice(data.train(augment, 3), 14))
    for step in (1, 2, 5):
        again = islice(data.train(augment, 3, step), 4)
        for (x, y), (x0, y0) in zip(again, whole[2 * step :], strict=False):
            assert torch.equal(x, x0) and torch.equal(y, y0)


def test_forward_and_loss_run_in_the_precision_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    computed, loss_under = [], []
    model = net()
    model[0].register_forward_hook(lambda module, inputs, output: computed.append(output.dtype))
    plain = torch.nn.functional.cross_entropy

    def watched(*args: object, **more: object) -> torch.Tensor:
        loss_under.append(torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu"))
        return plain(*args, **more)

    monkeypatch.setattr("common.training.finetune.F.cross_entropy", watched)
    run = make_accelerator("cpu", "bf16", True)
    finetune(model, "4", batches(), Augment(), lambda n: (1.0, {}), recipe(1), run, 0, lambda r: None)
    assert set(computed) == set(loss_under) == {torch.bfloat16}


def test_micro_batches_make_the_same_step() -> None:
    """Without batch norm, gradients of pieces add up to the batch's: the same weights, within rounding."""

    def trained(pieces: int) -> torch.Tensor:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.ReLU(), nn.Identity(), nn.Linear(8, 2))
        run = make_accelerator("cpu", "fp32", False, micro_batches=pieces)
        data = batches(micro_batches=pieces)
        finetune(model, "4", data, Augment(flip=True), lambda n: (1.0, {}), recipe(2), run, 0, lambda r: None)
        return model[4].weight

    from accelerate.state import AcceleratorState

    whole = trained(1)
    AcceleratorState._reset_state(reset_partial_state=True)
    torch.testing.assert_close(trained(4), whole, rtol=1e-4, atol=1e-5)


def test_out_of_memory_names_the_next_smaller_batch() -> None:
    with (
        pytest.raises(UserError, match="out of memory at a batch of 32: try -bs 16, or --micro_bs 16"),
        batch_errors(32),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(UserError, match="try a smaller --image_size"), batch_errors(1):
        torch.empty(2**60)
    with pytest.raises(RuntimeError, match="shape"), batch_errors(32):
        torch.zeros(2) @ torch.zeros(3, 1).T.expand(4, 3).reshape(7, 1)


def test_batch_norm_of_a_single_value() -> None:
    with pytest.raises(UserError, match="take a larger -bs"), batch_errors(1):
        nn.BatchNorm1d(3)(torch.zeros(1, 3))


def test_fp16_needs_cuda() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is CUDA here")
    with pytest.raises(UserError, match="--precision fp16 needs CUDA"):
        make_accelerator("cpu", "fp16", False)
    with pytest.raises(UserError, match="torch finds no CUDA device"):
        make_accelerator("cuda", "auto", False)
