"""The C functions that a file is made of; a file holds those that its operations call.

In the text `NAME` stands for the name of the net. Inner loops run over output channels, a constant
number of them, so that a compiler makes vector instructions of them without changing any sum.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Function:
    """A C function, type or constant.

    Attributes:
        text: its C code.
        needs: names of those that it calls.
    """

    text: str
    needs: tuple[str, ...] = ()


# Output channels that are computed at a time, the widest first: a kernel is cut into panels.
WIDTHS = (32, 16, 8, 4, 2, 1)


def panels(width: int) -> list[int]:
    """Widths of the panels of so many output channels."""
    cut = []
    for panel in WIDTHS:
        cut += [panel] * (width // panel)
        width %= panel
    return cut


def _unrolled(width: int) -> int:
    """Products that are summed before they are added: more for panels that fill no long vector."""
    return 8 if width == 8 else 4


def _products(width: int, together: int, into: str, pair: str = "{}") -> str:
    """A C statement that adds the products of some inputs, in pairs, one a line."""
    terms = [f"w[{u * width} + k] * x[i + {u}]" for u in range(together)]
    pairs = [pair.format(" + ".join(terms[u : u + 2])) for u in range(0, together, 2)]
    space = " " * 16
    return f"{space}{into}" + f"\n{space}    + ".join(pairs) + ";"


def _panel(width: int) -> str:
    """Sums of one panel in float32."""
    together = _unrolled(width)
    products = _products(width, together, "sum[k] += ")
    return f"""
/* {width} output channels: bias, and all inputs from channel `first` on times the kernel. */
static const float *NAME_panel_{width}(const float *restrict w, const float *const *rows, int taps,
                                  int first, int n, const float *restrict b, float *restrict y)
{{
    float sum[{width}];
    for (int k = 0; k < {width}; k++)
        sum[k] = b ? b[k] : 0.0f;
    for (int j = 0; j < taps; j++) {{
        const float *restrict x = rows[j] + first;
        int i = 0;
        for (; i + {together} <= n; i += {together}, w += {together * width})
            for (int k = 0; k < {width}; k++)
{products}
        for (; i < n; i++, w += {width})
            for (int k = 0; k < {width}; k++)
                sum[k] += w[k] * x[i];
    }}
    for (int k = 0; k < {width}; k++)
        y[k] = sum[k];
    return w;
}}
"""


def _panel8(width: int) -> str:
    """Sums of one panel in int32, scaled tap by tap."""
    together = 4 if width > 8 else 2
    # Two products of int8 fit into 16 bits, of which a vector holds twice as many as of 32.
    products = _products(width, together, "whole[k] += ", "(int16_t)({})")
    return f"""
/* {width} output channels of an int8 kernel; each tap's row has a scale of its own. */
static const int8_t *NAME_panel8_{width}(const int8_t *restrict w, const int8_t *const *rows,
                                    const float *row_scales, int taps, int n,
                                    const float *restrict scale, const float *restrict b,
                                    float *restrict y)
{{
    float sum[{width}] = {{0.0f}};
    for (int j = 0; j < taps; j++) {{
        const int8_t *restrict x = rows[j];
        int32_t whole[{width}] = {{0}};
        int i = 0;
        for (; i + {together} <= n; i += {together}, w += {together * width})
            for (int k = 0; k < {width}; k++)
{products}
        for (; i < n; i++, w += {width})
            for (int k = 0; k < {width}; k++)
                whole[k] += w[k] * x[i];
        for (int k = 0; k < {width}; k++)
            sum[k] += row_scales[j] * (float)whole[k];
    }}
    for (int k = 0; k < {width}; k++)
        y[k] = (b ? b[k] : 0.0f) + scale[k] * sum[k];
    return w;
}}
"""


def _cut(call: str, widths: Iterable[int], indent: int) -> str:
    """C lines that go through the panels of `last - o` output channels."""
    space = " " * indent
    return "\n".join(
        f"{space}for (; last - o >= {width}; o += {width})\n"
        f"{space}    w = {call.replace('WIDTH', str(width))};"
        for width in WIDTHS
        if width in widths
    )


def product(widths: Iterable[int]) -> Function:
    """A kernel times the rows of its taps, for panels of these widths."""
    call = "NAME_panel_WIDTH(w, rows, kernel->taps, g * n, n, b ? b + o : NULL, y + o)"
    text = f"""
/* y (out) of one step: `rows` has a row of inputs for each tap. */
static void NAME_product(const NAME_kernel *kernel, const float *const *rows, float *y)
{{
    const float *w = kernel->w, *b = kernel->b;
    const int n = kernel->in / kernel->groups, width = kernel->out / kernel->groups;
    for (int g = 0; g < kernel->groups; g++) {{
        const int last = (g + 1) * width;
        int o = g * width;
{_cut(call, widths, 8)}
    }}
}}
"""
    return Function(text, ("kernel", *(f"panel_{width}" for width in widths)))


def product8(widths: Iterable[int]) -> Function:
    """An int8 kernel times the rows of its taps, for panels of these widths."""
    call = (
        "NAME_panel8_WIDTH(w, rows, row_scales, kernel->taps, kernel->in, kernel->scale + o,\n"
        "                          b ? b + o : NULL, y + o)"
    )
    text = f"""
/* y (out) of one step of an int8 kernel. */
static void NAME_product8(const NAME_kernel8 *kernel, const int8_t *const *rows,
                          const float *row_scales, float *y)
{{
    const int8_t *w = kernel->w;
    const float *b = kernel->b;
    const int last = kernel->out;
    int o = 0;
{_cut(call, widths, 4)}
}}
"""
    return Function(text, ("kernel8", *(f"panel8_{width}" for width in widths)))


TYPES: dict[str, Function] = {
    "kernel": Function("""
/* A convolution. w: for each group and panel of output channels [taps][in / groups][panel]; of one
   channel a group [taps][in]. b: (out), or null. */
typedef struct {
    const float *w, *b;
    int in, out, taps, dilation, stride, groups;
} NAME_kernel;
"""),
    "kernel8": Function("""
/* A convolution in int8. w: for each panel of output channels [taps][in][panel]; w * scale is the
   kernel, with a scale for each output channel. */
typedef struct {
    const int8_t *w;
    const float *scale, *b;
    int in, out, taps, dilation, stride;
} NAME_kernel8;
"""),
    "recurrence": Function("""
/* The sizes and vectors of a Mamba-2 recurrence. */
typedef struct {
    const float *dt_bias, *decay, *skip;
    float low, high;
    int heads, head_dim, d_state, groups;
} NAME_recurrence;
"""),
}


def _pool(name: str, what: str, take: str, end: str = "") -> Function:
    """A pool over a window: how it takes in a value of a row, and what it does at the end."""
    last = f"\n        for (int c = 0; c < width; c++)\n            {end}" if end else ""
    return Function(
        f"""
/* n steps of {what} the last `size` rows; returns the output steps. */
static int NAME_{name}(float *ring, int width, int size, int stride, int32_t *at, int32_t *skip,
                       const float *x, int n, float *restrict y)
{{
    int done = 0;
    for (int r = 0; r < n; r++, x += width) {{
        NAME_arrive(ring, width, size, at, NULL, x);
        if (!NAME_due(skip, stride))
            continue;
        float *row = y + done++ * width;
        memcpy(row, ring, (size_t)width * sizeof *row);
        for (int t = 1; t < size; t++)
            for (int c = 0; c < width; c++) {{
                const float value = ring[t * width + c];
                {take}
            }}{last}
    }}
    return done;
}}
""",
        ("arrive", "due"),
    )


FUNCTIONS: dict[str, Function] = {
    **{f"panel_{width}": Function(_panel(width)) for width in WIDTHS},
    "product": product(()),
    **{f"panel8_{width}": Function(_panel8(width)) for width in WIDTHS},
    "product8": product8(()),
    "due": Function("""
/* Whether a window that has one more step gives an output; `skip` counts the steps until one is
   due. */
static int NAME_due(int32_t *skip, int stride)
{
    if (!skip)
        return 1;
    if (*skip > 0) {
        --*skip;
        return 0;
    }
    *skip = stride - 1;
    return 1;
}
"""),
    "arrive": Function("""
/* Put a row into a ring in the place of the oldest, to which `at` points; the first row of a net
   that repeats its edge (`started`) fills the ring. */
static void NAME_arrive(float *ring, int width, int size, int32_t *at, int32_t *started,
                        const float *x)
{
    if (started && !*started) {
        for (int r = 0; r < size; r++)
            memcpy(ring + r * width, x, (size_t)width * sizeof *x);
        *started = 1;
    }
    memcpy(ring + *at * width, x, (size_t)width * sizeof *x);
    *at = *at + 1 < size ? *at + 1 : 0;
}
"""),
    "conv": Function(
        """
/* n steps of a convolution; returns the output steps. */
static int NAME_conv(const NAME_kernel *kernel, float *ring, int32_t *at, int32_t *skip,
                     int32_t *started, const float *x, int n, float *y)
{
    const int in = kernel->in, size = (kernel->taps - 1) * kernel->dilation + 1;
    const float *rows[MACRO_TAPS];
    int done = 0;
    for (int r = 0; r < n; r++, x += in) {
        NAME_arrive(ring, in, size, at, started, x);
        if (!NAME_due(skip, kernel->stride))
            continue;
        for (int j = 0, row = *at; j < kernel->taps; j++, row += kernel->dilation)
            rows[j] = ring + (row < size ? row : row - size) * in;
        NAME_product(kernel, rows, y + done++ * kernel->out);
    }
    return done;
}
""",
        ("kernel", "arrive", "due", "product"),
    ),
    "depthwise": Function(
        """
/* n steps of a convolution of each channel by itself; returns the output steps. */
static int NAME_depthwise(const NAME_kernel *kernel, float *ring, int32_t *at, int32_t *skip,
                          int32_t *started, const float *x, int n, float *restrict y)
{
    const int in = kernel->in, size = (kernel->taps - 1) * kernel->dilation + 1;
    int done = 0;
    for (int r = 0; r < n; r++, x += in) {
        NAME_arrive(ring, in, size, at, started, x);
        if (!NAME_due(skip, kernel->stride))
            continue;
        const float *restrict w = kernel->w;
        float *restrict sum = y + done++ * in;
        for (int c = 0; c < in; c++)
            sum[c] = kernel->b ? kernel->b[c] : 0.0f;
        for (int j = 0, row = *at; j < kernel->taps; j++, row += kernel->dilation, w += in) {
            const float *restrict past = ring + (row < size ? row : row - size) * in;
            for (int c = 0; c < in; c++)
                sum[c] += w[c] * past[c];
        }
    }
    return done;
}
""",
        ("kernel", "arrive", "due"),
    ),
    "dense": Function(
        """
/* n steps of a convolution of one tap. */
static void NAME_dense(const NAME_kernel *kernel, const float *x, int n, float *y)
{
    for (int r = 0; r < n; r++) {
        const float *row = x + r * kernel->in;
        NAME_product(kernel, &row, y + r * kernel->out);
    }
}
""",
        ("kernel", "product"),
    ),
    "most": Function("""
/* The largest absolute value of a row; NaN if one is not finite. */
static float NAME_most(const float *x, int n)
{
    float most[8] = {0.0f}, odd[8] = {0.0f};
    int i = 0;
    for (; i + 8 <= n; i += 8)
        for (int k = 0; k < 8; k++) {
            const float value = fabsf(x[i + k]);
            most[k] = value > most[k] ? value : most[k];
            odd[k] += value - value;
        }
    for (; i < n; i++) {
        const float value = fabsf(x[i]);
        most[0] = value > most[0] ? value : most[0];
        odd[0] += value - value;
    }
    for (int k = 1; k < 8; k++) {
        most[0] = most[k] > most[0] ? most[k] : most[0];
        odd[0] += odd[k];
    }
    return most[0] + odd[0];
}
"""),
    "arrive8": Function(
        """
/* Put a row into a ring of int8 rows, each of which has a scale: its largest value is 127 * scale.
   A row with a value that is not finite has the scale NaN, so that this shows in the output. */
static void NAME_arrive8(int8_t *ring, float *scales, int width, int size, int32_t *at,
                         int32_t *started, const float *x)
{
    const float most = NAME_most(x, width);
    const float steps = most > 1e-30f ? 127.0f / most : 0.0f;
    int8_t *restrict row = ring + *at * width;
    if (most == most)
        for (int c = 0; c < width; c++) {
            const float value = x[c] * steps;
            row[c] = (int8_t)(value + (value < 0.0f ? -0.5f : 0.5f));
        }
    else
        memset(row, 0, (size_t)width);
    scales[*at] = most / 127.0f;
    if (started && !*started) {
        for (int r = 0; r < size; r++)
            if (r != *at) {
                memcpy(ring + r * width, row, (size_t)width);
                scales[r] = scales[*at];
            }
        *started = 1;
    }
    *at = *at + 1 < size ? *at + 1 : 0;
}
""",
        ("most",),
    ),
    "conv8": Function(
        """
/* n steps of an int8 convolution; returns the output steps. */
static int NAME_conv8(const NAME_kernel8 *kernel, int8_t *ring, float *scales, int32_t *at,
                      int32_t *skip, int32_t *started, const float *x, int n, float *y)
{
    const int in = kernel->in, size = (kernel->taps - 1) * kernel->dilation + 1;
    const int8_t *rows[MACRO_TAPS];
    float row_scales[MACRO_TAPS];
    int done = 0;
    for (int r = 0; r < n; r++, x += in) {
        NAME_arrive8(ring, scales, in, size, at, started, x);
        if (!NAME_due(skip, kernel->stride))
            continue;
        for (int j = 0, row = *at; j < kernel->taps; j++, row += kernel->dilation) {
            const int wrapped = row < size ? row : row - size;
            rows[j] = ring + wrapped * in;
            row_scales[j] = scales[wrapped];
        }
        NAME_product8(kernel, rows, row_scales, y + done++ * kernel->out);
    }
    return done;
}
""",
        ("kernel8", "arrive8", "due", "product8"),
    ),
    "scatter": Function("""
/* The finished output steps of a transposed convolution, after one input step whose products of
   all taps are `added`; `tail` has what later steps will get. */
static void NAME_scatter(const float *added, const float *b, int out, int taps, int stride,
                         int dilation, int overlap, float *tail, float *y)
{
    const int kept = overlap > stride ? overlap - stride : 0;
    for (int t = 0; t < stride; t++)
        for (int c = 0; c < out; c++)
            y[t * out + c] = b[c] + (t < overlap ? tail[t * out + c] : 0.0f);
    if (overlap) {
        memmove(tail, tail + (overlap - kept) * out, (size_t)(kept * out) * sizeof *tail);
        memset(tail + kept * out, 0, (size_t)((overlap - kept) * out) * sizeof *tail);
    }
    for (int j = 0; j < taps; j++) {
        const int t = j * dilation;
        float *row = t < stride ? y + t * out : tail + (t - stride) * out;
        for (int c = 0; c < out; c++)
            row[c] += added[j * out + c];
    }
}
"""),
    "affine": Function("""
/* x * scale + shift for each channel. */
static void NAME_affine(const float *scale, const float *shift, int width, const float *x, int n,
                        float *restrict y)
{
    for (int r = 0; r < n; r++)
        for (int c = 0; c < width; c++)
            y[r * width + c] = x[r * width + c] * scale[c] + shift[c];
}
"""),
    "relu": Function("""
static void NAME_relu(float *y, int n)
{
    for (int i = 0; i < n; i++)
        y[i] = y[i] < 0.0f ? 0.0f : y[i];
}
"""),
    "leaky_relu": Function("""
static void NAME_leaky_relu(float *y, int n, float slope)
{
    for (int i = 0; i < n; i++)
        y[i] = y[i] > 0.0f ? y[i] : slope * y[i];
}
"""),
    "elu": Function("""
static void NAME_elu(float *y, int n, float alpha)
{
    for (int i = 0; i < n; i++)
        y[i] = y[i] > 0.0f ? y[i] : alpha * expm1f(y[i]);
}
"""),
    "selu": Function("""
static void NAME_selu(float *y, int n)
{
    for (int i = 0; i < n; i++)
        y[i] = 1.05070099f * (y[i] > 0.0f ? y[i] : 1.67326324f * expm1f(y[i]));
}
"""),
    "gelu": Function("""
static void NAME_gelu(float *y, int n)
{
    for (int i = 0; i < n; i++)
        y[i] = 0.5f * y[i] * (1.0f + erff(0.707106781f * y[i]));
}
"""),
    "gelu_tanh": Function("""
static void NAME_gelu_tanh(float *y, int n)
{
    for (int i = 0; i < n; i++)
        y[i] = 0.5f * y[i]
             * (1.0f + tanhf(0.797884561f * (y[i] + 0.044715f * y[i] * y[i] * y[i])));
}
"""),
    "silu": Function("""
static void NAME_silu(float *y, int n)
{
    for (int i = 0; i < n; i++)
        y[i] = y[i] / (1.0f + expf(-y[i]));
}
"""),
    "tanh": Function("""
static void NAME_tanh(float *y, int n)
{
    for (int i = 0; i < n; i++)
        y[i] = tanhf(y[i]);
}
"""),
    "sigmoid": Function("""
static void NAME_sigmoid(float *y, int n)
{
    for (int i = 0; i < n; i++)
        y[i] = 1.0f / (1.0f + expf(-y[i]));
}
"""),
    "softplus_of": Function("""
static float NAME_softplus_of(float x)
{
    return (x < 0.0f ? 0.0f : x) + log1pf(expf(-fabsf(x)));
}
"""),
    "softplus": Function(
        """
static void NAME_softplus(float *y, int n)
{
    for (int i = 0; i < n; i++)
        y[i] = NAME_softplus_of(y[i]);
}
""",
        ("softplus_of",),
    ),
    "relu6": Function("""
static void NAME_relu6(float *y, int n)
{
    for (int i = 0; i < n; i++)
        y[i] = y[i] < 0.0f ? 0.0f : y[i] > 6.0f ? 6.0f : y[i];
}
"""),
    "hard_sigmoid": Function("""
static void NAME_hard_sigmoid(float *y, int n)
{
    for (int i = 0; i < n; i++) {
        const float moved = y[i] + 3.0f;
        y[i] = (moved < 0.0f ? 0.0f : moved > 6.0f ? 6.0f : moved) / 6.0f;
    }
}
"""),
    "hard_swish": Function("""
static void NAME_hard_swish(float *y, int n)
{
    for (int i = 0; i < n; i++) {
        const float moved = y[i] + 3.0f;
        y[i] = y[i] * (moved < 0.0f ? 0.0f : moved > 6.0f ? 6.0f : moved) / 6.0f;
    }
}
"""),
    "square": Function("""
static void NAME_square(float *y, int n)
{
    for (int i = 0; i < n; i++)
        y[i] = y[i] * y[i];
}
"""),
    "safe_log": Function("""
static void NAME_safe_log(float *y, int n, float floor)
{
    for (int i = 0; i < n; i++)
        y[i] = logf(y[i] < floor ? floor : y[i]);
}
"""),
    "log_softmax": Function("""
/* Logarithm of the softmax over the channels of each step. */
static void NAME_log_softmax(float *y, int n, int width)
{
    for (int r = 0; r < n; r++, y += width) {
        float most = y[0], sum = 0.0f;
        for (int c = 1; c < width; c++)
            most = y[c] > most ? y[c] : most;
        for (int c = 0; c < width; c++) {
            y[c] -= most;
            sum += expf(y[c]);
        }
        sum = logf(sum);
        for (int c = 0; c < width; c++)
            y[c] -= sum;
    }
}
"""),
    "softmax": Function(
        """
static void NAME_softmax(float *y, int n, int width)
{
    NAME_log_softmax(y, n, width);
    for (int i = 0; i < n * width; i++)
        y[i] = expf(y[i]);
}
""",
        ("log_softmax",),
    ),
    "gate": Function("""
/* First half of the channels times the sigmoid of the second. */
static void NAME_gate(const float *x, int n, int width, float *restrict y)
{
    for (int r = 0; r < n; r++, x += 2 * width, y += width)
        for (int c = 0; c < width; c++)
            y[c] = x[c] / (1.0f + expf(-x[width + c]));
}
"""),
    "place": Function("""
/* Copy channels from rows of one width to rows of another. */
static void NAME_place(const float *x, int from, float *y, int to, int channels, int n)
{
    for (int r = 0; r < n; r++)
        memcpy(y + r * to, x + r * from, (size_t)channels * sizeof *x);
}
"""),
    "repeat": Function("""
/* Every row so many times. */
static void NAME_repeat(const float *x, int n, int width, int factor, float *y)
{
    for (int r = 0; r < n * factor; r++)
        memcpy(y + r * width, x + r / factor * width, (size_t)width * sizeof *x);
}
"""),
    "add": Function("""
static void NAME_add(const float *a, const float *b, int n, float *y)
{
    for (int i = 0; i < n; i++)
        y[i] = a[i] + b[i];
}
"""),
    "multiply": Function("""
static void NAME_multiply(const float *a, const float *b, int n, float *y)
{
    for (int i = 0; i < n; i++)
        y[i] = a[i] * b[i];
}
"""),
    "sum": Function("""
/* Eight sums side by side, then their sum. */
static float NAME_sum(const float *x, int n)
{
    float part[8] = {0.0f}, rest = 0.0f;
    int i = 0;
    for (; i + 8 <= n; i += 8)
        for (int k = 0; k < 8; k++)
            part[k] += x[i + k];
    for (; i < n; i++)
        rest += x[i];
    return rest + ((part[0] + part[1]) + (part[2] + part[3]))
         + ((part[4] + part[5]) + (part[6] + part[7]));
}
"""),
    "squares": Function("""
/* The sum of the squares. */
static float NAME_squares(const float *x, int n)
{
    float part[8] = {0.0f}, rest = 0.0f;
    int i = 0;
    for (; i + 8 <= n; i += 8)
        for (int k = 0; k < 8; k++)
            part[k] += x[i + k] * x[i + k];
    for (; i < n; i++)
        rest += x[i] * x[i];
    return rest + ((part[0] + part[1]) + (part[2] + part[3]))
         + ((part[4] + part[5]) + (part[6] + part[7]));
}
"""),
    "layer_norm": Function(
        """
/* Zero mean and unit variance over the channels of each step, then weight and bias. */
static void NAME_layer_norm(const float *w, const float *b, float eps, int width, const float *x,
                            int n, float *restrict y)
{
    for (int r = 0; r < n; r++, x += width, y += width) {
        const float mean = NAME_sum(x, width) / (float)width;
        for (int c = 0; c < width; c++)
            y[c] = x[c] - mean;
        const float deviation = sqrtf(NAME_squares(y, width) / (float)width + eps);
        for (int c = 0; c < width; c++)
            y[c] = y[c] / deviation * w[c] + b[c];
    }
}
""",
        ("sum", "squares"),
    ),
    "rms_norm": Function(
        """
/* x / sqrt(mean of squares + eps) * weight, over the channels of each group. */
static void NAME_rms_norm(const float *w, float eps, int width, int groups, const float *x, int n,
                          float *restrict y)
{
    const int share = width / groups;
    for (int r = 0; r < n * groups; r++, x += share, y += share) {
        const float size = sqrtf(NAME_squares(x, share) / (float)share + eps);
        const float *weight = w + r % groups * share;
        for (int c = 0; c < share; c++)
            y[c] = x[c] / size * weight[c];
    }
}
""",
        ("squares",),
    ),
    "excite": Function(
        """
/* x * sigmoid(expand(relu(reduce(mean so far)))), plus x if residual. The mean is in double: over
   hours of a stream float32 would lose what each step adds. */
static void NAME_excite(const NAME_kernel *reduce, const NAME_kernel *expand, int residual,
                        double *mean, int64_t *count, const float *x, int n, float *scratch,
                        float *y)
{
    const int width = expand->out;
    for (int r = 0; r < n; r++, x += width, y += width) {
        const double steps = (double)++*count;
        const float *row = scratch;
        for (int c = 0; c < width; c++) {
            mean[c] += ((double)x[c] - mean[c]) / steps;
            scratch[c] = (float)mean[c];
        }
        if (reduce) {
            NAME_product(reduce, &row, scratch + width);
            NAME_relu(scratch + width, reduce->out);
            row = scratch + width;
        }
        NAME_product(expand, &row, y);
        for (int c = 0; c < width; c++)
            y[c] = x[c] / (1.0f + expf(-y[c])) + (residual ? x[c] : 0.0f);
    }
}
""",
        ("kernel", "product", "relu"),
    ),
    "average": _pool("average", "a mean over", "row[c] += value;", "row[c] /= (float)size;"),
    "max": _pool(
        "max", "the largest of", "row[c] = value > row[c] || value != value ? value : row[c];"
    ),
    "scan": Function(
        """
/* S = exp(dt decay) S + dt x B, y = S C + skip x, for each head; the state is [heads][d_state]
   [head_dim]. */
static void NAME_scan(const NAME_recurrence *m, float *state, const float *xbc, const float *dt,
                      int n, float *restrict y)
{
    const int p = m->head_dim, d = m->d_state, width = m->heads * p, share = m->heads / m->groups;
    for (int r = 0; r < n; r++, xbc += width + 2 * m->groups * d, dt += m->heads, y += width)
        for (int h = 0; h < m->heads; h++) {
            const float *b = xbc + width + h / share * d, *c = b + m->groups * d;
            const float *restrict x = xbc + h * p, *restrict skip = m->skip + h * p;
            float *restrict out = y + h * p, *restrict s = state + h * d * p;
            float step = NAME_softplus_of(dt[h] + m->dt_bias[h]);
            step = step < m->low ? m->low : step > m->high ? m->high : step;
            const float kept = expf(step * m->decay[h]);
            for (int i = 0; i < p; i++)
                out[i] = skip[i] * x[i];
            for (int q = 0; q < d; q++, s += p) {
                const float grow = step * b[q], seen = c[q];
                for (int i = 0; i < p; i++) {
                    s[i] = kept * s[i] + grow * x[i];
                    out[i] += seen * s[i];
                }
            }
        }
}
""",
        ("recurrence", "softplus_of"),
    ),
}


def texts(
    used: Iterable[str], widths: Iterable[int], widths8: Iterable[int]
) -> tuple[list[str], list[str]]:
    """The code of some functions and of all that they need, in an order that C takes.

    Args:
        used: names in FUNCTIONS and TYPES.
        widths, widths8: panels of the float32 and of the int8 kernels.
    Returns:
        (types, functions).
    """
    functions = {**FUNCTIONS, "product": product(widths), "product8": product8(widths8)}
    known = {**TYPES, **functions}
    wanted: set[str] = set()
    waiting = list(used)
    while waiting:
        name = waiting.pop()
        if name not in wanted:
            wanted.add(name)
            waiting += known[name].needs
    types, code = (
        [one.text.strip() for name, one in table.items() if name in wanted]
        for table in (TYPES, functions)
    )
    return types, code
