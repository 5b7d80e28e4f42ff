"""The results as a Markdown table and a chart."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402 - the backend must be chosen first


def _time(seconds: float) -> str:
    """A time with a unit that keeps it readable."""
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{seconds * 1e3:.3g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.0f} us"


def markdown(document: dict[str, Any]) -> str:
    """One table a group; `x` is how many times as fast as the first contender."""
    machine = document["machine"]
    lines = [
        f"# Benchmark on {machine['name']}",
        "",
        f"{machine['processor']}, {machine['cores']} cores, {machine['system']}; "
        f"{document['date']}.",
        "Versions: " + ", ".join(f"{k} {v}" for k, v in document["versions"].items()) + ".",
        "",
        "Contenders took turns in every round; times are medians of one call, "
        "`x` is the median over",
        "the rounds of (first contender's time / this one's), so above 1 is faster.",
        "",
    ]
    for group, rows in document["groups"].items():
        lines += [f"## {group}", ""]
        names = list(dict.fromkeys(name for row in rows for name in row["seconds"]))
        lines.append("| net | task | " + " | ".join(names) + " |")
        lines.append("|---|---|" + "---|" * len(names))
        for row in rows:
            cells = [
                f"{_time(row['seconds'][name])} ({row['ratio'][name]:.2f}x)"
                if name in row["seconds"]
                else ""
                for name in names
            ]
            task = row["task"] + (f" ({row['note']})" if row["note"] else "")
            lines.append(f"| {row['net']} | {task} | " + " | ".join(cells) + " |")
        lines.append("")
    if document.get("memory"):
        lines += [
            "## peak memory",
            "",
            "Growth of the process's peak by the first two calls, MiB.",
            "",
        ]
        names = list(dict.fromkeys(name for row in document["memory"] for name in row["mib"]))
        lines.append("| net | task | " + " | ".join(names) + " |")
        lines.append("|---|---|" + "---|" * len(names))
        for row in document["memory"]:
            cells = [f"{row['mib'][name]:.0f}" if name in row["mib"] else "" for name in names]
            lines.append(
                f"| {row['net']} | {row['task']} ({row['steps']} steps) | "
                + " | ".join(cells)
                + " |"
            )
        lines.append("")
    return "\n".join(lines)


def chart(document: dict[str, Any], path: Path) -> None:
    """Bars of the ratio to the peer library, one a measurement, on a log axis."""
    bars = []
    for group, rows in document["groups"].items():
        for row in rows:
            if group == "presets":
                continue
            peer, *others = row["ratio"]
            bars += [
                (group, f"{row['net']}\n{row['task']}", f"{one} / {peer}", row["ratio"][one])
                for one in others
            ]
    colours = dict(zip(dict.fromkeys(bar[0] for bar in bars), plt.cm.tab10.colors, strict=False))
    figure, axes = plt.subplots(figsize=(9, 0.42 * len(bars) + 1.6))
    places = range(len(bars))
    colour = [colours[bar[0]] for bar in bars]
    axes.barh(places, [bar[3] - 1 for bar in bars], left=1, color=colour, height=0.7)
    for place, (_, _, pair, ratio) in zip(places, bars, strict=True):
        axes.text(max(ratio, 1) * 1.04, place, f"{ratio:.2f}x {pair}", va="center", fontsize=7)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_yticks(places, [bar[1] for bar in bars], fontsize=7)
    axes.set_ylim(len(bars) - 0.4, -0.6)
    axes.set_xscale("log")
    ratios = [bar[3] for bar in bars]
    axes.set_xlim(min(0.5, *(0.8 * one for one in ratios)), max(ratios) * 20)
    axes.set_xlabel("times as fast as the peer (log scale; 1 = equal)")
    axes.set_title(
        f"tcnzoo beside what one would pick instead, {document['machine']['name']}", fontsize=10
    )
    handles = [plt.Rectangle((0, 0), 1, 1, color=colour) for colour in colours.values()]
    axes.legend(handles, colours, fontsize=7, loc="lower right", title="group", title_fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)
