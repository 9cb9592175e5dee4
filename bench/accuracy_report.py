"""From the rows of `accuracy.py` to goals, a table and a plot in docs/."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import median

from accuracy_tools import LOSSY, MATRIX, Row

DOCS = Path(__file__).parent.parent / "docs"
TABLE_BEGIN, TABLE_END = "<!-- figures: begin -->", "<!-- figures: end -->"
WAYS = ("download", "upload")


@dataclass(frozen=True)
class Goal:
    """One goal, what was measured, and whether it is met; None where there are no figures."""

    text: str
    figure: str
    met: bool | None

    def line(self) -> str:
        """For the screen."""
        word = {True: "met", False: "MISSED", None: "no figures"}[self.met]
        return f"{word:10} {self.text}: {self.figure}"


def loss_of(where: str) -> float:
    """The loss in a point's name."""
    words = where.split("/")
    return float(words[3]) if len(words) > 3 else 0.0


LOOPBACK = "loopback"


def is_link(where: str) -> bool:
    """Whether the row belongs to a link of the throughput matrix."""
    return not where.startswith(("latency", LOOPBACK))


def pick(rows: Iterable[Row], tool: str, where: str | None = None) -> list[Row]:
    """The rows of a tool, at one point or at all."""
    return [row for row in rows if row["tool"] == tool and (where is None or row["where"] == where)]


def errors(rows: Sequence[Row], tool: str, where: str) -> list[tuple[str, float]]:
    """Signed errors against iperf3 at one point, with their direction; a missing rate is an error of one."""
    reference = pick(rows, "iperf3", where)
    if not reference:
        return []
    return [
        (way, row[f"{way}_bps"] / reference[0][f"{way}_bps"] - 1 if row.get(f"{way}_bps") else -1.0)
        for row, way in product(pick(rows, tool, where), WAYS)
        if reference[0].get(f"{way}_bps")
    ]


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which this share lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def places(rows: Sequence[Row]) -> list[str]:
    """The links there are rows of, in the order of the run."""
    return list(dict.fromkeys(row["where"] for row in rows if is_link(row["where"])))


def judge(rows: Sequence[Row]) -> list[Goal]:
    """Every goal with its figure."""
    clean = [where for where in places(rows) if not loss_of(where)]
    lossy = [where for where in places(rows) if loss_of(where)]
    goals = []
    off = [abs(error) for where in clean for _, error in errors(rows, "sigprobe", where)]
    if off:
        goals.append(Goal("median error ≤ 3 %", f"{median(off):.1%} of {len(off)}", median(off) <= 0.03))
        goals.append(Goal("95th percentile ≤ 8 %", f"{quantile(off, 0.95):.1%}", quantile(off, 0.95) <= 0.08))
    held = list(_held(rows, lossy))
    if held:
        share = sum(held) / len(held)
        goals.append(Goal("1 % loss: interval holds iperf3 in ≥ 90 %", f"{share:.0%} of {len(held)}", share >= 0.9))
        off = [abs(error) for where in lossy for _, error in errors(rows, "sigprobe", where)]
        goals.append(Goal("1 % loss, ≤ 60 ms: median error ≤ 10 %", f"{median(off):.1%}", median(off) <= 0.1))
    near = [where for where in clean if float(where.split("/")[1]) <= 100]
    spans = [row[f"{way}_s"] for where in near for row in pick(rows, "sigprobe", where) for way in WAYS]
    spans = [span for span in spans if span is not None]
    if spans:
        goals.append(Goal("median ≤ 3 s a direction at ≤ 100 ms", f"{median(spans):.2f} s", median(spans) <= 3))
    goals += _bytes(rows, clean)
    goals += _loopback(rows)
    for where, limit_ms in (("latency/loopback", 0.03), ("latency/50ms", 0.1)):
        found = {row["tool"]: row["rtt_median_ms"] for row in rows if row["where"] == where and row["rtt_median_ms"]}
        if "sigprobe" in found and "ping" in found:
            others = [found[tool] for tool in ("ping", "fping") if tool in found]
            gap = min(abs(found["sigprobe"] - other) for other in others)
            text = f"{where}: median RTT within {limit_ms * 1000:.0f} µs of ping or fping"
            goals.append(Goal(text, f"{gap * 1000:.0f} µs", gap <= limit_ms))
    return goals


def _loopback(rows: Sequence[Row]) -> Iterable[Goal]:
    for reference in pick(rows, "iperf3", LOOPBACK)[:1]:
        for way in WAYS:
            ours = [row[f"{way}_bps"] for row in pick(rows, "sigprobe", LOOPBACK) if row.get(f"{way}_bps")]
            if ours and reference.get(f"{way}_bps"):
                share = median(ours) / reference[f"{way}_bps"]
                text = f"{share:.2f} ({median(ours) / 1e9:.1f} Gbit/s)"
                yield Goal(f"loopback, {way}: ≥ 0.5 of iperf3", text, share >= 0.5)


def _held(rows: Sequence[Row], wheres: Sequence[str]) -> Iterable[bool]:
    for where in wheres:
        for reference in pick(rows, "iperf3", where)[:1]:
            for row, way in product(pick(rows, "sigprobe", where), WAYS):
                true, interval = reference.get(f"{way}_bps"), row.get(f"{way}_ci_bps")
                if true:
                    yield bool(interval and interval[0] <= true <= interval[1])


def _bytes(rows: Sequence[Row], wheres: Sequence[str]) -> list[Goal]:
    pairs = []
    for where in wheres:
        mine, theirs = pick(rows, "sigprobe", where), pick(rows, "speedtest-cli", where)
        if mine and theirs and theirs[0].get("download_bps"):
            pairs.append((where, median(row["wire_bytes"] for row in mine), theirs[0]["wire_bytes"]))
    if not pairs:
        return []
    total = sum(a for _, a, _ in pairs) / sum(b for _, _, b in pairs)
    worst, share = max(((where, a / b) for where, a, b in pairs), key=lambda pair: pair[1])
    return [
        Goal("bytes in total ≤ 1/10 of speedtest-cli's", f"1/{1 / total:.1f} over {len(pairs)} links", total <= 0.1),
        Goal("bytes at any point ≤ 1/3", f"{share:.2f} at {worst}", share <= 1 / 3),
    ]


# --- docs/accuracy.md ---------------------------------------------------------------------------------------


def write_report(rows: Sequence[Row], source: str) -> None:
    """Replace the figures in docs/accuracy.md and draw docs/accuracy.svg."""
    text = (DOCS / "accuracy.md").read_text(encoding="utf-8")
    before, _, rest = text.partition(TABLE_BEGIN)
    _, _, after = rest.partition(TABLE_END)
    body = "\n".join([*_goal_lines(rows), "", *_table(rows), "", *_latency(rows), "", *_left_out(rows, source)])
    (DOCS / "accuracy.md").write_text(f"{before}{TABLE_BEGIN}\n{body}\n{TABLE_END}{after}", encoding="utf-8")
    (DOCS / "accuracy.svg").write_text(plot(rows), encoding="utf-8")


def _goal_lines(rows: Sequence[Row]) -> Iterable[str]:
    yield "| goal | measured | met |"
    yield "|---|---|---|"
    for goal in judge(rows):
        yield f"| {goal.text} | {goal.figure} | {'yes' if goal.met else 'no'} |"


def _table(rows: Sequence[Row]) -> Iterable[str]:
    yield (
        "| Mbit/s / ms / control [/ loss] | iperf3 ↓ / ↑ Mbit/s | sigprobe error ↓ / ↑ | s | MB "
        "| speedtest-cli error ↓ / ↑ | s | MB | curl error ↓ / ↑ | machine load |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for where in places(rows):
        reference = pick(rows, "iperf3", where)
        if not reference:
            continue
        rates = " / ".join(f"{reference[0].get(f'{way}_bps', 0) / 1e6:.3g}" for way in WAYS)
        load = median(row["load"] for row in rows if row["where"] == where)
        cells = [where, rates]
        for tool in ("sigprobe", "speedtest-cli", "curl"):
            cells.append(_error_cell(errors(rows, tool, where)))
            if tool != "curl":
                found = pick(rows, tool, where)
                cells.append(f"{median(row['seconds'] for row in found):.1f}" if found else "–")
                cells.append(f"{median(row['wire_bytes'] for row in found) / 1e6:.1f}" if found else "–")
        yield "| " + " | ".join([*cells, f"{load:.0f}"]) + " |"


def _error_cell(found: Sequence[tuple[str, float]]) -> str:
    parts = []
    for way in WAYS:
        values = [error for name, error in found if name == way]
        if not values:
            parts.append("–")
        elif len(values) == 1:
            parts.append(f"{values[0]:+.1%}" if values[0] > -1 else "none")
        else:
            parts.append(f"{median(values):+.1%} (worst {max(values, key=abs):+.1%})")
    return " / ".join(parts)


def _latency(rows: Sequence[Row]) -> Iterable[str]:
    yield "| round trip, median ms | sigprobe | ping | fping | blackbox_exporter |"
    yield "|---|---|---|---|---|"
    for where in ("latency/loopback", "latency/50ms"):
        found = {row["tool"]: row["rtt_median_ms"] for row in rows if row["where"] == where}
        cells = [f"{found[tool]:.3f}" if found.get(tool) else "–" for tool in ("sigprobe", "ping", "fping", "blackbox")]
        yield f"| {where.removeprefix('latency/')} | {' | '.join(cells)} |"


def _left_out(rows: Sequence[Row], source: str) -> Iterable[str]:
    done = {where for where in places(rows) if pick(rows, "iperf3", where) and pick(rows, "sigprobe", where)}
    missing = [point.text() for point in MATRIX + LOSSY if point.text() not in done]
    seeds = sorted({len(pick(rows, "sigprobe", where)) for where in done})
    spans = sorted({row["reference_s"] for row in pick(rows, "iperf3") if row.get("reference_s")})
    yield (
        f"Rows: `bench/results/{source}`. Runs of ours on a link: {', '.join(map(str, seeds)) or 'none'}; iperf3: "
        f"{', '.join(map(str, spans)) or 'no'} s each way."
    )
    yield ""
    yield f"Not run: {', '.join(missing)}." if missing else "Every point of the matrix was run."


COLOURS = {"sigprobe": "#1b6ca8", "speedtest-cli": "#c4622d", "curl": "#8a8a8a"}


def plot(rows: Sequence[Row]) -> str:
    """Error over bytes, one dot a run and direction; written by hand, since a plot is only circles and text."""
    from math import log10

    width, height, left, bottom, top = 760, 420, 70, 50, 30
    dots = [
        (tool, max(row["wire_bytes"] / 1e6, 0.05), min(abs(error), 1.0))
        for tool in COLOURS
        for where in places(rows)
        for row in pick(rows, tool, where)
        for _, error in errors([row, *pick(rows, "iperf3", where)], tool, where)
    ]

    def x(megabytes: float) -> float:
        return left + (log10(megabytes) + 1.3) / 4.5 * (width - left - 20)

    def y(error: float) -> float:
        # from 0.1 % to 100 %
        return height - bottom - (log10(max(error, 0.001)) + 3) / 3 * (height - bottom - top)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        'font-size="12" role="img">',
        "<title>Error against iperf3 over the bytes used, one dot a run and direction</title>",
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for mb in (0.1, 1, 10, 100, 1000):
        parts.append(f'<line x1="{x(mb):.1f}" y1="{top}" x2="{x(mb):.1f}" y2="{height - bottom}" stroke="#e4e4e4"/>')
        parts.append(f'<text x="{x(mb):.1f}" y="{height - bottom + 16}" text-anchor="middle">{mb:g} MB</text>')
    for error in (0.001, 0.01, 0.03, 0.08, 0.3, 1.0):
        parts.append(f'<line x1="{left}" y1="{y(error):.1f}" x2="{width - 20}" y2="{y(error):.1f}" stroke="#e4e4e4"/>')
        parts.append(f'<text x="{left - 8}" y="{y(error) + 4:.1f}" text-anchor="end">{error:.1%}</text>')
    for tool, megabytes, error in dots:
        place = f'cx="{x(megabytes):.1f}" cy="{y(error):.1f}"'
        parts.append(f'<circle {place} r="4" fill="{COLOURS[tool]}" fill-opacity="0.6"/>')
    for number, (tool, colour) in enumerate(COLOURS.items()):
        parts.append(f'<circle cx="{left + 10 + 130 * number}" cy="14" r="5" fill="{colour}"/>')
        parts.append(f'<text x="{left + 20 + 130 * number}" y="18">{tool}</text>')
    parts.append(f'<text x="{width - 20}" y="{height - 10}" text-anchor="end">bytes on the link, both ways</text>')
    return "\n".join([*parts, "</svg>", ""])
