#!/usr/bin/env bash
# scipy 1.17.1: resample_poly does not return a constant for a constant. The sums of its filter's
# phases differ by 0.001, so that images of 0 Hz stay at multiples of the old rate, folded at the new
# one. An EEG is 20 uV large, and DC-coupled amplifiers add 20,000 uV of the electrode: the wave then
# looks like theta rhythm. Seen on Linux, Python 3.11, for 20,000 uV, away from the ends:
#
#   250 -> 256 Hz: 8.59 uV at 6 Hz
#   200 -> 256 Hz: 8.62 uV at 56 Hz
#   512 -> 256 Hz: none, as for every rate that is divided by a whole number
#   250 -> 256 Hz with padtype="mean", which takes the constant away first: none
set -euo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check scipy==1.17.1

"$place/venv/bin/python" - <<'PYTHON'
import numpy as np
from scipy.signal import resample_poly


def wave(up, down, rate, padtype="constant"):
    """Largest wave in a resampled constant of 20,000 uV: (frequency in Hz, amplitude in uV)."""
    y = resample_poly(np.full(rate * 60, 2e4), up, down, padtype=padtype)[5 * 256 : -5 * 256]
    sizes = 2 * np.abs(np.fft.rfft(y - y.mean())) / len(y)
    largest = int(sizes.argmax())
    return largest * 256 / len(y), float(sizes[largest])


waves = {
    "250 -> 256 Hz": wave(128, 125, 250),
    "200 -> 256 Hz": wave(32, 25, 200),
    "512 -> 256 Hz": wave(1, 2, 512),
    "250 -> 256 Hz, mean": wave(128, 125, 250, "mean"),
}
for name, (frequency, size) in waves.items():
    print(f"{name}: {size:.2f} uV at {frequency:g} Hz" if size > 1e-6 else f"{name}: none")

assert waves["250 -> 256 Hz"][0] == 6.0 and 8.0 < waves["250 -> 256 Hz"][1] < 9.0, waves
assert waves["200 -> 256 Hz"][0] == 56.0 and 8.0 < waves["200 -> 256 Hz"][1] < 9.0, waves
assert waves["512 -> 256 Hz"][1] < 1e-6 and waves["250 -> 256 Hz, mean"][1] < 1e-6, waves
PYTHON
