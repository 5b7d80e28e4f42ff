"""Examples out of files: one batch from each format, mapped, ordered, balanced, augmented."""

import io
import zipfile

import numpy as np
import pytest
from pydantic import TypeAdapter

from tcnzoo.checkpoints.directory import write_safetensors
from tcnzoo.errors import InputError
from tcnzoo.training.data import AnyData, epoch_order, load
from tcnzoo.training.data.config import ArraysData, WindowsData
from tcnzoo.training.data.dataset import ArrayDataset, Subset, check_labels
from tcnzoo.training.data.files import array_dataset, open_arrays
from tcnzoo.training.data.sampling import shares
from tcnzoo.training.data.windows import window_dataset, zscore
from tests.support.compare import assert_refused, noise

X = noise(6, 2, 5).astype(np.float32)
Y = np.array([0, 1, 2, 1, 0, 2])
GROUP = np.array(["a", "a", "b", "b", "c", "d"])
NUMBERS = TypeAdapter(AnyData)


def write_arrays(folder, form, **arrays):
    """Write named arrays in one of the formats; return the path as text."""
    if form == "folder":
        (folder / "arrays").mkdir()
        for name, array in arrays.items():
            np.save(folder / "arrays" / f"{name}.npy", array)
        return str(folder / "arrays")
    path = folder / f"arrays.{form.partition('-')[0]}"
    if form == "safetensors":
        write_safetensors(path, arrays, {})
    elif form == "npz-compressed":
        np.savez_compressed(path, **arrays)
    else:
        np.savez(path, **arrays)
    return str(path)


def rng(seed=0):
    return np.random.Generator(np.random.PCG64(seed))


@pytest.mark.parametrize("form", ["npz", "npz-compressed", "safetensors", "folder"])
def test_every_format_gives_the_same_batch(form, tmp_path):
    group = np.array([0, 0, 1, 1, 2, 3])
    path = write_arrays(tmp_path, form, x=X, y=Y, group=group, mask=noise(6, 5))
    data = array_dataset(ArraysData(path=path, extra=("mask",)), path)
    batch = data.batch(np.array([4, 0, 4]))
    assert batch["x"].tobytes() == X[[4, 0, 4]].tobytes()
    assert batch["y"].tolist() == [0, 0, 0]
    assert batch["mask"].tobytes() == noise(6, 5)[[4, 0, 4]].tobytes()
    assert data.groups.tolist() == ["0", "0", "1", "1", "2", "3"]
    assert data.labels.tolist() == Y.tolist()


@pytest.mark.parametrize("form", ["npz", "safetensors", "folder"])
def test_arrays_stay_on_disk(form, tmp_path):
    path = write_arrays(tmp_path, form, x=X, y=Y)
    base = open_arrays(tmp_path / path)["x"]
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        base = base.base
    assert base is not None, "the array owns its memory"


def test_an_array_in_fortran_order_keeps_its_axes(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.asfortranarray(X), y=np.float32(3.0), z=np.empty((0, 2)))
    held = open_arrays(tmp_path / "a.npz")
    assert np.array_equal(held["x"], X)
    assert held["y"].shape == ()
    assert held["z"].shape == (0, 2)


def test_an_archive_that_claims_more_than_it_holds_is_refused(tmp_path):
    plain = io.BytesIO()
    np.save(plain, X)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", plain.getvalue().replace(b"(6, 2, 5)", b"(9, 2, 5)"))
    with pytest.raises(InputError, match=r"x.npy says that it has 360 bytes, but has 240$"):
        open_arrays(tmp_path / "a.npz")


def test_an_archive_with_python_objects_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.array([{}], dtype=object))
    with pytest.raises(InputError, match="x.npy holds Python objects, which are never read$"):
        open_arrays(tmp_path / "a.npz")


@pytest.mark.parametrize("kept", [0, 10, 200])
def test_a_cut_archive_is_refused(kept, tmp_path):
    np.savez(tmp_path / "whole.npz", x=X)
    (tmp_path / "a.npz").write_bytes((tmp_path / "whole.npz").read_bytes()[:kept])
    with pytest.raises(InputError, match="is not a .npz file"):
        open_arrays(tmp_path / "a.npz")


@pytest.mark.parametrize(
    "arrays, options, words",
    [
        ({"x": X}, {}, "has no array 'y'; known are x$"),
        ({"x": X, "why": Y}, {"y": "wh"}, "has no array 'wh'; did you mean 'why'"),
        ({"x": X, "y": Y[:4]}, {}, "^x has 6 examples, but y has 4$"),
        ({"x": X, "y": Y, "group": GROUP[:2]}, {}, "^x has 6 examples, but group has 2$"),
        ({"x": X[0, 0], "y": Y}, {}, r"it has shape \(5,\) of float32$"),
        (
            {"x": X, "y": Y},
            {"augment": [{"kind": "phase", "steps": 2}]},
            "^data of kind 'arrays' have no augmentation 'phase'$",
        ),
    ],
)
def test_arrays_that_do_not_go_together_are_refused(arrays, options, words, tmp_path):
    path = write_arrays(tmp_path, "npz", **arrays)
    with pytest.raises(InputError, match=words):
        array_dataset(ArraysData(path=path, **options), path)


def test_a_label_outside_the_classes_is_refused(tmp_path):
    path = write_arrays(tmp_path, "npz", x=X, y=Y)
    config = ArraysData(path=path, val=path, test=path, classes=2)
    assert_refused(
        InputError,
        "labels must be 0 to 1, one of 2 classes, but example 2 of train has label 2",
        load,
        config,
        0,
    )
    check_labels(ArrayDataset({"x": X, "y": Y}), 3)


@pytest.mark.parametrize("hop", [None, 2])
def test_windows_are_cut_where_they_say(hop, tmp_path):
    signals = [noise(2, 11), noise(2, 7, seed=1)]
    labels = [np.arange(11) % 3, np.arange(7) % 2]
    files = []
    for place, (x, y) in enumerate(zip(signals, labels, strict=True)):
        np.save(tmp_path / f"x{place}.npy", x)
        np.save(tmp_path / f"y{place}.npy", y)
        files.append({"x": f"{tmp_path}/x{place}.npy", "y": f"{tmp_path}/y{place}.npy"})
    config = WindowsData(recordings=files, window=4, hop=hop, classes=3)
    data = window_dataset(config)
    wanted = [(i, s) for i, x in enumerate(signals) for s in range(0, x.shape[1] - 3, hop or 4)]
    assert len(data) == len(wanted)
    batch = data.batch(np.arange(len(data)))
    for row, (i, start) in enumerate(wanted):
        assert np.array_equal(batch["x"][row], signals[i][:, start : start + 4].astype(np.float32))
        assert batch["y"][row].tolist() == labels[i][start : start + 4].tolist()
    assert data.groups.tolist() == [f"x{i}" for i, _ in wanted]
    assert data.labels is None
    single = window_dataset(config.model_copy(update={"label": "any"}))
    assert single.labels.tolist() == [labels[i][s : s + 4].max() for i, s in wanted]
    last = window_dataset(config.model_copy(update={"label": "last"}))
    assert last.labels.tolist() == [labels[i][s + 3] for i, s in wanted]


@pytest.mark.parametrize(
    "x, y, words",
    [
        (noise(2, 3), np.zeros(3, int), "has 3 steps, fewer than a window of 4$"),
        (noise(2, 9), np.zeros(8, int), "one whole number for each of 9 steps, but has shape"),
        (noise(9), np.zeros(9, int), r"must be \(channels, time\), but has shape \(9,\)$"),
        (noise(2, 9), np.full(9, 3), "^labels must be 0 to 2, one of 3 classes, but .* holds 3$"),
    ],
)
def test_recordings_that_cannot_be_cut_are_refused(x, y, words, tmp_path):
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    recording = {"x": str(tmp_path / "x.npy"), "y": str(tmp_path / "y.npy")}
    with pytest.raises(InputError, match=words):
        window_dataset(WindowsData(recordings=[recording], window=4, classes=3))


def test_phase_moves_windows_back_within_their_recording(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(40.0)[None])
    np.save(tmp_path / "y.npy", np.arange(40) % 2)
    recording = {"x": str(tmp_path / "x.npy"), "y": str(tmp_path / "y.npy")}
    augment = [{"kind": "phase", "steps": 3}]
    data = window_dataset(WindowsData(recordings=[recording], window=5, augment=augment))
    rows = np.repeat(np.arange(len(data)), 40)
    batch = data.batch(rows, rng())
    moved = data.start[rows] - batch["x"][:, 0, 0].astype(int)
    assert set(moved[rows == 0]) == {0}
    assert set(moved[rows == 3]) == {0, 1, 2, 3}
    # Labels are those of the steps that were taken.
    assert np.array_equal(batch["y"], batch["x"][:, 0].astype(int) % 2)
    assert np.array_equal(data.batch(rows)["x"][:, 0, 0], data.start[rows])


def test_noise_and_gain_are_drawn_from_the_generator_alone():
    augment = [{"kind": "noise", "deviation": 0.5, "share": 0.5}, {"kind": "gain", "spread": 0.2}]
    config = NUMBERS.validate_python({"kind": "adding", "train": 400, "augment": augment})
    data, rows = load(config, 0)["train"], np.arange(400)
    still = data.batch(rows)["x"]
    one, same, other = (data.batch(rows, rng(seed))["x"] for seed in (1, 1, 2))
    assert one.tobytes() == same.tobytes() != other.tobytes()
    ratio = np.abs(one).sum(axis=(1, 2)) / np.abs(still).sum(axis=(1, 2))
    pairs = [(row[was > 0.5], was[was > 0.5]) for row, was in zip(one, still, strict=True)]
    flat = np.array([np.ptp(row / was) < 1e-5 for row, was in pairs])
    # Of 400 examples half stay free of noise, give or take four deviations of a fair coin.
    assert abs(flat.mean() - 0.5) < 0.1
    assert ratio[flat].min() > 0.79
    assert ratio[flat].max() < 1.21
    gap = (one - still)[~flat].std()
    assert 0.4 < gap < 0.7


def test_zscore_leaves_a_constant_at_zero():
    x = np.stack([np.full((1, 750), 1000.3), noise(1, 750) * 5 + 3]).astype(np.float32)
    scaled = zscore(x)
    assert np.abs(scaled[0]).max() < 1e-3
    assert abs(scaled[1].mean()) < 1e-6
    assert abs(scaled[1].std() - 1.0) < 1e-6


def test_order_follows_from_seed_and_epoch():
    data = ArrayDataset({"x": X, "y": Y})
    config = ArraysData(path="")
    orders = [epoch_order(data, config, seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4
    assert all(sorted(order) == list(range(6)) for order in orders)
    assert np.array_equal(orders[1], epoch_order(data, config, 0, 1))
    plain = config.model_copy(update={"shuffle": False})
    assert epoch_order(data, plain, 0, 1).tolist() == list(range(6))
    longer = config.model_copy(update={"epoch_size": 15})
    counts = np.bincount(epoch_order(data, longer, 0, 0))
    assert counts.sum() == 15
    assert set(counts) == {2, 3}


@pytest.mark.parametrize(
    "balance, wanted",
    [
        ("label", [1 / 6] * 6),
        ("group", [1 / 8, 1 / 8, 1 / 8, 1 / 8, 1 / 4, 1 / 4]),
        ("both", [1 / 6] * 6),
    ],
)
def test_balance_gives_each_kind_the_same_share(balance, wanted):
    data = ArrayDataset({"x": X, "y": Y}, groups=GROUP)
    assert np.allclose(shares(data, balance), wanted)
    config = ArraysData(path="", balance=balance, epoch_size=6000)
    drawn = np.bincount(epoch_order(data, config, 0, 0), minlength=6) / 6000
    # Four deviations of a share of 1/4 in 6000 draws.
    assert np.abs(drawn - wanted).max() < 0.023


def test_balance_needs_something_to_balance_by():
    data = Subset(ArrayDataset({"x": X, "y": X}), np.arange(3))
    with pytest.raises(InputError, match="^the data have no label for each example to balance by$"):
        shares(data, "label")
    with pytest.raises(InputError, match="^the data have no group for each example"):
        shares(data, "group")


def test_a_subset_is_the_examples_that_it_names():
    data = Subset(ArrayDataset({"x": X, "y": Y}, groups=GROUP), np.array([5, 1]))
    assert len(data) == 2
    assert np.array_equal(data.batch(np.array([1]))["x"], X[[1]])
    assert data.labels.tolist() == [2, 1]
    assert data.groups.tolist() == ["d", "a"]
    assert data.describe()["labels"] == {"1": 1, "2": 1}
