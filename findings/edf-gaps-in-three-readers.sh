#!/usr/bin/env bash
# Three readers, three answers to one valid EDF+D with a gap, and none of them the gap itself.
#
# An EDF+ file says in each data record when the record begins. MNE 1.13.2 and edfio 0.4.18 do not
# look at these times when they give out samples: records before and after a gap come as one signal
# that is too short, without a word on the gap. An annotation behind the gap keeps its time, and so
# lies after the end of the signal: MNE drops it (with a warning that it is "outside data range"),
# edfio gives it. pyedflib 0.1.42 refuses the file by the word EDF+D in its header, and therefore
# also refuses an EDF+D that has no gap at all, which the other two read rightly.
#
# Output seen:
#   gap of 100 s: mne 5.0 s, annotations []
#   gap of 100 s: edfio 5.0 s, annotations [104.0]
#   gap of 100 s: pyedflib refuses: The file is discontinuous and cannot be read
#   no gap: mne 5.0 s, annotations [4.0]
#   no gap: edfio 5.0 s, annotations [4.0]
#   no gap: pyedflib refuses: The file is discontinuous and cannot be read
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q mne==1.13.2 edfio==0.4.18 pyedflib==0.1.42
cat > "$work/show.py" <<'PY'
import sys
import warnings

import edfio
import mne
import pyedflib


def write(path, begins):
    """An EDF+D of one channel, 10 samples of 1 s in each record, with a note in the last."""

    def field(value, size):
        return str(value).encode().ljust(size)

    head = field(0, 8) + field("X X X X", 80) + field("Startdate 01-JAN-2024 X X X", 80)
    head += field("01.01.24", 8) + field("22.00.00", 8) + field(768, 8) + field("EDF+D", 44)
    head += field(len(begins), 8) + field(1, 8) + field(2, 4)
    for eeg, notes, size in (
        ("EEG Cz", "EDF Annotations", 16),
        ("", "", 80),
        ("uV", "", 8),
        (-100, -1, 8),
        (100, 1, 8),
        (-32768, -32768, 8),
        (32767, 32767, 8),
        ("", "", 80),
        (10, 20, 8),
        ("", "", 32),
    ):
        head += field(eeg, size) + field(notes, size)
    body = b""
    for place, begin in enumerate(begins):
        notes = f"+{begin}\x14\x14\0"
        notes += f"+{begin}\x14note\x14\0" if place == len(begins) - 1 else ""
        body += b"\x00\x10" * 10 + notes.encode().ljust(40, b"\0")
    with open(path, "wb") as file:
        file.write(head + body)


def shown(name, path):
    """What each reader makes of a file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        raw = mne.io.read_raw_edf(path, verbose="error")
    yield f"{name}: mne {raw.n_times / 10} s, annotations {raw.annotations.onset.tolist()}"
    edf = edfio.read_edf(path)
    onsets = [float(note.onset) for note in edf.annotations]
    yield f"{name}: edfio {len(edf.signals[0].data) / 10} s, annotations {onsets}"
    try:
        pyedflib.EdfReader(path).close()
        yield f"{name}: pyedflib reads"
    except OSError as error:
        yield f"{name}: pyedflib refuses: {str(error).rpartition(': ')[2]}"


write(sys.argv[1] + "/gap.edf", [0, 1, 2, 103, 104])
write(sys.argv[1] + "/whole.edf", [0, 1, 2, 3, 4])
lines = [*shown("gap of 100 s", sys.argv[1] + "/gap.edf"), *shown("no gap", sys.argv[1] + "/whole.edf")]
print("\n".join(lines))
refusal = "pyedflib refuses: The file is discontinuous and cannot be read"
expected = [
    "gap of 100 s: mne 5.0 s, annotations []",
    "gap of 100 s: edfio 5.0 s, annotations [104.0]",
    f"gap of 100 s: {refusal}",
    "no gap: mne 5.0 s, annotations [4.0]",
    "no gap: edfio 5.0 s, annotations [4.0]",
    f"no gap: {refusal}",
]
sys.exit(lines != expected)
PY
"$work/venv/bin/python" "$work/show.py" "$work"
