"""Mutations of EDF and BDF files: fields of the header, time stamps, annotations and records."""

from tests.support.edf_files import FIELDS

FIXED = {
    "version": (0, 8), "patient": (8, 80), "recording": (88, 80), "date": (168, 8),
    "time": (176, 8), "bytes": (184, 8), "kind": (192, 44), "records": (236, 8),
    "seconds": (244, 8), "signals": (252, 4),
}  # fmt: skip
NUMBERS = (
    b"", b"0", b"-0", b"-1", b"-2", b"1", b"2", b"3", b"19", b"64", b"100", b"65536", b"9999",
    b"99999999", b"-9999999", b"1e99", b"-1e308", b"1e308", b"1e-320", b"nan", b"inf", b"-inf",
    b"1_0",
    b"0x10", b"0,5", b"0.1", b"1.5", b"+5", b"1\x005", b"\xb2", b"\xb5", b"-32768", b"32767", b"uV",
)  # fmt: skip
TEXTS = (
    b"", b"X" * 80, b"\xff" * 80, b"\0" * 80, b"EDF+D", b"EDF+C", b"BDF+D",
    b"Startdate 31-FEB-2024 X",
    b"Startdate 01-JAN-2999 X", b"99.99.99", b"24.60.60", b"01.01.84", b"EEG Fp1-REF", b"Fp1-F7",
    b"Cz",
    b"EDF Annotations", b"BDF Annotations", b"\n\r\t", b"mV", b"V", b"\xc2\xb5V", b"MV", b"kg",
    b"T3-1",
)  # fmt: skip
TIMES = (
    b"+0", b"-0", b"-5", b"+1", b"+2.5", b"+7.000001", b"+99999999", b"+999999999999999", b"+1e99",
    b"-1e99", b"+1e-99", b"+", b"", b"0", b"+nan", b"+1.2.3", b"+9" + b"9" * 40,
)  # fmt: skip
WORDS = (
    b"", b"BAD_ACQ_SKIP", b"bad_acq_skip", b"EDGE boundary", b"BAD boundary", b"sz", b"\xff\xfe",
    b"a\x15b", b"\x14\x14", b"x" * 200,
)  # fmt: skip


def _layout(data):
    """Number of signals, length of the header, and samples a record of each signal."""
    count = int(data[252:256])
    first = 256 + count * sum(list(FIELDS.values())[:8])
    samples = [int(data[first + 8 * place :][:8]) for place in range(count)]
    width = 3 if data[0] == 255 else 2
    return count, 256 * (1 + count), [size * width for size in samples]


def _start(count, name):
    """Where a field of the first signal begins."""
    return 256 + count * sum(list(FIELDS.values())[: list(FIELDS).index(name)])


def _put(data, place, size, text):
    """Write a field, padded."""
    data[place : place + size] = text[:size].ljust(size)


def fixed(path, choice, trap):
    data, name = bytearray(path.read_bytes()), choice.choice(list(FIXED))
    text = choice.choice(TEXTS if name in ("patient", "recording", "kind") else (*NUMBERS, *TEXTS))
    _put(data, *FIXED[name], text)
    path.write_bytes(data)
    return f"{name} {text[:20]!r}"


def signal(path, choice, trap):
    """A field of one signal, or of all."""
    data = bytearray(path.read_bytes())
    count, _, _ = _layout(data)
    name = choice.choice(list(FIELDS))
    place = _start(count, name)
    text = choice.choice(TEXTS if name in ("label", "unit", "transducer") else NUMBERS)
    chosen = choice.choice(([choice.randrange(count)], [choice.randrange(count)], range(count)))
    for one in chosen:
        _put(data, place + one * FIELDS[name], FIELDS[name], text)
    path.write_bytes(data)
    return f"{name} of {list(chosen)[:2]} {text[:20]!r}"


def swap(path, choice, trap):
    """The same field of two signals."""
    data = bytearray(path.read_bytes())
    count, _, _ = _layout(data)
    name = choice.choice(list(FIELDS))
    start, size = _start(count, name), FIELDS[name]
    one, other = (start + size * choice.randrange(count) for _ in range(2))
    held = bytes(data[one : one + size])
    data[one : one + size] = data[other : other + size]
    data[other : other + size] = held
    path.write_bytes(data)
    return name


def stamp(path, choice, trap):
    """The annotations of one record, or of all."""
    data = bytearray(path.read_bytes())
    _, length, sizes = _layout(data)
    first, each = length + sum(sizes[:-1]), sum(sizes)
    places = list(range(first, len(data) - sizes[-1] + 1, each))
    chosen = choice.choice(([choice.choice(places)], [choice.choice(places)], places))
    for place in chosen:
        text = b""
        for _ in range(choice.choice((0, 1, 1, 2, 5, 50))):
            lasting = choice.choice((b"", b"\x15" + choice.choice(TIMES)))
            end = choice.choice((b"\x14\x00", b"\x14\x00", b"\x14", b"\x00", b""))
            text += choice.choice(TIMES) + lasting + b"\x14" + choice.choice(WORDS) + end
        if choice.random() < 0.5:
            text = b"+%d\x14\x14\x00" % ((place - first) // each) + text
        data[place : place + sizes[-1]] = text[: sizes[-1]].ljust(sizes[-1], b"\0")
    path.write_bytes(data)
    return f"of {len(chosen)} records"


def shift(path, choice, trap):
    """Time stamps from one record on."""
    data = bytearray(path.read_bytes())
    _, length, sizes = _layout(data)
    first, each = length + sum(sizes[:-1]), sum(sizes)
    begin, late = choice.randrange(8), choice.choice((-3.0, -0.5, 0.004, 0.5, 3.0, 1e6))
    for record, place in enumerate(range(first, len(data) - sizes[-1] + 1, each)):
        time = record + late * (record >= begin)
        data[place : place + sizes[-1]] = (b"%+.10g\x14\x14\x00" % time).ljust(sizes[-1], b"\0")
    path.write_bytes(data)
    return f"by {late} s from record {begin}"


def records(path, choice, trap):
    """Records dropped, repeated, exchanged or cut."""
    data = path.read_bytes()
    _, length, sizes = _layout(data)
    each = sum(sizes)
    found = [data[place : place + each] for place in range(length, len(data), each)]
    how = choice.choice(("drop", "repeat", "many", "shuffle", "cut"))
    one = choice.randrange(len(found))
    if how == "drop":
        del found[one]
    elif how == "repeat":
        found.insert(one, found[one])
    elif how == "many":
        found += [found[one]] * 500
    elif how == "shuffle":
        choice.shuffle(found)
    else:
        found[-1] = found[-1][: choice.randrange(each)]
    path.write_bytes(data[:length] + b"".join(found))
    return how


STRUCTURAL = (fixed, fixed, signal, signal, signal, swap, stamp, stamp, shift, records)
