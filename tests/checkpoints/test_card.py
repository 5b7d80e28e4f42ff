"""Model cards: what they say, and that nothing which others wrote in them is lost."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

import tcnzoo
from tcnzoo.checkpoints.card import card_text
from tcnzoo.checkpoints.directory import read_checkpoint, write_checkpoint
from tcnzoo.cli import app
from tcnzoo.errors import InputError
from tcnzoo.specs.analysis import describe
from tests.support.cases import BLOCKS
from tests.support.checkpoints import SMALL, SPEC
from tests.support.compare import assert_same_bits, weights_of


def save(folder, seed=0, spec=SMALL, **options):
    """Write a checkpoint over whatever is there; return its card."""
    write_checkpoint(folder, spec, weights_of(spec, seed), overwrite=True, **options)
    return (folder / "README.md").read_text()


def front_matter(text):
    """The front matter of a card."""
    return yaml.safe_load(text.split("---\n")[1])


def rows(text, title):
    """Cells of the table of one section, headings and rule left out."""
    section = text.split(f"## {title}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


# What a card says


@pytest.mark.parametrize("name", [*tcnzoo.list_models(), *BLOCKS])
def test_the_card_is_that_of_the_model(name, tmp_path):
    spec = tcnzoo.load_spec(BLOCKS[name][0] if name in BLOCKS else name)
    text, found = card_text(tmp_path / "README.md", spec), describe(spec)
    facts = dict(rows(text, "Model"))
    assert facts["kind"] == f"`{spec.kind}`"
    assert facts["trained values"] == f"{found.trainable:,}"
    assert facts["running statistics"] == f"{found.buffers:,}"
    assert facts["receptive field"].startswith(f"{found.receptive_field:,} step")
    assert facts["stride"].startswith(found.stride)
    assert (found.obstacle or f"latency {found.latency:,} step") in facts["streaming"]
    assert facts["licence of the weights"] == "not stated"
    layers = rows(text, "Layers")
    assert [row[0] for row in layers] == [f"`{layer.path}`" for layer in found.layers]
    assert [row[1] for row in layers] == [layer.kind for layer in found.layers]
    assert [row[5] for row in layers] == [f"{layer.receptive_field:,}" for layer in found.layers]


def test_layers_say_their_fields(tmp_path):
    text = card_text(tmp_path / "README.md", tcnzoo.load_spec("deepepi-osd"))
    fields = {row[0]: row[2] for row in rows(text, "Layers")}
    assert fields["`conv5`"] == (
        "in_channels 32, out_channels 32, kernel_size 5, stride 2, padding valid, "
        "norm batch_norm (eps 0.001, momentum 0.01), activation relu"
    )
    assert fields["`logits`"] == "in_features 16, out_features 2"


def test_the_code_in_the_card_runs(tmp_path, monkeypatch):
    text = save(tmp_path / "mine", spec=SPEC)
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names = {"x": np.zeros((1, 3, 50))}
    exec(code.replace('backend="torch"', 'backend="numpy"'), names)
    assert names["y"].shape == (1, *SPEC.output_shape((3, 50)))


def test_front_matter_is_that_of_the_hub(tmp_path):
    text = save(tmp_path / "a", licence="apache-2.0")
    expected = {
        "library_name": "tcnzoo",
        "tags": ["tcnzoo", "time-series"],
        "license": "apache-2.0",
    }
    assert front_matter(text) == expected
    assert "| licence of the weights | apache-2.0 |" in text
    assert "license" not in front_matter(save(tmp_path / "b"))


@pytest.mark.parametrize("licence", ["no", "1.0", 'a "b": c', "é", "# x", "[a]"])
def test_any_licence_is_text_in_the_front_matter(licence, tmp_path):
    assert front_matter(save(tmp_path / "a", licence=licence))["license"] == licence


@pytest.mark.parametrize("licence", ["", " ", "mit\nlibrary_name: x", "a\0"])
def test_what_is_no_licence_is_refused(licence, tmp_path):
    with pytest.raises(InputError, match="a licence is a name such as 'apache-2.0', but got"):
        write_checkpoint(tmp_path / "a", SMALL, weights_of(SMALL), licence=licence)
    assert not (tmp_path / "a").exists()


def test_parity_is_shown_where_it_is_given(backends, tmp_path):
    model = tcnzoo.create(SMALL, "numpy", weights=weights_of(SMALL))
    tcnzoo.save(model, tmp_path / "a")
    assert rows((tmp_path / "a" / "README.md").read_text(), "Parity") == []
    report = tcnzoo.parity(tmp_path / "a", backends=backends)
    tcnzoo.save(model, tmp_path / "a", overwrite=True, parity=report)
    found = rows((tmp_path / "a" / "README.md").read_text(), "Parity")
    assert [row[0] for row in found] == backends
    for cells, row in zip(found, report.rows, strict=True):
        assert float(cells[1]) == pytest.approx(row.output_error, rel=0.1)
        assert cells[4] == "yes"
    # Other weights: the table does not hold for them.
    tcnzoo.save(tcnzoo.create(SMALL, "numpy"), tmp_path / "a", overwrite=True)
    assert rows((tmp_path / "a" / "README.md").read_text(), "Parity") == []


def test_every_way_of_writing_writes_a_card(tmp_path):
    save(tmp_path / "a")
    tcnzoo.convert(tmp_path / "a", tmp_path / "b")
    arguments = ["init", "deepepi-osd", str(tmp_path / "c")]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    for name in "abc":
        assert "tcnzoo:begin" in (tmp_path / name / "README.md").read_text()


def test_loading_does_without_the_card(tmp_path):
    save(tmp_path / "a")
    (tmp_path / "a" / "README.md").write_bytes(b"\xff---\nnothing")
    assert_same_bits(read_checkpoint(tmp_path / "a")[1], weights_of(SMALL))
    (tmp_path / "a" / "README.md").unlink()
    assert_same_bits(read_checkpoint(tmp_path / "a")[1], weights_of(SMALL))


def test_the_hub_reads_the_card(tmp_path):
    hub = pytest.importorskip("huggingface_hub")
    save(tmp_path / "a", licence="mit")
    card = hub.ModelCard.load(tmp_path / "a" / "README.md")
    assert (card.data.license, card.data.library_name) == ("mit", "tcnzoo")


# What others wrote


def test_text_around_the_section_stays(tmp_path):
    path = tmp_path / "a" / "README.md"
    text = save(tmp_path / "a", licence="mit")
    above = text.replace("# Temporal model (dense)", "# Seizures at night\n\nTrained on ours.\n")
    above = above.replace("tags:", "datasets: [ours]\ntags:")
    path.write_text(above + "\nCite us.\n")
    again = save(tmp_path / "a", 1, spec=SPEC)
    assert again.startswith(above.split("<!-- tcnzoo:begin")[0])
    assert again.endswith("<!-- tcnzoo:end -->\n\nCite us.\n")
    assert f"| kind | `{SPEC.kind}` |" in again
    assert "`dense`" not in rows(again, "Model")[0]
    # The licence that the card says is kept in both places.
    assert front_matter(again)["license"] == "mit"
    assert "| licence of the weights | mit |" in again


def test_a_new_licence_replaces_the_old_one_alone(tmp_path):
    path = tmp_path / "a" / "README.md"
    path.parent.mkdir()
    path.write_text(save(tmp_path / "b", licence="mit").replace("tags:", "language: en\ntags:"))
    again = save(tmp_path / "a", licence="cc-by-4.0")
    assert front_matter(again) == front_matter(path.read_text())
    assert front_matter(again)["license"] == "cc-by-4.0"
    assert front_matter(again)["language"] == "en"
    assert again.count("license:") == 1
    path.write_text(again.split("---\n", 2)[2])
    assert front_matter(save(tmp_path / "a", licence="mit")) == {"license": "mit"}


def test_writing_again_changes_nothing(tmp_path):
    first = save(tmp_path / "a", licence="mit")
    assert save(tmp_path / "a", 1) == first


@pytest.mark.parametrize(
    "text", ["# Mine\n", "---\nlicense: mit\n---\n", "<!-- tcnzoo:begin -->\n"]
)
def test_the_card_of_somebody_else_is_left_alone(text, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "README.md").write_text(text)
    assert save(tmp_path / "a", licence="cc0-1.0") == text


def test_a_card_that_is_no_text_is_left_alone(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "README.md").write_bytes(b"\xff\xfe")
    write_checkpoint(tmp_path / "a", SMALL, weights_of(SMALL), overwrite=True)
    assert (tmp_path / "a" / "README.md").read_bytes() == b"\xff\xfe"


def test_an_edit_within_the_section_is_kept_with_a_warning(tmp_path):
    path = tmp_path / "a" / "README.md"
    edited = save(tmp_path / "a").replace("not stated", "ask us")
    path.write_text(edited)
    with pytest.warns(UserWarning, match="README.md' was edited within the section"):
        save(tmp_path / "a", 1, licence="mit")
    assert path.read_text() == edited
    assert_same_bits(read_checkpoint(tmp_path / "a")[1], weights_of(SMALL, 1))


def test_other_ends_of_lines_are_no_edit(tmp_path):
    path = tmp_path / "a" / "README.md"
    path.write_bytes(save(tmp_path / "a").replace("\n", "\r\n").encode())
    assert "| licence of the weights | mit |" in save(tmp_path / "a", licence="mit")


def test_a_failed_write_leaves_the_card(tmp_path, monkeypatch):
    before = save(tmp_path / "a")

    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="no space left"):
        save(tmp_path / "a", spec=SPEC)
    assert (tmp_path / "a" / "README.md").read_text() == before
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    assert json.loads((tmp_path / "a" / "config.json").read_text())["spec"]["kind"] == "dense"
