"""Files for libraries that do not bear an error while they write."""

import io
from pathlib import Path
from typing import Any


class Sink(io.FileIO):
    """A new file that keeps the first error of writing, writes no more, and raises it at the end.

    Where a disk is full, torch and HDF5 end in errors that hide the cause, or in none at all. To
    them this file has room for everything.
    """

    def __init__(self, file: Path | int, *, closefd: bool = True) -> None:
        """Make the file, or take one that is open, to be written and read back."""
        super().__init__(file, "w+", closefd=closefd)
        self.failure: OSError | None = None

    def write(self, data: Any, /) -> int:
        """Write all of some bytes, unless there was an error before."""
        whole = memoryview(data).cast("B")
        done = 0
        while done < len(whole) and self.failure is None:
            try:
                done += super().write(whole[done:]) or 0
            except OSError as error:
                self.failure = error
        return len(whole)

    def truncate(self, size: int | None = None, /) -> int:
        """Cut or lengthen the file, unless there was an error before."""
        if self.failure is None:
            try:
                return super().truncate(size)
            except OSError as error:
                self.failure = error
        return self.tell() if size is None else size

    def __exit__(self, *_: object) -> None:
        """Close the file.

        Raises:
            OSError: the first error of writing, in place of what the library made of it.
        """
        self.close()
        if self.failure is not None:
            raise self.failure
