"""The training loop: selection, phases, patience, precision, micro-batches, class weights."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny import batches, net, recipe, task
from torch import nn

from common import Augment
from common.errors import UserError
from common.spec import Phase, Recipe
from common.training import checkpoint
from common.training.checkpoint import CheckpointConfig
from common.training.device import make_accelerator
from common.training.evaluate import evaluate
from common.training.finetune import finetune
from common.training.task import Validate


def ignore(record: dict) -> None:
    pass


def scoring(scores: list[float], states: list | None = None) -> Validate:
    """Scores in their order, then 0; collects copies of the weights that are evaluated."""
    left = iter(scores)

    def validate(net: nn.Module) -> tuple[float, dict]:
        if states is not None:
            states.append({name: value.clone() for name, value in net.state_dict().items()})
        return next(left, 0.0), {}

    return validate


def linear() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 2))


def test_it_learns() -> None:
    learned = task(augment=Augment(flip=True))
    finetune(learned, ignore)
    predicted = evaluate(learned.net, batches(), learned.accelerator).argmax(1)
    assert (predicted == batches().labels).all()


def test_the_first_of_equal_scores_is_selected() -> None:
    states, log = [], []
    trained = task(validate=scoring([0.1, 0.7, 0.7, 0.3], states))
    fitted = finetune(trained, log.append)
    assert fitted.best["epoch"] == 2 and [r["epoch"] for r in log] == [1, 2, 3, 4]
    assert [r["step"] for r in log] == [5, 10, 15, 20] and fitted.records == log
    assert all(torch.equal(value, states[1][name]) for name, value in fitted.weights.items())
    last = trained.net.state_dict()
    assert all(torch.equal(value, states[3][name]) for name, value in last.items()), "the net has the last"


@pytest.mark.parametrize(
    ("n_selection", "epoch"),
    [(70, 4), (10_000, 2)],  # the standard error of 0.90 is 3.6 points on 70 images, 0.3 on 10,000
)
def test_the_last_within_the_tolerance_is_selected(n_selection: int, epoch: int) -> None:
    validate = scoring([0.5, 0.9, 0.8, 0.88, 0.85])
    fitted = finetune(task(recipe=recipe(epochs=5, tolerance=1.0), validate=validate, n_selection=n_selection), ignore)
    assert fitted.best["epoch"] == epoch and fitted.best_score == 0.9


@pytest.mark.parametrize(
    ("scores", "epoch"),
    [
        ([0.7, 0.65, 0.75, 0.69, 0.65], 2),  # the standard error of 0.75 on 20 images is 10 points
        ([0.7, 0.65, 0.65], 0),
        ([0.7, 0.65, 0.7, 0.65], 2),
    ],
)
def test_no_weights_below_the_probe_are_selected(scores: list[float], epoch: int, tmp_path: Path) -> None:
    """Nor after an interruption."""
    epochs, states = len(scores) - 1, []
    how = {"recipe": recipe(epochs=epochs, tolerance=1.0), "n_selection": 20, "evaluate_first": True}
    fitted = finetune(task(**how, validate=scoring(scores, states)), ignore)
    assert fitted.best["epoch"] == epoch and [r["epoch"] for r in fitted.records] == list(range(epochs + 1))
    assert all(torch.equal(value, states[epoch][name]) for name, value in fitted.weights.items())

    checkpoints, first = CheckpointConfig(folder=tmp_path, every=3), iter(scores[:2])
    with pytest.raises(StopIteration):
        finetune(task(**how, validate=lambda _: (next(first), {})), ignore, checkpoints)
    saved = checkpoint.load(tmp_path)
    assert saved["progress"]["step"] == 9, "the second epoch is being evaluated"
    resumed = finetune(task(**how, validate=scoring(scores[2:])), ignore, checkpoints, saved)
    assert resumed.best["epoch"] == epoch
    assert all(torch.equal(value, resumed.weights[name]) for name, value in fitted.weights.items())


def test_a_later_phase_starts_from_the_best() -> None:
    phases = (Phase(steps=10, lr=1e-2), Phase(steps=5, optimizer="sgd", lr=0.0, schedule="constant"))
    states = []
    how = Recipe(name="t", phases=phases, eval_every=5)
    finetune(task(recipe=how, validate=scoring([0.9, 0.1, 0.0], states)), ignore)
    first, second, third = (state["4.weight"] for state in states)
    assert torch.equal(third, first) and not torch.equal(second, first)


@pytest.mark.parametrize(
    ("scores", "patience"),
    [
        ([0.1, 0.5, 0.4, 0.5, 0.9], (2, 1)),  # a tie is no better; the second phase improves once
        ([0.5, 0.4, 0.3, 0.2, 0.1], (2, 3)),
    ],
)
def test_patience(scores: list[float], patience: tuple[int, int]) -> None:
    """A phase ends after so many evaluations in a row that were no better than the best of all."""
    phases = tuple(Phase(steps=50, lr=1e-3, schedule="constant", patience=n) for n in patience)
    how, log = Recipe(name="t", phases=phases, eval_every=1), []
    finetune(task(net=linear(), head="1", recipe=how, validate=scoring(scores)), log.append)
    assert [record["step"] for record in log] == [1, 2, 3, 4, 5, 6]


def test_a_loss_or_score_that_is_not_finite() -> None:
    broken = net()
    nn.init.constant_(broken[4].weight, float("nan"))
    for diverged in (task(net=broken), task(validate=scoring([math.nan]))):
        with pytest.raises(UserError, match="NaN or infinite before step 5: try a lower --lr"):
            finetune(diverged, ignore)


def test_forward_and_loss_run_in_the_configured_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    computed, loss_under = [], []
    model = net()
    model[0].register_forward_hook(lambda module, inputs, output: computed.append(output.dtype))
    cross_entropy = torch.nn.functional.cross_entropy

    def watched(*args: object, **more: object) -> torch.Tensor:
        loss_under.append(torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu"))
        return cross_entropy(*args, **more)

    monkeypatch.setattr("common.training.train_step.F.cross_entropy", watched)
    finetune(task(net=model, recipe=recipe(1), accelerator=make_accelerator("cpu", "bf16", True)), ignore)
    assert set(computed) == set(loss_under) == {torch.bfloat16}


def test_micro_batches_make_the_same_step() -> None:
    """Without batch norm the gradients of micro-batches add up to the batch's: the same weights, within rounding."""
    from accelerate.state import AcceleratorState

    def trained(micro_batches: int) -> torch.Tensor:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.ReLU(), nn.Identity(), nn.Linear(8, 2))
        changes = {"train": batches(micro_batches=micro_batches), "augment": Augment(flip=True)}
        accelerator = make_accelerator("cpu", "fp32", False, micro_batches)
        finetune(task(net=model, recipe=recipe(2), accelerator=accelerator, **changes), ignore)
        return model[4].weight

    expected = trained(1)
    AcceleratorState._reset_state(reset_partial_state=True)
    torch.testing.assert_close(trained(4), expected, rtol=1e-4, atol=1e-5)


def test_class_weights() -> None:
    data = batches(labels=np.array([0] * 24 + [1] * 8))
    assert data.class_weights.tolist() == pytest.approx([32 / 48, 32 / 16])
    losses, model = [], linear()
    for weighted in (False, True):
        how = Recipe(name="t", phases=(Phase(steps=1, lr=0.0),), eval_every=1, class_weights=weighted)
        fitted = finetune(task(net=model, head="1", train=data, recipe=how), ignore)
        losses.append(fitted.records[0]["train_loss"])
    x, y = next(data.train(Augment(), 0))
    with torch.no_grad():
        each = nn.functional.cross_entropy(model(x), y, reduction="none")
    assert losses == pytest.approx([each.mean().item(), (data.class_weights[y] * each).mean().item()])


def test_micro_batches_weigh_classes_as_the_batch_does() -> None:
    how = Recipe(name="t", phases=(Phase(steps=1, lr=1.0, optimizer="sgd"),), eval_every=1, class_weights=True)
    weights = []
    for n in (1, 8, 32):
        data = batches(labels=np.array([0] * 29 + [1] * 3), batch_size=32, micro_batches=n)
        model, accelerator = linear(), make_accelerator("cpu", "fp32", False, n)
        finetune(task(net=model, head="1", train=data, recipe=how, accelerator=accelerator), ignore)
        weights.append(model[1].weight.detach())
    for other in weights[1:]:
        torch.testing.assert_close(other, weights[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.4])
def test_labels_are_smoothed_as_the_recipe_says(smoothing: float) -> None:
    """The mean loss of an epoch whose steps change nothing is that of torch, with the same smoothing."""
    log: list[dict] = []
    frozen = Phase(steps=5, lr=1e-30, weight_decay=0.0)
    still = Recipe(name="t", phases=(frozen,), eval_every=5, label_smoothing=smoothing)
    trained = task(net=linear(), head="1", recipe=still)
    logits = torch.from_numpy(evaluate(trained.net, batches(), trained.accelerator))
    expected = nn.functional.cross_entropy(logits, torch.from_numpy(batches().labels), label_smoothing=smoothing)
    finetune(trained, log.append)
    assert log[-1]["train_loss"] == pytest.approx(expected.item(), rel=1e-4)


def test_the_average_of_the_weights_is_evaluated_and_selected() -> None:
    """With a decay of 0.5 and its warm-up, decays are 0 at the first step, then at most 0.5."""
    steps, evaluated = [], []
    trained = task(
        recipe=replace(recipe(1, ema_decay=0.5), eval_every=1), validate=scoring([0.0, 0.1, 0.2, 0.3, 0.4], evaluated)
    )
    plain = task(recipe=replace(recipe(1), eval_every=1), validate=scoring([], steps))
    fitted, _ = finetune(trained, ignore), finetune(plain, ignore)
    average = steps[0]["4.weight"]
    for i, step in enumerate(steps):
        if i:
            decay = min(0.5, 1 - (1 + i) ** (-2 / 3))
            average = decay * average + (1 - decay) * step["4.weight"]
        assert torch.allclose(evaluated[i]["4.weight"], average, atol=1e-7), i
    assert torch.equal(fitted.weights["4.weight"], trained.net.state_dict()["4.weight"])
    assert not torch.allclose(average, plain.net.state_dict()["4.weight"], atol=1e-4)


def test_mixup_mixes_images_and_labels() -> None:
    inputs, outputs = [], []

    class Spy(nn.Sequential):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            inputs.append(images.clone())
            outputs.append(super().forward(images))
            return outputs[-1]

    def first_step(alpha: float) -> tuple[torch.Tensor, torch.Tensor, float]:
        torch.manual_seed(0)
        inputs.clear(), outputs.clear()
        log, spy = [], Spy(nn.Flatten(), nn.Linear(192, 2))
        finetune(task(net=spy, head="1", recipe=replace(recipe(1, mixup_alpha=alpha), eval_every=1)), log.append)
        return inputs[0], outputs[0].detach(), log[0]["train_loss"]

    plain, _, _ = first_step(0.0)
    mixed, logits, loss = first_step(0.2)
    neighbours = plain.roll(1, 0)
    weight = ((mixed - neighbours) * (plain - neighbours)).sum() / ((plain - neighbours) ** 2).sum()
    assert 0.5 <= weight < 0.99 and torch.allclose(mixed, weight * plain + (1 - weight) * neighbours, atol=1e-5)
    means = plain.mean((1, 2, 3))
    labels = (means > means.mean()).long()
    losses = [F.cross_entropy(logits, each) for each in (labels, labels.roll(1))]
    assert loss == pytest.approx(float(weight * losses[0] + (1 - weight) * losses[1]), rel=1e-4)
