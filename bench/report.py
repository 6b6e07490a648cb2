"""report.py -- a report's data as one HTML file that stands alone, and as text.

    report.py report.json report.html       writes it again from the data

Bars are medians, with a line from the least to the greatest run, a thick part from quartile to
quartile, and a dot for each run. Charts are inline SVG; nothing is loaded from anywhere.
"""
import html
import json
import math
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from claims import verdict, written  # noqa: E402

FAMILIES = ("antq", "limit", "UDP", "TLS")  # by their names' beginnings; all others are grey
WIDE, NARROW = 1040, 510

STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --soft: #6b737c; --line: #dfe3e8; --page: #fff; --card: #f6f7f9;
  --antq: #d9480f; --limit: #6741d9; --UDP: #1971c2; --TLS: #2f9e44; --other: #868e96; --good: #2b8a3e; --bad: #e03131; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8eb; --soft: #a3abb4; --line: #3a4047; --page: #15171a; --card: #1f2327;
    --antq: #ff7a3d; --limit: #9775fa; --UDP: #4dabf7; --TLS: #51cf66; --other: #868e96; --good: #51cf66; --bad: #ff6b6b; } }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; color: var(--ink); background: var(--page);
  margin: 0 auto; max-width: 1100px; padding: 32px 28px 64px; }
h1 { font-size: 32px; margin: 0; letter-spacing: -.6px; }
h2 { font-size: 21px; margin: 52px 0 2px; padding-top: 18px; border-top: 1px solid var(--line); letter-spacing: -.3px; }
h3 { font-size: 14px; margin: 16px 0 4px; font-weight: 600; }
p { margin: 4px 0 10px; } .soft { color: var(--soft); } .small { font-size: 13px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: 14px; }
th { text-align: left; font-weight: 600; color: var(--soft); } th.n, td.n { text-align: right; white-space: nowrap; }
td.verdict { white-space: nowrap; } td, th { padding: 5px 10px; border-bottom: 1px solid var(--line); vertical-align: middle; }
td.group { font-weight: 700; padding-top: 16px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(220px, 1fr)); gap: 12px; margin: 22px 0; }
.tile { background: var(--card); border-radius: 10px; padding: 14px 16px; border-left: 4px solid var(--antq); }
.tile b { display: block; font-size: 27px; letter-spacing: -.5px; line-height: 1.3; } .tile small { font-size: 15px; }
.tile span { display: block; font-size: 13px; } .tile span + span { color: var(--soft); }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 0 20px; }
@media (max-width: 760px) { .pair { grid-template-columns: 1fr; } }
.warn, .quiet { padding: 10px 14px; border-radius: 8px; margin: 12px 0; }
.warn { background: #fff3bf; color: #5c3c00; } .quiet { background: var(--card); }
.met { color: var(--good); font-weight: 600; } .missed { color: var(--bad); font-weight: 600; }
svg { display: block; width: 100%; height: auto; } svg text { font: 13px system-ui, "DejaVu Sans", sans-serif; fill: var(--ink); }
svg .soft { fill: var(--soft); } svg .grid { stroke: var(--line); } svg .whisker { stroke: var(--ink); }
svg .dot { fill: var(--page); stroke: var(--ink); stroke-width: .8; }
details { margin-top: 8px; } summary { cursor: pointer; color: var(--soft); font-size: 13px; }
"""


def shown(unit):
    """A unit as people write it."""
    return unit.replace("us", "µs", 1) if unit.startswith("us") else unit


def escape(text):
    return html.escape(str(text), quote=True)


def colour(name):
    family = next((f for f in FAMILIES if name.startswith(f)), "other")
    return f"var(--{family})"


def number(value):
    """Three figures that matter."""
    if value is None:
        return "–"
    if value >= 1000:
        return f"{value:,.0f}"
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(digits, 4)}f}"


def tick(value):
    """A round number beside an axis."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:g}"


def nice_top(value, lines=6):
    """A round number at or above value, and the step between at most so many grid lines."""
    if value <= 0:
        return 1, 0.5
    step = 10 ** math.floor(math.log10(value))
    for factor in (0.2, 0.25, 0.5, 1, 2, 2.5, 5):
        if value / (step * factor) <= lines:
            step *= factor
            break
    return math.ceil(value / step - 1e-9) * step, step


def bars(rows, key, unit, whole=WIDE):
    """Horizontal bars, one for each row that has the metric. `whole` is the chart's width."""
    rows = [(row, row["metrics"][key]) for row in rows if row["metrics"].get(key)]
    if not rows:
        return ""
    # Some 7 pixels a letter; bold ones are wider.
    left, line = min(270, 24 + round(7.4 * max(len(row["contender"]) for row, _ in rows))), 30
    width = whole - left - (80 if whole == WIDE else 62)
    top, step = nice_top(max(m["max"] for _, m in rows), 6 if whole == WIDE else 3)
    height = line * len(rows) + 26
    out = [f'<svg viewBox="0 0 {whole} {height}" role="img">']

    def x(value):
        return left + value / top * width

    at = 0
    while at <= top + step / 2:
        out.append(f'<line class="grid" x1="{x(at):.1f}" x2="{x(at):.1f}" y1="0" y2="{height - 22}"/>'
                   f'<text class="soft" x="{x(at):.1f}" y="{height - 6}" text-anchor="middle">{tick(at)}</text>')
        at += step
    alone = all(row["contender"] != "antq" for row, _ in rows)
    for i, (row, m) in enumerate(rows):
        y, name = i * line + 5, row["contender"]
        weight = ' font-weight="700"' if name.startswith("antq") else ""
        tip = (f"{name}: median {number(m['median'])} {unit}, {number(m['min'])} to {number(m['max'])}, "
               f"quartiles {number(m['q1'])} and {number(m['q3'])}, {len(m['values'])} runs")
        out.append(f'<g><title>{escape(tip)}</title>'
                   f'<text x="{left - 10}" y="{y + 15}" text-anchor="end"{weight}>{escape(name)}</text>'
                   f'<rect x="{left}" y="{y}" width="{max(1, x(m["median"]) - left):.1f}" height="{line - 10}" rx="3" '
                   f'style="fill:{colour(name)}" fill-opacity="{1 if alone or name == "antq" else .7}"/>'
                   f'<line class="whisker" x1="{x(m["min"]):.1f}" x2="{x(m["max"]):.1f}" y1="{y + 10}" y2="{y + 10}"/>'
                   f'<line class="whisker" stroke-width="4" stroke-opacity=".55" x1="{x(m["q1"]):.1f}" '
                   f'x2="{x(m["q3"]):.1f}" y1="{y + 10}" y2="{y + 10}"/>')
        out += [f'<circle class="dot" cx="{x(v):.1f}" cy="{y + 10}" r="2.4"/>' for v in m["values"]]
        out.append(f'<text x="{x(m["max"]) + 8:.1f}" y="{y + 15}" font-weight="600">{number(m["median"])}</text></g>')
    out.append("</svg>")
    return "".join(out)


def curve(rows, key, unit, x_title, whole=WIDE):
    """One line for each contender over x, logarithmic; a mark from the least to the greatest run."""
    rows = [(row, row["metrics"][key]) for row in rows if row["metrics"].get(key) and row["x"] is not None]
    if not rows:
        return ""
    names = list(dict.fromkeys(row["contender"] for row, _ in rows))
    left, right, height = 70, 20 if len(names) == 1 else 150, 250 if whole == WIDE else 180
    width = whole - left - right
    top, step = nice_top(max(m["max"] for _, m in rows))
    points = sorted({row["x"] for row, _ in rows})
    low, high = math.log(points[0]), math.log(points[-1]) or 1
    out = [f'<svg viewBox="0 0 {left + width + right} {height + 46}" role="img">']

    def x(value):
        return left + 14 + (math.log(value) - low) / max(1e-9, high - low) * (width - 28)

    def y(value):
        return height + 8 - value / top * height

    at = 0
    while at <= top + step / 2:
        out.append(f'<line class="grid" x1="{left}" x2="{left + width}" y1="{y(at):.1f}" y2="{y(at):.1f}"/>'
                   f'<text class="soft" x="{left - 8}" y="{y(at) + 4:.1f}" text-anchor="end">{tick(at)}</text>')
        at += step
    for value in points:
        out.append(f'<text class="soft" x="{x(value):.1f}" y="{height + 26}" text-anchor="middle">{tick(value)}</text>')
    out.append(f'<text class="soft" x="{left + width / 2}" y="{height + 43}" text-anchor="middle">{escape(x_title)}</text>')
    labels = []
    for name in names:
        line = sorted((row["x"], m) for row, m in rows if row["contender"] == name)
        path = " ".join(f"{x(v):.1f},{y(m['median']):.1f}" for v, m in line)
        dash = "" if name == names[0] else ' stroke-dasharray="7 4"'
        out.append(f'<polyline points="{path}" fill="none" style="stroke:{colour(name)}" stroke-width="2.5"{dash}/>')
        for v, m in line:
            out.append(f'<g><title>{escape(name)} at {v}: median {number(m["median"])} {unit}, {number(m["min"])} to '
                       f'{number(m["max"])}</title><line class="whisker" x1="{x(v):.1f}" x2="{x(v):.1f}" '
                       f'y1="{y(m["min"]):.1f}" y2="{y(m["max"]):.1f}"/><circle cx="{x(v):.1f}" '
                       f'cy="{y(m["median"]):.1f}" r="4" style="fill:{colour(name)}"/></g>')
        if len(names) > 1:
            labels.append([y(line[-1][1]["median"]), name])
    labels.sort()
    for i, label in enumerate(labels):  # apart from each other
        if i > 0 and label[0] < labels[i - 1][0] + 17:
            label[0] = labels[i - 1][0] + 17
        out.append(f'<text x="{left + width + 10}" y="{label[0] + 4:.1f}" font-weight="600" style="fill:{colour(label[1])}">{escape(label[1])}</text>')
    out.append("</svg>")
    return "".join(out)


def table(measure):
    """All figures of a measure, for who wants to compute with them."""
    keys = list(dict.fromkeys([m["key"] for m in measure["metrics"]]
                              + [k for row in measure["rows"] for k in row["metrics"]]))
    titles = {m["key"]: f'{m["title"]}, {m["unit"]}' for m in measure["metrics"]}
    head = "".join(f'<th class="n">{escape(titles.get(k, k.replace("_", " ")))}</th>' for k in keys)
    body = ""
    for row in measure["rows"]:
        name = row["contender"] + (f", {number(row['x'])}" if row["x"] is not None else "")
        cells = ""
        for key in keys:
            m = row["metrics"].get(key)
            cells += (f'<td class="n" title="quartiles {number(m["q1"])} and {number(m["q3"])}">{number(m["median"])}'
                      f' <span class="soft">{number(m["min"])}–{number(m["max"])}</span></td>' if m else '<td class="n">–</td>')
        if row.get("failed"):
            cells += f'<td class="missed small">{escape(row["failed"])}</td>'
        body += f'<tr><td>{escape(name)}</td>{cells}<td class="n">{row["runs"]}</td></tr>'
    return (f'<details><summary>all figures: median, range, runs</summary><table><tr><th></th>{head}'
            f'<th class="n">runs</th></tr>{body}</table></details>')


def median_of(data, key, contender, metric):
    for measure in data["measures"]:
        if measure["id"] == key:
            for row in measure["rows"]:
                if row["contender"] == contender and row["metrics"].get(metric):
                    return row["metrics"][metric]["median"]
    return None


def compared(data, key, metric, other, what):
    """"2.9 times plain UDP", or nothing."""
    ours, theirs = median_of(data, key, "antq", metric), median_of(data, key, other, metric)
    return f"{ours / theirs:.1f} times {what}" if ours and theirs else ""


def tiles(data):
    wanted = [("download", "antq", "gbit", "Gbit/s", "download, one stream", ("UDP plain", "plain UDP")),
              ("upload", "antq", "gbit", "Gbit/s", "upload, one stream", ("TLS 1.3 over TCP", "TLS over TCP")),
              ("upload", "antq", "cpu_send", "s/GiB", "CPU, sending", ("UDP plain", "plain UDP")),
              ("upload", "antq", "cpu_recv", "s/GiB", "CPU, receiving", ("UDP plain", "plain UDP")),
              ("requests", "antq, 64 bytes back", "rate", "/s", "requests, 64 in flight", None),
              ("ping", "antq", "p50", "µs", "64 bytes there and back", ("UDP plain", "plain UDP")),
              ("handshake-p256", "antq", "server_us", "µs", "server CPU, full handshake", ("TLS in memory", "TLS in memory")),
              ("idle-100k", "antq", "kib", "KiB", "memory, each of 100,000 idle connections", None)]
    if median_of(data, "idle-100k", "antq", "kib") is None:
        wanted[-1] = ("idle", "antq", "kib", "KiB", "memory, an idle connection", None)
    out = ""
    for key, contender, metric, unit, title, other in wanted:
        value = median_of(data, key, contender, metric)
        if value is not None:
            than = compared(data, key, metric, *other) if other else ""
            out += (f'<div class="tile"><b>{number(value)} <small>{unit}</small></b><span>{escape(title)}</span>'
                    f'<span>{escape(than)}</span></div>')
    return f'<div class="tiles">{out}</div>' if out else ""


def bullet(entry):
    """How far from the aim, which is the tick: a bar that is green on the right side of it."""
    if entry["value"] is None or entry["aim"] <= 0:
        return ""
    at, aim = min(1, entry["value"] / entry["aim"] * .6) * 150, .6 * 150
    side = "good" if entry["met"] else "bad"
    return (f'<svg viewBox="0 0 150 16" style="width:150px" role="img"><rect x="0" y="5" width="150" height="6" rx="3" '
            f'style="fill:var(--line)"/><rect x="0" y="5" width="{at:.1f}" height="6" rx="3" style="fill:var(--{side})"/>'
            f'<line class="whisker" x1="{aim}" x2="{aim}" y1="1" y2="15" stroke-width="2"/></svg>')


def claim_table(data):
    if not data.get("claims"):
        return ""
    rows, group = "", None
    for c in data["claims"]:
        if c["group"] != group:
            group = c["group"]
            rows += f'<tr><td class="group" colspan="4">{escape(group)}</td></tr>'
        side = "soft" if c["met"] is None else "met" if c["met"] else "missed"
        aim = ("aim: at least " if c["better"] == "high" else "aim: at most ") + written(c["aim"], c["shown"])
        detail = f'<div class="soft small">{escape(c["detail"])}</div>' if c["detail"] else ""
        figure = f'<b>{escape(written(c["value"], c["shown"]))}</b>' if c["value"] is not None else "–"
        rows += (f'<tr><td>{escape(c["text"])}</td><td class="n">{figure}{detail}</td>'
                 f'<td title="{escape(aim)}">{bullet(c)}</td><td class="verdict {side}">{escape(verdict(c))}</td></tr>')
    judged = [c for c in data["claims"] if c["met"] is not None]
    met = sum(1 for c in judged if c["met"])
    noisy = ", on a machine too noisy to trust" if data["noise"]["noisy"] else ""
    return (f'<h2>Must show: {met} of {len(judged)} met{noisy}</h2><p class="soft small">Ratios of medians of this run; the tick is '
            f'the aim. \u201cClose\u201d: within the quartiles of what was measured, so that another run may say otherwise. '
            f'{len(data["claims"]) - len(judged)} more could not be judged by this run.</p><table>{rows}</table>')


def warnings(data):
    out, noise, payload = [], data["noise"], data["payload"]
    if noise.get("noisy"):
        out.append(f'This machine was too noisy to trust small differences: {noise["slow"]} of {noise["samples"]} samples were '
                   f'taken while a loop of fixed work was slowed down (1 in 10 is the limit), beside all of them it varied by '
                   f'{noise.get("cv", 0):.1%} (coefficient of variation; 5 % is the limit), and {noise["stolen"]:.1%} of the '
                   f'time was stolen by the hypervisor (2 % is the limit).')
    disturbed = [f'{m["title"]} ({m["foreign"]:.0%})' for m in data["measures"] if m["foreign"] > data["foreign_max"]]
    if disturbed:
        out.append("Other programs took part of the machine during: " + "; ".join(disturbed)
                   + ". Latencies, above all their tails, tell of them too.")
    if data["mode"] == "short":
        out.append("A short run: it proves that all of it works, its numbers mean little.")
    if data["machine"]["cores"] < 2:
        out.append("One core for both sides: goodput is what both together can do.")
    if not payload["isolated"]:
        out.append("Not run as root: no namespace of its own, and the size of UDP payloads was not looked at.")
    over = [p for p in payload["tap"] if p["over"] > 0]
    if over:
        out.append("UDP payloads above the limit: " + ", ".join(f'{p["contender"]} ({p["largest"]})' for p in over))
    return out


def payload_section(data):
    payload = data["payload"]
    if not payload["tap"]:
        return ""
    rows = "".join(f'<tr><td>{escape(p["contender"])}, {escape(p["measure"])}</td><td class="n">{p["datagrams"]:,}</td>'
                   f'<td class="n">{p["largest"]:,}</td><td class="n">{p["over"]:,}</td><td class="n">{p["unseen"]:,}</td></tr>'
                   for p in payload["tap"])
    return (f'<h2>UDP payloads</h2><p class="soft">Every comparison is at no more than {payload["limit"]:,} bytes. A tap on '
            f'the loopback (MTU 1,500) looked at one transfer of 8 MiB of each contender, which was not timed. IP fragments '
            f'made during the whole run: {payload["fragments"]}.</p><table><tr><th></th><th class="n">datagrams</th>'
            f'<th class="n">largest payload</th><th class="n">above the limit</th><th class="n">unseen</th></tr>{rows}</table>')


def leaves(data):
    out = ""
    core = data.get("core")
    if core:
        backends = core["backends"]
        head = "".join(f'<th class="n">{escape(b)}</th>' for b in backends)
        rows = "".join(f'<tr><td>{escape(CORE_ROWS.get(key, key))}</td>'
                       + "".join(f'<td class="n">{number(got[key])}</td>' for got in backends.values()) + "</tr>"
                       for key in next(iter(backends.values()), {}))
        count = (f'<p>{core["instructions"]:,.0f} instructions per packet, both sides together, without the cipher; the budget '
                 f'is {core["budget"]:,.0f}.</p>' if core.get("budget") else "")
        out += (f'<h2>The core alone</h2><p class="soft small">Two endpoints in memory, no sockets: bench/core.</p>{count}'
                f'<table><tr><th></th>{head}</tr>{rows}</table>')
    micro = data.get("micro")
    if micro:
        backends = data["backends"]
        head = "".join(f'<th class="n">ns, {escape(b)}</th>' for b in backends)
        rows = ""
        for name, row in micro.items():
            cells = ""
            for backend in backends:
                ns = row["ns"].get(backend)
                cells += (f'<td class="n" title="{number(ns["min"])} to {number(ns["max"])}">{number(ns["ns"])}</td>'
                          if ns else '<td class="n soft"></td>')
            rows += f'<tr><td>{escape(name.replace("_", " "))}</td>{cells}<td class="n">{number(row["instructions"])}</td></tr>'
        out += (f'<h2>The leaves</h2><p class="soft small">Each operation by itself: bench/micro. Medians of nine; instructions '
                f'are counted by callgrind, with BoringSSL where there is a cipher.</p><table><tr><th></th>{head}'
                f'<th class="n">instructions</th></tr>{rows}</table>')
    return out


CORE_ROWS = {"packets": "packets", "ack_packets": "packets that acknowledge", "ns_send": "sending, ns per packet",
             "ns_recv": "receiving, ns per packet", "cipher_seal_ns": "of these the cipher, sealing",
             "cipher_open_ns": "of these the cipher, opening", "ns_send_without_cipher": "sending without the cipher",
             "ns_recv_without_cipher": "receiving without the cipher"}


def chart(measure, m, whole):
    drawn = (curve(measure["rows"], m["key"], m["unit"], measure["x_title"], whole) if measure["x_title"]
             else bars(measure["rows"], m["key"], m["unit"], whole))
    hint = "more is better" if m["better"] == "high" else "less is better"
    return (f'<div><h3>{escape(m["title"])}, {escape(shown(m["unit"]))} <span class="soft">({hint})</span></h3>{drawn}</div>'
            if drawn else "")


def section(measure):
    """The first metric wide, the others in pairs beneath it; a lone second one wide, too. All figures in a table."""
    if not any(row["metrics"] for row in measure["rows"]):
        return ""
    wide = measure["metrics"] if len(measure["metrics"]) == 2 else measure["metrics"][:1]
    pairs = [m for m in measure["metrics"] if m not in wide]
    out = f'<h2>{escape(measure["title"])}</h2><p class="soft small">{escape(measure["note"])}</p>'
    out += "".join(chart(measure, m, WIDE) for m in wide)
    out += f'<div class="pair">{"".join(chart(measure, m, NARROW) for m in pairs)}</div>' if pairs else ""
    return out + table(measure)


def about_section(data):
    machine, noise = data["machine"], data["noise"]
    rows = [("processor", f'{machine["cpu"]}, {machine["cores"]} cores'
             + (", a virtual machine" if machine["virtual"] else "") + f' ({" ".join(machine["features"])})'),
            ("memory", f'{machine["memory_bytes"] / 2**30:.0f} GiB'), ("system", machine["system"]),
            ("load at the start", " ".join(f"{v:.2f}" for v in machine["load_at_start"])),
            ("noise", f'a loop of fixed work varied by {noise.get("cv", 0):.1%}, slowest to fastest '
             f'{noise.get("worst", 1):.2f}, beside {noise["samples"]} samples that count ({noise["slow"]} of them slowed '
             f'down); {noise["again"]} more were taken again; {noise["stolen"]:.2%} stolen by the hypervisor'),
            ("antq", f'{machine["antq"]}; packet protection: {", ".join(data["backends"])}')]
    rows += [("peer " + name, text) for name, text in machine["peers"].items()]
    body = "".join(f"<tr><td>{escape(a)}</td><td>{escape(b)}</td></tr>" for a, b in rows)
    return f"<h2>The machine</h2><table>{body}</table>"


def write(data, path):
    machine, noise = data["machine"], data["noise"]
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(data["unix_s"]))
    parts = [f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
             f'<title>antq, measured {when}</title><style>{STYLE}</style><h1>antq, measured</h1>'
             f'<p class="soft">{when} · {escape(machine["antq"])} · {escape(machine["cpu"])}, {machine["cores"]} cores'
             f'{", a virtual machine" if machine["virtual"] else ""} · {escape(machine["system"])}</p>']
    parts += [f'<div class="warn">{escape(text)}</div>' for text in warnings(data)]
    if not noise["noisy"]:
        parts.append(f'<div class="quiet">The machine was quiet enough: a loop of fixed work varied by '
                     f'{noise.get("cv", 0):.1%} beside the samples (5 % is the limit); {noise["again"]} were taken again, '
                     f'because it was slowed down.</div>')
    parts.append(tiles(data))
    parts.append(f'<p class="small">{data["bytes"] >> 20:,} MiB a transfer, {data["runs"]} runs of each, in turn (A B C A B C …); '
                 f'client on core {machine["client_cores"]}, server on core {machine["server_cores"]}, over loopback'
                 f'{", in a network namespace of their own" if data["payload"]["isolated"] else ""}. Bars are medians; the '
                 f'thin line is the whole range, the thick one the quartiles, a dot is a run. Compare within this page only.</p>')
    parts.append(claim_table(data))
    parts += [section(measure) for measure in data["measures"]]
    parts += [payload_section(data), leaves(data), about_section(data)]
    parts.append("<h2>Not measured</h2><ul>" + "".join(f"<li>{escape(t)}</li>" for t in data["not_measured"]) + "</ul>")
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join(parts) + "\n")


def print_text(data):
    for measure in data["measures"]:
        print(f'\n{measure["title"]}')
        titles = [f'{m["title"]}, {m["unit"]}' for m in measure["metrics"]]
        print(f'  {"":34}' + "".join(f"{t[:38]:>40}" for t in titles))
        for row in measure["rows"]:
            name = row["contender"] + (f", {row['x']}" if row["x"] is not None else "")
            cells = ""
            for m in measure["metrics"]:
                got = row["metrics"].get(m["key"])
                cells += f'{number(got["median"]) + " (" + number(got["min"]) + " to " + number(got["max"]) + ")":>40}' \
                    if got else f'{"-":>40}'
            print(f"  {name:34}{cells}" + (f'  {row["failed"][:60]}' if row.get("failed") else ""))
    if data.get("claims"):
        print("\nMust show (ratios of medians)")
        for c in data["claims"]:
            aim = ("at least " if c["better"] == "high" else "at most ") + written(c["aim"], c["shown"])
            print(f'  {c["text"][:118]:120}{written(c["value"], c["shown"]):>14}  {verdict(c)} ({aim})')
    for text in warnings(data):
        print(f"\nNOTE: {text}")


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as source:
        write(json.load(source), sys.argv[2])
