"""From a matplotlib figure to SVG for a page: text stays text, colours are the page's, light or dark."""

import io
import itertools
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
from markupsafe import Markup, escape

matplotlib.use("Agg")
import matplotlib.pyplot as plt

# drawn in these, shown in what the page's style sheet makes of them
INK, SOFT, LINE = "#010203", "#040506", "#070809"
COLOURS = tuple(f"#f0f{i:x}0{i:x}" for i in range(8))
SHOWN = {
    INK: "currentColor",
    SOFT: "var(--soft)",
    LINE: "var(--line)",
    **{colour: f"var(--c{i})" for i, colour in enumerate(COLOURS)},
}
DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (5, 2, 1.5, 2)))
MARKERS = "osD^vPX*"
WIDTH = 5.0  # inches: the column of a phone

STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "font.size": 9,
    "text.parse_math": False,  # names may hold dollars
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": SOFT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": SOFT,
    "ytick.labelcolor": SOFT,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
}
_numbers = itertools.count()


@dataclass(frozen=True)
class Looks:
    """How names are drawn: a colour, a dash and a marker, the same wherever they are."""

    styles: Mapping[str, Mapping[str, Any]]
    swatches: Mapping[str, Markup]

    def __getitem__(self, name: str) -> Mapping[str, Any]:
        return self.styles[name]

    def key(self, names: Sequence[str]) -> list[tuple[str, Markup]]:
        """Names with their swatches."""
        return [(name, _again(self.swatches[name])) for name in names]


def looks(names: Sequence[str]) -> Looks:
    n = len(COLOURS)
    styles = {
        name: {
            "color": COLOURS[i % n],
            "linestyle": DASHES[i // n % len(DASHES)],
            "marker": MARKERS[(i + i // n) % len(MARKERS)],  # another one when colours begin again
        }
        for i, name in enumerate(names)
    }
    return Looks(styles, {name: _swatch(style) for name, style in styles.items()})


@contextmanager
def drawing(height: float, width: float = WIDTH) -> Iterator[tuple[plt.Figure, plt.Axes]]:
    with plt.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the reader's browser has its own
        figure, axes = plt.subplots(figsize=(width, height), layout="constrained")
        try:
            yield figure, axes
        finally:
            plt.close(figure)


def svg(figure: plt.Figure, label: str) -> Markup:
    """The `<svg>` element; `label` says to those who do not see it what it shows ("": nothing to say)."""
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<style.*?</style>", "", text, count=1, flags=re.S)  # it would style the whole page
    for drawn, shown in SHOWN.items():
        text = text.replace(drawn, shown)
    text = re.sub(r' id="[a-zA-Z_0-9]*_\d+"', "", text)  # of groups: nobody refers to them
    text = re.sub(r' (xmlns(:xlink)?|version|width|height)="[^"]*"', "", text, count=5)
    text = re.sub(r' transform="rotate\(-0 [^"]*"|font-family: [^;"<]*; ', "", text)
    text = re.sub(r' (d|x|y)="[^"]*"', lambda found: re.sub(r"(\.\d\d)\d+", r"\1", found[0]), text)
    text = re.sub(r"\s*\n\s*", " ", text)
    shown = f'role="img" aria-label="{escape(label)}"' if label else 'aria-hidden="true"'
    return _again(text.replace("<svg", f"<svg {shown}", 1))


def _again(element: str) -> Markup:
    """The same element with ids of its own: a page must not hold one twice."""
    return Markup(re.sub(r'(id="|href="#|url\(#)(?:g\d+-)?', rf"\g<1>g{next(_numbers)}-", str(element)))


def _swatch(style: Mapping[str, Any]) -> Markup:
    """A short line with its marker."""
    with plt.rc_context(STYLE):
        figure = plt.figure(figsize=(0.42, 0.18))
        line = {"color": style["color"], "linestyle": style["linestyle"]}
        marker = {"color": style["color"], "marker": style["marker"], "markersize": 5}
        figure.add_artist(plt.Line2D([0.04, 0.96], [0.5, 0.5], **line))
        figure.add_artist(plt.Line2D([0.5], [0.5], **marker))
        try:
            return svg(figure, "")
        finally:
            plt.close(figure)
