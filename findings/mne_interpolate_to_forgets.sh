#!/usr/bin/env bash
# MNE's `interpolate_to` gives EEG new electrodes and forgets whose trials they are.
#
# In MNE 1.13.2, `Raw`, `Epochs` and `Evoked` have `interpolate_to(montage, method="spline")`, which is
# documented to return "updated channel information". For EEG it builds a new object from the values alone:
# every trial of an Epochs becomes an event of the one class '1' (labels are gone: a classifier that is
# trained on them learns nothing, without a warning), an Evoked that averages 37 trials says it is 1, a Raw
# has lost its annotations, its date and the filter settings. Bad channels are left out of the
# interpolation, as they should be. Without `method`, whose documented default is 'spline', the call ends in an
# AssertionError without a message.
#
# Output seen:
#   raw: annotations 2 -> 0, date kept: False, filter 1 to 20 Hz -> 0 to 50 Hz
#   epochs: classes ['left', 'right', 'left'] -> ['1', '1', '1'], onsets [100, 200, 300] -> [0, 1, 2]
#   evoked: average of 2 trials -> 1, comment 'left' -> ''
#   default method: AssertionError ''
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q mne==1.13.2
cat > "$work/show.py" <<'PY'
import warnings

import mne
import numpy as np

warnings.simplefilter("ignore")
mne.set_log_level("error")
NAMES = "Fp1 Fp2 F7 F3 Fz F4 F8 T7 C3 Cz C4 T8 P7 P3 Pz P4 P8 O1 O2".split()

info = mne.create_info(NAMES, 100.0, "eeg")
raw = mne.io.RawArray(1e-5 * np.random.default_rng(0).standard_normal((19, 500)), info)
raw.set_montage(mne.channels.make_standard_montage("standard_1020"))
raw.set_meas_date(1_000_000_000)
raw.set_annotations(mne.Annotations([0.5, 1.0], [0.1, 0.2], ["seizure", "artefact"]))
raw.filter(1.0, 20.0)
target = mne.channels.make_standard_montage("biosemi32")
lines = []


def labels(epochs):
    names = {code: name for name, code in epochs.event_id.items()}
    return [names[code] for code in epochs.events[:, 2]]


after = raw.copy().interpolate_to(target, method="spline")
kept = after.info["meas_date"] == raw.info["meas_date"]
lines.append(
    f"raw: annotations {len(raw.annotations)} -> {len(after.annotations)}, date kept: {kept}, "
    f"filter {raw.info['highpass']:.0f} to {raw.info['lowpass']:.0f} Hz "
    f"-> {after.info['highpass']:.0f} to {after.info['lowpass']:.0f} Hz"
)
events = np.array([[100, 0, 1], [200, 0, 2], [300, 0, 1]])
epochs = mne.Epochs(
    raw, events, {"left": 1, "right": 2}, tmin=0.0, tmax=0.5, baseline=None, preload=True
)
after = epochs.copy().interpolate_to(target, method="spline")
lines.append(
    f"epochs: classes {labels(epochs)} -> {labels(after)}, "
    f"onsets {epochs.events[:, 0].tolist()} -> {after.events[:, 0].tolist()}"
)
evoked = epochs["left"].average()
after = evoked.copy().interpolate_to(target, method="spline")
lines.append(
    f"evoked: average of {evoked.nave} trials -> {after.nave}, "
    f"comment {evoked.comment!r} -> {after.comment!r}"
)
try:
    raw.copy().interpolate_to(target)
except AssertionError as error:
    lines.append(f"default method: AssertionError {str(error)!r}")

print("\n".join(lines))
assert lines == [
    "raw: annotations 2 -> 0, date kept: False, filter 1 to 20 Hz -> 0 to 50 Hz",
    "epochs: classes ['left', 'right', 'left'] -> ['1', '1', '1'], "
    "onsets [100, 200, 300] -> [0, 1, 2]",
    "evoked: average of 2 trials -> 1, comment 'left' -> ''",
    "default method: AssertionError ''",
], "changed"
PY
"$work/venv/bin/python" "$work/show.py"
