"""EDF and BDF files as devices and programs write them: right uV and times, or a refusal.

The oracles are the numbers that were written, and MNE and edfio where these read such a file.
"""

import datetime

import numpy as np
import pytest

from tcnzoo.eeg.preprocess import Preprocessing, prepare
from tcnzoo.eeg.recordings import is_recording, read_recording
from tcnzoo.eeg.scales import microvolts
from tcnzoo.errors import InputError
from tcnzoo.specs.montages import TEN_TWENTY
from tests.support import edf_files
from tests.support.compare import assert_refused
from tests.support.edf_files import annotations, electrodes, stamps, tal, write

RATE, SECONDS = 64, 6
# Half a step of 16 bits over 800 uV, and of 24 bits.
ROUNDING = {".edf": 0.5 * 800 / 2**16, ".bdf": 0.5 * 800 / 2**24}
SUFFIXES = pytest.mark.parametrize("suffix", [".edf", ".bdf"])


@pytest.fixture
def x():
    return edf_files.signal(SECONDS, RATE)


def assert_read(path, x, rate=RATE):
    """Hold what is read against the uV that were written."""
    found = read_recording(path)
    assert (found.names, found.sampling_rate) == (TEN_TWENTY, rate)
    np.testing.assert_allclose(found.signal, x, atol=1.001 * ROUNDING[path.suffix.lower()])
    return found


@SUFFIXES
@pytest.mark.parametrize(
    "unit, scale",
    [
        ("uV", 1.0),
        ("uv", 1.0),
        ("UV", 1.0),
        ("Uv.", 1.0),
        ("[uV]", 1.0),
        (b"uV\0\0\0\0\0\0", 1.0),
        ("\u00b5V", 1.0),
        (b"\xc2\xb5V", 1.0),
        (b"\xc2\xb5v", 1.0),
        ("\u03bcV".encode(), 1.0),
        (b"\x83\xcaV", 1.0),
        (b"\xa6\xccV", 1.0),
        (b"\xe6V", 1.0),
        ("microvol", 1.0),
        ("uVolt", 1.0),
        ("nV", 1e3),
        ("NV", 1e3),
        ("mV", 1e-3),
        ("MV", 1e-3),
        ("millivolt"[:8], 1e-3),
        ("V", 1e-6),
        ("v", 1e-6),
        ("Volts", 1e-6),
    ],
)
def test_units_in_any_case_and_encoding(tmp_path, x, suffix, unit, scale):
    path = write(tmp_path / f"a{suffix}", electrodes(x, unit=unit, scale=scale))
    assert_read(path, x)


@pytest.mark.parametrize("unit, shown", [("Ohm", "Ohm"), ("%", "%"), ("kV", "kV"), ("pV", "pV")])
def test_another_unit_is_refused_by_name(tmp_path, x, unit, shown):
    signals = electrodes(x)
    signals[4]["unit"] = unit
    path = write(tmp_path / "a.edf", signals)
    sentence = f"channel 'F7' of {str(path)!r} must be in uV, mV, nV or V, but is in {shown!r}"
    assert_refused(InputError, sentence, read_recording, path)


def test_a_unit_that_is_missing_is_taken_for_uv_with_a_warning(tmp_path, x):
    signals = electrodes(x)
    signals[2]["unit"] = signals[5]["unit"] = ""
    path = write(tmp_path / "a.edf", signals)
    with pytest.warns(UserWarning, match="does not say the unit of C3, T3, so it is taken for uV"):
        found = read_recording(path)
    np.testing.assert_allclose(found.signal, x, atol=1.001 * ROUNDING[".edf"])


def test_units_may_differ_between_channels(tmp_path, x):
    signals = electrodes(x)
    signals[3] = electrodes(x, unit="mV", scale=1e-3)[3]
    signals[7] = electrodes(x, unit="nV", scale=1e3)[7]
    assert_read(write(tmp_path / "a.edf", signals), x)


@pytest.mark.parametrize("unit, scale", [("V", 1.0), ("nV", 1e-3)])
def test_a_size_that_no_eeg_has_is_warned_of(tmp_path, x, unit, scale):
    path = write(tmp_path / "a.edf", electrodes(x, unit=unit, scale=scale))
    with pytest.warns(UserWarning, match="varies by .* uV, where an EEG varies by some tens of uV"):
        read_recording(path)


def test_words_that_are_no_unit_of_voltage():
    for field in (b"", b"?V", b"uA", b"uVrms", b"V/s", b"uV2"):
        assert microvolts(field) is None


@SUFFIXES
def test_limits_of_each_channel_its_own(tmp_path, x, suffix):
    signals = electrodes(x)
    signals[0] |= {"digital_min": -2048, "digital_max": 2047}
    signals[1] |= {"digital_min": 0, "digital_max": 30000}
    signals[2] |= {"physical_min": -100.5, "physical_max": 399.25}
    # An electrode that is wired the other way round: the format allows it.
    signals[3] |= {"physical_min": 400.0, "physical_max": -400.0}
    path = write(tmp_path / f"a{suffix}", signals)
    found = read_recording(path).signal
    np.testing.assert_allclose(found, x, atol=0.501 * 800 / 4095)
    np.testing.assert_allclose(found, by_mne(path), rtol=1e-12, atol=1e-9)


def by_mne(path):
    """The electrodes as MNE reads them, (19, time) in uV."""
    mne = pytest.importorskip("mne")
    read = {".edf": mne.io.read_raw_edf, ".bdf": mne.io.read_raw_bdf}[path.suffix]
    return read(path, verbose="error").get_data(picks=list(TEN_TWENTY)) * 1e6


@SUFFIXES
def test_numbers_are_those_of_edfio(tmp_path, x, suffix):
    edfio = pytest.importorskip("edfio")
    path = write(tmp_path / f"a{suffix}", electrodes(x))
    read = edfio.read_edf if suffix == ".edf" else edfio.read_bdf
    expected = np.stack([one.data for one in read(path).signals])
    np.testing.assert_allclose(read_recording(path).signal, expected, rtol=1e-12, atol=1e-9)


@SUFFIXES
@pytest.mark.parametrize(
    "fields, sentence",
    [
        ({"physical_min": 5, "physical_max": 5}, "two different physical limits, but they are '5'"),
        ({"physical_max": "lots"}, "two different physical limits, but they are '-400' and 'lots'"),
        ({"physical_max": "nan"}, "two different physical limits, but they are '-400' and 'nan'"),
        ({"digital_min": 7, "digital_max": 7}, "a digital minimum below its digital maximum"),
        ({"digital_min": 9, "digital_max": -9}, "a digital minimum below its digital maximum"),
        ({"physical_max": "1e-320", "physical_min": 0}, "two different physical limits, but they"),
        (
            {"physical_max": "1e308"},
            "physical limits within float32, but they are '-400' and '1e308'",
        ),
        ({"physical_min": "-1e308"}, "physical limits within float32, but they are '-1e308' and"),
        ({"digital_max": 99999999}, "digital limits within "),
        ({"digital_min": "-1e300"}, "digital limits within "),
        ({"digital_min": ""}, "a digital minimum below its digital maximum, but they are '' and"),
    ],
)
def test_limits_that_scale_nothing(tmp_path, x, suffix, fields, sentence):
    good = write(tmp_path / f"good{suffix}", electrodes(x))
    whole = bytearray(good.read_bytes())
    for name, value in fields.items():
        place = (
            256 + sum(list(edf_files.FIELDS.values())[: list(edf_files.FIELDS).index(name)]) * 19
        )
        place += 5 * edf_files.FIELDS[name]
        whole[place : place + 8] = str(value).encode().ljust(8)
    path = tmp_path / f"bad{suffix}"
    path.write_bytes(bytes(whole))
    with pytest.raises(InputError) as caught:
        read_recording(path)
    assert str(caught.value).startswith(f"channel 'T3' of {str(path)!r} must have {sentence}")
    # A channel that nobody asks for may say what it likes.
    assert read_recording(path, ["Fp1", "O2"]).signal.shape == (2, SECONDS * RATE)


@pytest.mark.parametrize("rate, other", [(64, 256), (64, 250), (64, 16), (50, 64)])
def test_a_channel_that_is_not_used_changes_nothing(tmp_path, rate, other):
    x = edf_files.signal(SECONDS, rate)
    fast = np.sin(np.arange(SECONDS * other))
    ecg = {**electrodes(x)[0], "label": "ECG", "data": fast, "samples": other, "unit": "Ohm"}
    status = {**ecg, "label": "Status", "unit": "Boolean"}
    for suffix in (".edf", ".bdf"):
        alone = write(tmp_path / f"alone{suffix}", electrodes(x, samples=rate))
        both = write(tmp_path / f"both{suffix}", [ecg, *electrodes(x, samples=rate), status])
        found = read_recording(both)
        assert found.sampling_rate == rate
        np.testing.assert_array_equal(found.signal, read_recording(alone).signal)
        settings = Preprocessing(
            mode="causal", sampling_rate=float(rate), band=(0.5, 20.0), notch=None
        )
        np.testing.assert_array_equal(
            prepare(found, settings), prepare(read_recording(alone), settings)
        )


@pytest.mark.parametrize(
    "seconds, samples, rate",
    [
        ("0.5", 32, 64.0),
        ("0.1", 25, 250.0),
        ("0,2", 51, 255.0),
        ("2.5", 100, 40.0),
        ("3", 64, 64 / 3),
    ],
)
@SUFFIXES
def test_records_of_any_duration(tmp_path, suffix, seconds, samples, rate):
    x = edf_files.signal(samples * 6, 1)
    times = np.arange(6) * float(seconds.replace(",", "."))
    rows = [*electrodes(x, samples=samples), annotations(stamps(times))]
    path = write(tmp_path / f"a{suffix}", rows, kind="EDF+C", seconds=seconds)
    found = assert_read(path, x, rate)
    assert found.duration == pytest.approx(6 * times[1], rel=1e-12)


def test_a_rate_that_no_eeg_has(tmp_path, x):
    path = write(tmp_path / "a.edf", electrodes(x), seconds="1e6")
    sentence = f"the sampling rate of {str(path)!r} must be at least 1 Hz, but is 6.4e-05 Hz"
    assert_refused(InputError, sentence, read_recording, path)


@SUFFIXES
@pytest.mark.parametrize(
    "place, field",
    [
        (184, b"5120\0\0\0\0"),
        (236, b"6\0\0\0\0\0\0\0"),
        (244, b"1\0\0\0\0\0\0\0"),
        (244, b"1,0     "),
        (252, b"19\0\0"),
        (256, b"Fp1\0\0\0\0\0\0\0\0\0\0\0\0\0"),
        (256 + 19 * (16 + 80 + 8), b"-400\0\0\0\0"),
        (256 + 19 * (16 + 80 + 8), b"-400,0  "),
        (256 + 19 * (16 + 80 + 8 + 4 * 8 + 80), b"64\0\0\0\0\0\0"),
    ],
)
def test_headers_padded_with_nul_or_with_a_comma(tmp_path, x, suffix, place, field):
    assert_read(write(tmp_path / f"a{suffix}", electrodes(x), header=[(place, field)]), x)


@pytest.mark.parametrize("name", ["a.rec", "a.REC", "a.EDF", "night.1.Edf"])
def test_endings_of_edf(tmp_path, x, name):
    found = write(tmp_path / "a.edf", electrodes(x)).rename(tmp_path / name)
    assert is_recording(found)
    np.testing.assert_allclose(read_recording(found).signal, x, atol=1.001 * ROUNDING[".edf"])
    assert read_recording(found).name == name.rpartition(".")[0]


def test_ending_of_bdf_in_capitals(tmp_path, x):
    assert_read(write(tmp_path / "a.bdf", electrodes(x)).rename(tmp_path / "a.BDF"), x)


@SUFFIXES
@pytest.mark.parametrize(
    "text", [b"seizure", "pr\u00e9coce".encode(), "pr\u00e9coce".encode("latin-1"), b"\x93\x4d\xff"]
)
def test_annotations_in_any_encoding(tmp_path, x, suffix, text):
    texts = stamps(range(SECONDS))
    texts[2] += tal(2.5, text, 1.5)
    path = write(tmp_path / f"a{suffix}", [*electrodes(x), annotations(texts)], kind="EDF+C")
    assert_read(path, x)


def test_annotations_may_fill_several_channels(tmp_path, x):
    empty = [b""] * SECONDS
    more = [tal(record, b"a long text") for record in range(SECONDS)]
    rows = [
        annotations(stamps(range(SECONDS))),
        *electrodes(x),
        annotations(more),
        annotations(empty),
    ]
    path = write(tmp_path / "a.edf", rows, kind="EDF+D")
    assert_read(path, x)


def test_an_edf_plus_without_annotations(tmp_path, x):
    assert_read(write(tmp_path / "a.edf", electrodes(x), kind="EDF+C"), x)
    path = write(tmp_path / "b.edf", electrodes(x), kind="EDF+D")
    sentence = (
        f"{str(path)!r} calls itself discontinuous, but its record 1 has no time stamp, so "
        "its gaps are unknown"
    )
    assert_refused(InputError, sentence, read_recording, path)


def test_patients_and_recordings_described_oddly(tmp_path, x):
    # MNE 1.13.2 ends with an error at two "=" in a field of the patient.
    header = [(8, b"X M 01-JAN-1990 X weight=70=kg   "), (88, b"any words at all".ljust(80))]
    assert_read(write(tmp_path / "a.edf", electrodes(x), header=header), x)


def test_more_records_than_the_header_says(tmp_path, x):
    path = write(tmp_path / "a.edf", electrodes(x), header=[(236, b"4       ")])
    with pytest.warns(UserWarning, match="holds 6 records, but its header says 4; all are read"):
        found = read_recording(path)
    np.testing.assert_allclose(found.signal, x, atol=1.001 * ROUNDING[".edf"])
    np.testing.assert_allclose(found.signal, by_mne(path), rtol=1e-12, atol=1e-9)


def test_a_header_of_another_length(tmp_path, x):
    path = write(tmp_path / "a.edf", electrodes(x), header=[(184, b"5376    ")])
    sentence = (
        f"{str(path)!r} has a damaged header: it says that it takes 5,376 bytes, but that of 19 "
        "signals takes 5,120"
    )
    assert_refused(InputError, sentence, read_recording, path)


@SUFFIXES
@pytest.mark.parametrize(
    "first, header, right",
    [
        (0.0, [], (2024, 1, 1, 22, 0, 0)),
        (0.75, [], (2024, 1, 1, 22, 0, 0, 750000)),
        (0.125, [(88, b"Startdate X X X X".ljust(80))], (2024, 1, 1, 22, 0, 0, 125000)),
        (61.5, [], (2024, 1, 1, 22, 1, 1, 500000)),
        (0.0, [(176, b"23:59:58")], (2024, 1, 1, 23, 59, 58)),
        (0.0, [(88, b"Startdate 02-MAR-2085 X X X".ljust(80))], (2085, 3, 2, 22, 0, 0)),
        (0.0, [(88, b" " * 80), (168, b"03.04.85")], (1985, 4, 3, 22, 0, 0)),
        (0.0, [(176, b"XX.XX.XX")], None),
        (0.0, [(88, b" " * 80), (168, b"31.02.24")], None),
    ],
)
def test_start_is_the_time_of_the_first_sample(tmp_path, x, suffix, first, header, right):
    texts = stamps(first + np.arange(SECONDS))
    rows = [*electrodes(x), annotations(texts)]
    path = write(tmp_path / f"a{suffix}", rows, kind="EDF+C", header=header)
    expected = None if right is None else datetime.datetime(*right, tzinfo=datetime.UTC)
    found = read_recording(path)
    assert (found.start, found.origin, found.offset) == (expected, expected, 0.0)


def test_start_is_that_of_edfio(tmp_path, x):
    edfio = pytest.importorskip("edfio")
    start = datetime.time(9, 30, 5, 250000)
    names = list(TEN_TWENTY)
    rows = [
        edfio.EdfSignal(row, RATE, label=name, physical_dimension="uV")
        for name, row in zip(names, x, strict=True)
    ]
    about = edfio.Recording(startdate=datetime.date(2024, 5, 6))
    notes = [edfio.EdfAnnotation(1.0, None, "note")]
    timing = {"starttime": start, "data_record_duration": 1}
    edfio.Edf(rows, recording=about, annotations=notes, **timing).write(tmp_path / "a.edf")
    expected = datetime.datetime(2024, 5, 6, 9, 30, 5, 250000, tzinfo=datetime.UTC)
    assert read_recording(tmp_path / "a.edf").start == expected
