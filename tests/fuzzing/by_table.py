"""Mutations of tables of text: cells, rows, columns, separators, quotes, encodings."""

CELLS = (
    "", " ", "-", "n/a", "N/A", "nan", "inf", "-inf", "1e999", "1e-400", "-1", "-0.0", "0", "1",
    "5.5",
    "1,5", "1.5.5", "1_000", "0x10", "\u0663", "\uff11", "9" * 400, "9" * 5000, "x" * 5000, '"',
    "a b",
    "a\u2028b", "a\x0bb", "\x00", "\t", "\u00e9", "sz", "SZ_foc_ia", "seiz", "bckg", "impd",
    "TERM", "#", "None",
    "2024-13-45", "2024-01-01 00:00:00+99:00", "0001-01-01", "9999-12-31 23:59:59",
    "28-05-2022 07:05:28",
    "2022-05-28T06:00:00Z", "True", "2", "1e30",
)  # fmt: skip
ENCODINGS = ("utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be", "cp1252", "utf-7")


def _text(path):
    """Text, and what separates its columns."""
    text = path.read_bytes().decode("utf-8")
    lines = [line for line in text.split("\n") if not line.startswith("#")]
    return text, max("\t;,", key=lambda sign: (lines or [""])[0].count(sign))


def _rows(path):
    text, separator = _text(path)
    return [line.split(separator) for line in text.split("\n")], separator


def _write(path, rows, separator):
    path.write_bytes("\n".join(map(separator.join, rows)).encode("utf-8", "surrogatepass"))


def cell(path, choice, trap):
    rows, separator = _rows(path)
    for _ in range(choice.choice((1, 1, 1, 3))):
        row = choice.choice(rows)
        row[choice.randrange(len(row))] = text = choice.choice(CELLS)
    _write(path, rows, separator)
    return f"{text[:20]!r}"


def column(path, choice, trap):
    """A whole column: removed, doubled, moved, with one value, or with another name."""
    rows, separator = _rows(path)
    place = choice.randrange(max(map(len, rows)))
    how = choice.choice(("remove", "double", "move", "fill", "name", "many"))
    other, text = choice.randrange(max(map(len, rows))), choice.choice(CELLS)
    full = [row for row in rows if len(row) > max(place, other)]
    for number, row in enumerate(full):
        if how == "remove":
            del row[place]
        elif how == "double":
            row.insert(place, row[place])
        elif how == "move":
            row.insert(other, row.pop(place))
        elif how == "many":
            row += [row[place]] * 500
        elif how == "fill" or (how == "name" and number == 0):
            row[place] = text
    _write(path, rows, separator)
    return f"{how} {place}"


def row(path, choice, trap):
    """A row: removed, doubled, moved, blank, short or long."""
    rows, separator = _rows(path)
    place = choice.randrange(len(rows))
    how = choice.choice(("remove", "double", "many", "move", "blank", "short", "long", "comment"))
    if how == "remove":
        del rows[place]
    elif how in ("double", "many"):
        rows[place:place] = [rows[place]] * (1 if how == "double" else 3000)
    elif how == "move":
        rows.insert(choice.randrange(len(rows)), rows.pop(place))
    elif how == "blank":
        rows.insert(place, choice.choice(([""], [" "], [""] * len(rows[place]), ["\t"])))
    elif how == "short":
        rows[place].pop()
    elif how == "long":
        rows[place] += choice.choice((["1"], [""], ["", "", "1"]))
    else:
        rows.insert(place, [choice.choice(("# duration = x secs", "#", "# a = b", "// no"))])
    _write(path, rows, separator)
    return f"{how} {place}"


def separator(path, choice, trap):
    text, old = _text(path)
    new = choice.choice(("\t", ";", ",", "|", " ", old * 2))
    path.write_text(text.replace(old, new), "utf-8", newline="")
    return f"{old!r} {new!r}"


def quotes(path, choice, trap):
    text, separator = _text(path)
    place = choice.randrange(len(text))
    how = choice.choice(("one", "all", "doubled"))
    if how == "one":
        text = text[:place] + '"' + text[place:]
    else:
        mark = '"' if how == "all" else '""'
        lines = [
            separator.join(f"{mark}{one}{mark}" for one in line.split(separator))
            for line in text.split("\n")
        ]
        text = "\n".join(lines)
    path.write_text(text, "utf-8", newline="")
    return how


def encoding(path, choice, trap):
    text, _ = _text(path)
    name = choice.choice(ENCODINGS)
    path.write_bytes(text.encode(name, "replace"))
    return name


def ends(path, choice, trap):
    text, _ = _text(path)
    mark = choice.choice(("\r", "\r\n", "\n\n", "\x0b", "\u2028", "\n\r", " \n", ""))
    path.write_text(text.replace("\n", mark), "utf-8", newline="")
    return f"{mark!r}"


def long_text(path, choice, trap):
    """A cell or a comment that does not end."""
    text, _ = _text(path)
    place = choice.randrange(len(text))
    more = choice.choice(("9", "x", '"', "-", "+", ".", "\n", "\t", ";", "1e"))
    path.write_text(text[:place] + more * 150_000 + text[place:], "utf-8", newline="")
    return f"{more!r}"


STRUCTURAL = (
    cell,
    cell,
    cell,
    cell,
    column,
    row,
    row,
    separator,
    quotes,
    encoding,
    ends,
    long_text,
)
