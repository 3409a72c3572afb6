"""Whether a file is the answer of the same `recommend` command, to be continued."""

import json
import shlex
from argparse import Namespace
from typing import Any

from ..run import provenance


def continues(options: Namespace) -> bool:
    """Whether `--out` is the answer of this same command: interrupted, or of a race that now has more time or a lower tolerance."""
    try:
        answer = json.loads(options.out.read_text("utf-8"))
        if _without_limits(answer["command"]) != _without_limits(provenance.command()):
            return False
        if is_pending(answer):
            return True
        race, reached = answer["race"], 100 * answer["race"]["tolerance"]  # points, up to rounding
        more_time = race["ended"] == "time" and options.budget > answer["budget_seconds"]
        return more_time or (race["ended"] == "tolerance" and tolerance(options) < 0.999 * reached)
    except (OSError, ValueError, TypeError, LookupError, AttributeError):
        return False


def is_pending(answer: dict[str, Any]) -> bool:
    """Whether its race or its finals were interrupted."""
    return None in (answer.get("race", ...), answer.get("finals", ...))


def tolerance(options: Namespace) -> float:
    """In points."""
    from ..recommend.race.loop import TOLERANCE

    return TOLERANCE if options.tolerance is None else options.tolerance


def _without_limits(command: str) -> list[str]:
    """The arguments of a command, without those of the budget and the tolerance."""
    arguments = iter(shlex.split(command))
    others = []
    for argument in arguments:
        if argument in ("--budget", "--tolerance"):
            next(arguments, None)
        elif not argument.startswith(("--budget=", "--tolerance=")):
            others.append(argument)
    return others
