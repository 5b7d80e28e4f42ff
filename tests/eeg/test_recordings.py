"""Recordings from EDF, BDF and FIF files: what is read, and a sentence for what cannot be."""

import datetime
import subprocess
import sys

import numpy as np
import pytest

from tcnzoo.eeg.montage import electrode, places
from tcnzoo.eeg.recordings import Recording, arranged, read_recording
from tcnzoo.errors import BackendMissing, InputError
from tcnzoo.specs.montages import TEN_TWENTY
from tests.support import eeg_signals
from tests.support.compare import assert_refused
from tests.support.eeg_signals import NEW_NAMES

SECONDS = 3.0
# Half a step of 16 bits over 6000 uV, and of 24 bits for BDF.
STEP_UV = {".edf": 6000.0 / 2**16, ".bdf": 6000.0 / 2**24}


@pytest.fixture
def x():
    return eeg_signals.signal(SECONDS, bursts=())


@pytest.fixture
def edf(tmp_path, x):
    for package in ("mne", "edfio"):
        pytest.importorskip(package)
    eeg_signals.write_edf(tmp_path / "night.edf", x)
    return tmp_path / "night.edf"


@pytest.mark.parametrize("suffix", [".edf", ".bdf"])
def test_channels_come_in_order_and_in_microvolts(tmp_path, x, suffix, edf):
    path = tmp_path / f"other{suffix}"
    eeg_signals.write_edf(path, x, bdf=suffix == ".bdf")
    found = read_recording(path)
    assert (found.names, found.sampling_rate, found.path) == (TEN_TWENTY, 256.0, path)
    assert found.duration == SECONDS
    assert found.start == datetime.datetime(2024, 5, 6, 9, 30, tzinfo=datetime.UTC)
    assert found.signal.dtype == np.float64
    np.testing.assert_allclose(found.signal, x, atol=STEP_UV[suffix])


def test_fif_is_read(tmp_path, x):
    mne = pytest.importorskip("mne")
    info = mne.create_info([*TEN_TWENTY[::-1], "ECG"], 250.0, ["eeg"] * 19 + ["ecg"])
    signal = np.concatenate([x[::-1], x[:1]]) * 1e-6
    path = tmp_path / "night_raw.fif"
    mne.io.RawArray(signal, info, verbose="error").save(path, verbose="error")
    found = read_recording(path)
    assert (found.names, found.sampling_rate, found.start) == (TEN_TWENTY, 250.0, None)
    np.testing.assert_allclose(found.signal, x, rtol=1e-6, atol=1e-3)


def test_a_path_may_be_text(edf):
    np.testing.assert_array_equal(read_recording(str(edf)).signal, read_recording(edf).signal)


def test_a_fif_in_another_unit_than_volts(tmp_path, x):
    mne = pytest.importorskip("mne")
    path = tmp_path / "night_raw.fif"
    raw = mne.io.RawArray(x, mne.create_info(list(TEN_TWENTY), 256.0, "eeg"), verbose="error")
    raw.save(path, verbose="error")
    with pytest.warns(UserWarning, match="varies by 2.5e.07 uV, where an EEG varies by some tens"):
        read_recording(path)
    # MNE 1.13.2 does not apply a channel's multiplier, here 10^-6.
    raw.info["chs"][5]["unit_mul"] = -6
    raw.save(path, verbose="error", overwrite=True)
    sentence = (
        f"channel 'T3' of {str(path)!r} must be in V, but its unit is number 107 of FIF times 10^-6"
    )
    assert_refused(InputError, sentence, read_recording, path)


@pytest.mark.parametrize(
    "name, meant",
    [
        ("Fp1", "FP1"),
        ("EEG FP1-REF", "FP1"),
        ("EEG Fp1-LE", "FP1"),
        ("eeg t7-ar", "T3"),
        ("P8", "T6"),
        ("Fp1-Avg", "FP1"),
        ("C3-A2", "C3"),
        ("T7-0", "T3"),
        ("EEG T7-REF-1", "T3"),
        ("Cz.", "CZ"),
        ("POL Fp1", "FP1"),
        ("POL EEG T7-REF", "T3"),
        ("Fz-Cz", "FZ-CZ"),
        ("F7-T3", "F7-T3"),
    ],
)
def test_names_of_electrodes(name, meant):
    assert electrode(name) == meant


@pytest.mark.parametrize(
    "form",
    [
        "{}",
        "EEG {}",
        "EEG {}-Cz",
        "EEG {}-CPz",
        "{}-AVE",
        "{}-M1M2",
        "{}-A1+A2",
        "{} - linked ears",
        "{}:Ref",
        "{}/REF",
        "EEG {}-CS2",
        "{}_org",
        "POL {}",
        "POL {}-Ref",
        "EEG {}-REF-0",
        "eeg {}-(A1-A2)/2",
        "{}..",
    ],
)
def test_one_common_reference_under_any_name(form):
    names = [form.format(NEW_NAMES.get(name, name)) for name in reversed(TEN_TWENTY)]
    others = ["ECG", "EMG chin-REF", "EDF Annotations", "T1-XYZ", "A1-Ref"]
    assert places([*others, *names], "'n.edf'") == tuple(len(others) + 18 - i for i in range(19))


CHAIN = (
    "Fp1-F7 F7-T3 T3-T5 T5-O1 Fp2-F8 F8-T4 T4-T6 T6-O2 Fp1-F3 F3-C3 C3-P3 P3-O1 Fp2-F4 F4-C4 C4-P4 "
    "P4-O2 Fz-Cz Cz-Pz Pz-O1"
)
TRANSVERSE = (
    "F7-Fp1 Fp1-Fp2 Fp2-F8 F7-F3 F3-Fz Fz-F4 F4-F8 T3-C3 C3-Cz Cz-C4 C4-T4 T5-P3 P3-Pz Pz-P4 P4-T6 "
    "T5-O1 O1-O2 O2-T6 T6-O2"
)


@pytest.mark.parametrize("chain", [CHAIN, TRANSVERSE], ids=["longitudinal", "transverse"])
@pytest.mark.parametrize("form", ["{}", "EEG {}", "{}-0"])
def test_bipolar_chains_are_refused(chain, form):
    names = [form.format(name) for name in chain.split()]
    with pytest.raises(InputError, match="lacks 19 of the 19 .* is taken for a bipolar derivation"):
        places(names, "'n.edf'")
    with pytest.raises(InputError, match="lacks 1 of the 1 channels that are needed, Fz"):
        places(names, "'n.edf'", ["Fz"])
    # Asked for as such, a derivation is a channel like others.
    assert places(names, "'n.edf'", [chain.split()[2]]) == (2,)


def test_electrodes_win_over_derivations_beside_them():
    names = [*CHAIN.split(), *(f"{name}-Ref" for name in TEN_TWENTY), "T3-LE"]
    assert places(names, "'n.edf'") == tuple(range(19, 38))


LEFT = ("Fp1", "F3", "C3", "P3", "F7", "T3", "T5", "O1", "Fz", "Cz", "Pz")


@pytest.mark.parametrize("one, other", [("-A1", "-A2"), ("-M1", "-M2"), ("", "-REF"), ("-LE", "")])
def test_ears_of_each_side_and_names_without_a_reference_are_read_with_a_warning(one, other):
    names = [f"EEG {name}{one if name in LEFT else other}" for name in TEN_TWENTY]
    first = {f"EEG Fp1{one}", f"EEG Fp2{other}"}
    with pytest.warns(UserWarning, match="'n.edf' have several references, as in ") as caught:
        assert places(["ECG", *names], "'n.edf'") == tuple(range(1, 20))
    assert all(repr(name) in str(caught[0].message) for name in first)


def test_electrodes_of_several_references():
    sentence = (
        "the electrodes of 'n.edf' must share one reference, but have several, as in "
        "'EEG Fp1-A1', 'EEG Fp2-Ref'; bring them to one first"
    )
    names = [f"EEG {name}-{'A1' if name in LEFT else 'Ref'}" for name in TEN_TWENTY]
    assert_refused(InputError, sentence, places, names, "'n.edf'")
    names = ["Fp1", *(f"{name}-AVE" for name in TEN_TWENTY[1:])]
    with pytest.raises(InputError, match="as in 'Fp1', 'F3-AVE'; bring them to one first"):
        places(names, "'n.edf'")
    both = [f"{name}-{reference}" for reference in ("AVE", "Ref") for name in TEN_TWENTY]
    with pytest.raises(InputError, match="has channel Fp1 twice, as 'Fp1-AVE' and 'Fp1-Ref'"):
        places(both, "'n.edf'")


def test_an_electrode_that_is_the_reference_of_the_others():
    names = [f"EEG {name}-Cz" for name in TEN_TWENTY if name != "Cz"]
    with pytest.raises(InputError, match="lacks 1 .* Cz; .* more; Cz is the reference of the oth"):
        places(names, "'n.edf'")


@pytest.mark.parametrize(
    "names, shown",
    [
        (("POL Fp1", "EEG Fp1"), "as 'POL Fp1' and 'EEG Fp1'"),
        (("T3", "EEG T7"), "as 'T3' and 'EEG T7'"),
        (("fp1-ref", "EEG FP1-REF"), "as 'fp1-ref' and 'EEG FP1-REF'"),
    ],
)
def test_two_names_of_one_electrode(names, shown):
    wanted = "T3" if "T3" in names else "Fp1"
    with pytest.raises(InputError, match=f"has channel {wanted} twice, {shown}"):
        places(names, "'n.edf'", [wanted])


def test_a_recording_in_memory_is_arranged(x):
    shuffled = Recording(x[::-1], tuple(reversed(TEN_TWENTY)), 256.0)
    np.testing.assert_array_equal(arranged(shuffled).signal, x)
    assert arranged(arranged(shuffled)).names == TEN_TWENTY


def test_missing_channels_are_named():
    names = [f"EEG {name}-REF" for name in TEN_TWENTY if name not in ("T3", "O2")]
    sentence = (
        "'n.edf' lacks 2 of the 19 channels that are needed, T3, O2; it has 'EEG Fp1-REF', "
        "'EEG F3-REF', 'EEG C3-REF', 'EEG P3-REF', 'EEG F7-REF', 'EEG T5-REF' and 11 more"
    )
    assert_refused(InputError, sentence, places, names, "'n.edf'")


def test_a_channel_that_is_there_twice(edf, x):
    eeg_signals.write_edf(edf, x, others=("EEG T3-REF",))
    sentence = f"{str(edf)!r} has channel T3 twice, as 'EEG T7-REF' and 'EEG T3-REF'"
    assert_refused(InputError, sentence, read_recording, edf)


def test_a_name_that_is_there_twice(edf, x):
    eeg_signals.write_edf(edf, x, others=("EEG T7-REF",))
    sentence = f"{str(edf)!r} has channel T3 twice, as 'EEG T7-REF' and 'EEG T7-REF'"
    assert_refused(InputError, sentence, read_recording, edf)


def test_a_channel_that_is_no_eeg(tmp_path, x):
    mne = pytest.importorskip("mne")
    info = mne.create_info(list(TEN_TWENTY), 256.0, ["misc"] + ["eeg"] * 18)
    path = tmp_path / "night_raw.fif"
    mne.io.RawArray(x * 1e-6, info, verbose="error").save(path, verbose="error")
    sentence = f"channel 'Fp1' of {str(path)!r} must be EEG, but is of type 'misc'"
    assert_refused(InputError, sentence, read_recording, path)


def test_a_file_that_is_cut_short(edf):
    whole = edf.read_bytes()
    each = (len(whole) - 256 * 21) // 3
    edf.write_bytes(whole[: -each // 2])
    sentence = (
        f"{str(edf)!r} is cut short: its header promises 3 records of {each:,} bytes, "
        "but there are 2.5"
    )
    assert_refused(InputError, sentence, read_recording, edf)
    edf.write_bytes(whole[:1000])
    sentence = (
        f"{str(edf)!r} is cut short: the header of 20 signals takes 5,376 bytes, but the file "
        "has 1,000"
    )
    assert_refused(InputError, sentence, read_recording, edf)


def test_a_recording_that_was_never_closed_is_read(edf, x):
    whole = edf.read_bytes()
    edf.write_bytes(whole[:236] + b"-1      " + whole[244:])
    np.testing.assert_allclose(read_recording(edf).signal, x, atol=STEP_UV[".edf"])


@pytest.mark.parametrize(
    "place, field, sentence",
    [
        (236, b"0       ", "is empty: it holds no samples"),
        (
            192,
            b"EDF+D",
            "calls itself discontinuous, but its record 1 has no time stamp, so its gaps are "
            "unknown",
        ),
        (184, b"many    ", "has a damaged header: its number of bytes is 'many'"),
        (244, b"inf     ", "has a damaged header: its duration of a record is 'inf'"),
        (252, b"many", "has a damaged header: its number of signals is 'many'"),
        (236, b"-7      ", "has a damaged header: its number of records is '-7'"),
        (244, b"0       ", "has a damaged header: its duration of a record is '0'"),
        (0, b"1", "is no EDF file: its {size:,} bytes have no such header"),
    ],
)
def test_headers_that_cannot_be(edf, place, field, sentence):
    whole = edf.read_bytes()
    edf.write_bytes(whole[:place] + field + whole[place + len(field) :])
    sentence = f"{str(edf)!r} {sentence.format(size=len(whole))}"
    assert_refused(InputError, sentence, read_recording, edf)


def test_an_empty_file(tmp_path):
    for name in ("a.edf", "a.bdf"):
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(InputError, match="is no [EB]DF file: its 0 bytes have no such header"):
            read_recording(tmp_path / name)


def test_a_fif_file_that_is_cut_short(tmp_path, x):
    mne = pytest.importorskip("mne")
    path = tmp_path / "night_raw.fif"
    info = mne.create_info(list(TEN_TWENTY), 256.0, "eeg")
    mne.io.RawArray(x * 1e-6, info, verbose="error").save(path, verbose="error")
    whole = path.read_bytes()
    for size in (len(whole) // 2, 50, 0):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match="cannot be read: "):
            read_recording(path)


def test_channels_of_different_rates(tmp_path):
    edfio = pytest.importorskip("edfio")
    pytest.importorskip("mne")
    rates = [256] * 18 + [128]
    signals = [
        edfio.EdfSignal(np.sin(np.arange(3 * rate)), rate, label=name, physical_range=(-9, 9))
        for name, rate in zip(TEN_TWENTY, rates, strict=True)
    ]
    path = tmp_path / "two.edf"
    edfio.Edf(signals, data_record_duration=1).write(path)
    sentence = (
        f"the channels of {str(path)!r} must have one sampling rate, but Fp1 has 256 Hz and O2 "
        "128 Hz"
    )
    assert_refused(InputError, sentence, read_recording, path)


def test_other_files(tmp_path):
    sentence = (
        "a recording is one of .edf, .bdf, .rec, .fif, .fif.gz, but got "
        f"{str(tmp_path / 'x.txt')!r}"
    )
    assert_refused(InputError, sentence, read_recording, tmp_path / "x.txt")
    sentence = f"no file at {str(tmp_path / 'x.edf')!r}"
    assert_refused(InputError, sentence, read_recording, tmp_path / "x.edf")


@pytest.mark.parametrize(
    "shape, names, rate, sentence",
    [
        ((2, 5), ("a",), 256.0, "a recording must be (channels, time) with a name for each"),
        ((5,), ("a",), 256.0, "a recording must be (channels, time) with a name for each"),
        ((1, 5), ("a",), 0.0, "the sampling rate of the recording must be above 0 Hz, but is 0.0"),
        ((1, 5), ("a",), np.nan, "the sampling rate of the recording must be above 0 Hz"),
        ((1, 0), ("a",), 256.0, "the recording is empty: it holds no samples"),
    ],
)
def test_what_is_no_recording(shape, names, rate, sentence):
    with pytest.raises(InputError) as caught:
        Recording(np.zeros(shape), names, rate)
    assert str(caught.value).startswith(sentence)


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mne", None)
    path = tmp_path / "x.fif"
    path.write_bytes(b"1")
    sentence = (
        "reading recordings needs mne, which is not installed; run: pip install 'tcnzoo[eeg]'"
    )
    assert_refused(BackendMissing, sentence, read_recording, path)


def test_importing_the_package_loads_nothing_heavy():
    code = (
        "import sys, tcnzoo.eeg, tcnzoo.cli.eeg, tcnzoo.eeg.figure\n"
        "heavy = ('scipy', 'mne', 'timescoring', 'matplotlib', 'torch')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
