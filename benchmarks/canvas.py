"""How the plots look: a white card with round corners, readable on light and dark pages."""

# The keyword arguments of matplotlib have no types.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import io
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from matplotlib.ticker import FuncFormatter, NullFormatter
from PIL import Image

from benchmarks.measures import OURS
from benchmarks.wording import show_number

WIDTH = 8.0
"""Inches. Twice a hundred dots each make 1,600 pixels, shown as 800."""
DPI = 200
INK = "#1f2328"
FAINT = "#656d76"
GRID = "#e4e7eb"
OUR_COLOUR = "#0f8a7e"
OTHER_OUR_COLOUR = "#7cc4bc"
LIMIT_COLOUR = "#c9ced6"
PEER_COLOURS = (
    "#5b7fa6",
    "#b0785a",
    "#8b6fae",
    "#a89a3c",
    "#6d8f5e",
    "#b0617c",
    "#3d5a73",
    "#c9a66b",
)


def colour_of(side: str, position: int = 0) -> str:
    """Ours stands out; peers differ only where ``position`` tells their lines apart."""
    match side:
        case "ours":
            return OUR_COLOUR
        case "ours-embedded":
            return OTHER_OUR_COLOUR
        case "limit":
            return LIMIT_COLOUR
        case _:
            return PEER_COLOURS[position % len(PEER_COLOURS)]


@contextmanager
def open_card(
    path: Path, title: str, caption: str, *, rows: int, panels: int = 1
) -> Generator[list[Axes]]:
    """Axes on a card, side by side, high enough for ``rows`` of text; saved on exit."""
    height = 1.25 + 0.32 * rows
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, facecolor="none")
    FigureCanvasAgg(figure)
    margin = 0.02
    figure.add_artist(
        FancyBboxPatch(
            (margin, margin),
            WIDTH - 2 * margin,
            height - 2 * margin,
            boxstyle="round,pad=0,rounding_size=0.12",
            facecolor="white",
            edgecolor="#d0d7de",
            linewidth=0.8,
            transform=figure.dpi_scale_trans,
            zorder=-1,
        )
    )
    figure.text(0.25 / WIDTH, 1 - 0.24 / height, title, size=13, weight="bold", color=INK, va="top")
    figure.text(0.25 / WIDTH, 1 - 0.54 / height, caption, size=9, color=FAINT, va="top")
    grid = figure.add_gridspec(1, panels)
    axes = [figure.add_subplot(grid[0, column]) for column in range(panels)]
    for panel in axes:
        panel.set_facecolor("none")
        panel.spines[:].set_visible(False)
        panel.tick_params(which="both", length=0, labelsize=9.5, colors=INK)
    yield axes
    figure.set_layout_engine(
        "constrained", rect=(0.2 / WIDTH, 0.12 / height, 1 - 0.45 / WIDTH, 1 - 0.95 / height)
    )
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    # A palette makes a third of the size: plots have few colours.
    Image.open(buffer).quantize(96, method=Image.Quantize.FASTOCTREE).save(path, optimize=True)


def draw_bars(
    panel: Axes, bars: Sequence[tuple[str, float]], names: Mapping[str, str], unit: str = ""
) -> None:
    """A horizontal bar per side from top to bottom, each with its value; a dash for zero."""
    values = [value for _, value in bars]
    colours = [colour_of(side) for side, _ in bars]
    panel.barh(range(len(bars)), values, color=colours, height=0.68)
    panel.set_xlim(0, max(0, *values) * 1.17 or 1)
    panel.set_xticks([])
    for row, (side, value) in enumerate(bars):
        panel.annotate(
            f"{show_number(value)} {unit}".strip() if value else "-",
            (value, row),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            size=9.5,
            color=INK,
            weight=weight_of(side),
        )
    name_rows(panel, [side for side, _ in bars], names)


def name_rows(panel: Axes, sides: Sequence[str], names: Mapping[str, str]) -> None:
    """Write the names beside their rows, the first on top."""
    panel.set_yticks(range(len(sides)), [names.get(side, side) for side in sides])
    panel.set_ylim(len(sides) - 0.5, -0.5)
    for side, label in zip(sides, panel.get_yticklabels(), strict=True):
        label.set_fontweight(weight_of(side))


def weight_of(side: str) -> Literal["bold", "normal"]:
    return "bold" if side == OURS else "normal"


def scale_axis(panel: Axes, axis: Literal["x", "y"], values: Sequence[float]) -> None:
    """Logarithmic where the values are far apart, from zero otherwise; with plain numbers."""
    low, high = min(values), max(values)
    is_log = low > 0 and high / low > 8
    limits = (low * 0.7, high * 1.6) if is_log else (0, max(high, 0) * 1.15 or 1)
    if axis == "x":
        panel.set_xscale("log" if is_log else "linear")
        panel.set_xlim(limits)
    else:
        panel.set_yscale("log" if is_log else "linear")
        panel.set_ylim(limits)
    shown = panel.xaxis if axis == "x" else panel.yaxis
    shown.set_major_formatter(FuncFormatter(_show_tick))
    shown.set_minor_formatter(NullFormatter())
    panel.grid(axis=axis, color=GRID, linewidth=0.8)
    panel.set_axisbelow(True)


def _show_tick(value: float, _position: int | None = None) -> str:
    return f"{value:,g}" if value < 1e6 else show_number(value)
