"""The demo's recording: EEG-like noise with spike-and-wave bursts, or one from a file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tcnzoo.arrays import Array
from tcnzoo.errors import InputError
from tcnzoo.files.signals import read_signal

RATE = 256.0
SECONDS = 30.0
CHANNELS = 2
# Start and length of the bursts, in parts of the recording: 4 s and 6 s of 30 s.
BURSTS = ((0.15, 4 / 30), (0.58, 6 / 30))
NOISE_UV = 25.0
SPIKE_UV, WAVE_UV = 130.0, 90.0
DISCHARGES_HZ = 3.0


@dataclass(frozen=True)
class Recording:
    """A multichannel signal.

    Attributes:
        samples: (channels, time).
        rate: samples per second, in Hz.
        unit: of the samples; None where nobody knows.
        bursts: (time,), whether a burst is going on; None where nobody knows.
    """

    samples: Array
    rate: float
    unit: str | None = None
    bursts: Array | None = None

    @property
    def seconds(self) -> Array:
        """Time of each sample, in s."""
        return np.arange(self.samples.shape[1]) / self.rate

    @property
    def scaled(self) -> Array:
        """The model's input, (1, channels, time): each channel in its robust deviations."""
        centred = self.samples - np.median(self.samples, axis=1, keepdims=True)
        # 1.4826 makes the median of absolute values a standard deviation, for normal noise.
        deviation = 1.4826 * np.median(np.abs(centred), axis=1, keepdims=True)
        scaled: Array = centred / np.maximum(deviation, 1e-12)
        return scaled[None].astype(np.float32)


def generate(seed: int, channels: int = CHANNELS, rate: float = RATE) -> Recording:
    """Make 1/f noise with two bursts of 3 Hz spike-and-wave discharges.

    Args:
        seed: the same one gives the same recording.
        channels: the bursts come in all of them, the noise is each one's own.
        rate: samples per second, in Hz.
    Source:
        The shape follows descriptions of absence seizures: a spike, then a slow wave, three times a
        second, on all channels (Niedermeyer's Electroencephalography, 7th edition, chapter 22).
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    steps = int(SECONDS * rate)
    samples = NOISE_UV * _one_over_f(generator, channels, steps)
    bursts = np.zeros(steps, dtype=bool)
    for start, length in BURSTS:
        shift = generator.uniform(-0.05, 0.05)
        first, count = int((start + shift) * steps), int(length * steps)
        bursts[first : first + count] = True
        gains = generator.uniform(0.7, 1.0, (channels, 1))
        samples[:, first : first + count] += gains * _discharges(count, rate)
    return Recording(samples, rate, "uV", bursts)


def read(path: Path, rate: float) -> Recording:
    """Read a recording from a .npy or .csv file.

    Raises:
        InputError: not (channels, time), or too short to show anything.
    """
    samples = np.asarray(read_signal(path), dtype=np.float64)
    if samples.ndim != 2 or samples.shape[1] < rate:
        raise InputError(
            f"the demo takes a recording (channels, time) of at least 1 s ({rate:g} samples), "
            f"but {str(path)!r} has shape {samples.shape}"
        )
    if not np.isfinite(samples).all():
        raise InputError(f"{str(path)!r} holds NaN or infinite samples")
    return Recording(samples, rate)


def _one_over_f(generator: np.random.Generator, channels: int, steps: int) -> Array:
    """Noise whose power falls as 1/f, of unit variance: (channels, steps)."""
    frequency = np.arange(steps // 2 + 1)
    spectrum = generator.standard_normal((2, channels, frequency.size))
    shaped = (spectrum[0] + 1j * spectrum[1]) / np.sqrt(np.maximum(frequency, 1))
    # The slowest drifts (below 8 cycles a recording) are what a recorder's high pass takes away.
    shaped[:, :8] = 0.0
    noise = np.fft.irfft(shaped, steps, axis=1)
    noise /= noise.std(axis=1, keepdims=True)
    return noise


def _discharges(steps: int, rate: float) -> Array:
    """Spike-and-wave complexes with soft ends, in uV: (steps,)."""
    time = np.arange(steps) / rate
    phase = (time * DISCHARGES_HZ) % 1.0
    spike = SPIKE_UV * np.exp(-0.5 * ((phase - 0.15) / 0.035) ** 2)
    wave = -WAVE_UV * np.sin(np.pi * np.clip((phase - 0.3) / 0.65, 0.0, 1.0))
    ends = np.minimum(1.0, np.minimum(time, time[::-1]) / 0.3)
    return (spike + wave) * ends
