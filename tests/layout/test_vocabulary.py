"""The four backends speak of blocks in the same words, and the source trees keep to their plan."""

import ast
import functools
import importlib
import inspect
import itertools
from pathlib import Path
from types import UnionType
from typing import Union, get_args, get_origin

import pytest

import tcnzoo
from tcnzoo.errors import SpecError
from tcnzoo.models.backend import backend_of
from tcnzoo.specs import ActivationSpec, GluSpec
from tcnzoo.specs.families import FAMILIES
from tests.support.kinds import CASES, registered_kinds

ROOT = Path(__file__).parents[2]
TREES = ("tcnzoo", "backends", "weights_convert", "exporters", "benchmarks", "tests")
PRODUCT = TREES[:4]
FOLDERS = ("numpy", "torch", "mlx", "keras")

# What a backend has beside a file for each family and its folder `kernels`.
FRAME = {
    "numpy": {"block", "quantizer"},
    "torch": {
        "block", "hub", "losses", "options", "processes", "quantizer", "run", "sharding",
        "training", "twin", "types", "weights",
    },
    "mlx": {
        "blas", "block", "kept", "losses", "processes", "quantizer", "run", "stream", "symbols",
        "training", "twin", "types", "weights",
    },
    "keras": {
        "block", "device", "engines", "gradients", "losses", "model", "quantizer", "replicas",
        "run", "stream", "training", "types", "watch", "weights",
    },
}  # fmt: skip


def frame(backend):
    """The module that holds a backend's base class."""
    return importlib.import_module(f"tcnzoo.backends.{backend}.block")


@functools.cache
def built(backend):
    """The blocks of every case, parts included, without a model around them."""
    roots = [frame(backend).build(tcnzoo.load_spec(spec)) for spec, _ in CASES.values()]
    return [block for root in roots for _, block in root.walk()]


# --- Blocks ---------------------------------------------------------------------------------------


def test_a_backend_has_a_block_for_every_kind(backend):
    parts = registered_kinds(("field",))  # some of them are blocks, others marks
    assert set(backend_of(backend).BLOCKS) - parts == registered_kinds()


def test_base_classes_share_their_names(backend):
    module = frame(backend)
    assert {"BLOCKS", "Block", "build", "maybe"} <= vars(module).keys()
    spec = tcnzoo.load_spec(CASES["tcn"][0])
    block = module.build(spec)
    assert (block.spec, block.path) == (spec, "")
    assert {path: part.spec for path, part in block.walk()} == dict(spec.walk())
    assert all(part.path == path for path, part in block.walk())
    assert callable(block.call if backend == "keras" else block.forward)


def test_a_kind_that_a_backend_lacks_is_one_sentence(backend, monkeypatch):
    monkeypatch.delitem(backend_of(backend).BLOCKS, "glu")
    with pytest.raises(SpecError) as caught:
        tcnzoo.create({"kind": "glu"}, backend)
    assert str(caught.value) == f"backend {backend!r} has no block of kind 'glu'"


def test_a_part_that_a_class_does_not_declare_is_an_error(backend, monkeypatch):
    extra = {"extra": ActivationSpec(name="relu")}
    monkeypatch.setattr(GluSpec, "children", lambda self: extra)
    with pytest.raises(TypeError, match="declare"):
        frame(backend).build(GluSpec())


def _stands_for(hint, wanted):
    """Whether an annotation is one of some types, or of them or None."""
    choices = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    types = [get_origin(choice) or choice for choice in choices]
    return any(inspect.isclass(each) and issubclass(each, wanted) for each in types)


def declared_parts(block_class, base):
    """Names that the classes below the base class declare: parts, and groups of them."""
    names = set()
    for each in block_class.__mro__[: block_class.__mro__.index(base)]:
        for name, hint in inspect.get_annotations(each, eval_str=True).items():
            if name != "parts" and _stands_for(hint, (base, dict, list, *_containers(base))):
                names.add(name)
    return names


def _containers(base):
    """What torch keeps groups of parts in."""
    modules = [each for each in base.__mro__ if each.__module__.startswith("torch.nn")]
    return tuple(modules)


def test_every_declared_part_is_there_in_some_case(backend):
    # One that is misspelt would be None for ever, and `maybe` would pass it over.
    base = frame(backend).Block
    declared, present = set(), set()
    for block in built(backend):
        names = declared_parts(type(block), base)
        declared |= {(type(block).__name__, name) for name in names}
        present |= {
            (type(block).__name__, name)
            for name in names
            if isinstance(part := getattr(block, name), base) or part  # a group has some
        }
    assert declared - present == set()
    assert ("TemporalBlock", "conv1") in present


def _lookups(source, parts):
    """Lines on which a part is looked up by its name as a string."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            words = [argument for argument in node.args if _is_text(argument)]
            if name.lstrip("_") in ("optional", "part") and words:
                yield node.lineno
        elif isinstance(node, ast.Subscript) and _is_text(node.slice):
            owner = getattr(node.value, "attr", getattr(node.value, "id", ""))
            if owner == "parts" or (owner == "self" and ast.unparse(node.slice)[1:-1] in parts):
                yield node.lineno


def _is_text(node):
    literal = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return literal or isinstance(node, ast.JoinedStr)


def _part_names():
    specs = [tcnzoo.load_spec(spec) for spec, _ in CASES.values()]
    parts = [part for spec in specs for _, part in spec.walk()]
    fixed = [part for part in parts if part.kind not in ("sequential", "graph")]
    return {name.partition(".")[0] for part in fixed for name in part.children()}


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_part_is_looked_up_by_a_string(folder):
    parts = _part_names()
    assert {"conv1", "norm1", "blocks"} <= parts
    for path in sorted((ROOT / "backends" / folder).rglob("*.py")):
        lines = list(_lookups(path.read_text("utf-8"), parts))
        assert not lines, f"{path.relative_to(ROOT)}: lines {lines}"


@pytest.mark.parametrize(
    "source",
    [
        "x = self.optional('se', x)", "part = self._part('norm1')", "y = self.parts['conv1'](x)",
        "y = self.parts[f'conv{place}'](x)", "y = self['norm1'](x)",
    ],
)  # fmt: skip
def test_a_lookup_is_seen(source):
    assert list(_lookups(source, {"norm1"})) == [1]
    assert not list(_lookups("y = self['weight'] + self.parts[name](x)", {"norm1"}))


# --- Files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_backend_has_a_file_for_each_family(folder):
    files = {path.stem for path in (ROOT / "backends" / folder).glob("*.py")}
    assert files == {"__init__", *FAMILIES, *FRAME[folder]}
    folders = {path.parent.name for path in (ROOT / "backends" / folder).glob("*/__init__.py")}
    assert folders <= {"kernels"}


def test_specs_have_a_file_for_each_family():
    assert {f"{family}.py" for family in FAMILIES} <= {
        path.name for path in (ROOT / "tcnzoo" / "specs").glob("*.py")
    }


def stem(name):
    """A word without the ending that makes it a plural, a participle or a noun of its verb."""
    for ending in ("ing", "ion", "ed", "er", "es", "e", "s"):
        if name.endswith(ending) and len(name) > len(ending) + 2:
            return name.removesuffix(ending)
    return name


def _folders():
    """Every folder of the source trees, with the names of its modules and packages."""
    for folder in sorted({path.parent for tree in TREES for path in (ROOT / tree).rglob("*.py")}):
        modules = [path.stem for path in folder.glob("*.py")]
        packages = [path.parent.name for path in folder.glob("*/*.py")]
        yield folder, sorted({*modules, *packages})


def confused(names):
    """Pairs of names that differ by an ending only."""
    return [pair for pair in itertools.combinations(names, 2) if stem(pair[0]) == stem(pair[1])]


def test_no_two_modules_of_a_folder_differ_by_an_ending_only():
    pairs = {str(folder.relative_to(ROOT)): confused(names) for folder, names in _folders()}
    assert {folder: names for folder, names in pairs.items() if names} == {}


def test_names_that_differ_by_an_ending_are_seen():
    names = [
        "export",
        "exported",
        "exporting",
        "exports",
        "codebook",
        "code",
        "compare",
        "comparing",
    ]
    pairs = {frozenset(pair) for pair in confused(names)}
    exports = {frozenset(pair) for pair in itertools.combinations(names[:4], 2)}
    assert pairs == {*exports, frozenset(["compare", "comparing"])}


# Locals that say nothing of what they hold.
EMPTY = {"found", "held", "one", "place", "told"}


def _stored(source):
    """(line, name) of each plain assignment to a name."""
    for node in ast.walk(ast.parse(source)):
        targets = node.targets if isinstance(node, ast.Assign) else []
        targets = [node.target] if isinstance(node, ast.AnnAssign) else targets
        yield from ((one.lineno, one.id) for one in targets if isinstance(one, ast.Name))


def test_locals_say_what_they_hold():
    files = [path for folder, _ in _folders() for path in folder.glob("*.py")]
    files = [path for path in files if path.relative_to(ROOT).parts[0] in PRODUCT]
    assert files
    assert [
        f"{path.relative_to(ROOT)}:{line} {name}"
        for path in files
        for line, name in _stored(path.read_text("utf-8"))
        if name in EMPTY
    ] == []


def test_a_local_that_says_nothing_is_seen():
    source = "def f(x):\n    held = x\n    found: int = 2\n    weights = x"
    assert [name for _, name in _stored(source)] == ["held", "found", "weights"]


def test_the_front_door_is_small():
    assert len(list((ROOT / "tcnzoo").glob("*.py"))) <= 12


def test_no_folder_is_crowded():
    counts = {folder: len(list(folder.glob("*.py"))) for folder, _ in _folders()}
    assert {str(folder): count for folder, count in counts.items() if count > 48} == {}
