"""Two processes that write to one place at once: one of them, and one sentence for the other."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import tcnzoo
from tcnzoo.checkpoints.directory import read_checkpoint, write_checkpoint
from tcnzoo.files.atomic import exclusive, replacing, replacing_pair
from tests.support.checkpoints import SPEC
from tests.support.compare import assert_same_bits, weights_of
from tests.support.processes import wait_until_begun

# Begins to write, says so by a file, and goes on when another file is there.
WRITER = """
import sys, time
from pathlib import Path
from tcnzoo.checkpoints import directory
from tcnzoo.files.atomic import replacing, replacing_pair
from tests.support.checkpoints import SPEC
from tests.support.compare import weights_of

what, folder = sys.argv[1], Path(sys.argv[2])


def wait():
    (folder / "begun").touch()
    while not (folder / "go").exists():
        time.sleep(0.01)


if what == "directory":
    put = directory.put_tensors

    def slow(*args):
        put(*args)
        wait()

    directory.put_tensors = slow
    directory.write_checkpoint(folder / "net", SPEC, weights_of(SPEC, 1), overwrite=True)
elif what == "pair":
    with replacing_pair(folder / "net.pt", folder / "net.json") as pair:
        for one in pair:
            one.write_text("theirs")
        wait()
else:
    with replacing(folder / "theirs.npy") as temporary:
        temporary.write_text("theirs")
        wait()
"""


@contextlib.contextmanager
def writing(what, folder):
    """Another process, in the middle of writing while the block runs; it ends well after it."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, what, str(folder)],
        cwd=Path(__file__).parents[2],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until_begun(process, folder)
        yield process
        (folder / "go").touch()
        _, printed = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 0, printed


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_directory_has_one_writer(overwrite, tmp_path):
    folder = tmp_path / "net"
    if overwrite:
        write_checkpoint(folder, SPEC, weights_of(SPEC))
    with writing("directory", tmp_path) as process:
        with pytest.raises(tcnzoo.InputError) as caught:
            write_checkpoint(folder, SPEC, weights_of(SPEC, 2), overwrite=overwrite)
        assert f"net' is being written by another process (process {process.pid} on" in str(
            caught.value
        )
        assert "\n" not in str(caught.value)
        if overwrite:  # what was there is read as if nothing went on
            assert_same_bits(read_checkpoint(folder)[1], weights_of(SPEC))
    assert_same_bits(read_checkpoint(folder)[1], weights_of(SPEC, 1))
    assert not [one for one in folder.iterdir() if one.name.startswith(".")]
    write_checkpoint(folder, SPEC, weights_of(SPEC, 2), overwrite=True)


def test_a_pair_of_files_has_one_writer_and_its_folder_many(tmp_path):
    with writing("pair", tmp_path):
        with pytest.raises(tcnzoo.InputError, match="net.pt' is being written by another process"):
            replacing_pair(tmp_path / "net.pt", tmp_path / "net.json").__enter__()
        with replacing_pair(tmp_path / "other.pt", tmp_path / "other.json") as pair:
            for one in pair:
                one.write_text("ours")
    names = ["begun", "go", "net.json", "net.pt", "other.json", "other.pt"]
    assert sorted(one.name for one in tmp_path.iterdir()) == names
    assert {(tmp_path / name).read_text() for name in names[2:4]} == {"theirs"}
    assert {(tmp_path / name).read_text() for name in names[4:]} == {"ours"}


def test_what_a_living_process_writes_is_left_to_it(tmp_path):
    with writing("file", tmp_path):
        for _ in range(3):
            with replacing(tmp_path / "ours.npy") as temporary:
                temporary.write_text("ours")
    assert (tmp_path / "theirs.npy").read_text() == "theirs"
    assert not [one for one in tmp_path.iterdir() if one.name.startswith(".")]


def test_the_lock_of_a_killed_process_is_free(tmp_path):
    with writing("directory", tmp_path) as process:
        process.kill()
        process.wait()
        left = sorted(one.name for one in (tmp_path / "net").iterdir())
        assert left[0].startswith(".tcnzoo-")
        assert left[1:] == [".tcnzoo.lock"]
        write_checkpoint(tmp_path / "net", SPEC, weights_of(SPEC, 3))
        assert not [one for one in (tmp_path / "net").iterdir() if one.name.startswith(".")]
        process.returncode = 0
    assert_same_bits(read_checkpoint(tmp_path / "net")[1], weights_of(SPEC, 3))


def test_a_lock_holds_among_threads_and_by_every_name(tmp_path):
    (tmp_path / "net").mkdir()
    (tmp_path / "link").symlink_to("net")
    with exclusive(tmp_path / "net"):
        for name in ("net", "link"):
            with pytest.raises(tcnzoo.InputError, match=f"process {os.getpid()} on"):
                exclusive(tmp_path / name).__enter__()
    with exclusive(tmp_path / "link"):
        pass
    assert not [*(tmp_path / "net").iterdir()]
