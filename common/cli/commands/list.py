"""list the backbones and the datasets"""

from ...errors import Parser
from ...models.registry import BACKBONES, CIFAR, MODERN, REFERENCES
from ...spec import Dataset
from .. import catalog
from ..main import report_user_errors


def main(argv: list[str]) -> None:
    Parser(prog="python -m common list", description=__doc__).parse_args(argv)
    report_user_errors(_show)


def _show() -> None:
    header = f"{'params':>8} {'top-1':>7} {'at':>4}  {'pretrained on':13} {'weights':42} sha256    aliases"
    groups = (("backbone", BACKBONES), ("newer backbones", MODERN), ("reference implementations", REFERENCES))
    for title, rows in groups:
        print(f"{title:26} {header}")
        for row in rows:
            top1 = "" if row.top1 is None else f"{100 * row.top1:5.2f} %"
            print(
                f"{row.name:26} {row.params / 1e6:6.2f} M {top1:>7} {row.size:4}  {row.pretrained_on:13} "
                f"{row.enum or row.weights.rsplit('/', 1)[1]:42} {row.sha256 or 'not given':9} {', '.join(row.aliases)}"
            )
        print()
    print("any other model of timm or torchvision: -model timm:NAME, -model torchvision:NAME\n")
    print(f"{'from scratch only':21} {'params':>8} {'MACs':>7} {'at':>4}  (--weights none)")
    for row in CIFAR:
        print(f"{row.name:21} {row.params / 1e6:6.2f} M {row.macs / 1e9:5.3f} G {row.size:4}")
    print()
    print(
        f"{'dataset':14} {'domain':14} {'train':>7} {'val':>6} {'test':>6} {'classes':>8} {'pixels':>8} {'download':>8}  licence"
    )
    for sheet in catalog.datasets():
        train, val, test = (
            f"{sheet.counts[p]:,}" if p in (sheet.counts or {}) else "" for p in ("train", "val", "test")
        )
        classes = len(sheet.classes) if isinstance(sheet.classes, tuple) else sheet.classes or ""
        size = "x".join(map(str, sheet.image_size))
        print(
            f"{sheet.name:14} {sheet.domain:14} {train:>7} {val:>6} {test:>6} {classes:>8} {size:>8} {_download(sheet):>8}  "
            f"{sheet.licence}"
        )
    print("\ncaveats of scores on them")
    for sheet in catalog.datasets():
        for caveat in sheet.caveats:
            print(f"{sheet.name:14} {caveat}")
    print("\ncitations")
    for script, citation in {sheet.script: sheet.citation for sheet in catalog.datasets() if sheet.citation}.items():
        print(f"{script:14} {citation}")


def _download(sheet: Dataset) -> str:
    """Download size, or why there is none."""
    if not sheet.sources:
        return "bundled" if sheet.bundled else ""
    if not all(file.mirrors for file in sheet.sources):
        return "by hand"
    sizes = [file.bytes for file in sheet.sources]
    return f"{sum(sizes) / 1e6:,.0f} MB" if all(sizes) else "yes"
