"""The runs of peers.py -> the table of docs/training.md."""

import json
import statistics
from collections import defaultdict
from pathlib import Path

from benchmarks.recipe_tables import Pair, Run, best_on_validation, mean_and_error, names, table

FILE = Path(__file__).resolve().parent / "results" / "peers.jsonl"
PEERS = {
    "ours": "this project",
    "fastai": "fastai",
    "timm": "timm",
    "lightly": "lightly-train",
    "autogluon": "AutoGluon",
}


def load() -> dict[Pair, dict[str, list[Run]]]:
    """Of every pair and peer, one run per seed: that of the rate with the best top-1 on validation."""
    runs: dict[tuple, list[Run]] = defaultdict(list)
    for line in FILE.read_text().splitlines():
        run = json.loads(line)
        runs[run["data"], run["network"], run["peer"], run["seed"]].append(run)
    pairs: dict[Pair, dict[str, list[Run]]] = defaultdict(lambda: defaultdict(list))
    for (data, network, peer, _), rates in runs.items():
        pairs[data, network][peer].append(best_on_validation(rates) | {"rates": len(rates)})
    return pairs


def peers() -> str:
    """Test top-1, NLL and seconds, seeds averaged; the mean rank of the top-1, with its standard error over pairs."""
    pairs = load()
    columns = [peer for peer in PEERS if any(peer in found for found in pairs.values())]
    rows, ranks = [], defaultdict(list)
    for pair, found in pairs.items():
        top1 = {peer: mean(runs, "test_top1") for peer, runs in found.items()}
        cells = [cell(found[peer], top1[peer] == max(top1.values())) if peer in found else "" for peer in columns]
        rows.append([*names(pair), *cells])
        if len(found) == len(columns) > 1:
            for peer in columns:
                ranks[peer].append(rank(top1, peer))
    if len(ranks["ours"]) > 1:
        errors = (f"{average:.2f} ± {error:.2f}" for average, error in map(mean_and_error, map(ranks.get, columns)))
        rows.append(["mean rank", f"{len(ranks['ours'])} pairs", *errors])
    return f"{table(('images', 'network', *map(PEERS.get, columns)), rows)}\n\n{notes(pairs)}"


def cell(runs: list[Run], best: bool) -> str:
    top1 = f"{100 * mean(runs, 'test_top1'):.1f}"
    details = [f"{mean(runs, 'epochs'):.0f} epochs"] if "epochs" in runs[0] else []
    details += [f"{mean(runs, 'seconds'):.0f} s"]
    details += [f"{runs[0]['rates']} rates"] if runs[0]["rates"] > 1 else []
    return f"{f'**{top1}**' if best else top1} / {mean(runs, 'test_nll'):.2f} ({', '.join(details)})"


def notes(pairs: dict[Pair, dict[str, list[Run]]]) -> str:
    """Seeds and versions."""
    runs = [run for found in pairs.values() for runs in found.values() for run in runs]
    versions = {name: text for run in runs for name, text in run.get("versions", {}).items()}
    seeds = sorted({run["seed"] for run in runs})
    text = ", ".join(f"{name} {number}" for name, number in sorted(versions.items()))
    return f"Seeds: {', '.join(map(str, seeds))}. Seconds as a multiple of ours: {ratios(pairs)}. {text}; one thread of a CPU."


def ratios(pairs: dict[Pair, dict[str, list[Run]]]) -> str:
    """Geometric mean and range of every peer."""
    found = defaultdict(list)
    for runs in pairs.values():
        ours = {run["seed"]: run["seconds"] for run in runs["ours"]}
        for peer, some in runs.items():
            found[peer] += [run["seconds"] / ours[run["seed"]] for run in some if run["seed"] in ours]
    return ", ".join(
        f"{title} {statistics.geometric_mean(found[peer]):.2f} ({min(found[peer]):.2f} to {max(found[peer]):.2f})"
        for peer, title in PEERS.items()
        if peer != "ours" and peer in found
    )


def mean(runs: list[Run], key: str) -> float:
    return statistics.fmean(run[key] for run in runs)


def rank(scores: dict[str, float], peer: str) -> float:
    """1 for the highest; ties share the mean of their ranks."""
    higher, equal = (sum(value > scores[peer] for value in scores.values()), sum(value == scores[peer] for value in scores.values()))  # fmt: skip
    return higher + (equal + 1) / 2
