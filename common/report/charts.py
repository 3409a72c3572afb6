"""Charts of the report: numbers -> SVG."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from markupsafe import Markup
from numpy import ndarray

from . import svg
from .significance import Ranking
from .svg import INK, LINE, SOFT, Style

Curve = Sequence[tuple[float, float]]


class Labels(NamedTuple):
    x: str
    y: str
    alt: str  # text alternative of the chart


def ranks(ranking: Ranking, style: Style, alt: str) -> Markup:
    """Critical difference diagram (Demsar 2006, figure 1), upright. Bars join ranks that do not differ significantly."""
    k = len(ranking.backbones)
    with svg.new_figure(0.9 + 0.27 * (k + 1)) as (figure, axes):
        for i, (name, rank) in enumerate(zip(ranking.backbones, ranking.mean_ranks, strict=True)):
            axes.plot([1, rank], [i, i], color=LINE, lw=0.8, zorder=1)
            (point,) = axes.plot(rank, i, marker=style[name]["marker"], color=style[name]["color"], ms=7, zorder=3)
            svg.set_tooltips(point, [f"{name}: {rank:.2f}"])
            at = {"xytext": (7, 0), "textcoords": "offset points", "va": "center"}
            axes.annotate(f"{rank:.2f}", (rank, i), **at, color=SOFT, fontsize=8)
        right, step = 1.16 * k, 0.03 * k  # right of the last label
        for i, clique in enumerate(ranking.cliques):
            axes.plot([right + step * i] * 2, [min(clique) - 0.25, max(clique) + 0.25], color=INK, lw=3.2)
        width = min(ranking.cd, k - 1)
        suffix = "" if width == ranking.cd else " (wider than the scale)"
        axes.plot([1, 1 + width], [-1.05] * 2, color=INK, lw=1.2, marker="|", ms=7)
        label = f"critical difference {ranking.cd:.2f}{suffix}"
        axes.text(1, -1.35, label, color=SOFT, fontsize=8, va="bottom")
        axes.set_yticks(range(k), ranking.backbones, color=INK)
        axes.set(xlabel="mean rank (1 is best)", ylim=(k - 0.4, -2.1))
        axes.set_xlim(1 - 0.03 * k, right + step * len(ranking.cliques))
        axes.set_xticks(range(1, k + 1))
        axes.grid(axis="y", visible=False)
        axes.spines["left"].set_visible(False)
        axes.tick_params(length=0)
        return svg.to_svg(figure, alt)


def pareto(
    points: Mapping[str, tuple[float, float, tuple[float, float] | None]],
    front: Sequence[str],
    style: Style,
    labels: Labels,
    more_is_better: bool,
) -> Markup:
    """`points`: (cost, score in %, its interval) by backbone. The front is joined by steps, the others are faint."""
    with svg.new_figure(3.4) as (figure, axes):
        axes.set_xscale("log")
        steps = sorted((points[name][:2] for name in front), reverse=more_is_better)
        axes.plot(*zip(*steps, strict=True), color=SOFT, lw=1, zorder=1, drawstyle="steps-post")
        for name, (cost, value, interval) in points.items():
            line, alpha = style[name], 1 if name in front else 0.45
            if interval:
                axes.plot([cost, cost], interval, color=line["color"], lw=1.2, alpha=alpha, zorder=2)
            shown = {"marker": line["marker"], "color": line["color"], "ms": 7.5, "alpha": alpha, "zorder": 3}
            (point,) = axes.plot(cost, value, **shown)
            svg.set_tooltips(point, [f"{name}: {cost:,.4g}, {value:.2f} %"])
        axes.margins(x=0.22, y=0.14)
        axes.set(xlabel=labels.x, ylabel=labels.y)
        _format_log_axis(axes)
        if more_is_better:
            axes.invert_xaxis()
        _label_points(axes, {name: point[:2] for name, point in points.items()}, front)
        return svg.to_svg(figure, labels.alt)


def curves(curves: Mapping[str, Curve], style: Style, labels: Labels, log: bool = False) -> Markup:
    """One line per name, with markers up to 30 points. `log`: logarithmic x axis."""
    with svg.new_figure(2.9) as (figure, axes):
        for name, curve in curves.items():
            marker = style[name]["marker"] if len(curve) <= 30 else None
            (line,) = axes.plot(*zip(*curve, strict=True), **{**style[name], "marker": marker}, ms=4.5)
            svg.set_tooltips(line, [f"{name}: {x:,.10g}, {y:.2f}" for x, y in curve])
        axes.set(xlabel=labels.x, ylabel=labels.y)
        if log:
            axes.set_xscale("log")
            _format_log_axis(axes)
            ticks = sorted({x for curve in curves.values() for x, _ in curve})
            axes.set_xticks(ticks if len(ticks) <= 7 else axes.get_xticks())
        else:
            axes.xaxis.get_major_locator().set_params(integer=True)
        return svg.to_svg(figure, labels.alt)


def reliability(points: Mapping[str, tuple[ndarray, ndarray]], style: Style, alt: str) -> Markup:
    """`points`: confidence and accuracy per bin, by backbone."""
    with svg.new_figure(4.4) as (figure, axes):
        axes.plot([0, 100], [0, 100], color=SOFT, lw=1, ls=(0, (1, 2)))
        for name, (confidence, accuracy) in points.items():
            (line,) = axes.plot(100 * confidence, 100 * accuracy, **style[name], ms=4.5)
            bins = zip(100 * confidence, 100 * accuracy, strict=True)
            svg.set_tooltips(line, [f"{name}: confidence {p:.1f} %, accuracy {a:.1f} %" for p, a in bins])
        axes.set(xlabel="confidence (%)", ylabel="accuracy (%)", xlim=(0, 102), ylim=(0, 102), aspect="equal")
        return svg.to_svg(figure, alt)


def confusion(counts: ndarray, classes: Sequence[str], alt: str) -> Markup:
    """Rows: true classes, shaded by the fraction of their images."""
    from matplotlib.colors import ListedColormap

    fractions = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    n = len(classes)
    ramp = np.ones((256, 4)) * [0.16, 0.42, 0.70, 1]
    ramp[:, 3] = np.linspace(0, 1, 256) ** 0.6  # transparent, for light and dark pages
    with svg.new_figure(4.3 if n <= 30 else 3.8, 4.9) as (figure, axes):
        axes.imshow(fractions, cmap=ListedColormap(ramp), vmin=0, vmax=1, interpolation="nearest")
        axes.set(xlabel="predicted", ylabel="true")
        axes.grid(visible=False)
        axes.spines[:].set_visible(True)
        axes.tick_params(length=0)
        if n <= 30:
            axes.set_xticks(range(n), classes, rotation=90, fontsize=min(8, 180 / n))
            axes.set_yticks(range(n), classes, fontsize=min(8, 180 / n))
        if n <= 12:
            for i, j in np.argwhere(counts):
                colour = "white" if fractions[i, j] > 0.5 else INK
                axes.text(j, i, f"{counts[i, j]:,}", ha="center", va="center", fontsize=7, color=colour)
        return svg.to_svg(figure, alt)


def _format_log_axis(axes) -> None:
    """Tick labels such as 20 and 500 instead of powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axes.get_xlim()
    decades = np.log10(high / low)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 2.5 else (1,)))
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value:,.10g}" if value >= 0.001 else f"{value:.0e}")
    )
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(which="both", length=0)


def _label_points(axes, points: Mapping[str, tuple[float, float]], front: Sequence[str]) -> None:
    """Names next to their points, the front first; omitted where there is no room."""
    figure = axes.figure
    figure.draw_without_rendering()
    frame, placed = axes.get_window_extent(), []
    pixels = {name: axes.transData.transform(point) for name, point in points.items()}
    for name in sorted(points, key=lambda name: name not in front):
        for dx, dy, side in ((0, 9, "center"), (-8, 0, "right"), (0, -9, "center"), (8, 0, "left")):
            text = axes.annotate(
                name, points[name], (dx, dy), textcoords="offset points", ha=side, va="center", fontsize=8,
                color=INK if name in front else SOFT,
            )  # fmt: skip
            text.set_in_layout(False)
            box = text.get_window_extent().expanded(1.02, 1.05)
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
            covers_point = any(
                box.x0 - 4 < x < box.x1 + 4 and box.y0 - 3 < y < box.y1 + 3
                for other, (x, y) in pixels.items()
                if other != name
            )
            if inside and not covers_point and not any(box.overlaps(other) for other in placed):
                placed.append(box)
                break
            text.remove()
