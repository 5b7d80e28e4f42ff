"""`tcnzoo describe --head-map`, and what describe says of a channel adapter."""

import pytest
from typer.testing import CliRunner

from tcnzoo.cli import app

pytest.importorskip("matplotlib")

ADAPTER = "kind: channel_adapter\nmethod: {}\nsource: {}\ntarget: tuh-21\n"


def describe(tmp_path, method, source="tuh-19", name="head.png"):
    spec = tmp_path / "adapter.yaml"
    spec.write_text(ADAPTER.format(method, source))
    result = CliRunner().invoke(app, ["describe", str(spec), "--head-map", str(tmp_path / name)])
    return result, " ".join(result.output.split()), tmp_path / name


def test_a_picture_and_what_is_not_covered(tmp_path):
    result, text, picture = describe(tmp_path, "spline")
    assert result.exit_code == 0, text
    assert "noise gain 1.00 (median) to" in text
    assert "of 21 targets are not covered, and zero: A1, A2" in text
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "method, source, name, sentence",
    [
        ("attend", "tuh-19", "head.png", "of a fixed adapter, but 'attend' is learned"),
        ("select", "[Cz, Nowhere]", "head.png", "a head map needs places: electrode 'Nowhere'"),
        ("spline", "tuh-19", "head.pdf", "a figure is a .png file"),
    ],
)
def test_no_picture_of_it(tmp_path, method, source, name, sentence):
    result, text, picture = describe(tmp_path, method, source, name)
    assert sentence in str(result.exception) + text
    assert not picture.exists()
