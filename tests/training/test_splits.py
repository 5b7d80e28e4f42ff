"""Parts of data: no group in two, no part empty, folds that are each tested once."""

import numpy as np
import pytest

from tcnzoo.errors import InputError
from tcnzoo.training.data import SplitConfig, load, split
from tcnzoo.training.data.config import ArraysData
from tcnzoo.training.data.dataset import ArrayDataset
from tests.support.compare import assert_refused, noise

# 20 groups of unequal size; those of an odd number have both labels.
GROUPS = np.repeat([f"g{place:02d}" for place in range(20)], np.arange(20) % 4 + 2)
LABELS = np.array([int(name[1:]) % 2 * (place % 2) for place, name in enumerate(GROUPS)])


def dataset(groups=GROUPS, labels=LABELS):
    return ArrayDataset({"x": noise(len(labels), 1, 3), "y": labels}, groups=groups)


def names(part):
    return set(part.groups)


def test_groups_stay_whole_and_every_example_is_somewhere():
    whole = dataset()
    parts = split(whole, SplitConfig(val=0.2, test=0.3), 0)
    assert list(parts) == ["train", "val", "test"]
    assert [len(names(part)) for part in parts.values()] == [10, 4, 6]
    assert set.union(*map(names, parts.values())) == set(GROUPS)
    indices = np.concatenate([part.indices for part in parts.values()])
    assert sorted(indices) == list(range(len(whole)))


def test_each_label_has_its_share():
    mixed = {str(name) for name in GROUPS[LABELS == 1]}
    parts = split(dataset(), SplitConfig(val=0.17, test=0.3), 1)
    for part, share in (("val", 0.17), ("test", 0.3)):
        found = names(parts[part])
        assert len(found & mixed) == round(share * len(mixed))
        assert len(found - mixed) == round(share * (20 - len(mixed)))


def test_the_seed_alone_decides():
    config = SplitConfig()
    one, same, other = (names(split(dataset(), config, seed)["test"]) for seed in (0, 0, 1))
    assert one == same != other


def test_a_share_of_nothing_is_no_part():
    assert list(split(dataset(), SplitConfig(val=0.0), 0)) == ["train", "test"]


def test_every_group_is_tested_in_one_fold():
    tested = []
    for fold in range(5):
        parts = split(dataset(), SplitConfig(folds=5, fold=fold), 3)
        assert set.union(*map(names, parts.values())) == set(GROUPS)
        assert not names(parts["train"]) & names(parts["val"])
        tested.append(names(parts["test"]))
        assert len(tested[-1]) == 4
    assert set.union(*tested) == set(GROUPS)


def test_groups_go_where_they_are_assigned():
    config = SplitConfig(assign={"val": ("g03",), "test": ("g04", "g05")})
    parts = split(dataset(), config, 0)
    assert names(parts["val"]) == {"g03"}
    assert names(parts["test"]) == {"g04", "g05"}
    assert len(names(parts["train"])) == 17


def test_examples_may_be_parted_whatever_their_group():
    parts = split(dataset(), SplitConfig(by="example"), 0)
    assert names(parts["train"]) & names(parts["test"])


@pytest.mark.parametrize(
    "assign, sentence",
    [
        ({"val": ("g01",), "test": ("g01",)}, "group 'g01' is both in val and in test"),
        ({"val": ("g1",)}, "the data have no group 'g1'; did you mean 'g19'?"),
        ({"train": ("g01",)}, "group 'g00' is assigned to no part of the data"),
        (
            {"val": (), "test": ("g01",)},
            "the val part of the data is empty: give it more groups or share",
        ),
    ],
)
def test_an_assignment_that_cannot_be_is_refused(assign, sentence):
    assert_refused(InputError, sentence, split, dataset(), SplitConfig(assign=assign), 0)


def test_an_empty_part_is_refused():
    few = dataset(np.array(["a", "a", "b"]), np.array([0, 0, 1]))
    sentence = "the val part of the data is empty: give it more groups or share"
    assert_refused(InputError, sentence, split, few, SplitConfig(), 0)


def test_a_group_in_two_files_is_refused(tmp_path):
    paths = {}
    for part, group in (("path", GROUPS), ("val", GROUPS[:5])):
        paths[part] = str(tmp_path / f"{part}.npz")
        np.savez(paths[part], x=noise(len(group), 1, 3), y=LABELS[: len(group)], group=group)
    config = ArraysData(**paths, split=SplitConfig(test=0.0))
    sentence = "group 'g00' is both in train and in val"
    assert_refused(InputError, sentence, load, config, 0)
    folds = ArraysData(**paths, split=SplitConfig(folds=4))
    sentence = "folds part all of the data, but val or test has a file of its own"
    assert_refused(InputError, sentence, load, folds, 0)


def test_a_part_of_its_own_file_leaves_the_others_to_the_split(tmp_path):
    np.savez(tmp_path / "a.npz", x=noise(len(GROUPS), 1, 3), y=LABELS, group=GROUPS)
    np.savez(tmp_path / "t.npz", x=noise(4, 1, 3), y=[0, 1, 1, 0], group=["u", "u", "v", "v"])
    config = ArraysData(path=str(tmp_path / "a.npz"), test=str(tmp_path / "t.npz"))
    parts = load(config, 0)
    assert names(parts["test"]) == {"u", "v"}
    assert names(parts["train"]) | names(parts["val"]) == set(GROUPS)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"folds": 3, "assign": {"val": ("a",)}}, "give folds or assign, not both"),
        ({"folds": 3, "fold": 3}, "fold 3 is none of 0 to 2"),
        ({"val": 0.5, "test": 0.5}, "val 0.5 and test 0.5 leave nothing for train"),
    ],
)
def test_fields_that_contradict_each_other_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        SplitConfig(**options)
