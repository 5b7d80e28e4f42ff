"""Which format a file is of, which to write, what hints say, and what is at the destination."""

import subprocess
import sys
from pathlib import Path

import pytest

import tcnzoo
from tcnzoo.checkpoints import directory
from tcnzoo.checkpoints.directory import read_checkpoint, write_checkpoint
from tcnzoo.errors import BackendMissing, InputError, WeightError
from tcnzoo.formats import protocol as formats
from tcnzoo.formats.protocol import convert, inspect
from tcnzoo.formats.report import Undetermined
from tests.support.checkpoints import FILES, SPEC, held_in
from tests.support.compare import assert_same_bits, weights_of

torch = pytest.importorskip("torch")
pytest.importorskip("h5py")

ROOT = Path(__file__).parents[2]
each_file = pytest.mark.parametrize("name,to_format", FILES)


@pytest.fixture
def start(tmp_path):
    """A checkpoint directory."""
    write_checkpoint(tmp_path / "start", SPEC, weights_of(SPEC))
    return tmp_path / "start"


@each_file
def test_format_is_told_from_the_content(name, to_format, start, tmp_path):
    written = convert(start, tmp_path / name, to_format=to_format).to_format
    anonymous = tmp_path / "anonymous"
    (tmp_path / name).rename(anonymous)
    found = inspect(anonymous)
    assert found.format == written
    assert found.spec == SPEC
    assert {row.used_as for row in found.tensors} - {None} == set(SPEC.params())


def test_tensor_file_of_a_directory_stands_for_it(start, tmp_path):
    assert convert(start / "model.safetensors", tmp_path / "a.pt").from_format == "tcnzoo"


def test_names_and_aliases(start, tmp_path):
    assert convert(start, tmp_path / "a.pt", to_format="pytorch").to_format == "torch"
    assert convert(start, tmp_path / "a.keras", to_format="tf").to_format == "keras"
    with pytest.raises(InputError, match="unknown format 'tensorflw'"):
        convert(start, tmp_path / "b.keras", to_format="tensorflw")
    with pytest.raises(InputError, match="unknown format 'mxl'; did you mean 'mlx'"):
        convert(start, tmp_path / "b.npz", to_format="mxl")


def test_an_ending_of_two_formats_is_asked_about(start, tmp_path):
    with pytest.raises(InputError, match="can be written as torch or mlx: name the format"):
        convert(start, tmp_path / "a.safetensors")


def test_an_ending_of_no_format_is_refused(start, tmp_path):
    with pytest.raises(InputError, match="has an ending of no format"):
        convert(start, tmp_path / "a.xyz")


def test_an_ending_of_another_format_is_refused(start, tmp_path):
    with pytest.raises(InputError, match="'mlx' is written to a name in .safetensors or .npz"):
        convert(start, tmp_path / "a.pt", to_format="mlx")


def test_a_file_of_no_format_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing of the kind")
    with pytest.raises(InputError, match="not recognised as any of tcnzoo, torch, .* pytorch-tcn"):
        convert(tmp_path / "notes.txt", tmp_path / "a.pt")
    with pytest.raises(InputError, match="not recognised"):
        inspect(tmp_path)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    for from_format in (None, "torch"):
        with pytest.raises(InputError, match="nothing at .*a.pt"):
            convert(tmp_path / "a.pt", tmp_path / "b.npz", from_format=from_format)


@pytest.mark.parametrize("said", ["torch", "mlx"])
def test_a_file_says_what_it_is(said, start, tmp_path):
    other = {"torch": "mlx", "mlx": "torch"}[said]
    convert(start, tmp_path / "a.safetensors", to_format=said)
    with pytest.raises(WeightError, match=f"says that it is of format '{said}', not '{other}'"):
        convert(tmp_path / "a.safetensors", tmp_path / "b.npz", from_format=other)


def test_a_converted_file_is_no_checkpoint_directory(start, tmp_path):
    convert(start, tmp_path / "a.safetensors", to_format="mlx")
    (tmp_path / "a.safetensors").rename(start / "model.safetensors")
    with pytest.raises(WeightError, match="says that it is 'tcnzoo-mlx', not 'tcnzoo'"):
        convert(start, tmp_path / "b.pt")


def test_a_layout_is_never_guessed(start, tmp_path):
    spec, weights = read_checkpoint(start)
    directory.write_safetensors(tmp_path / "bare.safetensors", weights)
    with pytest.raises(InputError, match=r"name its format \(from_format, --from\)"):
        convert(tmp_path / "bare.safetensors", tmp_path / "a.npz")
    hints = {"spec": spec}
    with pytest.raises(WeightError, match="must have shape .* but has"):
        convert(tmp_path / "bare.safetensors", tmp_path / "a", from_format="mlx", hints=hints)
    convert(tmp_path / "bare.safetensors", tmp_path / "b", from_format="torch", hints=hints)
    assert_same_bits(read_checkpoint(tmp_path / "b")[1], weights)


# Specs as hints


def test_a_missing_spec_is_asked_for(tmp_path):
    torch.save({"weight": torch.ones(2, 3)}, tmp_path / "plain.pt")
    with pytest.raises(Undetermined, match="without their spec; give it: --set spec=NAME_OR_FILE"):
        convert(tmp_path / "plain.pt", tmp_path / "a", from_format="torch")
    found = inspect(tmp_path / "plain.pt", from_format="torch")
    assert found.spec is None
    assert [row.name for row in found.tensors] == ["weight"]


def test_a_spec_at_odds_with_the_file_is_refused(start, tmp_path):
    convert(start, tmp_path / "a.pt")
    other = {"spec": {"kind": "dense", "in_features": 3, "out_features": 2}}
    with pytest.raises(InputError, match="the spec that was given is not the one in"):
        convert(tmp_path / "a.pt", tmp_path / "b", hints=other)


def test_hints_that_a_format_does_not_take_are_refused(start, tmp_path):
    with pytest.raises(InputError, match="'tcnzoo' takes no hint 'causal'; it takes none"):
        convert(start, tmp_path / "a.pt", hints={"causal": True})
    convert(start, tmp_path / "a.pt")
    with pytest.raises(InputError, match="'torch' takes no hint 'spek'; did you mean 'spec'"):
        convert(tmp_path / "a.pt", tmp_path / "b", hints={"spek": "tcn-base"})


# What has to be installed


def test_the_neutral_files_need_no_framework(start, tmp_path):
    script = f"""
import sys
from tcnzoo.formats.protocol import convert, inspect
source, folder = {str(start)!r}, {str(tmp_path)!r}
for name, to_format in [("a.safetensors", "torch"), ("b.npz", None), ("c.keras", None)]:
    convert(source, folder + "/" + name, to_format=to_format)
    source = folder + "/" + name
inspect(source)
loaded = {{"torch", "mlx", "keras", "tensorflow", "jax"}} & set(sys.modules)
sys.exit(f"loaded {{loaded}}" if loaded else 0)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "name, package, extra",
    [("a.pt", "torch", "torch"), ("a.keras", "h5py", "keras"), ("a.weights.h5", "h5py", "keras")],
)
def test_what_to_install_is_said(name, package, extra, start, tmp_path, monkeypatch):
    for container in ("pt", "h5"):
        monkeypatch.setattr(
            f"tcnzoo.weights_convert.containers.{container}.missing_package",
            lambda package: package,
        )
    with pytest.raises(BackendMissing, match=rf"needs {package}, .* 'tcnzoo\[{extra}\]'"):
        convert(start, tmp_path / name)
    assert not (tmp_path / name).exists()


# What is at the destination


@each_file
def test_a_destination_that_exists_is_kept_unless_overwritten(name, to_format, start, tmp_path):
    path = tmp_path / name
    convert(start, path, to_format=to_format)
    with pytest.raises(InputError, match="exists already"):
        convert(start, path, to_format=to_format)
    other = weights_of(SPEC, seed=5)
    write_checkpoint(tmp_path / "other", SPEC, other)
    convert(tmp_path / "other", path, to_format=to_format, overwrite=True)
    assert_same_bits(held_in(path, tmp_path)[1], other)


@each_file
def test_a_failed_write_leaves_the_old_file_and_no_debris(
    name, to_format, start, tmp_path, monkeypatch
):
    path = tmp_path / "folder" / name
    convert(start, path, to_format=to_format)
    held = path / "model.safetensors" if path.is_dir() else path
    before, names = held.read_bytes(), sorted(path.parent.rglob("*"))

    def crash(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", crash)
    with pytest.raises(OSError, match="no space left"):
        convert(start, path, to_format=to_format, overwrite=True)
    assert held.read_bytes() == before
    assert sorted(path.parent.rglob("*")) == names


def test_a_directory_is_not_replaced_by_a_file(start, tmp_path):
    (tmp_path / "a.pt").mkdir()
    with pytest.raises(InputError, match="'torch' is a file, but .* is a directory"):
        convert(start, tmp_path / "a.pt", to_format="torch", overwrite=True)
    (tmp_path / "b").write_text("")
    with pytest.raises(InputError, match="'tcnzoo' is a directory, but .* is a file"):
        convert(start, tmp_path / "b", overwrite=True)


def test_integer_tensors_are_refused(tmp_path):
    spec = {"kind": "dense", "in_features": 3, "out_features": 2}
    state = {"weight": torch.ones(2, 3, dtype=torch.int32), "bias": torch.ones(2)}
    torch.save(state, tmp_path / "a.pt")
    with pytest.raises(WeightError, match="'weight' must be of type float64, .* but is int32"):
        convert(tmp_path / "a.pt", tmp_path / "b", from_format="torch", hints={"spec": spec})


def test_a_spec_too_long_for_an_npz_is_refused(tmp_path):
    layers = {f"layer{n}": {"kind": "dropout", "rate": 0.1} for n in range(2000)}
    layers["last"] = {"kind": "dense", "in_features": 3, "out_features": 2}
    spec = tcnzoo.load_spec({"kind": "sequential", "layers": layers})
    write_checkpoint(tmp_path / "start", spec, weights_of(spec))
    with pytest.raises(WeightError, match="does not fit into .* write .safetensors"):
        convert(tmp_path / "start", tmp_path / "a.npz")
    convert(tmp_path / "start", tmp_path / "a.weights.h5")
    assert held_in(tmp_path / "a.weights.h5", tmp_path)[0] == spec


def test_the_table_of_formats_names_what_the_modules_are():
    for name in formats.BUILT_IN:
        one = formats.get_format(name)
        assert name == one.NAME
        assert one.DESCRIPTION
        assert isinstance(one.SUFFIXES, tuple)
