"""What every command says and how: tables and JSON on stdout, progress and errors on stderr."""

import contextlib
import json
import math
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Self

import typer
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tcnzoo.errors import TcnzooError, number_text

CHECK_FAILED = 1
BAD_INPUT = 2
INTERRUPTED = 130
TERMINATED = 143
PIPE_CLOSED = 141


class Terminated(KeyboardInterrupt):
    """SIGTERM, as schedulers send it: what is under way ends as at Ctrl-C."""


class _Console(Console):
    """A console that leaves a closed pipe to `sentences`."""

    def on_broken_pipe(self) -> None:
        """Pass the error on."""
        raise BrokenPipeError


OUT = _Console(highlight=False, markup=False, emoji=False)
ERR = _Console(stderr=True, highlight=False, markup=False, emoji=False)


def end_at_sigterm() -> None:
    """Let SIGTERM end this process as Ctrl-C does: temporary files are removed, locks released.

    Of several processes that train together only the first one writes. The others end at once, as
    they may be waiting inside a library where no handler runs.
    """
    process = os.getpid()
    if os.environ.get("RANK", "0") != "0":
        return

    def end(number: int, _: Any) -> None:
        signal.signal(number, signal.SIG_DFL if os.getpid() != process else signal.SIG_IGN)
        if os.getpid() != process:  # one that was forked, and is ended by its parent
            signal.raise_signal(number)
            return
        raise Terminated

    signal.signal(signal.SIGTERM, end)


@contextlib.contextmanager
def sentences() -> Iterator[None]:
    """Turn errors inside the block into exit codes, and say them and warnings as sentences."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            yield
            sys.stdout.flush()
    except TcnzooError as error:
        raise _refusal(str(error)) from None
    except BrokenPipeError:
        _silence_stdout()
        raise typer.Exit(PIPE_CLOSED) from None
    except OSError as error:
        where = f"{error.filename!r}: " if error.filename else ""
        raise _refusal(f"{where}{error.strerror or error}") from None
    except MemoryError as error:
        raise _refusal(f"there is not enough memory: {error}".rstrip(": ")) from None
    except ImportError as error:
        raise _refusal(f"a package cannot be imported ({error}); see: tcnzoo doctor") from None
    except Terminated:
        say("terminated")
        raise typer.Exit(TERMINATED) from None
    except KeyboardInterrupt:
        say("interrupted")
        raise typer.Exit(INTERRUPTED) from None


def _refusal(message: str) -> typer.Exit:
    """Say what is wrong with the input; return the exit."""
    say(f"error: {message}")
    return typer.Exit(BAD_INPUT)


def _show_warning(message: Any, *_: Any, **__: Any) -> None:
    """Print a warning as one sentence."""
    say(f"warning: {message}")


def _silence_stdout() -> None:
    """Send what is still buffered nowhere, so that the interpreter ends without a message."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say(message: str) -> None:
    """Print one line on stderr, as it is."""
    print(f"tcnzoo: {message}", file=sys.stderr, flush=True)


def show(text: str = "") -> None:
    """Print a line of a report on stdout."""
    OUT.print(text)


def entry(title: str, text: str) -> None:
    """Print an entry of a list: a bold title, and indented text below it."""
    OUT.print(Text(title, style="bold"))
    OUT.print(Padding(text, (0, 0, 0, 2)))


def show_json(document: Any) -> None:
    """Print JSON on stdout; numbers that JSON does not have (NaN, infinity) become null."""
    print(json.dumps(_plain(document), indent=2))


def _plain(value: Any) -> Any:
    """Only what JSON knows."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, str) or value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, Sequence | set | frozenset):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)


def table(headings: Mapping[str, str], rows: Sequence[Sequence[Any]], title: str = "") -> None:
    """Print a table that fits the width of the terminal.

    Args:
        headings: column name -> `left` or `right`.
        rows: one value a column.
        title: above the table.
    """
    if title:
        OUT.print(Text(title, style="italic"))
    grid = Table(box=None, pad_edge=False)
    for name, justify in headings.items():
        grid.add_column(name, justify="right" if justify == "right" else "left", overflow="fold")
    for row in rows:
        grid.add_row(*(number_text(value) if isinstance(value, int) else value for value in row))
    OUT.print(grid)


def facts(pairs: Mapping[str, str]) -> None:
    """Print names and what holds for them, one a line."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, text in pairs.items():
        grid.add_row(name, text)
    OUT.print(grid)


@contextlib.contextmanager
def working(message: str) -> Iterator[Callable[[str], None]]:
    """Show a spinner on stderr while the block runs, if a person is watching.

    Yields:
        A function that changes the message.
    """
    with ERR.status(message) as status:
        yield lambda text: status.update(text)


class Steps:
    """Prints each step of long work with the time that it took; call it as a step begins."""

    def __init__(self) -> None:
        """Nothing is going on yet."""
        self._status = ERR.status("starting")
        self._text, self._begin = "", 0.0

    def __enter__(self) -> Self:
        """Show the spinner."""
        self._status.start()
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        """Report the last step, unless it failed."""
        if kind is None:
            self("")
        self._status.stop()

    def __call__(self, text: str) -> None:
        """Report the step that ends, and begin another."""
        now = time.perf_counter()
        if self._text:
            ERR.print(f"{now - self._begin:6.1f} s  {self._text}")
        self._text, self._begin = text, now
        self._status.update(text)


def mark(passed: bool) -> Text:
    """`ok` or `FAILED`, coloured."""
    return Text("ok", style="green") if passed else Text("FAILED", style="bold red")


def error_text(error: float | None) -> str:
    """A relative error as text; a dash without one."""
    return "-" if error is None else f"{error:.1e}"
