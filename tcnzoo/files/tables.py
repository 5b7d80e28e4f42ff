"""Tables of text (.csv): one rule for encodings, separators, names, numbers and lost lines.

The text is UTF-8, or UTF-16 or UTF-32 with a byte-order mark. Columns are separated by semicolons
if the first line has one outside quotes, else by commas. With semicolons the decimal mark is a
point or a comma, the same in the whole file; with commas it is a point. A first line without a
number holds the names of the columns. Empty cells behind the last column are ignored, and so are
empty lines behind the last row; an empty line before a row is an error.
"""

import codecs
import csv
import math
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from tcnzoo.errors import InputError

Line = tuple[int, list[str]]

# UTF-32 first: its little-endian mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?", re.ASCII)
_LIKE_A_NUMBER = re.compile(r"[+-]?([.,]?\d|(inf|infinity|nan)$)", re.IGNORECASE)
_QUOTED = re.compile(r'"[^"]*"')
# What recorders, pandas 3, spreadsheets, databases and C's printf write where there is no value.
_MISSING = {
    *("", "-", "--", "?", "na", "n/a", "n.a.", "#n/a", "#na", "#n/a n/a", "<na>", "nan", "nat"),
    *("nan(ind)", "nan(snan)", "-nan(ind)", "-nan(snan)", "null", "(null)", "\\n", "none", "nil"),
    *("missing", "undefined", "#num!", "#value!", "#div/0!", "#ref!", "#name?", "#null!"),
}


def text_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a text file with their ends, without its byte-order mark.

    Raises:
        InputError: neither UTF-8 nor marked as UTF-16 or UTF-32, or with NUL characters.
    """
    with path.open("rb") as file:
        begin = file.read(4)
    encoding = next((name for mark, name in _MARKS if begin.startswith(mark)), "utf-8-sig")
    try:
        with path.open(encoding=encoding, newline="") as text:
            for line in text:
                if "\0" in line:
                    raise UnicodeError
                yield line
    except UnicodeError:
        raise InputError(
            f"{str(path)!r} is not a text file in UTF-8, or in UTF-16 with a byte-order mark"
        ) from None


def is_missing(text: str) -> bool:
    """Whether a cell says that there is no value: empty, `-`, `NA`, `nan`, `None` and the like."""
    return text.strip().lower() in _MISSING


class Table:
    """The rows of a .csv file, one after another.

    Attributes:
        path: of the file.
        names: of the columns; None where the first line holds a number.
        width: number of columns; 0 where the file is empty.
    """

    def __init__(self, path: Path, cells: str = "numbers", named: bool = False) -> None:
        """Read the first line.

        Args:
            path: of the file.
            cells: what a row holds, for error messages.
            named: whether the first line holds names in any case.
        Raises:
            InputError: the file is not text.
        """
        self.path, self._cells = path, cells
        self.names: list[str] | None = None
        self.width = 0
        text = text_lines(path)
        head: list[str] = []
        for line in text:
            head.append(line)
            if line.strip():
                break
        separator = ";" if ";" in _QUOTED.sub("", "".join(head)) else ","
        self._decimal = "." if separator == "," else None
        self._lines = self._filled_lines(chain(head, text), separator)
        first = next(self._lines, None)
        if first is None:
            return
        filled = [column for column, cell in enumerate(first[1], start=1) if cell.strip()]
        self.width = max(filled, default=len(first[1]))
        names = [cell.strip() for cell in first[1][: self.width]]
        if named or not any(map(_is_no_name, names)):
            self.names = names
        else:
            self._lines = chain([first], self._lines)

    def rows(self) -> Iterator[Line]:
        """Yield the number of each row's line, and its `width` cells.

        Raises:
            InputError: an empty line before a row, or a row of another length; with its number.
        """
        for number, cells in self._lines:
            if len(cells) < self.width or any(cell.strip() for cell in cells[self.width :]):
                columns = "column" if len(cells) == 1 else "columns"
                raise self.error(number, f"it has {len(cells)} {columns}")
            yield number, cells[: self.width]

    def number(self, text: str) -> float | None:
        """The number in a cell; None where there is none, or none that is finite."""
        text = text.strip(" \t")
        if not _NUMBER.fullmatch(text):
            return None
        mark = "," if "," in text else "." if "." in text else None
        if mark is not None:
            self._decimal = self._decimal or mark
            if mark != self._decimal:
                return None
        value = float(text.replace(",", "."))
        return value if math.isfinite(value) else None

    def error(self, number: int, why: str) -> InputError:
        """The error of a line that is not what it should be."""
        return InputError(
            f"{str(self.path)!r}: line {number} is not {self.width} {self._cells}: {why}"
        )

    def _filled_lines(self, text: Iterable[str], separator: str) -> Iterator[Line]:
        """Lines with their numbers; an empty one is an error as soon as another follows."""
        reader = csv.reader(text, delimiter=separator, strict=True)
        number, empty = 1, None
        try:
            for cells in reader:
                if not cells or (len(cells) == 1 and cells[0] and not cells[0].strip()):
                    empty = empty or number
                elif empty is not None:
                    raise InputError(
                        f"{str(self.path)!r}: line {empty} is empty, and the rows after it would "
                        "move: remove the line, or give it values"
                    )
                else:
                    yield number, cells
                number = reader.line_num + 1
        except csv.Error as error:
            raise InputError(f"{str(self.path)!r}: line {number} cannot be read: {error}") from None


def _is_no_name(cell: str) -> bool:
    """Whether a cell cannot name a column: without a letter, missing, or like a number."""
    named = any(map(str.isalpha, cell)) and not is_missing(cell)
    return not named or _LIKE_A_NUMBER.match(cell) is not None
