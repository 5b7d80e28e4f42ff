"""Windows that cover a signal, and outputs that are put together again."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tcnzoo.eeg.windows import Stitcher, Windows
from tcnzoo.errors import InputError
from tests.support.compare import assert_refused

METHODS = ("overlap_add", "overlap_add_weighted", "max")


def stitched(windows, length, rows):
    stitcher = Stitcher(windows, length)
    for start, row in zip(windows.starts(length), rows, strict=True):
        stitcher.add(int(start), row)
    return stitcher.result()


@pytest.mark.parametrize(
    "length, starts",
    [
        (3, [0]),
        (10, [0]),
        (11, [0, 1]),
        (14, [0, 4]),
        (19, [0, 4, 8, 9]),
    ],
)
def test_the_last_window_ends_with_the_signal(length, starts):
    assert Windows(10, 4).starts(length).tolist() == starts


def test_a_short_signal_is_continued_with_zeros():
    signal = np.arange(1.0, 7.0).reshape(2, 3)
    (piece,) = Windows(5, 5).cut(signal, np.array([0]))
    np.testing.assert_array_equal(piece, [[1, 2, 3, 0, 0], [4, 5, 6, 0, 0]])


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 60), st.sampled_from(METHODS))
def test_a_signal_that_is_cut_and_stitched_is_the_same(size, stride, length, method):
    windows = Windows(size, min(stride, size), method)
    signal = np.random.default_rng(length).uniform(size=(1, length))
    rows = windows.cut(signal, windows.starts(length))[:, 0]
    np.testing.assert_allclose(stitched(windows, length, rows), signal[0], atol=1e-12)


@pytest.mark.parametrize(
    "method, expected",
    [
        # Windows of 4 at 0 and 2, with outputs 0.2 and 0.8.
        ("overlap_add", [0.2, 0.2, 0.5, 0.5, 0.8, 0.8]),
        ("max", [0.2, 0.2, 0.8, 0.8, 0.8, 0.8]),
        # Weights 0.5, 1, 1, 0.5: (1 * 0.2 + 0.5 * 0.8) / 1.5 and (0.5 * 0.2 + 1 * 0.8) / 1.5.
        ("overlap_add_weighted", [0.2, 0.2, 0.4, 0.6, 0.8, 0.8]),
    ],
)
def test_what_overlaps_is_combined(method, expected):
    rows = np.array([[0.2] * 4, [0.8] * 4])
    np.testing.assert_allclose(stitched(Windows(4, 2, method), 6, rows), expected)


def test_the_weights_are_a_triangle():
    windows = Windows(5, 2, "overlap_add_weighted")
    # Two windows of ones and of zeros: what is left of the first is its share of the weights.
    found = stitched(windows, 7, np.array([np.ones(5), np.zeros(5)]))
    np.testing.assert_allclose(found, [1, 1, 1 / 1.5, 0.75 / 1.5, 0.5 / 1.5, 0, 0])


def test_results_stay_between_0_and_1():
    rows = np.array([[-0.5, 0.5, 1.5]])
    np.testing.assert_array_equal(stitched(Windows(3, 3), 3, rows), [0.0, 0.5, 1.0])


def test_windows_that_cannot_be():
    sentence = "the stride of windows must be 1 to their size, 4, but is 5"
    assert_refused(InputError, sentence, Windows, 4, 5)
    with pytest.raises(InputError, match="stitching must be one of overlap_add, .* is 'mean'"):
        Windows(stitching="mean")
    stitcher = Stitcher(Windows(4, 4), 8)
    sentence = "a window must have shape (4,), but has (3,)"
    assert_refused(InputError, sentence, stitcher.add, 0, np.zeros(3))
    stitcher.add(0, np.ones(4))
    assert_refused(InputError, "no window covers step 4", stitcher.result)
