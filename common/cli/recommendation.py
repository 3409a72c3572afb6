"""The backbones of a recommendation and their runs' configs, checked before the first probe."""

from argparse import Namespace

from ..errors import UserError
from ..models import build
from ..models.registry import BACKBONES
from ..recommend.candidates import Candidates, find
from ..spec import Dataset, RunConfig
from .arguments import check_labels, label_arguments
from .parse import make_config, parse


def shared_arguments(sheet: Dataset, options: Namespace) -> list[str]:
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


def usable(options: Namespace) -> Candidates:
    """The backbones named, or the default ones, by whether their weights are on this machine."""
    for name in options.model or ():
        build.check_name(name)
    rows = [build.get_backbone(name) for name in options.model] if options.model else None
    names = [row.name for row in rows or ()]
    if repeated := [name for i, name in enumerate(names) if name in names[:i]]:
        raise UserError(f"-model lists {repeated[0]} twice")
    if options.weights == "none":
        return Candidates(usable=rows or list(BACKBONES))
    return find(rows, options.offline)


def configs(sheet: Dataset, arguments: list[str], candidates: Candidates, options: Namespace) -> tuple[RunConfig, ...]:
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
