"""Mutations of YAML and JSON documents: values, twin keys, aliases, tags, depth, encodings."""

import json
import re

import yaml

from tests.fuzzing import by_json

SCALARS = (
    "yes", "20:30", "0o17", "0x" + "f" * 60, "9" * 45, "1e999", ".inf", ".nan", "-.inf", "~",
    "2024-01-01", "'",
    '"\\ud800"', "|\n  x", "? a", "- - - 1", "{a: {b: [1]}}", "[1, [2, [3]]]", "&z 1", "*z",
    "*none",
    "<<", "=", "@x", "`x", "%x", "\t1", "x" * 3000, "1e400", "1_000", "-0", "100000000000",
    "10**9", "'\\0'",
    "\u2028", "\x85", "\x07", "\U0001f600",
)  # fmt: skip
TAGS = (
    "!!str", "!!int", "!!float", "!!bool", "!!null", "!!map", "!!seq", "!!set", "!!omap", "!!pairs",
    "!!binary", "!!timestamp", "!!merge", "!!value", "!x", "!", "!!python/name:os.system",
    "!!python/object/apply:os.getcwd", "!<tag:yaml.org,2002:int>",
)  # fmt: skip
ENCODINGS = ("utf-8-sig", "utf-16", "utf-32", "utf-16-le", "cp1252", "utf-7")


def document(path, choice, trap):
    """A value of the document."""
    is_json = path.suffix == ".json"
    whole = yaml.safe_load(path.read_text("utf-8"))
    if is_json:
        content, how = by_json.text_of(whole, choice)
        path.write_bytes(content)
        return how
    changed, how = by_json.changed(whole, choice)
    path.write_text(yaml.safe_dump(changed, sort_keys=choice.random() < 0.5), "utf-8")
    return how


def odd(path, choice, trap):
    """A number or string that is odd in itself, in JSON, of which YAML takes nearly all."""
    changed, how = by_json.odd(yaml.safe_load(path.read_text("utf-8")), choice)
    path.write_text(json.dumps(changed, indent=1), "utf-8")
    return how


def number(path, choice, trap):
    """One of the numbers, by a size that may not fit."""
    text = path.read_text("utf-8")
    found = list(re.finditer(r"(?<=[\[: ])\d+(?=[\],}\n])", text))
    if not found:
        return "nothing"
    one = choice.choice(found)
    value = choice.choice((0, -1, 1, 2, 7, 1000, 10**5, 10**7, 10**9, 2**31, 2**63, 10**15, 10**30))
    path.write_text(f"{text[: one.start()]}{value}{text[one.end() :]}", "utf-8")
    return f"{one[0]} {value}"


def line(path, choice, trap):
    """A line: doubled (a twin key), removed, moved, or with another depth."""
    lines = path.read_text("utf-8").split("\n")
    place = choice.randrange(len(lines))
    how = choice.choice(("double", "double", "remove", "move", "indent", "dedent", "many"))
    if how in ("double", "many"):
        lines[place:place] = [lines[place]] * (1 if how == "double" else 2000)
    elif how == "remove":
        del lines[place]
    elif how == "move":
        lines.insert(choice.randrange(len(lines)), lines.pop(place))
    else:
        lines[place] = f"  {lines[place]}" if how == "indent" else lines[place][2:]
    path.write_text("\n".join(lines), "utf-8")
    return f"{how} {place}"


def scalar(path, choice, trap):
    """What stands behind a colon, replaced or tagged."""
    text = path.read_text("utf-8")
    places = [place for place, sign in enumerate(text) if sign == ":"] or [0]
    place = choice.choice(places) + 1
    end = min(at for at in (text.find("\n", place), len(text)) if at >= 0)
    tag = choice.choice((*TAGS, *[""] * len(TAGS)))
    value = text[place:end] if tag else choice.choice(SCALARS)
    path.write_text(f"{text[:place]} {tag} {value}{text[end:]}", "utf-8")
    return f"{tag} {value[:20]!r}"


def aliases(path, choice, trap):
    """Mappings and lists that are repeated by their names, a few levels deep."""
    text, levels = path.read_text("utf-8"), choice.choice((1, 2, 3, 4))
    width = choice.choice((1, 2, 10))
    form = choice.choice(("[{}]", "{{<<: [{}]}}"))
    first = choice.choice(("{kind: dense}", "[1, 2]", "3", "{}", "&b {}"))
    more = [f"a0: &a0 {first}"]
    for level in range(1, levels + 1):
        inner = ", ".join([f"*a{level - 1}"] * width)
        more.append(f"a{level}: &a{level} {form.format(inner)}")
    more.append(
        choice.choice((f"spec: *a{levels}", f"kind: *a{levels}", "self: &self [*self]", ""))
    )
    merged = f"<<: *a{levels}" if choice.random() < 0.3 else ""
    path.write_text("\n".join((*more, text, merged)), "utf-8")
    return f"{levels} of {width} {form}"


def depth(path, choice, trap):
    """Levels within each other, as flow, block, or keys."""
    deep = choice.choice((2, 10, 60, 64, 65, 100, 500, 3000))
    made = {
        "lists": "[" * deep + "]" * deep,
        "open": "[" * deep,
        "maps": "{a: " * deep + "1" + "}" * deep,
        "layers": '{"kind": "sequential", "layers": {"a": ' * deep + "1" + "}}" * deep,
        "dashes": "- " * deep + "1",
    }
    how = choice.choice(list(made))
    whole = choice.random() < 0.5
    text = made[how] if whole else f"{path.read_text('utf-8').rstrip()}\nmore: {made[how]}\n"
    path.write_text(text, "utf-8")
    return f"{deep} {how}"


def size(path, choice, trap):
    """Many keys, values, characters or documents."""
    text = path.read_text("utf-8").rstrip()
    many = choice.choice((100, 5000))
    made = {
        "keys": "\n".join(f"k{place}: {place}" for place in range(many)),
        "values": f"more: {[1] * many}",
        "twins": "\n".join(["more: 1"] * many),
        "text": f"more: {'x' * many * 10}",
        "quoted": f"more: '{'x ' * many * 10}'",
        "documents": "\n---\na: 1" * many,
        "comments": "# x\n" * many,
        "blanks": "\n" * many + " " * many,
        "anchors": "\n".join(f"k{place}: &k{place} 1" for place in range(many)),
    }
    how = choice.choice(list(made))
    path.write_text(f"{text}\n{made[how]}\n", "utf-8")
    return f"{many} {how}"


def encoding(path, choice, trap):
    text, name = path.read_text("utf-8"), choice.choice(ENCODINGS)
    path.write_bytes(text.encode(name, "replace"))
    return name


def language(path, choice, trap):
    """YAML under the name of JSON, and the other way round."""
    whole = yaml.safe_load(path.read_text("utf-8"))
    is_json = path.suffix == ".json"
    text = (
        yaml.safe_dump(whole) if is_json else json.dumps(whole, indent=choice.choice((None, "\t")))
    )
    path.write_text(text, "utf-8")
    return "yaml" if is_json else "json"


JSON = (*[document] * 3, *[odd] * 3, *[number] * 3, line, depth, size, encoding, language)
YAML = (*JSON, scalar, scalar, scalar, aliases, aliases, line, line)
