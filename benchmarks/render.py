"""Write the report, the plots and the pages again from what a run has saved.

``python -m benchmarks.render docs/benchmarks/results.json docs/performance.md README.md``
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.plots import draw
from benchmarks.reporting import PageError, fill, summary, write
from benchmarks.results import load


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 1 if a page has markers that cannot be filled."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.render", description=__doc__)
    parser.add_argument("results", type=Path, help="the results.json of a run")
    parser.add_argument("pages", type=Path, nargs="*", help="Markdown pages with markers to fill")
    parser.add_argument("--out", type=Path, help="where report.md and the plots go: beside results")
    options = parser.parse_args(arguments)
    report = load(options.results)
    out: Path = options.out or options.results.parent
    write(report, out)
    draw(report, out)
    try:
        for page in options.pages:
            fill(page, report)
    except PageError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{summary(report)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
