"""EDF and BDF files byte by byte, so that every field can be odd."""

import numpy as np

from tcnzoo.specs.montages import TEN_TWENTY

# The fields of a signal in the header, with their bytes.
FIELDS = {
    "label": 16,
    "transducer": 80,
    "unit": 8,
    "physical_min": 8,
    "physical_max": 8,
    "digital_min": 8,
    "digital_max": 8,
    "filter": 80,
    "samples": 8,
    "reserved": 32,
}
NAMES = tuple(TEN_TWENTY)


def signal(seconds, rate=64, seed=0):
    """(19, time) in uV, a tone and noise in each channel."""
    time = np.arange(round(seconds * rate)) / rate
    place = np.arange(19)[:, None]
    noise = np.random.default_rng(seed).normal(0.0, 5.0, (19, time.size))
    return 40.0 * np.sin(2 * np.pi * (2 + 0.5 * place) * time + place) + noise


def electrodes(x, samples=64, form="{}", unit="uV", scale=1.0, names=NAMES, **fields):
    """Signals for `write`: rows of `x` in uV, written in a unit of which `scale` are one uV."""
    limit = 400.0 * scale
    common = {"unit": unit, "physical_min": -limit, "physical_max": limit, "samples": samples}
    return [
        {**common, "label": form.format(name), "data": row * scale, **fields}
        for name, row in zip(names, x, strict=True)
    ]


def annotations(texts, size=40, label=None):
    """A signal of annotations: the bytes of each record."""
    return {"label": label, "texts": list(texts), "samples": size}


def stamps(times):
    """Bytes of a record's annotations that say when it begins, for each of some times."""
    return [f"+{time:.6g}\x14\x14\x00".encode() for time in times]


def tal(onset, text, duration=None):
    """Bytes of an annotation."""
    length = b"" if duration is None else f"\x15{duration:g}".encode()
    return f"+{onset:g}".encode() + length + b"\x14" + text + b"\x14\x00"


def write(path, signals, *, kind="", seconds="1", start="22.00.00", header=()):
    """Write signals; `header` are (place, bytes) that are written over the header at last."""
    bdf = path.suffix.lower() == ".bdf"
    width, last = (3, 2**23 - 1) if bdf else (2, 2**15 - 1)
    limits = {"digital_min": -last - 1, "digital_max": last}
    whole = {"physical_min": -1, "physical_max": 1, "unit": "", **limits}
    label = ("BDF" if bdf else "EDF") + " Annotations"
    rows = [
        {**whole, **one, "label": one["label"] or label} if "texts" in one else {**limits, **one}
        for one in signals
    ]
    first = rows[0]
    records = len(first["data"]) // first["samples"] if "data" in first else len(first["texts"])
    head = b"\xffBIOSEMI" if bdf else _field("0", 8)
    head += _field("X X X X", 80) + _field("Startdate 01-JAN-2024 X X X", 80)
    head += _field("01.01.24", 8) + _field(start, 8) + _field(256 * (1 + len(rows)), 8)
    head += _field(kind, 44) + _field(records, 8) + _field(seconds, 8) + _field(len(rows), 4)
    for name, size in FIELDS.items():
        head += b"".join(_field(row.get(name, ""), size) for row in rows)
    head = bytearray(head)
    for place, text in header:
        head[place : place + len(text)] = text
    body = b"".join(_record(row, record, width) for record in range(records) for row in rows)
    path.write_bytes(bytes(head) + body)
    return path


def _record(row, record, width):
    """The bytes of a signal in a record."""
    count = row["samples"]
    if "texts" in row:
        return row["texts"][record].ljust(count * width, b"\0")
    part = np.asarray(row["data"], float)[record * count : (record + 1) * count]
    low, high = row["physical_min"], row["physical_max"]
    steps = row["digital_max"] - row["digital_min"]
    part = np.round((part - low) / (high - low) * steps + row["digital_min"]).astype("<i4")
    return part.view(np.uint8).reshape(-1, 4)[:, :width].tobytes()


def _field(value, size):
    """A field of the header, padded with blanks."""
    text = value
    if not isinstance(value, bytes):
        text = (f"{value:g}" if isinstance(value, float) else str(value)).encode("latin-1")
    if len(text) > size:
        raise ValueError(f"{value!r} has more than {size} bytes")
    return text.ljust(size)
