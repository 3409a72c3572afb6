"""The summary at the top of a section: the best backbone, its significance, a cheaper equivalent."""

from collections.abc import Mapping

from ..recommend.text import enumerate_names
from ..run.results import METRICS
from ..statistics import posterior
from .costs import mean_macs
from .sections import DatasetResults, Section
from .significance import PairedTests, Ranking

MARGIN = f"{100 * posterior.MARGIN:g} points"


def summarize(
    section: Section, ranking: Ranking | None, tests: Mapping[str, PairedTests], untested: Mapping[str, str]
) -> tuple[str, ...]:
    """Two or three sentences: over datasets if there is a ranking, else on the dataset with the most backbones.

    `tests` by dataset, and why there are none (`untested`).
    """
    if ranking:
        return _over_datasets(section, ranking)
    dataset = max(section.datasets, key=lambda d: len(d.cells))
    leader = dataset.leader
    score = f"{100 * dataset.cells[leader].value:.2f} % {METRICS[dataset.metric]} on {dataset.name}"
    if len(dataset.cells) < 2:
        return (f"{leader} reaches {score}.", "No other backbone was run on it: there is nothing to compare it with.")
    paired_tests = tests.get(dataset.name)
    compared = {paired_tests.leader, *(c.backbone for c in paired_tests.comparisons)} if paired_tests else set()
    if leader not in compared:
        why = paired_tests.untested if paired_tests else untested[dataset.name]
        return f"{leader} scores highest: {score}.", f"The lead cannot be tested: {why}."
    return _on_one_dataset(dataset, paired_tests)


def _over_datasets(section: Section, ranking: Ranking) -> tuple[str, ...]:
    first, *others = ranking.backbones
    n, best = len(ranking.units), ranking.mean_ranks[0]
    ranks = zip(others, ranking.mean_ranks[1:], strict=True)
    behind = [name for name, rank in ranks if rank - best > ranking.cd]
    lead = f"{first} has the best mean rank: {best:.2f} among {len(ranking.backbones)} backbones on {n} datasets."
    if behind:
        significance = f"Its rank is significantly better than that of {enumerate_names(behind)}."
    else:
        significance = f"Over {n} datasets its lead is not significant: the critical difference is {ranking.cd:.2f}."
    worse, same, better = ranking.against_first[others[0]]
    significance += (
        f" Compared with {others[0]}, the second, it is better by more than {MARGIN} with probability {worse:.2f}, "
        f"practically equivalent with probability {same:.2f}, worse with probability {better:.2f}."
    )
    equivalent = {name: sum(ranking.against_first[name][1:]) for name in others}
    macs = {name: mean_macs(section, ranking, name) for name in ranking.backbones}
    return lead, significance, _cheaper(first, equivalent, macs)


def _on_one_dataset(dataset: DatasetResults, tests: PairedTests) -> tuple[str, ...]:
    first, metric = tests.leader, METRICS[tests.metric]
    score = 100 * dataset.cells[first].score(tests.metric)[0]
    lead = (
        f"{first} scores highest on {dataset.name}: {score:.2f} % {metric}. "
        f"It is the best of {len(tests.comparisons) + 1} with probability {tests.standing.p_best:.2f}; its expected loss "
        f"against the best is {100 * tests.standing.regret:.1f} points."
    )
    significance = (
        f"As trained here it is not significantly better than {enumerate_names(tests.tied)} on the {tests.images:,} test images."
        if tests.tied
        else f"As trained here it is significantly better than all others on the {tests.images:,} test images."
    )
    if tests.seeds == 1:
        significance += " With one seed of a backbone, the effect of another seed is assumed, not measured."
    if tests.untested:
        significance += f" Not tested: {tests.untested}."
    equivalent = {c.backbone: c.standing.p_equivalent for c in tests.comparisons}
    macs = {name: cell.cost("macs") for name, cell in dataset.cells.items()}
    return lead, significance, _cheaper(first, equivalent, macs)


def _cheaper(first: str, equivalent: Mapping[str, float], macs: Mapping[str, float]) -> str:
    """The practically equivalent backbone with the fewest multiply-adds, if it has fewer than the first. `equivalent`: P(it is)."""
    cheaper = [name for name, p in equivalent.items() if p >= posterior.EQUIVALENT and macs[name] < macs[first]]
    if not cheaper:
        return (
            f"No backbone with fewer multiply-adds is practically equivalent (at most {MARGIN} worse with a probability "
            f"of {posterior.EQUIVALENT:.2f} or more)."
        )
    name = min(cheaper, key=lambda name: macs[name])
    return (
        f"{name} is practically equivalent, at most {MARGIN} worse with probability {equivalent[name]:.2f}, at "
        f"{macs[name] / macs[first]:.0%} of the multiply-adds."
    )
