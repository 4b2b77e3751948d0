"""Figures as people read them, and tables of Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from benchmarks.metrics import METRICS
from benchmarks.results import Figure


def show_number(value: float) -> str:
    """Three significant digits, or all digits before the point: 0.0123, 12.3, 1,234."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    # Rounding may carry: 99.96 has one digit less after the point than its magnitude says.
    digits = max(0, 2 - math.floor(math.log10(abs(round(value, digits)))))
    return f"{value:,.{digits}f}"


def show_value(metric: str, value: float) -> str:
    """A number with the unit of its metric."""
    unit = METRICS[metric].unit
    return f"{show_number(value)} {unit}" if unit else show_number(value)


def show_share(share: float) -> str:
    """0.123 is 12 %, 0.0123 is 1.2 %."""
    return f"{share * 100:.{0 if abs(share) >= 0.0995 else 1}f} %"


def show_spread(figure: Figure) -> str:
    """How far the rounds lie apart; a single round cannot say."""
    return f"± {show_share(figure.spread / 2)}" if len(figure.values) > 1 else "one round"


def write_table(head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: int = 0) -> str:
    """A table in Markdown; the ``numbers`` columns after the first are aligned to the right."""
    rule = ["---:" if 0 < column <= numbers else "---" for column in range(len(head))]
    return "\n".join(_write_row(cells) for cells in (head, rule, *rows))


def _write_row(cells: Sequence[str]) -> str:
    clean = (" ".join(cell.split()).replace("|", r"\|") for cell in cells)
    return f"| {' | '.join(clean)} |"
