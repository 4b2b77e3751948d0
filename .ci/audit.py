"""Looks up the installed runtime dependencies, of every extra, in a database of vulnerabilities.

Exit codes: 0 all were looked up and none has a known vulnerability; 1 one has; 77 skipped, as not
all could be looked up.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

NAME = "redispatcher-fastapi"
#: What users install; the others are for those who work on the library.
EXTRAS = ("all",)
FOUND, SKIPPED = 1, 77
SECONDS = 15


def find_runtime(name: str = NAME, extras: tuple[str, ...] = EXTRAS) -> dict[str, str]:
    """Return name and version of all that is installed because users of the library need it."""
    versions: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    left = [(canonicalize_name(name), extra) for extra in ("", *extras)]
    while left:
        each = left.pop()
        if each in seen:
            continue
        seen.add(each)
        package, extra = each
        try:
            found = distribution(package)
        except PackageNotFoundError:
            continue  # for another platform or Python
        if package != canonicalize_name(name):
            versions[package] = found.version
        for text in found.requires or ():
            requirement = Requirement(text)
            marker = requirement.marker
            if marker is None or marker.evaluate({"extra": extra}):
                needed = canonicalize_name(requirement.name)
                left += [(needed, more) for more in ("", *requirement.extras)]
    return dict(sorted(versions.items()))


def judge(report: dict[str, Any], runtime: dict[str, str]) -> tuple[int, list[str]]:
    """Return the exit code for a report of pip-audit, and what to tell."""
    told: list[str] = []
    unknown: list[str] = []
    checked: set[str] = set()
    is_vulnerable = False
    for dependency in report["dependencies"]:
        name = canonicalize_name(dependency["name"])
        if "skip_reason" in dependency:
            unknown.append(name)
            continue
        checked.add(name)
        for vulnerability in dependency["vulns"]:
            is_vulnerable = True
            fixed = ", ".join(vulnerability.get("fix_versions", ())) or "no release"
            told.append(
                f"VULNERABLE: {name} {dependency['version']}: {vulnerability['id']}, "
                f"fixed in {fixed}"
            )
    if unknown:
        told.append(f"The database does not know: {', '.join(unknown)}")
    told.append(f"{len(checked & set(runtime))} of {len(runtime)} runtime dependencies looked up.")
    if is_vulnerable:
        return FOUND, told
    return (0 if checked >= set(runtime) else SKIPPED), told


def ask(runtime: dict[str, str], folder: Path) -> dict[str, Any] | str:
    """Return the report, or why there is none."""
    listed, report = folder / "runtime.txt", folder / "report.json"
    listed.write_text("".join(f"{name}=={version}\n" for name, version in runtime.items()))
    command = [sys.executable, "-m", "pip_audit", "--no-deps", "--disable-pip", "-r", str(listed)]
    command += ["-f", "json", "-o", str(report), "--progress-spinner", "off", "--timeout", "5"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"no answer within {SECONDS} s"
    if not report.exists():
        return (done.stderr.strip().splitlines() or ["no report"])[-1]
    answer: dict[str, Any] = json.loads(report.read_text())
    return answer


def main() -> int:
    runtime = find_runtime()
    with tempfile.TemporaryDirectory() as folder:
        report = ask(runtime, Path(folder))
    if isinstance(report, str):
        print(f"Skipped: the database of vulnerabilities cannot be asked: {report}")
        return SKIPPED
    code, told = judge(report, runtime)
    print("\n".join(told))
    return code


if __name__ == "__main__":
    sys.exit(main())
