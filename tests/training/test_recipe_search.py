"""The recipe search: its budget, the rate that it finds, and what a trial leaves behind."""

from types import SimpleNamespace

import pytest
import torch
from tiny import net, task

from common.errors import UserError
from common.spec import Phase, Recipe
from common.training import recipe_search, search_budget
from common.training.recipe_search import RATES, search
from common.training.task import Task

RECIPE = Recipe(name="t", phases=(Phase(steps=200, lr=1.0),), eval_every=50)
FAILED, GOOD = 0.69, 0.5  # NLL of two classes; a guess has 0.693


@pytest.mark.parametrize(
    ("steps", "n_val", "n_trials"), [(500, 10, 4), (500, 330, 4), (300, 90, 2), (300, 0, 3), (200, 0, 2), (100, 330, 0)]
)
def test_the_budget_is_a_quarter_of_the_run(steps: int, n_val: int, n_trials: int) -> None:
    recipe = Recipe(name="t", phases=(Phase(steps=steps, lr=1.0),), eval_every=30)
    assert search_budget.n_trials(recipe, n_val, batch_size=10) == n_trials


def search_with(
    nll: dict[float, float | None], monkeypatch: pytest.MonkeyPatch, n_trials: int = 4
) -> tuple[list, list]:
    """The trials, and the scale of the gradients at the start of each."""
    scaler, scales = torch.amp.GradScaler("cpu", init_scale=1024.0), []

    def finetune(task: Task, log: object) -> SimpleNamespace:
        (phase,) = task.recipe.phases
        assert (phase.steps, task.recipe.eval_every, task.evaluate_first) == (
            search_budget.TRIAL_STEPS,
            search_budget.TRIAL_STEPS,
            False,
        )
        scales.append(scaler.get_scale())
        scaler.load_state_dict(scaler.state_dict() | {"scale": 1.0})
        if nll[phase.lr] is None:
            raise UserError("diverged")
        return SimpleNamespace(best={"val_nll": nll[phase.lr]})

    monkeypatch.setattr("common.training.finetune.finetune", finetune)
    accelerator = SimpleNamespace(scaler=scaler, free_memory=lambda: None)
    warm = task(recipe=RECIPE, accelerator=accelerator, evaluate_first=True)
    return search(warm, 2, net, None, n_trials), scales


@pytest.mark.parametrize(
    ("nll", "tried", "chosen"),
    [
        ((None, FAILED, GOOD, 0.6), 4, 2),
        ((0.6, GOOD, 0.6, 0.4), 3, 1),
        ((GOOD, 0.6, 0.4, 0.4), 2, 0),
        ((0.6, GOOD, GOOD, 0.4), 4, 3),
        ((None, None, None, GOOD), 4, 3),
    ],
)
def test_rates_fall_until_the_nll_rises(nll: tuple, tried: int, chosen: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial leaves the loss scaler as it was: float16 would lose the small gradients of the next rate."""
    trials, scales = search_with(dict(zip(RATES["adamw"], nll, strict=True)), monkeypatch)
    assert [each["nll"] for each in trials] == list(nll)[:tried]
    assert recipe_search.best(trials)["lr"] == RATES["adamw"][chosen]
    assert scales == [1024.0] * tried


@pytest.mark.parametrize(
    ("nll", "n_trials", "tried"),
    [((0.6, GOOD, 0.4, 0.3), 2, 2), ((0.6, GOOD, 0.4, 0.3), 3, 3), ((None, FAILED, GOOD, 0.4), 2, 3)],
)
def test_a_short_run_tries_the_rates_that_it_can_afford(
    nll: tuple, n_trials: int, tried: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The usual rate is among the first two; lower ones follow if these destroy the network."""
    trials, _ = search_with(dict(zip(RATES["adamw"], nll, strict=True)), monkeypatch, n_trials)
    assert [each["lr"] for each in trials] == list(RATES["adamw"][:tried])
    assert recipe_search.best(trials) is trials[-1]


def test_no_rate_leaves_the_network_intact(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="no better than a guess after 25 steps: pass a lower --lr"):
        search_with(dict.fromkeys(RATES["adamw"], FAILED), monkeypatch)


def test_the_rates_fall() -> None:
    assert all(list(rates) == sorted(rates, reverse=True) for rates in recipe_search.RATES.values())
