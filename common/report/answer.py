"""The answer in three sentences: which backbone, how sure, what is cheaper and practically as good."""

from collections.abc import Mapping, Sequence

from ..statistics import paired
from .costs import macs
from .read import METRICS
from .sections import Question, Section
from .verdicts import SURE, Duels, Ranking

WITHIN = f"{100 * paired.MARGIN:g} points"


def answer(section: Section, ranked: Ranking | None, fought: Mapping[str, Duels]) -> tuple[str, ...]:
    """Over datasets if enough are ranked, else of the dataset that most backbones were run on; `fought` by dataset."""
    if ranked:
        return _over_datasets(section, ranked)
    question = max(section.questions, key=lambda q: len(q.cells))
    leader = question.leader
    reached = f"{100 * question.cells[leader].value:.2f} % {METRICS[question.metric]} on {question.name}"
    if len(question.cells) < 2:
        return f"{leader} reaches {reached}.", "No other backbone was run there: nothing to compare."
    duels = fought.get(question.name)
    compared = {duels.leader, *(duel.backbone for duel in duels.others)} if duels else set()
    if leader not in compared:
        return (
            f"{leader} is highest, with {reached}.",
            "Its predictions, or all others', are missing, so the lead cannot be tested.",
        )
    return _on_one_dataset(question, duels, sorted(question.cells.keys() - compared))


def _over_datasets(section: Section, ranked: Ranking) -> tuple[str, ...]:
    first, *others = ranked.backbones
    n, best = len(ranked.units), ranked.mean_ranks[0]
    behind = [
        name for name, rank in zip(others, ranked.mean_ranks[1:], strict=True) if rank - best > ranked.cd
    ]
    lead = (
        f"{first} has the best mean rank: {best:.2f} among {len(ranked.backbones)} backbones on {n} datasets."
    )
    if behind:
        sure = f"Its rank is significantly better than that of {_all(behind)}."
    else:
        sure = f"Over {n} datasets its lead is not significant: the critical difference is {ranked.cd:.2f}."
    worse, same, better = ranked.versus[others[0]]
    sure += (
        f" Against {others[0]}, the next, it is better by more than {WITHIN} with probability {worse:.2f}, practically "
        f"the same with {same:.2f}, worse with {better:.2f}."
    )
    fit = [name for name in others if ranked.versus[name][1] + ranked.versus[name][2] >= SURE]
    return lead, sure, _cheaper(first, fit, {name: macs(section, ranked, name) for name in ranked.backbones})


def _on_one_dataset(question: Question, fought: Duels, untold: Sequence[str]) -> tuple[str, ...]:
    first, metric = fought.leader, METRICS[fought.metric]
    lead = (
        f"{first} is highest on {question.name}, with {100 * question.cells[first].score(fought.metric)[0]:.2f} % {metric}: "
        f"the best of {len(fought.others) + 1} with probability {fought.best:.2f}."
    )
    sure = (
        f"On the {fought.images:,} test images it is not significantly better than {_all(fought.tied)}."
        if fought.tied
        else f"On the {fought.images:,} test images it is significantly better than every other."
    )
    if untold:
        sure += f" Not compared, as predictions are missing: {_all(untold)}."
    fit = [duel.backbone for duel in fought.others if duel.difference.low > -paired.MARGIN]
    return (
        lead,
        sure,
        _cheaper(first, fit, {name: cell.cost("macs") for name, cell in question.cells.items()}),
    )


def _cheaper(first: str, fit: Sequence[str], macs: Mapping[str, float]) -> str:
    """Of backbones that are shown to be practically as good, the one with the fewest multiply-adds."""
    cheaper = [name for name in fit if macs[name] < macs[first]]
    if not cheaper:
        return f"Nothing with fewer multiply-adds is shown to be as good within {WITHIN}."
    name = min(cheaper, key=lambda name: macs[name])
    return f"{name} is as good within {WITHIN}, at {macs[name] / macs[first]:.0%} of the multiply-adds."


def _all(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
