"""Pictures: refused before the work for them starts, where they could not be written."""

from pathlib import Path

from tcnzoo.errors import InputError
from tcnzoo.extras import needed
from tcnzoo.files.atomic import check_destination


def check_figure(path: Path | None, *, extra: str = "plot") -> None:
    """Refuse a picture that could not be drawn or written, before the work for it starts.

    Args:
        path: of the .png file. None passes.
        extra: of tcnzoo, which installs matplotlib.
    Raises:
        InputError: another ending, or a place where nothing can be written.
        BackendMissing: matplotlib is not installed.
    """
    if path is None:
        return
    if path.suffix.lower() != ".png":
        raise InputError(f"a figure is a .png file, but got {str(path)!r}")
    check_destination(path)
    needed("matplotlib.backends.backend_agg", "a figure", extra=extra)
