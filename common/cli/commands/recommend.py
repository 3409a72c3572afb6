"""recommend a backbone for your images, with its confidence and cost"""

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import Parser, UserError
from ...files.atomic import check_new
from ...models import names
from ...recommend.candidates import format_candidates
from ...run import results
from ...spec import Dataset, RunConfig
from .. import catalog, continuation, recommendation
from ..arguments import (
    add_device,
    add_groups,
    add_image_filters,
    add_labels,
    add_offline,
    add_pixels,
    duration,
    image_sizes,
)
from ..main import report_user_errors

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
                       help="input size in pixels; with several, as in 64,128,224, backbones are ranked at the first, and the best one is also probed at the others; a size too small for a backbone is raised to its minimum (default: the data sheet's)")


def _add_effort(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--budget", type=duration, metavar="10m",
                       help="target time (s, m, h): at most half of it for probes, on fewer images for weak backbones; the rest for short fine-tuning runs where they lower the expected loss most; the same command continues an interrupted race")
    group.add_argument("--tolerance", type=float, metavar="X",
                       help="expected loss against the best, in points, at which the fine-tuning of --budget ends (default: 0.3)")
    group.add_argument("--finetune", type=int, metavar="K",
                       help="then fine-tune the K backbones with the lowest expected loss and compare them on the test images, in addition to --budget")
    group.add_argument("--seed", type=int, default=0, metavar="N",
                       help="of folds, samples and random weights (default: 0)")
# fmt: on


def _recommend(options: argparse.Namespace) -> None:
    _check(options)
    if options.dataset and not options.data_dir and Path(options.dataset).exists():
        options.dataset, options.data_dir = None, Path(options.dataset)
    sheet = catalog.find(options.dataset or "folder")
    shared = recommendation.shared_arguments(sheet, options)
    found = recommendation.usable(options)
    runs = recommendation.configs(sheet, shared, found, options)
    if options.finetune and len(runs) < 2:
        raise UserError(
            f"--finetune compares backbones, and {runs[0].model} is the only one: name others with -model, or fine-tune it with {sheet.script}.py"
        )

    from tqdm import tqdm

    from ...recommend import advice_text, text
    from ...recommend.recommend import RecommendConfig, recommend

    short = names.short_names(run.model for run in runs)

    def log(line: str) -> None:
        tqdm.write(names.shorten(line, short), file=sys.stderr)

    for line in format_candidates(found, options.offline, options.random_missing, options.details):
        log(line)
    left_out = {} if options.random_missing else found.invalid | found.missing
    more_sizes = tuple((options.image_size or [])[1:])
    config = RecommendConfig(runs, left_out, options.limit, options.budget, more_sizes, bool(options.finetune))
    answer, data, finetuned = recommend(config, log)
    answer["advice"] = advice_text.format_advice(text.rename(answer, short))
    has_race = bool(options.budget and len(answer["backbones"]) > 1)
    _print(text.rename(answer, short), has_race, bool(options.finetune))
    if has_race:
        answer["race"] = None  # pending
    if options.finetune:
        answer["finals"] = None
    if not (options.out and options.out.exists()) or continuation.is_pending(results.read_json(options.out)):
        _write(options.out, answer)  # else the earlier race's answer stays until this one has ended
    by_name = {run.model: run for run in runs}
    configs = [by_name[row["backbone"]] for row in sorted(answer["backbones"], key=itemgetter("regret_finetuned"))]
    try:
        if has_race:
            configs = _race(sheet, configs, answer, data, finetuned, options, log)
        if options.finetune:
            _finals(sheet, configs[: options.finetune], answer, data, options, log)
    except KeyboardInterrupt:
        log("stopped; run the same command to continue")
        raise


def _print(answer: dict[str, Any], has_race: bool, has_finals: bool) -> None:
    """The table and, unless short runs follow, the advice and what is predicted of fine-tuning."""
    from ...recommend import finetuned_order, more_images, sizes, table_text

    print(table_text.format_table(answer), flush=True)
    if not has_race and not has_finals:
        print(answer["advice"])
    if not has_race and len(answer["backbones"]) > 1:
        print(finetuned_order.format_prediction(answer["backbones"]))
    if answer["more_images"]:
        print(more_images.format_gain(answer["more_images"]), flush=True)
    if answer["sizes"]:
        print(sizes.format_sizes(answer["backbones"][0]["backbone"], answer["sizes"]), flush=True)


def _check(options: argparse.Namespace) -> None:
    for name, least in (("limit", 1), ("finetune", 2), ("tolerance", 0)):
        value = getattr(options, name)
        if value is not None and not least <= value < math.inf:
            raise UserError(f"--{name} {value}: expected {least} or more")
    if options.tolerance is not None and not options.budget:
        raise UserError("--tolerance ends the race of --budget: add --budget, or drop --tolerance")
    if options.out and not continuation.continues(options):
        check_new(options.out, "--out")
    if not options.dataset and not options.data_dir:
        raise UserError("no data: name a dataset, or pass a folder of class folders as --data_dir")


def _race(
    sheet: Dataset,
    configs: Sequence[RunConfig],
    answer: dict[str, Any],
    data: "ProbeData",
    finetuned: "np.ndarray",
    options: argparse.Namespace,
    log: Callable[[str], None],
) -> list[RunConfig]:
    """Race the backbones of the answer in the time left, from `finetuned` (R, K) draws of their scores; returns the best first, without those that failed."""
    from ...recommend import text
    from ...recommend.race import setup as race_setup
    from ...recommend.race import text as race_text

    budget = race_setup.Budget(options.budget - answer["seconds"], continuation.tolerance(options))
    script = _script(sheet, options, shots=None)  # they are in the split
    by_name = {config.model: config for config in configs}
    raced = [by_name[row["backbone"]] for row in answer["backbones"]]  # in the order of `finetuned`
    answer["race"] = race_setup.run(answer["backbones"], finetuned, raced, script, data, budget, log)
    shown = text.rename(answer["race"], names.short_names(config.model for config in configs))
    answer["advice"] = race_text.advice(shown)
    print(race_text.format_race(shown, answer["metric"], options.budget), flush=True)
    _write(options.out, answer)
    return [by_name[row["name"]] for row in answer["race"]["backbones"] if not row["failed"]]


def _finals(
    sheet: Dataset,
    configs: Sequence[RunConfig],
    answer: dict[str, Any],
    data: "ProbeData",
    options: argparse.Namespace,
    log: Callable[[str], None],
) -> None:
    """Fine-tune the finalists and compare them on the test images."""
    from ...recommend import finalists, finals_text, text

    answer["finals"] = finalists.run(configs, _script(sheet, options), data, log)
    shown = text.rename(answer["finals"], names.short_names(config.model for config in configs))
    answer["advice"] = finals_text.advice(shown)
    print(finals_text.format_finals(shown), flush=True)
    _write(options.out, answer)


def _write(out: Path | None, answer: dict[str, Any]) -> None:
    if out:
        results.write_json(out, answer)


def _script(sheet: Dataset, options: argparse.Namespace, **changes: Any) -> list[str]:
    changed = argparse.Namespace(**{**vars(options), **changes})
    return [str(catalog.ROOT / f"{sheet.script}.py"), *recommendation.shared_arguments(sheet, changed)]
