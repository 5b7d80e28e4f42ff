"""Mamba-2 of mamba_ssm in and out: names, sizes, hints, files, refusals."""

import pytest

import tcnzoo
from tcnzoo.checkpoints.directory import read_checkpoint, write_checkpoint
from tcnzoo.errors import InputError, SpecError, WeightError
from tcnzoo.formats.protocol import convert, inspect
from tests.support.checkpoints import refusal
from tests.support.compare import assert_same_bits, weights_of
from tests.support.mamba_files import spec_of, written

torch = pytest.importorskip("torch")

# Each field that the shapes say, and those that they do not.
SHAPED = {
    "plain": {},
    "wide": {"expand": 3, "d_conv": 2, "head_dim": 9},
    "passing": {"d_ssm": 9},
    "per-channel": {"d_per_channel": True},
    "biases": {"bias": True, "conv_bias": False},
    "no-norm": {"rms_norm": False},
}
SAID = {
    "groups": {"groups": 4},
    "before": {"groups": 2, "norm_before_gate": True},
    "limits": {"dt_limit": [0.02, 0.5]},
    "lower": {"dt_limit": [0.02, None]},
}


def state_of(spec, prefix=""):
    """A state_dict as mamba_ssm saves it."""
    return {prefix + name: torch.from_numpy(array) for name, array in weights_of(spec).items()}


def saved(path, spec, prefix="", **more):
    torch.save({**state_of(spec, prefix), **more}, path)
    return path


@pytest.mark.parametrize("fields", SHAPED.values(), ids=SHAPED)
def test_shapes_say_the_sizes(fields, tmp_path):
    spec = spec_of(**fields)
    path = saved(tmp_path / "net.pt", spec)
    report = convert(path, tmp_path / "ours", hints={"groups": 1})
    assert (report.from_format, report.spec) == ("mamba-ssm", spec)
    assert set(report.used) == set(spec.params())
    assert_same_bits(read_checkpoint(tmp_path / "ours")[1], weights_of(spec))
    norm = {"norm_before_gate": False, "norm_eps": 1e-5} if spec.rms_norm else {}
    assert report.assumed == {"dt_limit": (0.0, None), **norm}


@pytest.mark.parametrize("fields", SAID.values(), ids=SAID)
def test_hints_say_the_rest(fields, tmp_path):
    spec = spec_of(**fields)
    path = saved(tmp_path / "net.pt", spec)
    report = convert(path, tmp_path / "ours", hints={"groups": 1, **fields})
    assert report.spec == spec
    assert not report.assumed.keys() & fields.keys()


@pytest.mark.parametrize("text", ["0.02,inf", "0.02,none", "[0.02, .inf]"])
def test_an_infinite_limit_is_written_in_any_way(text, tmp_path):
    path = saved(tmp_path / "net.pt", spec_of())
    hints = {"groups": "1", "dt_limit": text}
    assert convert(path, tmp_path / "ours", hints=hints).spec.dt_limit == (0.02, None)


@pytest.mark.parametrize("fields", [*SHAPED.values(), *SAID.values()], ids=[*SHAPED, *SAID])
@pytest.mark.parametrize("name", ["net.pt", "net.safetensors"])
def test_our_files_need_no_hints(name, fields, tmp_path):
    spec = spec_of(**fields)
    path = written(tmp_path, spec, "mamba-ssm", name)
    report = convert(path, tmp_path / "again")
    assert (report.from_format, report.spec, report.assumed) == ("mamba-ssm", spec, {})
    assert_same_bits(read_checkpoint(tmp_path / "again")[1], weights_of(spec))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_float_types_are_kept(dtype, tmp_path):
    state = {name: one.to(getattr(torch, dtype)) for name, one in state_of(spec_of()).items()}
    torch.save(state, tmp_path / "net.pt")
    convert(tmp_path / "net.pt", tmp_path / "ours", hints={"groups": 1})
    convert(tmp_path / "ours", tmp_path / "back.pt", to_format="mamba-ssm")
    back = torch.load(tmp_path / "back.pt", weights_only=True)
    assert list(back) == ["dt_bias", "A_log", "D", *list(back)[3:]]
    for name, tensor in state.items():
        assert torch.equal(back[name], tensor), name
        assert back[name].dtype == tensor.dtype


def test_one_group_is_not_asked_for_where_nothing_else_divides(tmp_path):
    spec = spec_of(head_dim=4)  # three heads, five rows of B
    report = convert(saved(tmp_path / "net.pt", spec), tmp_path / "ours")
    assert (report.spec.groups, report.spec.d_state) == (1, 5)


def test_the_state_size_says_the_groups(tmp_path):
    path = saved(tmp_path / "net.pt", spec_of(groups=2, d_state=6))
    spec = convert(path, tmp_path / "ours", hints={"d_state": 6}).spec
    assert (spec.groups, spec.d_state) == (2, 6)


def test_groups_are_asked_for(tmp_path):
    path = saved(tmp_path / "net.pt", spec_of(groups=2))
    found = inspect(path)
    assert found.missing == (
        f"{str(path)!r} does not determine groups; give the values of the net, as in: "
        "--set groups=1"
    )
    assert found.known["head_dim"] == 3
    assert {row.name: row.used_as for row in found.tensors}["A_log"] == "A_log"
    assert refusal(path, kind=InputError) == found.missing


def test_a_module_inside_a_model_is_found(tmp_path):
    extra = {"head.weight": torch.zeros(2, 3)}
    path = saved(tmp_path / "net.pt", spec_of(), "encoder.mixer.", **extra)
    report = convert(path, tmp_path / "ours", hints={"groups": 1})
    assert report.used["encoder.mixer.A_log"] == "A_log"
    reason = "outside of 'encoder.mixer', which alone is converted"
    assert report.dropped == {"head.weight": reason}


def test_one_of_several_is_chosen(tmp_path):
    spec, other = spec_of(), spec_of(expand=3)
    state = {**state_of(spec, "layers.0.mixer."), **state_of(other, "layers.1.mixer.")}
    state["embedding.weight"] = torch.zeros(9, 6)
    torch.save(state, tmp_path / "net.pt")
    assert "2 such nets" in refusal(tmp_path / "net.pt", kind=InputError)
    hints = {"prefix": "layers.1.mixer", "groups": 1}
    assert convert(tmp_path / "net.pt", tmp_path / "ours", hints=hints).spec == other


@pytest.mark.parametrize(
    "hints, sentence",
    [
        ({"groups": 3}, "groups must divide the 4 heads and the 10 rows of B in {}, but is 3"),
        ({"groups": 4}, "groups must divide the 4 heads and the 10 rows of B in {}, but is 4"),
        ({"groups": 1, "d_state": 4}, "the hint d_state=4 contradicts {}, which says d_state=10"),
        ({"groups": 1, "head_dim": 4}, "the hint head_dim=4 contradicts {}, which says head_dim=3"),
        ({"groups": 1, "d_ssm": 8}, "the hint d_ssm=8 contradicts {}, which says d_ssm=12"),
        ({"group": 1}, "format 'mamba-ssm' takes no hint 'group'; did you mean 'groups'?"),
    ],
)
def test_hints_that_do_not_fit_are_refused(hints, sentence, tmp_path):
    path = saved(tmp_path / "net.pt", spec_of(groups=2))
    with pytest.raises(InputError) as caught:
        convert(path, tmp_path / "ours", hints=hints)
    assert str(caught.value) == sentence.format(repr(str(path)))
    assert not (tmp_path / "ours").exists()


def test_the_whole_width_is_no_contradiction(tmp_path):
    path = saved(tmp_path / "net.pt", spec_of())
    hints = {"groups": 1, "d_ssm": 12}
    assert convert(path, tmp_path / "ours", hints=hints).spec.width == 12


@pytest.mark.parametrize(
    "name, shape, part",
    [
        ("A_log", (4, 5), "must have 1 axes, as in a Mamba-2, but has shape (4, 5)"),
        ("in_proj.weight", (39, 6), "are not those of one Mamba-2"),
        ("in_proj.weight", (24, 6), "are not those of one Mamba-2"),
        ("conv1d.weight", (40, 1, 4), "are not those of one Mamba-2"),
        ("D", (5,), "are not those of one Mamba-2"),
        ("norm.weight", (11,), "tensor 'norm.weight' must have shape (12,)"),
        ("out_proj.weight", None, "must hold 'out_proj.weight', which a Mamba-2 has"),
        ("init_states", (4, 3, 5), "begins with states that were learnt, 'init_states'"),
        ("gate.weight", (4, 3), "tensor 'gate.weight' of"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(name, shape, part, tmp_path):
    state = state_of(spec_of())
    if shape is None:
        del state[name]
    else:
        state[name] = torch.ones(shape)
    torch.save(state, tmp_path / "net.pt")
    with pytest.raises(WeightError, match=".") as caught:
        convert(tmp_path / "net.pt", tmp_path / "ours", hints={"groups": 1})
    assert part in str(caught.value)
    assert not (tmp_path / "ours").exists()


@pytest.mark.parametrize(
    "fields, part",
    [
        ({"groups": 2, "grouped_norm": False}, "grouped_norm must be true"),
        ({"norm_eps": 1e-3}, "norm_eps must be 1e-05, but is 0.001"),
    ],
)
def test_mamba_ssm_cannot_hold(fields, part, tmp_path):
    spec = spec_of(**fields)
    write_checkpoint(tmp_path / "start", spec, weights_of(spec))
    with pytest.raises(SpecError) as caught:
        convert(tmp_path / "start", tmp_path / "net.pt", to_format="mamba-ssm")
    assert str(caught.value) == f"mamba-ssm cannot hold this model: {part}"
    assert not (tmp_path / "net.pt").exists()


def test_another_model_is_refused(tmp_path):
    spec = tcnzoo.load_spec({"kind": "dense", "in_features": 3, "out_features": 2})
    write_checkpoint(tmp_path / "start", spec, weights_of(spec))
    for name in ("mamba-ssm", "transformers-mamba2", "brain-go-brr"):
        target = tmp_path / ("net" if name.startswith("trans") else "net.pt")
        with pytest.raises(SpecError):
            convert(tmp_path / "start", target, to_format=name)
        assert not target.exists()
