"""Runs the engine with one of its scripts changed."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from hashlib import sha1
from importlib.resources import files

from redispatcher_fastapi.broker import scripts
from redispatcher_fastapi.broker.scripts import LIBRARIES, Script, assemble
from tests.model.mutant import Mutant

_FOLDER = files("redispatcher_fastapi.broker") / "lua"


class MutantNotFoundError(Exception):
    """Raised when a script no longer has the line that a mutant changes."""


@contextmanager
def mutated(mutant: Mutant) -> Generator[None]:
    """Run the engine with one mutation.

    Raises:
        MutantNotFoundError: no script has the line, or it stands there more than once.
    """
    known = [script for script in vars(scripts).values() if isinstance(script, Script)]
    changed = {
        script: source for script in known if (source := _mutate(script, mutant)) is not None
    }
    if not changed:
        raise MutantNotFoundError(f"{mutant.name}: {mutant.script} has no single {mutant.line!r}")
    sources = [script.source for script in changed]
    try:
        for script, source in changed.items():
            _replace(script, source)
        yield
    finally:
        for script, source in zip(changed, sources, strict=True):
            _replace(script, source)


def _mutate(script: Script, mutant: Mutant) -> str | None:
    """Return the source with the mutation; ``None`` where it does not concern the script."""
    body = (_FOLDER / f"{script.name}.lua").read_text()
    if mutant.script == script.name and body.count(mutant.line) == 1:
        return assemble(body.replace(mutant.line, mutant.by))
    if mutant.script in LIBRARIES:
        library = (_FOLDER / f"{mutant.script}.lua").read_text()
        changed = assemble(body, lambda text: text.replace(mutant.line, mutant.by))
        if library.count(mutant.line) == 1 and changed != script.source:
            return changed
    return None


def _replace(script: Script, source: str) -> None:
    script.source = source
    script.digest = sha1(source.encode(), usedforsecurity=False).hexdigest()
