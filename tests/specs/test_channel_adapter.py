"""Montages, spherical splines beside MNE, and what channel adapters refuse."""

import numpy as np
import pytest
from scipy import special

import tcnzoo
from tcnzoo.errors import SpecError
from tcnzoo.specs import spherical_spline
from tcnzoo.specs.montages import MONTAGES, names_of, places_of


def adapter(method, source="tuh-19", target="hydrocel-129", **fields):
    spec = {"kind": "channel_adapter", "method": method, "source": source, "target": target}
    return tcnzoo.load_spec({**spec, **fields})


# --- Montages -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, count", [("tuh-19", 19), ("tuh-21", 21), ("labram-128", 128), ("standard-1005", 343),
                    ("hydrocel-129", 129)]
)  # fmt: skip
def test_montages(name, count):
    assert len(names_of(name)) == len({one.upper() for one in names_of(name)}) == count


def test_places_are_those_of_mne():
    mne = pytest.importorskip("mne")
    names = names_of("tuh-21")
    info = mne.create_info(list(names), 100.0, "eeg")
    with pytest.warns(FutureWarning):
        montage = mne.channels.make_standard_montage("standard_1005")
    info.set_montage(montage)
    for channel, place in zip(info["chs"], places_of("tuh-21").values(), strict=True):
        assert tuple(channel["loc"][:3]) == place


@pytest.mark.parametrize("name", [name for name in MONTAGES if name != "labram-128"])
def test_heads_are_spheres_of_ten_centimetres(name):
    places = np.array(list(places_of(name).values()))
    apart = np.linalg.norm(places - spherical_spline.sphere_of(list(places)), axis=1)
    assert 0.08 < apart.mean() < 0.11
    assert apart.std() < 0.01


# --- Splines --------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.0, 1e-5])
@pytest.mark.parametrize("source", ["tuh-19", "tuh-21", "hydrocel-129"])
def test_splines_are_those_of_mne(source, alpha):
    """Both solve the same equations in float64; those of 129 electrodes have condition 1e10."""
    interpolation = pytest.importorskip("mne.channels.interpolation")
    target = "standard-1005" if source == "hydrocel-129" else "hydrocel-129"
    origin = np.array([0.001, 0.012, 0.04])
    spec = adapter("spline", source, target, origin=origin, alpha=alpha, max_angle=None)
    places = [np.array(list(places_of(montage).values())) - origin for montage in (source, target)]
    expected = interpolation._make_interpolation_matrix(*places, alpha=alpha)
    tolerance = 1e-9 if source == "hydrocel-129" else 1e-12
    assert np.abs(spec.matrix() - expected).max() < tolerance


def test_splines_are_those_of_a_recording_in_mne():
    mne = pytest.importorskip("mne")
    names = list(names_of("tuh-19"))
    with pytest.warns(FutureWarning):
        montage = mne.channels.make_standard_montage("standard_1005")
    info = mne.create_info(names, 100.0, "eeg")
    x = np.random.default_rng(0).standard_normal((1, 19, 50))
    raw = mne.io.RawArray(x[0], info, verbose="error").set_montage(montage)
    origin = tuple(mne.bem.fit_sphere_to_headshape(raw.info, units="m", verbose="error")[1])
    target = mne.channels.make_standard_montage("GSN-HydroCel-129")
    expected = raw.interpolate_to(target, method="spline", origin=origin)
    model = tcnzoo.create(
        adapter("spline", origin=origin, max_angle=None), "numpy", dtype="float64"
    )
    assert np.abs(tcnzoo.predict(model, x)[0] - expected.get_data()).max() < 1e-11


@pytest.mark.parametrize("degree, least", [(1, 0.999), (2, 0.98), (3, 0.9)])
def test_smooth_fields_are_found_again(degree, least):
    """19 electrodes know of a field what has no finer structure than they have."""
    spec = adapter("spline")
    near = np.array(spec.covered())
    sources, targets = spec.source_directions(), spec.target_directions()[near]
    for order in range(-degree, degree + 1):
        there, wanted = _harmonic(degree, order, sources), _harmonic(degree, order, targets)
        correlation = np.corrcoef(spec.matrix()[near] @ there, wanted)[0, 1]
        assert correlation > least - 0.3 * (degree == 3)


def _harmonic(degree, order, units):
    x, y, z = units.T
    value = special.lpmv(abs(order), degree, z)
    angle = abs(order) * np.arctan2(y, x)
    return value * (np.cos(angle) if order >= 0 else np.sin(angle))


def test_rows_sum_to_one_and_far_targets_are_zero():
    whole, masked = adapter("spline", max_angle=None), adapter("spline")
    np.testing.assert_allclose(whole.matrix().sum(axis=1), 1.0, atol=1e-9)
    far = whole.angles() > 30.0
    assert 10 < far.sum() < 60
    assert not masked.matrix()[far].any()
    assert (masked.matrix()[~far] == whole.matrix()[~far]).all()
    assert whole.noise_gain()[far].mean() > 1.5 * whole.noise_gain()[~far].mean()
    text = masked.remark()
    assert f"{far.sum()} of 129 targets are not covered, and zero: " in text
    assert text.startswith("noise gain ")
    assert "targets are extrapolated" in whole.remark()


def test_electrodes_of_one_name_are_copied():
    spec = adapter("select", "tuh-19", ["CZ", "Oz", "fp1"])
    assert spec.covered() == (True, False, True)
    assert spec.matrix().sum(axis=1).tolist() == [1.0, 0.0, 1.0]
    assert spec.matrix()[0, spec.sources.index("Cz")] == 1.0


@pytest.mark.parametrize("method", ["attend", "perceiver"])
def test_montages_share_parameters(method):
    shapes = [
        {name: row.shape for name, row in adapter(method, source).params().items()}
        for source in ("tuh-19", "tuh-21", "hydrocel-129")
    ]
    assert shapes[0] == shapes[1] == shapes[2]


def test_weights_serve_another_montage(backend):
    weights = tcnzoo.get_weights(tcnzoo.create(adapter("attend", target="tuh-21"), "numpy"))
    other = tcnzoo.create(adapter("attend", "tuh-21", "tuh-21"), backend, weights=weights)
    assert tcnzoo.predict(other, np.ones((1, 21, 4), np.float32)).shape == (1, 21, 4)


# --- Refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields, sentence",
    [
        (dict(method="spline", source=["Fp1", "Fp2", "Cz", "Ozz"]), "'Ozz' is not among"),
        (dict(method="spline", source=["Fp1", "Fp2", "Cz"]), "a spline needs 4 sources or more"),
        (dict(method="spline", source="tuh-20"), "no montage 'tuh-20'; there are tuh-19"),
        (dict(method="select", source=["Cz", "cz"]), "name 'cz' twice"),
        (
            dict(method="pad", source="hydrocel-129", target="tuh-19"),
            "129 sources are more than",
        ),
        (dict(method="select", alpha=0.1), "method 'select' takes no alpha"),
        (dict(method="perceiver", width=30, heads=4), "heads must divide the width 30, but is 4"),
        (
            dict(method="attend", source={"A": [0, 0, 0.1], "B": [0, 0, 0.1]}),
            "electrodes 'A' and 'B' are at one place",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(fields, sentence):
    with pytest.raises(SpecError, match=sentence):
        adapter(**fields)


def test_a_perceiver_takes_whole_patches(backend):
    model = tcnzoo.create(adapter("perceiver", "tuh-19", "tuh-21"), backend)
    with pytest.raises(tcnzoo.InputError, match="whole patches of 25 steps, but the signal has 52"):
        tcnzoo.predict(model, np.zeros((1, 19, 52), np.float32))


@pytest.mark.parametrize("method", ["pad", "select", "spline"])
@pytest.mark.parametrize(
    "norm",
    [{"kind": "patch_embed", "patch": 50}, {"kind": "group_norm", "channels": 129, "groups": 3}],
)
def test_zeros_before_a_norm_over_electrodes_are_refused(method, norm):
    sentence = f"layer 'norm': {norm['kind']} takes statistics over all channels, but [0-9]+ of"
    with pytest.raises(SpecError, match=sentence):
        tcnzoo.load_spec(chain(zeros(method), {"kind": "activation", "name": "relu"}, norm))
    tcnzoo.load_spec(chain(zeros(method, allow_zero_channels=True), norm))


def zeros(method, **fields):
    """An adapter whose targets are not all covered."""
    return {
        "kind": "channel_adapter", "method": method, "source": "tuh-19", "target": "hydrocel-129",
        **fields,
    }  # fmt: skip


def chain(*layers):
    """A sequential; the last layer is `norm`."""
    names = [*(f"l{number}" for number in range(len(layers) - 1)), "norm"]
    return {"kind": "sequential", "layers": dict(zip(names, layers, strict=True))}


GROUPS = {"kind": "group_norm", "channels": 129, "groups": 3}


def test_zeros_are_seen_through_stacks_and_graphs():
    inside = chain({"kind": "activation", "name": "relu"}, GROUPS)
    nodes = {
        "adapter": {"layer": zeros("select")},
        "relu": {"layer": {"kind": "activation", "name": "relu"}, "inputs": ["adapter"]},
        "norm": {"layer": GROUPS, "inputs": ["relu"]},
    }
    stacked = [
        chain(zeros("spline"), inside),
        chain(chain(zeros("pad"), {"kind": "dropout", "rate": 0.1}), GROUPS),
        {"kind": "graph", "in_channels": 19, "nodes": nodes},
    ]
    for spec in stacked:
        with pytest.raises(SpecError, match="'norm': group_norm takes statistics"):
            tcnzoo.load_spec(spec)


def test_behind_layers_that_mix_channels_nothing_is_zero():
    conv = {"kind": "conv1d", "in_channels": 129, "out_channels": 6, "kernel_size": 1}
    tcnzoo.load_spec(chain(zeros("select"), conv, {**GROUPS, "channels": 6}))
