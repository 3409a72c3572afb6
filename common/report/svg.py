"""Matplotlib figures as inline SVG, with text as text and the colours of the page, light or dark."""

import io
import itertools
import json
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
from markupsafe import Markup, escape
from matplotlib.artist import Artist

matplotlib.use("Agg")
import matplotlib.pyplot as plt

# placeholders, replaced by variables of the page's style sheet
INK, SOFT, LINE = "#010203", "#040506", "#070809"
COLOURS = tuple(f"#f0f{i:x}0{i:x}" for i in range(8))
CSS_COLOURS = {
    INK: "currentColor",
    SOFT: "var(--soft)",
    LINE: "var(--line)",
    **{colour: f"var(--c{i})" for i, colour in enumerate(COLOURS)},
}
DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (5, 2, 1.5, 2)))
MARKERS = "osD^vPX*"
WIDTH = 5.0  # inches: the column of a phone

RC_PARAMS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "font.size": 9,
    "text.parse_math": False,  # names may contain dollars
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
_counter = itertools.count()


@dataclass(frozen=True)
class Style:
    """Colour, dash and marker of each backbone, the same in all charts."""

    lines: Mapping[str, Mapping[str, Any]]  # keyword arguments of `Axes.plot`
    swatches: Mapping[str, Markup]

    def __getitem__(self, name: str) -> Mapping[str, Any]:
        return self.lines[name]

    def legend(self, names: Sequence[str]) -> list[tuple[str, Markup]]:
        """Names with their swatches."""
        return [(name, _with_unique_ids(self.swatches[name])) for name in names]


def make_style(names: Sequence[str]) -> Style:
    n = len(COLOURS)
    lines = {
        name: {
            "color": COLOURS[i % n],
            "linestyle": DASHES[i // n % len(DASHES)],
            "marker": MARKERS[(i + i // n) % len(MARKERS)],  # another marker when a colour repeats
        }
        for i, name in enumerate(names)
    }
    return Style(lines, {name: _swatch(line) for name, line in lines.items()})


@contextmanager
def new_figure(height: float, width: float = WIDTH) -> Iterator[tuple[plt.Figure, plt.Axes]]:
    with plt.rc_context(RC_PARAMS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the browser has its own fonts
        figure, axes = plt.subplots(figsize=(width, height), layout="constrained")
        try:
            yield figure, axes
        finally:
            plt.close(figure)


def set_tooltips(artist: Artist, texts: Sequence[str]) -> None:
    """Show a text over each marker of a line when the pointer is on it."""
    artist.set_gid(f"tooltips-{json.dumps(list(texts)).encode().hex()}")


def _with_titles(text: str) -> str:
    """The SVG with the texts of `set_tooltips` as `<title>` of its markers."""

    def insert(match: re.Match) -> str:
        tooltips = iter(json.loads(bytes.fromhex(match[1])))
        return "<g>" + re.sub(
            r"(<use [^>]*)/>", lambda use: f"{use[1]}><title>{escape(next(tooltips, ''))}</title></use>", match[2]
        )

    return re.sub(r'<g id="tooltips-([0-9a-f]+)">(.*?)(?=<g id="|</svg>)', insert, text, flags=re.S)


def to_svg(figure: plt.Figure, alt: str) -> Markup:
    """The `<svg>` element. `alt`: its text alternative; "" for decoration."""
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    text = out.getvalue()
    text = _with_titles(text[text.index("<svg") :])
    text = re.sub(r"<style.*?</style>", "", text, count=1, flags=re.S)  # would apply to the whole page
    for placeholder, colour in CSS_COLOURS.items():
        text = text.replace(placeholder, colour)
    text = re.sub(r' id="[a-zA-Z_0-9]*_\d+"', "", text)  # of groups, never referenced
    text = re.sub(r' (xmlns(:xlink)?|version|width|height)="[^"]*"', "", text, count=5)
    text = re.sub(r' transform="rotate\(-0 [^"]*"|font-family: [^;"<]*; ', "", text)
    text = re.sub(r' (d|x|y)="[^"]*"', lambda match: re.sub(r"(\.\d\d)\d+", r"\1", match[0]), text)
    text = re.sub(r"\s*\n\s*", " ", text)
    role = f'role="img" aria-label="{escape(alt)}"' if alt else 'aria-hidden="true"'
    return _with_unique_ids(text.replace("<svg", f"<svg {role}", 1))


def _with_unique_ids(element: str) -> Markup:
    """The element with ids that are unique in the page."""
    return Markup(re.sub(r'(id="|href="#|url\(#)(?:g\d+-)?', rf"\g<1>g{next(_counter)}-", str(element)))


def _swatch(line: Mapping[str, Any]) -> Markup:
    """A short line with its marker."""
    with plt.rc_context(RC_PARAMS):
        figure = plt.figure(figsize=(0.42, 0.18))
        dash = {"color": line["color"], "linestyle": line["linestyle"]}
        marker = {"color": line["color"], "marker": line["marker"], "markersize": 5}
        figure.add_artist(plt.Line2D([0.04, 0.96], [0.5, 0.5], **dash))
        figure.add_artist(plt.Line2D([0.5], [0.5], **marker))
        try:
            return to_svg(figure, "")
        finally:
            plt.close(figure)
