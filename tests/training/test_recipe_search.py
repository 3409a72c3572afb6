"""The recipe search: its candidates, its budget, its rungs, and what a trial leaves behind."""

from types import SimpleNamespace

import pytest
import torch
from tiny import net, task

from common.errors import UserError
from common.spec import Phase, Recipe
from common.training import recipe_search
from common.training.recipe_search import best, halve, plan, search
from common.training.recipes import SEARCH_COST
from common.training.task import Task

RECIPE = Recipe(name="t", phases=(Phase(steps=200, lr=1.0),), eval_every=50)
LRS = [1e-3, 3e-4, 3e-3]


@pytest.mark.parametrize("steps", [60, 100, 500, 6_750])
@pytest.mark.parametrize("eval_steps", [0.3, 3, 11])
def test_the_budget_is_a_quarter_of_the_run(steps: int, eval_steps: float) -> None:
    recipe = Recipe(name="t", phases=(Phase(steps=steps, lr=1.0),), eval_every=30)
    rates, trial_steps = plan(recipe, eval_steps)
    n = len(rates)
    finals = recipe_search.FINALISTS if n > recipe_search.FINALISTS else 0
    cost = n * (trial_steps + eval_steps) + finals * (2 * trial_steps + eval_steps)
    assert cost <= SEARCH_COST * (steps + steps / 30 * eval_steps)
    if steps >= 500:
        assert n == len(recipe_search.RATES["adamw"])
    assert n != 1 and (not n or trial_steps >= recipe_search.MIN_STEPS)


def test_no_budget_for_two_trials() -> None:
    assert plan(RECIPE, 100) == ([], 0)


def test_successive_halving() -> None:
    """All candidates, then the two best for twice the steps; the longest trials decide."""
    seen, first = [], {1e-3: 0.7, 3e-4: 0.9, 3e-3: None}

    def trial(recipe: Recipe) -> dict[str, float | None]:
        (phase,) = recipe.phases
        seen.append((phase.lr, phase.steps, recipe.eval_every))
        score = first[phase.lr] if phase.steps == 20 else {1e-3: 0.95, 3e-4: 0.91}[phase.lr]
        return {"score": score, "seconds": 1.0}

    trials = halve(RECIPE, LRS, 20, trial)
    assert seen == [(1e-3, 20, 20), (3e-4, 20, 20), (3e-3, 20, 20), (3e-4, 40, 40), (1e-3, 40, 40)]
    assert best(trials) == {"lr": 1e-3, "steps": 40, "score": 0.95, "seconds": 1.0}
    assert len(halve(RECIPE, LRS[:2], 20, trial)) == 2, "two candidates: one rung"


def test_trials_that_all_diverge() -> None:
    trials = halve(RECIPE, LRS, 20, lambda recipe: {"score": None, "seconds": 1.0})
    with pytest.raises(UserError, match="every trial of the recipe search diverged: pass a lower rate"):
        best(trials)


def test_a_trial_leaves_the_loss_scaler_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """An overflow halves the scale, and float16 would lose the small gradients of the next rate."""
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    scales = []

    def finetune(task: Task, log: object) -> SimpleNamespace:
        scales.append(scaler.get_scale())
        scaler.load_state_dict(scaler.state_dict() | {"scale": 1.0})
        if len(scales) == 2:
            raise UserError("diverged")
        return SimpleNamespace(best_score=0.5)

    monkeypatch.setattr("common.training.finetune.finetune", finetune)
    accelerator = SimpleNamespace(scaler=scaler, free_memory=lambda: None)
    trials = search(task(recipe=RECIPE, accelerator=accelerator), LRS, 20, net, None)
    assert scales == [1024.0] * 5 and scaler.get_scale() == 1024.0
    assert [each["score"] for each in trials] == [0.5, None, *[0.5] * 3]
