"""Mutations of a JSON document and of its text."""

import json

DEEP = 100_000
JUNK = (
    None, True, False, 0, 1, -1, 2, 7, 2**31, 2**63, 10**30, 0.5, -0.0, 1e308, "", "x", "1",
    "../up",
    "\u2028line", "line\nbreak", "\x00", [], [[]], {}, [1, 2, 3], [3, 2], {"kind": "dense"},
    [0] * 1000,
    {"": None}, "x" * 5000, float("nan"), float("inf"),
)  # fmt: skip


def _nodes(document, path=()):
    """Paths of all values in a document."""
    yield path
    items = document.items() if isinstance(document, dict) else ()
    items = enumerate(document) if isinstance(document, list) else items
    for key, value in items:
        yield from _nodes(value, (*path, key))


def _holder(document, path):
    for key in path[:-1]:
        document = document[key]
    return document


def _junk(document, choice):
    """Something that may not belong there: a constant, or a copy of another part."""
    if choice.random() < 0.3:
        path = choice.choice(list(_nodes(document)))
        found = _holder(document, path)[path[-1]] if path else document
        return json.loads(json.dumps(found))
    return choice.choice(JUNK)


def changed(document, choice):
    """A document with one of its values replaced, removed or renamed; and what was done."""
    document = json.loads(json.dumps(document))
    path = choice.choice([path for path in _nodes(document) if path] or [()])
    if not path:
        return _junk(document, choice), "whole document"
    holder, key = _holder(document, path), path[-1]
    how = choice.choice(("replace", "replace", "replace", "remove", "rename", "add", "nudge"))
    if how == "nudge" and type(holder[key]) in (int, float):
        holder[key] += choice.choice((1, -1, 0.5, 10**6, -(10**6)))
    elif how == "remove":
        del holder[key]
    elif how == "rename" and isinstance(holder, dict):
        holder[choice.choice((key.upper(), key + "_", "x", ""))] = holder.pop(key)
    elif how == "add" and isinstance(holder, dict):
        holder[choice.choice(("more", "kind", "__class__", key + "."))] = _junk(document, choice)
    elif how == "add":
        holder.insert(key, _junk(document, choice))
    else:
        holder[key] = _junk(document, choice)
    return document, f"{how} {'.'.join(map(str, path))}"


TEXTS = (
    "", " ", "{", "[" * DEEP, '{"a":' * DEEP, "null", "[]", '"text"', "1" * 5000, "\ufeff{}",
    "{}{}", "NaN",
    '{"spec": ' + "[" * DEEP + "]" * DEEP + "}", '{"\\ud800": 1}', '{"spec": {"kind": "\\ud800"}}',
    '{"a": 1, "a": 2}', "-Infinity", '{"version": ' + "9" * 5000 + "}", '{"spec": 1e999}',
)  # fmt: skip


def text_of(document, choice):
    """Bytes of a changed document, mostly valid JSON; and what was done."""
    if choice.random() < 0.75:
        document, how = changed(document, choice)
        if choice.random() < 0.2:
            document, more = changed(document, choice)
            how = f"{how}, {more}"
        return json.dumps(document).encode(), how
    text = choice.choice(TEXTS)
    if choice.random() < 0.2:
        return choice.randbytes(30), "bytes that are no text"
    if choice.random() < 0.2:
        whole = json.dumps(document).encode()
        return whole[: choice.randrange(len(whole))], "text cut short"
    return text.encode(), f"text {text[:20]!r}"


# Strings and numbers that sentences and other readers may trip over.
ODD = (
    10**400, -(10**400), 10**30, 2**63, 1e308, -1e308, 5e-324, "\ud800", "a\ud800b", "a\u2028b",
    "a\nb", "\x00",
    "x" * 3000, "9" * 400, "1", " ", "nan", "inf", "True", "\u0663", [[[]]], [None],
    {"x" * 3000: 1},
    {"\ud800": 1}, [0.5] * 300, True, False, None, -1, 0,
)  # fmt: skip


def odd(document, choice):
    """A document with a number, string or key that is odd in itself; and what was done."""
    document = json.loads(json.dumps(document))
    paths = [path for path in _nodes(document) if path]
    if not paths:
        return document, "nothing"
    path = choice.choice(paths)
    holder, key = _holder(document, path), path[-1]
    if isinstance(holder, dict) and choice.random() < 0.15:
        holder[choice.choice(("x" * 3000, "\ud800", "a\u2028b", "a\nb", ""))] = holder.pop(key)
        return document, f"key {'.'.join(map(str, path))}"
    holder[key] = choice.choice(ODD)
    return document, f"value {'.'.join(map(str, path))} {str(holder[key])[:20]!r}"
