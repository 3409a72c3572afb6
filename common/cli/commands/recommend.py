"""recommend a backbone for your images, with its confidence and cost"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import Parser, UserError
from ...files.atomic import check_new
from ...models import build, names
from ...models.registry import BACKBONES
from ...recommend.candidates import Candidates, find, format_candidates
from ...run import provenance, results
from ...spec import Dataset, RunConfig
from .. import catalog
from ..arguments import (
    add_device,
    add_groups,
    add_image_filters,
    add_labels,
    add_offline,
    add_pixels,
    check_labels,
    duration,
    image_sizes,
    label_arguments,
)
from ..main import report_user_errors
from ..parse import make_config, parse

if TYPE_CHECKING:
    import numpy as np

    from ...recommend.dataset import ProbeData


def main(argv: list[str]) -> None:
    options = _parser().parse_args(argv)
    report_user_errors(lambda: _recommend(options))


def _parser() -> Parser:
    parser = Parser(
        prog="python -m common recommend",
        description="Rank backbones by a linear probe on their frozen features; the test images are not used.",
        allow_abbrev=False,
    )
    _add_data(parser.add_argument_group("data"))
    _add_backbones(parser.add_argument_group("backbones"))
    _add_effort(parser.add_argument_group("effort"))
    machine = parser.add_argument_group("device and output")
    add_device(machine)
    add_offline(machine)
    machine.add_argument("--details", action="store_true", help="list the weights that are missing")
    machine.add_argument("--out", type=Path, metavar="FILE", help="write the answer to a new JSON file")
    return parser


# fmt: off
def _add_data(group: argparse._ArgumentGroup) -> None:
    group.add_argument("dataset", nargs="?", metavar="DATASET|FOLDER",
                       help="a dataset of `list`, or class folders (default: those in --data_dir)")
    group.add_argument("--data_dir", type=Path, metavar="DIR", help="data folder (default: data/DATASET)")
    add_labels(group)
    add_image_filters(group)
    add_pixels(group)
    add_groups(group, None, "auto for your folder, else the data sheet's groups")
    group.add_argument("--shots", type=int, metavar="K", help="simulate K training images per class")
    group.add_argument("--limit", type=int, metavar="N",
                       help="probe a stratified sample of about N images (--finetune takes all)")


def _add_backbones(group: argparse._ArgumentGroup) -> None:
    group.add_argument("-model", "--model", nargs="+", metavar="NAME",
                       help="backbones (default: the first table of `list`)")
    group.add_argument("--weights", choices=("imagenet", "none"), default="imagenet",
                       help="none: random weights, to compare architectures only (default: %(default)s)")
    group.add_argument("--random_missing", action="store_true",
                       help="use random weights, marked as such, for backbones whose ImageNet weights are missing, instead of skipping them")
    group.add_argument("--image_size", type=image_sizes, metavar="S|HxW",
                       help="input size in pixels; with several, as in 64,128,224, backbones are ranked at the first, and the best one is probed at all; raised for backbones that need more (default: the data sheet's)")


def _add_effort(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--budget", type=duration, metavar="10m",
                       help="target time (s, m, h): at most half of it for probes, on fewer images for weak backbones; the rest for short fine-tuning runs where they lower the expected loss most; the same command continues")
    group.add_argument("--tolerance", type=float, default=0.3, metavar="X",
                       help="expected loss against the best, in points, at which the fine-tuning of --budget ends (default: %(default)s)")
    group.add_argument("--finetune", type=int, metavar="K",
                       help="then fine-tune the K of the lowest expected loss and compare them on the test images; this takes time in addition to --budget")
    group.add_argument("--seed", type=int, default=0, metavar="N",
                       help="of folds, samples and random weights (default: 0)")
# fmt: on


def _recommend(options: argparse.Namespace) -> None:
    _check(options)
    if options.dataset and not options.data_dir and Path(options.dataset).exists():
        options.dataset, options.data_dir = None, Path(options.dataset)
    sheet = catalog.find(options.dataset or "folder")
    arguments = _arguments(sheet, options)
    candidates = _candidates(options)
    runs = _runs(sheet, arguments, candidates, options)

    from tqdm import tqdm

    from ...recommend import advice_text, finetuned_order, more_images, sizes, table_text, text
    from ...recommend.recommend import RecommendConfig, recommend

    short = names.short_names(run.model for run in runs)

    def log(line: str) -> None:
        tqdm.write(names.shorten(line, short), file=sys.stderr)

    for line in format_candidates(candidates, options.offline, options.random_missing, options.details):
        log(line)
    left_out = {} if options.random_missing else candidates.invalid | candidates.missing
    more_sizes = tuple((options.image_size or [])[1:])
    config = RecommendConfig(runs, left_out, options.limit, options.budget, more_sizes)
    answer, data, finetuned = recommend(config, log)
    shown = text.rename(answer, short)
    answer["advice"] = advice_text.format_advice(shown)
    several = len(answer["backbones"]) > 1
    print(table_text.format_table(shown), flush=True)
    if not options.finetune and not (options.budget and several):
        print(answer["advice"])
    if several:
        print(finetuned_order.format_prediction(shown["backbones"]))
    if shown["more_images"]:
        print(more_images.format_gain(shown["more_images"]), flush=True)
    if shown["sizes"]:
        print(sizes.format_sizes(shown["backbones"][0]["backbone"], shown["sizes"]), flush=True)

    if options.budget and several:
        answer["race"] = None  # pending
    if options.finetune:
        answer["finals"] = None
    _write(options.out, answer)
    try:
        _finetune(sheet, runs, answer, data, finetuned, options, log)
    except KeyboardInterrupt:
        log("stopped; run the same command to continue")
        raise


def _check(options: argparse.Namespace) -> None:
    for name, least in (("limit", 1), ("finetune", 2), ("tolerance", 0)):
        value = getattr(options, name)
        if value is not None and not value >= least:
            raise UserError(f"--{name} {value}: expected {least} or more")
    if options.out and not _unfinished(options.out):
        check_new(options.out, "--out")
    if not options.dataset and not options.data_dir:
        raise UserError("no data: name a dataset, or pass a folder of class folders as --data_dir")


def _write(out: Path | None, answer: dict[str, Any]) -> None:
    if out:
        results.write_json(out, answer)


def _finetune(
    sheet: Dataset,
    runs: Sequence[RunConfig],
    answer: dict[str, Any],
    data: "ProbeData",
    prior: "np.ndarray",
    options: argparse.Namespace,
    log: Callable[[str], None],
) -> None:
    """The race, from `prior` (R, K) draws of the fine-tuned scores, in the time left, then the first backbones on the test images, if they are pending."""
    from ...recommend import finalists, finals_text, text
    from ...recommend.race import runs as race_runs
    from ...recommend.race import text as race_text

    config_of, short = {run.model: run for run in runs}, names.short_names(run.model for run in runs)
    rows = answer["backbones"]
    order = [row["backbone"] for row in sorted(rows, key=lambda row: row["regret_finetuned"])]
    if "race" in answer:
        budget = race_runs.Budget(options.budget - answer["seconds"], options.tolerance)
        script = _script(sheet, options, shots=None)  # they are in the split
        configs = [config_of[row["backbone"]] for row in rows]
        answer["race"] = race_runs.run(rows, prior, configs, script, data, budget, log)
        shown = text.rename(answer["race"], short)
        answer["advice"] = race_text.advice(shown)
        print(race_text.format_race(shown, answer["metric"], options.budget), flush=True)
        _write(options.out, answer)
        order = [row["name"] for row in answer["race"]["backbones"] if not row["failed"]]
    if "finals" in answer:
        chosen = [config_of[name] for name in order[: options.finetune]]
        answer["finals"] = finalists.run(chosen, _script(sheet, options), data, log)
        print(finals_text.format_finals(text.rename(answer["finals"], short)))
        _write(options.out, answer)


def _script(sheet: Dataset, options: argparse.Namespace, **changes: Any) -> list[str]:
    changed = argparse.Namespace(**{**vars(options), **changes})
    return [str(catalog.ROOT / f"{sheet.script}.py"), *_arguments(sheet, changed)]


def _unfinished(out: Path) -> bool:
    """Whether the file is the answer of an interrupted race or `--finetune` of this same command."""
    try:
        answer = json.loads(out.read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return (
        isinstance(answer, dict)
        and None in (answer.get("race", ...), answer.get("finals", ...))
        and answer.get("command") == provenance.command()
    )


def _arguments(sheet: Dataset, options: argparse.Namespace) -> list[str]:
    """The arguments of the sheet's script, the same for all backbones."""
    arguments = ["--device", options.device, "--precision", options.precision, "--seed", str(options.seed)]
    if options.data_dir:
        arguments += ["--data_dir", str(options.data_dir)]
    check_labels(sheet, options)
    arguments += label_arguments(options)
    if options.group_by is not None:
        arguments.append(f"--group_by={options.group_by}")
    if options.shots is not None:
        arguments += ["--shots", str(options.shots)]
    if sheet.variant:
        arguments += [f"--{sheet.variant[0]}", sheet.variant[1]]
    for name in ("value_range", "bands"):
        if values := getattr(options, name):
            arguments += [f"--{name}", *map(str, values)]
    return arguments + [f"--{name}" for name in ("subset", "skip_bad", "offline") if getattr(options, name)]


def _candidates(options: argparse.Namespace) -> Candidates:
    for name in options.model or ():
        build.check_name(name)
    rows = [build.get_backbone(name) for name in options.model] if options.model else None
    if options.weights == "none":
        return Candidates(usable=rows or list(BACKBONES))
    return find(rows, options.offline)


def _runs(
    sheet: Dataset, arguments: list[str], candidates: Candidates, options: argparse.Namespace
) -> tuple[RunConfig, ...]:
    """A config per backbone."""
    choices = {row.name: options.weights for row in candidates.usable}
    if options.random_missing:
        choices |= dict.fromkeys((*candidates.missing, *candidates.invalid), "none")
    if not choices:
        name, reason = next(iter((candidates.invalid | candidates.missing).items()))
        raise UserError(f"no backbone's weights are available; --random_missing uses random ones. {name}: {reason}")
    size = options.image_size[0] if options.image_size else sheet.image_size
    runs = []
    for name, choice in choices.items():
        pixels = "x".join(map(str, build.get_backbone(name).supported_size(size)))
        more = ["-model", name, "--weights", choice, "--image_size", pixels]
        runs.append(make_config((sheet,), parse((sheet,), [*arguments, *more])))
    return tuple(runs)
