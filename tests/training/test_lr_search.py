"""The search for a learning rate: its rungs, and what a trial leaves behind."""

from types import SimpleNamespace

import pytest
import torch
from tiny import net, task

from common.errors import UserError
from common.spec import Phase, Recipe
from common.training.lr_search import RATES, best_rate, halve, search_lr
from common.training.task import Task

RECIPE = Recipe(name="t", phases=(Phase(steps=200, lr=1.0),), eval_every=50)


def test_successive_halving() -> None:
    """Five rates for a tenth of the steps, the two best for a quarter; the longest trials decide."""
    seen, first = [], {3e-5: 0.1, 1e-4: 0.7, 3e-4: 0.9, 1e-3: 0.2, 3e-3: None}

    def trial(recipe: Recipe) -> float | None:
        (phase,) = recipe.phases
        seen.append((phase.lr, phase.steps, recipe.eval_every))
        return first[phase.lr] if phase.steps == 20 else {1e-4: 0.95, 3e-4: 0.91}[phase.lr]

    trials = halve(RECIPE, trial)
    assert seen == [*((lr, 20, 20) for lr in RATES["adamw"]), (3e-4, 50, 50), (1e-4, 50, 50)]
    assert best_rate(trials) == 1e-4 and [each["score"] for each in trials][-2:] == [0.91, 0.95]


def test_a_trial_leaves_the_loss_scaler_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """An overflow halves the scale, and float16 would lose the small gradients of the next rate."""
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    scales, logged = [], []

    def finetune(task: Task, log: object) -> SimpleNamespace:
        scales.append(scaler.get_scale())
        scaler.load_state_dict(scaler.state_dict() | {"scale": 1.0})
        if len(scales) == 2:
            raise UserError("diverged")
        return SimpleNamespace(best_score=0.5)

    monkeypatch.setattr("common.training.finetune.finetune", finetune)
    accelerator = SimpleNamespace(scaler=scaler, free_memory=lambda: None)
    trials = search_lr(task(recipe=RECIPE, accelerator=accelerator), net, None, logged.append)
    assert scales == [1024.0] * 7 and scaler.get_scale() == 1024.0
    assert [each["score"] for each in trials] == [0.5, None, *[0.5] * 5]
    assert [record["score"] for record in logged] == [each["score"] for each in trials]
