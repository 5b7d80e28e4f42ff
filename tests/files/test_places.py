"""Where files are written: modes, links, pipes, other file systems, and what is left behind."""

import json
import os
import stat
import subprocess
import sys
import threading

import numpy as np
import pytest

import tcnzoo
from tcnzoo.checkpoints import streaming_states
from tcnzoo.checkpoints.directory import read_checkpoint, read_safetensors, write_checkpoint
from tcnzoo.files import atomic, stages
from tcnzoo.files.atomic import exclusive, refuse_existing, replacing, replacing_in, settle_below
from tcnzoo.files.signals import read_signal, write_signal
from tests.support.checkpoints import SPEC
from tests.support.compare import assert_same_bits, weights_of

VALUES = np.arange(12, dtype=np.float32).reshape(3, 4)
STATE = {"x": np.arange(5.0)}


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def umask():
    """A umask that is not the usual one."""
    before = os.umask(0o027)
    yield 0o027
    os.umask(before)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o444])
def test_a_file_that_is_written_over_keeps_its_mode(mode, tmp_path, umask):
    path = tmp_path / "y.npy"
    write_signal(path, VALUES)
    assert mode_of(path) == 0o666 & ~umask
    path.chmod(mode)
    write_signal(path, VALUES + 1)
    assert mode_of(path) == mode
    np.testing.assert_array_equal(read_signal(path), VALUES + 1)


def test_the_files_of_a_checkpoint_keep_their_modes(tmp_path, umask):
    folder = tmp_path / "net"
    write_checkpoint(folder, SPEC, weights_of(SPEC))
    assert {mode_of(one) for one in folder.iterdir()} == {0o640}
    (folder / "model.safetensors").chmod(0o600)
    (folder / "config.json").chmod(0o664)
    write_checkpoint(folder, SPEC, weights_of(SPEC, 1), overwrite=True)
    found = {one.name: mode_of(one) for one in folder.iterdir()}
    assert found == {"model.safetensors": 0o600, "config.json": 0o664, "README.md": 0o640}


@pytest.mark.parametrize("before, after", [("5GB", 600), (600, 600), (600, "5GB")])
def test_tensors_under_other_names_are_no_more_open_than_the_old_ones(before, after, tmp_path):
    folder = tmp_path / "net"
    write_checkpoint(folder, SPEC, weights_of(SPEC), max_shard_size=before)
    for one in folder.iterdir():
        one.chmod(0o600)
    write_checkpoint(folder, SPEC, weights_of(SPEC, 1), overwrite=True, max_shard_size=after)
    assert {mode_of(one) for one in folder.iterdir()} == {0o600}
    assert_same_bits(read_checkpoint(folder)[1], weights_of(SPEC, 1))


def test_a_directory_that_is_replaced_keeps_its_mode(tmp_path):
    for number in range(2):
        with replacing(tmp_path / "net.mlpackage") as fresh:
            fresh.mkdir()
            (fresh / "weights").write_text(str(number))
        if number == 0:
            (tmp_path / "net.mlpackage").chmod(0o700)
    assert mode_of(tmp_path / "net.mlpackage") == 0o700


def test_a_folder_is_made_where_a_link_points(tmp_path):
    (tmp_path / "link").symlink_to("there/net")
    write_checkpoint(tmp_path / "link", SPEC, weights_of(SPEC))
    assert (tmp_path / "link").is_symlink()
    assert_same_bits(read_checkpoint(tmp_path / "there" / "net")[1], weights_of(SPEC))


def test_nobody_else_reads_a_private_file_while_it_is_written(tmp_path):
    path = tmp_path / "secret.npy"
    write_signal(path, VALUES)
    path.chmod(0o600)
    with replacing(path) as temporary:
        temporary.write_bytes(b"secret")
        # A file that others may read lies in a directory that they may not enter.
        assert mode_of(temporary.parent.parent) == 0o700
    assert mode_of(path) == 0o600


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "dangling"])
def test_a_link_stays_and_what_it_points_at_is_written(whole, tmp_path):
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / "kept", tmp_path / "link.npy"
    if whole:
        target.write_bytes(b"old")
        target.chmod(0o600)
    link.symlink_to(target)
    write_signal(link, VALUES)
    assert os.readlink(link) == str(target)
    np.testing.assert_array_equal(np.load(target), VALUES)
    assert not whole or mode_of(target) == 0o600
    assert [one.name for one in (tmp_path / "there").iterdir()] == ["kept"]


def test_a_checkpoint_is_written_through_its_links(tmp_path):
    folder = tmp_path / "net"
    write_checkpoint(folder, SPEC, weights_of(SPEC))
    (tmp_path / "blobs").mkdir()
    target = (folder / "model.safetensors").rename(tmp_path / "blobs" / "abc")
    (folder / "model.safetensors").symlink_to(target)
    (tmp_path / "link").symlink_to(folder)
    write_checkpoint(tmp_path / "link", SPEC, weights_of(SPEC, 1), overwrite=True)
    assert (tmp_path / "link").is_symlink()
    assert (folder / "model.safetensors").is_symlink()
    assert_same_bits(read_safetensors(target)[0], weights_of(SPEC, 1))
    assert_same_bits(read_checkpoint(folder)[1], weights_of(SPEC, 1))


def test_a_link_to_another_file_system_is_written_through(tmp_path, monkeypatch):
    # A rename from one to the other fails, as the system has it fail.
    (tmp_path / "far").mkdir()
    folder = tmp_path / "net"
    write_checkpoint(folder, SPEC, weights_of(SPEC))
    far = (folder / "model.safetensors").rename(tmp_path / "far" / "abc")
    (folder / "model.safetensors").symlink_to(far)
    monkeypatch.setattr(stages, "_device", lambda path: "far" in path.parts)
    write_checkpoint(folder, SPEC, weights_of(SPEC, 1), overwrite=True)
    assert_same_bits(read_safetensors(far)[0], weights_of(SPEC, 1))
    assert sorted(one.name for one in (tmp_path / "far").iterdir()) == ["abc"]


@pytest.mark.parametrize("suffix", ["npy", "csv", "safetensors"])
def test_a_pipe_gets_the_bytes_and_stays_a_pipe(suffix, tmp_path):
    def write(path):
        if suffix == "safetensors":
            streaming_states.write_state(path, STATE)
        else:
            write_signal(path, VALUES)

    plain, pipe = tmp_path / f"plain.{suffix}", tmp_path / f"pipe.{suffix}"
    write(plain)
    os.mkfifo(pipe)
    refuse_existing(pipe)  # nothing there would be lost
    writer = threading.Thread(target=write, args=(pipe,))
    writer.start()
    found = pipe.read_bytes()
    writer.join()
    assert found == plain.read_bytes()
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert sorted(one.name for one in tmp_path.iterdir()) == [pipe.name, plain.name]


def test_a_device_stays_what_it_is(tmp_path):
    streaming_states.write_state(tmp_path / "s.safetensors", STATE)
    with replacing(atomic.Path("/dev/null")) as temporary:
        temporary.write_bytes(b"gone")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_a_pair_of_files_does_not_go_into_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "net.pt")
    pair = atomic.replacing_pair(tmp_path / "net.pt", tmp_path / "net.json")
    with pytest.raises(tcnzoo.InputError, match="is a pipe or device, but 'net.json' is written"):
        pair.__enter__()


@pytest.mark.parametrize("redirected", [True, False], ids=["file", "pipe"])
def test_a_prediction_goes_to_stdout(redirected, tmp_path):
    folder = tmp_path / "net"
    tcnzoo.save(tcnzoo.create(SPEC, "numpy", weights=weights_of(SPEC)), folder)
    x = np.random.default_rng(0).standard_normal((SPEC.input_channels, 40)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    command = [sys.executable, "-m", "tcnzoo", "predict", str(folder)]
    command += ["--input", str(tmp_path / "x.npy")]
    command += ["--backend", "numpy", "--output", "/dev/stdout"]
    with (tmp_path / "out.txt").open("wb") as file:
        done = subprocess.run(
            command, stdout=file if redirected else subprocess.PIPE, stderr=subprocess.PIPE
        )
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "out.txt").read_text() if redirected else done.stdout.decode()
    y = tcnzoo.predict(tcnzoo.load(folder, "numpy"), x[None])[0]
    found = np.loadtxt(text.splitlines(), delimiter=",").T.reshape(y.shape)
    np.testing.assert_allclose(found, y, rtol=1e-7, atol=1e-8)  # nine digits are written


def test_names_in_a_commit_do_not_lead_elsewhere(tmp_path):
    # Somebody may pack a stage into an archive.
    place = tmp_path / "net" / ".tcnzoo-evil"
    (place / "files").mkdir(parents=True)
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / "net" / "notes.txt").write_text("notes")
    for document in (
        {"files": {"a": "../mine.txt"}, "remove": []},
        {"files": {}, "remove": ["../mine.txt"]},
        {"files": {}, "remove": ["notes.txt"]},
        {"files": {"..": "mine"}, "remove": []},
        ["files"],
    ):
        (place / "files" / "a").write_text("theirs")
        (place / "commit.json").write_text(json.dumps(document))
        with pytest.raises(tcnzoo.InputError, match="commit.json' is damaged; remove the"):
            stages.settle_committed(tmp_path / "net")
    assert (tmp_path / "mine.txt").read_text() == "mine"
    assert (tmp_path / "net" / "notes.txt").read_text() == "notes"


def test_an_interrupted_commit_is_refused_where_it_cannot_be_finished(tmp_path, monkeypatch):
    folder = tmp_path / "net"
    write_checkpoint(folder, SPEC, weights_of(SPEC))
    place = folder / ".tcnzoo-left"
    (place / "files").mkdir(parents=True)
    (place / "files" / "config.json").write_text("{}")
    (place / "commit.json").write_text('{"files": {"config.json": "config.json"}, "remove": []}')

    def refused(*_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(stages, "_move", refused)
    for read in (read_checkpoint, tcnzoo.load_spec):
        with pytest.raises(tcnzoo.InputError, match="interrupted and cannot be finished here"):
            read(folder)


def test_the_doctor_clears_away_what_is_dead_and_nothing_that_is_alive(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    with replacing(tmp_path / "a" / "y.npy") as temporary, exclusive(tmp_path / "a" / "b"):
        for name in ("a", "a/b", ".hidden"):
            (tmp_path / name / ".tcnzoo-dead" / "files").mkdir(parents=True)
            (tmp_path / name / ".tcnzoo-dead" / "files" / "big.pt").write_bytes(b"x" * 100)
        (tmp_path / "a" / ".tcnzoo.lock").write_text("process 1 on nowhere\n")
        (tmp_path / "a" / ".tcnzoo-notes.txt").write_text("mine")
        temporary.write_bytes(b"new")
        found = settle_below(tmp_path)
        assert temporary.read_bytes() == b"new"
    dead = [".hidden/.tcnzoo-dead", "a/.tcnzoo-dead", "a/.tcnzoo.lock", "a/b/.tcnzoo-dead"]
    assert sorted(str(one.relative_to(tmp_path)) for one in found) == dead
    left = sorted(str(one.relative_to(tmp_path)) for one in tmp_path.rglob("*") if one.is_file())
    assert left == ["a/.tcnzoo-notes.txt", "a/y.npy"]


def test_a_killed_first_write_does_not_count_as_something_there(tmp_path):
    (tmp_path / "net" / ".tcnzoo-dead" / "files").mkdir(parents=True)
    write_checkpoint(tmp_path / "net", SPEC, weights_of(SPEC))
    names = sorted(one.name for one in (tmp_path / "net").iterdir())
    assert names == ["README.md", "config.json", "model.safetensors"]


def test_a_failure_takes_everything_away(tmp_path):
    def fail():
        with replacing_in(tmp_path / "new" / "net") as fresh:
            (fresh / "a").write_text("a")
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert not (tmp_path / "new").exists()


@pytest.mark.skipif(not os.path.isdir("/sys/kernel"), reason="a folder in which nobody may write")
def test_a_folder_in_which_nobody_may_write_is_named():
    folder = atomic.Path("/sys/kernel")
    for write in (
        lambda: write_signal(folder / "y.npy", VALUES),
        lambda: write_checkpoint(folder, SPEC, weights_of(SPEC), overwrite=True),
    ):
        with pytest.raises(OSError, match="Permission denied|not permitted|Read-only") as caught:
            write()
        assert caught.value.filename == str(folder)
