"""A training task: everything that determines the fitted weights, except the machine."""

from collections.abc import Callable
from dataclasses import dataclass

from accelerate import Accelerator
from torch import nn

from ..data.loader import Batches
from ..spec import Augment, Recipe

# network -> its score on the selection set (higher is better; NaN: diverged), and all scores for the log
Validate = Callable[[nn.Module], tuple[float, dict[str, float]]]


@dataclass(frozen=True, kw_only=True)
class Task:
    net: nn.Module  # trained in place
    head: str  # dotted path of its last layer
    train: Batches
    augment: Augment
    validate: Validate
    evaluate_first: bool = False  # the initial weights can be selected, and none of a lower score
    n_selection: float = 0  # effective size of the selection set, for `Recipe.tolerance`; 0: no tolerance
    recipe: Recipe
    accelerator: Accelerator
    seed: int
