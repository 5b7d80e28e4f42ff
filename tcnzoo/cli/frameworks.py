"""Importing frameworks before a command uses them, without the notes that they print."""

import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence

from tcnzoo.models.backend import get_backend, installed_backends


def import_backends(names: Sequence[str] | None = None) -> None:
    """Import the packages of some backends, or of all that are installed.

    An error is left to the call that needs the backend; only what was printed is shown.
    """
    with _quiet() as show:
        for name in installed_backends() if names is None else names:
            try:
                get_backend(name)
            except Exception:
                show.append(name)
    # TensorFlow warns of functions that are traced for several shapes, as chunks of a stream are.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)


@contextlib.contextmanager
def _quiet() -> Iterator[list[str]]:
    """Hold back what the block writes to stderr below Python, as TensorFlow does on import.

    Yields:
        A list; if the block puts something into it, or raises, what it wrote is shown after all.
    """
    reasons: list[str] = []
    try:
        stderr = os.dup(2)
    except OSError:
        yield reasons
        return
    sys.stderr.flush()
    with tempfile.TemporaryFile() as captured:
        os.dup2(captured.fileno(), 2)
        try:
            yield reasons
        except BaseException as error:
            reasons.append(str(error))
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            captured.seek(0)
            if reasons:
                os.write(2, captured.read())
