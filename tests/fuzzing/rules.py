"""What holds for every mutant: one line a refusal, bounds of time and memory, no file touched."""

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tcnzoo.errors import TcnzooError
from tests.fuzzing.memory import peak, reset_peak
from tests.fuzzing.trap import Trap

# MiB that reading may take: an archive may unpack to 256, of which there may be copies.
MOST_MEMORY = 900
# Seconds of CPU that one mutant may take; a process that waits instead is ended by `workers`.
MOST_SECONDS = 10.0
# Words of a refusal that show that memory was asked for, and not had.
ASKED = ("allocate", "MemoryError", "out of memory")


class Wrong(Exception):  # noqa: N818 - a finding about tcnzoo, not an error in this file
    """A mutant that ends as none may."""


@contextmanager
def watched(folder: Path, trap: Trap) -> Iterator[set[str]]:
    """Hold what is done inside to the rules; yields a set, for the names of files that may appear.

    Raises:
        Wrong: too much time or memory was taken, code was run, or files were changed or left.
    """
    made: set[str] = set()
    before = digest(folder)
    reset_peak()
    start = time.process_time()
    yield made
    grown, taken = peak(), time.process_time() - start
    if grown > MOST_MEMORY:
        raise Wrong(f"took {grown} MiB")
    if taken > MOST_SECONDS:
        raise Wrong(f"took {taken:.1f} s")
    if trap.sentinel.exists():
        raise Wrong("code in it was run")
    if digest(folder, leaving_out=made) != before:
        raise Wrong(f"files beside it were changed or left: {sorted(os.listdir(folder))}")


def refusal(sentences: list[str], call: Any, *args: Any, **options: Any) -> Any:
    """Call; keep the sentence of a refusal, which must be one."""
    try:
        return call(*args, **options)
    except TcnzooError as error:
        text, kind = str(error), type(error).__name__
    check_line(text, "refusal")
    if any(word in text for word in ASKED):
        raise Wrong(f"memory was asked for: {text[:300]}")
    sentences.append(f"{kind}: {text}")
    return None


def check_line(text: str, what: str, longest: int | None = None) -> None:
    """Raise Wrong for a text that is no single line, or is longer than so many characters."""
    text.encode()  # or nobody could print it
    if not text.strip() or len(text.splitlines()) != 1:
        raise Wrong(f"the {what} is no single line: {text[:300]!r}")
    if longest is not None and len(text) > longest:
        raise Wrong(f"the {what} has {len(text)} characters: {text[:300]!r}")


def digest(folder: Path, leaving_out: Any = ()) -> dict[str, str]:
    """Kind and content of everything in a folder."""
    found = {}
    for root, directories, files in os.walk(folder):
        inside = Path(root).relative_to(folder)
        if inside.parts and inside.parts[0] in leaving_out:
            continue
        for name in [*directories, *files]:
            path = Path(root) / name
            if path.is_file() and not path.is_symlink():
                found[str(inside / name)] = hashlib.sha256(path.read_bytes()).hexdigest()
            elif str(inside / name) not in leaving_out:
                found[str(inside / name)] = "no file"
    return found
