#!/usr/bin/env bash
# A recording that MNE 1.13.2 exports to EDF comes back longer than it was.
#
# EDF holds whole data records, and `export_raw` takes records of 1 s for a whole sampling rate: 2.5 s at
# 256 Hz become 3 s. The half second that is missing is filled with the last value of each channel, and
# marked by an annotation BAD_ACQ_SKIP in the file. A warning says so when the file is written; who
# reads it later gets 3 s without one, and a flat end that only `reject_by_annotation` leaves out.
# edfio 0.4.18, which writes the file for MNE, reads 3 s as well, and BAD_ACQ_SKIP is no word of EDF.
#
# Output seen:
#   written 640 samples
#   read by mne: 768 samples, warnings []
#   range of the last 128 samples in uV: [0.0, 0.0]
#   annotations: [('BAD_ACQ_SKIP', 2.5, 0.5)]
#   read by mne without what is marked: 640 samples
#   read by edfio: 768 samples
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q mne==1.13.2 edfio==0.4.18
cat > "$work/show.py" <<'PY'
import sys
import warnings

import edfio
import mne
import numpy as np

path = sys.argv[1] + "/short.edf"
x = np.random.default_rng(0).normal(0.0, 20e-6, (2, 640))
raw = mne.io.RawArray(x, mne.create_info(["Fz", "Cz"], 256.0, "eeg"), verbose="error")
mne.export.export_raw(path, raw, verbose="error")
with warnings.catch_warnings(record=True) as found:
    warnings.simplefilter("always")
    again = mne.io.read_raw_edf(path, verbose="warning")
end = np.ptp(again.get_data()[:, 640:], axis=1) * 1e6
marks = [
    (str(text), round(float(onset), 6), round(float(duration), 6))
    for text, onset, duration in zip(
        again.annotations.description, again.annotations.onset, again.annotations.duration
    )
]
kept = again.get_data(reject_by_annotation="omit", verbose="error").shape[1]
lines = [
    f"written {raw.n_times} samples",
    f"read by mne: {again.n_times} samples, warnings {[str(one.message) for one in found]}",
    f"range of the last 128 samples in uV: {end.tolist()}",
    f"annotations: {marks}",
    f"read by mne without what is marked: {kept} samples",
    f"read by edfio: {len(edfio.read_edf(path).signals[0].data)} samples",
]
print("\n".join(lines))
expected = [
    "written 640 samples",
    "read by mne: 768 samples, warnings []",
    "range of the last 128 samples in uV: [0.0, 0.0]",
    "annotations: [('BAD_ACQ_SKIP', 2.5, 0.5)]",
    "read by mne without what is marked: 640 samples",
    "read by edfio: 768 samples",
]
sys.exit(lines != expected)
PY
"$work/venv/bin/python" "$work/show.py" "$work"
