"""The C file of a program, and its header."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from tcnzoo.streams.program import Program
from tcnzoo.version import __version__

from .functions import texts
from .operations import write
from .plan import Rows
from .writer import BYTES, Cost, Field, Writer

# The line of a header that describes the net begins so.
FACTS = "   facts: "


@dataclass(frozen=True)
class Source:
    """What is written.

    Attributes:
        code: of the .c file.
        header: of the .h file.
        total: what all of it costs.
        int8: how many kernels are stored in int8.
    """

    code: str
    header: str
    total: Cost
    int8: int


def identifier(stem: str) -> str:
    """A C identifier from the name of a file: what C does not take becomes an underscore."""
    name = re.sub(r"[^0-9A-Za-z]+", "_", stem).strip("_")
    return name if name[:1].isalpha() else f"net_{name}".rstrip("_")


def source(program: Program, stem: str, what: str, int8: bool) -> Source:
    """Write a program in C.

    Args:
        program: one step of a stream.
        stem: name of the files, without the ending.
        what: the model in a few words.
        int8: whether kernels are stored in int8.
    Raises:
        SpecError: an operation that has no C function here.
    """
    writer = Writer(program, int8)
    for number, operation in enumerate(program.operations):
        write(writer, number, operation)
    writer.fields.append(Field("float", "work", (max(1, writer.memory.size),), "of one step"))
    # The widest first, so that a compiler puts no gaps between them.
    fields = sorted(writer.fields, key=lambda field: -BYTES[field.kind])
    products = sum((cost.products for cost in writer.costs), Fraction())
    most = sum(cost.most for cost in writer.costs)
    total = Cost("total", writer.flash, _size(fields), products, most)
    title = f"{what}, one step of a stream; written by tcnzoo {__version__}."
    header = _header(writer, title, _facts(writer, fields, total), fields)
    code = _code(writer, title, total, f"{stem}.h")
    name = identifier(stem)
    return Source(_named(code, name), _named(header, name), total, writer.kernels8)


def _named(text: str, name: str) -> str:
    """The text with the net's own names."""
    return re.sub(r"\bNAME_", f"{name}_", text).replace("MACRO_", f"{name.upper()}_")


def _size(fields: Sequence[Field]) -> int:
    """Bytes of the state's struct: a whole number of its widest field."""
    size, widest = sum(field.size for field in fields), max(BYTES[field.kind] for field in fields)
    return -(-size // widest) * widest


def _facts(writer: Writer, fields: Sequence[Field], total: Cost) -> dict[str, Any]:
    """What programs may want to know of the net."""
    program, output = writer.program, writer.program.output
    return {
        "tcnzoo": __version__,
        "inputs": [
            {"name": name, "channels": signal.channels, "per_step": per_step}
            for name, signal, per_step in _inputs(writer)
        ],
        "output": {"channels": output.channels, "most": writer.rows[output.index].most},
        "flash": total.flash,
        "ram": total.ram,
        "multiply_adds": float(total.products),
        "multiply_adds_at_most": total.most,
        "state": {
            field.entry: {"field": field.name, "type": field.kind, "shape": list(field.shape)}
            for field in fields
            if field.entry and field.entry in program.state
        },
    }


def _inputs(writer: Writer) -> list[tuple[str, Any, bool]]:
    """(argument, signal, whether it has a row for each sample) of all that a step reads."""
    program = writer.program
    return [
        (name, signal, signal.index not in program.vectors)
        for name, signal in zip(writer.input_names(), program.inputs, strict=True)
    ]


# --- The header -----------------------------------------------------------------------------------

HEADER = """\
/* TITLE

   A sample is a row of channels, and samples lie one after the other:
SHAPES

   The fields of the state hold what tcnzoo's state has under the names given below. A ring has one
   row more than the entry: step k of the entry is row (at + 1 + k) modulo the rows.

FACTS
*/
#ifndef TCNZOO_MACRO_H
#define TCNZOO_MACRO_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Channels of the input and of the output, and rows that one sample gives at most. */
enum { MACRO_CHANNELS = IN, MACRO_OUTPUTS = OUT, MACRO_MOST = ROWS };

/* All that a stream keeps; one for each stream. */
typedef struct {
FIELDS
} NAME_state;

/* Begin a stream. */
void NAME_reset(NAME_state *s);

/* Take one sample; y has room for MACRO_MOST rows, apart from x. Returns the rows written. */
int NAME_step(ARGUMENTS);

/* Take n samples; y has room for n * MACRO_MOST rows. Returns the rows written. */
int NAME_steps(MANY);

#ifdef __cplusplus
}
#endif

#endif
"""


def _header(writer: Writer, title: str, facts: dict[str, Any], fields: Sequence[Field]) -> str:
    """Text of the header."""
    output = writer.program.output
    rows = writer.rows[output.index]
    shapes = [
        f"     {name}: {one.channels} channels{_kept(row)}" for name, one, row in _inputs(writer)
    ]
    shapes.append(f"     y: {output.channels} channels, {_in_words(rows)} for each sample")
    declared = [f"    {_declared(field)}" for field in fields]
    step, steps = _arguments(writer)
    # A comment must not end within it; JSON reads this as the same text.
    line = FACTS + json.dumps(facts).replace("*/", "*\\/")
    parts = {
        "TITLE": title, "SHAPES": "\n".join(shapes), "FACTS": line, "FIELDS": "\n".join(declared),
        "IN": writer.program.inputs[0].channels, "OUT": output.channels, "ROWS": rows.most,
        "ARGUMENTS": step, "MANY": steps,
    }  # fmt: skip
    return re.sub(rf"\b({'|'.join(parts)})\b", lambda match: str(parts[match[1]]), HEADER)


def _kept(per_step: bool) -> str:
    """What is said of an input that is no signal."""
    return "" if per_step else ", one vector for all samples of a call"


def _in_words(rows: Rows) -> str:
    """Rows of the output for each sample."""
    words = f"{rows.most} row{'s' * (rows.most > 1)}"
    return words if rows.fixed else f"at most {words}, in the mean {float(rows.mean):.6g},"


def _declared(field: Field) -> str:
    """A field and what it means."""
    shape = f"[{' * '.join(map(str, field.shape))}]" if field.shape else ""
    words = [field.entry.replace("*/", "* /")] if field.entry else []
    return f"{field.kind} {field.name}{shape}; /* {': '.join([*words, field.meaning])} */"


def _arguments(writer: Writer) -> tuple[str, str]:
    """Arguments of a step, and of several."""
    x, *rest = (f"const float *{name}" for name in writer.input_names())
    step = ", ".join(["NAME_state *s", x, *rest, "float *y"])
    return step, ", ".join(["NAME_state *s", x, *rest, "int n", "float *y"])


# --- The code -------------------------------------------------------------------------------------

BEGINNING = """\
/* TITLE

   It calls the C library's <math.h> and <string.h> and allocates nothing. Compile it with -O3 for
   vector instructions; it needs no option that changes floating-point numbers.

TABLE
*/
#include "HEADER"

#include <math.h>
#include <string.h>

/* Taps of the longest kernel. */
enum { MACRO_TAPS = TAPS };
"""

RESET = """\
void NAME_reset(NAME_state *s)
{
    memset(s, 0, sizeof *s);
STARTS}
"""

STEP = """\
int NAME_step(ARGUMENTS)
{
STATEMENTS
    return ROWS;
}
"""

STEPS = """\
int NAME_steps(MANY)
{
    int done = 0;
    for (int t = 0; t < n; t++)
        done += NAME_step(s, PASSED, y + done * MACRO_OUTPUTS);
    return done;
}
"""


def _code(writer: Writer, title: str, total: Cost, header: str) -> str:
    """Text of the C file."""
    types, functions = texts(writer.used, writer.widths, writer.widths8)
    beginning = BEGINNING.replace("TITLE", title).replace("TABLE", _table(writer.costs, total))
    beginning = beginning.replace("HEADER", header).replace("= TAPS", f"= {writer.taps}")
    constants = "\n".join(writer.constants)
    parts = [beginning.strip(), *types, constants, *functions, *_public(writer)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _public(writer: Writer) -> list[str]:
    """The functions of the header."""
    output = writer.program.output
    text = "\n".join(writer.statements)
    if output in writer.program.inputs:
        text = f"memcpy(y, {writer.pointer(output)}, {output.channels} * sizeof *y);"
    rows = writer.count(output)
    for name in re.findall(r"const int (\w+) = ", text):
        if len(re.findall(rf"\b{name}\b", f"{text} {rows}")) == 1:  # nobody reads it
            text = text.replace(f"const int {name} = ", "")
    for name in ("s", *writer.input_names()):
        if not re.search(rf"\b{name}\b", text):
            text = f"(void){name};\n{text}"
    step, steps = _arguments(writer)
    passed = [
        f"{name} + t * {signal.channels}" if per_step else name
        for name, signal, per_step in _inputs(writer)
    ]
    starts = "".join(f"    {line}\n" for line in writer.starts)
    body = re.sub(r"^", "    ", text, flags=re.MULTILINE)
    return [
        RESET.replace("STARTS", starts).strip(),
        STEP.replace("ARGUMENTS", step).replace("STATEMENTS", body).replace("ROWS", rows).strip(),
        STEPS.replace("MANY", steps).replace("PASSED", ", ".join(passed)).strip(),
    ]


def _table(costs: Sequence[Cost], total: Cost) -> str:
    """What each operation costs, in lines of text."""
    work = total.ram - sum(cost.ram for cost in costs)
    rows = [*costs, Cost("signals within a step", 0, work, Fraction(), 0), total]
    wide = max(len(cost.label) for cost in rows)
    heads = f"   {'':{wide}}  {'flash':>12}  {'RAM':>10}  {'multiply-adds of a sample':>26}"
    units = f"   {'':{wide}}  {'bytes':>12}  {'bytes':>10}  {'mean':>12}  {'at most':>12}"
    return "\n".join([heads, units, *(_line(cost, wide) for cost in rows)])


def _line(cost: Cost, wide: int) -> str:
    """One line of the table."""
    mean = f"{round(float(cost.products), 2):,.10g}"
    numbers = f"{cost.flash:>12,}  {cost.ram:>10,}  {mean:>12}  {cost.most:>12,}"
    return f"   {cost.label:{wide}}  {numbers}"
