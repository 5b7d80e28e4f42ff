"""Mutations of ONNX graphs."""

import json

import numpy as np

from tests.fuzzing import by_json

HUGE = (2**28, 2**31, 2**40, 2**62, -1, 0)


def _onnx():
    import onnx

    return onnx


def _held(path):
    return _onnx().load_model(path, load_external_data=False)


def _tensor(model, choice):
    return choice.choice(list(model.graph.initializer))


def _renamed(model, choice, trap):
    one = _tensor(model, choice)
    old = one.name
    one.name = choice.choice((old + "_", "", "../up", "line\nbreak", old.upper(), "x" * 3000))
    if choice.random() < 0.5:
        for node in model.graph.node:
            node.input[:] = [one.name if name == old else name for name in node.input]


def _dropped(model, choice, trap):
    del model.graph.initializer[choice.randrange(len(model.graph.initializer))]


def _doubled(model, choice, trap):
    one = model.graph.initializer.add()
    one.CopyFrom(_tensor(model, choice))
    if choice.random() < 0.5:
        one.name = "more"


def _dims(model, choice, trap):
    one = _tensor(model, choice)
    how = choice.choice(("turned", "huge", "huge axis", "more", "gone", "nudged"))
    if how == "turned":
        one.dims[:] = list(one.dims)[::-1]
    elif how == "huge":
        one.dims[:] = [choice.choice(HUGE)]
    elif how == "huge axis" and one.dims:
        one.dims[choice.randrange(len(one.dims))] = choice.choice(HUGE)
    elif how == "more":
        one.dims.append(choice.choice((0, 1, 2**40)))
    elif how == "gone":
        del one.dims[:]
    elif one.dims:
        one.dims[0] += 1
    return f"{how} {list(one.dims)}"


def _type(model, choice, trap):
    one = _tensor(model, choice)
    one.data_type = choice.choice((0, 1, 2, 6, 7, 8, 9, 10, 11, 14, 16, 17, 22, 99, -1))
    return str(one.data_type)


def _raw(model, choice, trap):
    one = _tensor(model, choice)
    data = one.raw_data
    one.raw_data = choice.choice((b"", data[:-1], data + bytes(4), b"\xff" * len(data), data * 50))
    if choice.random() < 0.2:
        one.float_data.extend([1.0, 2.0])


def _elsewhere(model, choice, trap):
    one = _tensor(model, choice)
    one.data_location = _onnx().TensorProto.EXTERNAL
    place = choice.choice(
        (str(trap.secret), "../secret", "/dev/zero", "/etc/passwd", "", "nowhere", ".", "file.onnx")
    )
    pairs = {
        "location": place,
        "offset": choice.choice(("0", "-1", "x", str(2**62))),
        "length": choice.choice(("8", str(2**40), "-1")),
    }
    for key, value in pairs.items():
        if choice.random() < 0.85:
            entry = one.external_data.add()
            entry.key, entry.value = key, value
    if choice.random() < 0.6:
        one.ClearField("raw_data")
    return place


def _segment(model, choice, trap):
    one = _tensor(model, choice)
    one.segment.begin, one.segment.end = 0, choice.choice((1, 2**40))


def _node(model, choice, trap):
    node = choice.choice(list(model.graph.node))
    how = choice.choice(
        ("operator", "domain", "inputs", "input", "no input", "outputs", "cycle", "gone", "twice")
    )
    if how == "operator":
        node.op_type = choice.choice(
            ("Unknown", "", "If", "Loop", "Conv", "Add", "Relu", "Gemm", "PyOp", "line\nbreak")
        )
    elif how == "domain":
        node.domain = choice.choice(("com.microsoft", "ai.onnx.ml", "x" * 2000))
    elif how == "inputs":
        node.input[:] = list(node.input)[::-1]
    elif how == "input" and node.input:
        node.input[choice.randrange(len(node.input))] = choice.choice(
            ("", "nowhere", node.output[0], model.graph.output[0].name)
        )
    elif how == "no input":
        del node.input[:]
    elif how == "outputs":
        node.output.append(choice.choice((node.output[0], "more", "")))
    elif how == "cycle" and model.graph.node[0].input:
        model.graph.node[0].input[0] = model.graph.node[-1].output[0]
    elif how == "gone":
        model.graph.node.remove(node)
    else:
        model.graph.node.add().CopyFrom(node)
    return how


def _attribute(model, choice, trap):
    nodes = [node for node in model.graph.node if node.attribute]
    if not nodes:
        return _node(model, choice, trap)
    node = choice.choice(nodes)
    held = choice.choice(list(node.attribute))
    how = choice.choice(("gone", "number", "list", "type", "rename", "twice", "odd float", "text"))
    if how == "gone":
        node.attribute.remove(held)
    elif how == "number":
        held.i = choice.choice((0, -1, 2, 3, 2**31, 2**62))
    elif how == "list":
        held.ints[:] = choice.choice(
            ([], [0], [-1], [2**62], [1] * 1000, [2, 2], list(held.ints) * 2, [3])
        )
    elif how == "type":
        held.type = choice.choice((0, 1, 2, 3, 4, 5, 6, 7, 8))
    elif how == "rename":
        held.name = choice.choice(("more", "", "group", "dilations", "alpha"))
    elif how == "twice":
        node.attribute.add().CopyFrom(held)
    elif how == "odd float":
        held.f = choice.choice((float("nan"), float("inf"), -1.0, 0.0, 1e-30))
    else:
        held.s = choice.choice((b"SAME_UPPER", b"", b"\xff\xfe", b"x" * 1000))
    return f"{how} of {node.op_type}"


def _order(model, choice, trap):
    nodes = list(model.graph.node)
    choice.shuffle(nodes)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _ends(model, choice, trap):
    graph = model.graph
    how = choice.choice(("no input", "no output", "input", "output", "shape", "input of a tensor"))
    if how == "no input":
        del graph.input[:]
    elif how == "no output":
        del graph.output[:]
    elif how == "input" and graph.input:
        graph.input[0].name = choice.choice(
            ("", "nowhere", graph.output[0].name if graph.output else "x")
        )
    elif how == "output" and graph.output:
        graph.output[0].name = choice.choice(("", "nowhere", graph.node[0].output[0]))
    elif how == "shape" and graph.input:
        dims = graph.input[0].type.tensor_type.shape.dim
        if dims:
            dims[choice.randrange(len(dims))].dim_value = choice.choice((0, -1, 7, 2**62))
    else:
        graph.input.add().name = _tensor(model, choice).name
    return how


def _notes(model, choice, trap):
    texts = [one for one in model.metadata_props if one.value.startswith("{")]
    if texts and choice.random() < 0.8:
        one = choice.choice(texts)
        text, how = by_json.text_of(json.loads(one.value), choice)
        one.value = text.decode(errors="replace")
        return how
    if model.metadata_props and choice.random() < 0.5:
        one = choice.choice(list(model.metadata_props))
        one.value = choice.choice(("", "tcnzoo-torch", "x" * 3000, "{"))
        return one.key
    del model.metadata_props[:]
    return "gone"


def _version(model, choice, trap):
    if choice.random() < 0.5 and model.opset_import:
        model.opset_import[0].version = choice.choice((0, -1, 1, 7, 999, 2**60))
    elif choice.random() < 0.5:
        del model.opset_import[:]
    else:
        model.ir_version = choice.choice((0, 1, 99, 2**60))


def _inside(model, choice, trap):
    """A graph in a graph in a graph."""
    node = model.graph.node.add()
    node.op_type, graph = "If", None
    for _ in range(choice.choice((1, 20, 60))):
        held = node.attribute.add()
        held.name, held.type = "then_branch", _onnx().AttributeProto.GRAPH
        graph = held.g
        node = graph.node.add()
        node.op_type = "If"


def _function(model, choice, trap):
    made = model.functions.add()
    made.name, made.domain = model.graph.node[0].op_type, ""
    made.output.append("y")


def _sparse(model, choice, trap):
    one = model.graph.sparse_initializer.add()
    one.dims.append(2**40)
    one.values.CopyFrom(_onnx().numpy_helper.from_array(np.ones(1, np.float32), "sparse"))


CHANGES = (
    _renamed, _dropped, _doubled, _dims, _dims, _dims, _type, _raw, _elsewhere, _elsewhere,
    _segment, _node, _node,
    _node, _attribute, _attribute, _attribute, _order, _ends, _notes, _notes, _notes, _version,
    _inside, _function,
    _sparse,
)  # fmt: skip


def structure(path, choice, trap):
    change, model = choice.choice(CHANGES), _held(path)
    how = change(model, choice, trap)
    path.write_bytes(model.SerializeToString())
    return f"{change.__name__[1:]}: {how}"


def nested(path, choice, trap):
    """Fields within fields, deeper than a parser may go down."""
    data = b""
    for _ in range(choice.choice((90, 5000))):
        size, length = len(data), b""
        while size > 127:
            length, size = length + bytes([size & 127 | 128]), size >> 7
        data = choice.choice((b"\x3a", b"\x0a", b"\x32")) + length + bytes([size]) + data
    path.write_bytes(path.read_bytes() + data)


STRUCTURAL = (structure,) * 20 + (nested,)
