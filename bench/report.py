"""report.py -- a report's data as one HTML file that stands alone, and as text.

    report.py report.json report.html       writes it again from the data

Bars are medians, with a line from the least to the greatest run, a thick part from quartile to
quartile, and a dot for each run. Charts are inline SVG; nothing is loaded from anywhere.
"""
import html
import json
import math
import sys
import time

COLOURS = [("antq", "#d9480f"), ("limit", "#5f3dc4"), ("UDP", "#1971c2"), ("TLS", "#2b8a3e")]
OTHER = "#868e96"

STYLE = """
:root { color-scheme: light dark; --ink: #212529; --soft: #868e96; --line: #dee2e6; --page: #fff; --card: #f8f9fa; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e9ecef; --soft: #adb5bd; --line: #495057; --page: #16181b; --card: #212529; } }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; color: var(--ink); background: var(--page);
  margin: 0 auto; max-width: 1080px; padding: 28px 24px 60px; }
h1 { font-size: 30px; margin: 0; letter-spacing: -.5px; } h2 { font-size: 20px; margin: 40px 0 4px; }
h3 { font-size: 14px; margin: 18px 0 2px; font-weight: 600; }
p { margin: 4px 0 10px; } .soft { color: var(--soft); } .small { font-size: 13px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: 14px; }
th { text-align: left; font-weight: 600; color: var(--soft); } th.n, td.n { text-align: right; }
td, th { padding: 4px 10px; border-bottom: 1px solid var(--line); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(200px, 1fr)); gap: 12px; margin: 20px 0; }
.tile { background: var(--card); border-radius: 10px; padding: 14px 16px; }
.tile b { display: block; font-size: 27px; letter-spacing: -.5px; } .tile span { color: var(--soft); font-size: 13px; }
.warn { background: #fff3bf; color: #5c3c00; padding: 10px 14px; border-radius: 8px; margin: 14px 0; }
.met { color: #2b8a3e; font-weight: 600; } .missed { color: #e03131; font-weight: 600; }
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
    for prefix, value in COLOURS:
        if name.startswith(prefix):
            return value
    return OTHER


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


def nice_top(value):
    """A round number at or above value, and the step between grid lines."""
    if value <= 0:
        return 1, 0.5
    step = 10 ** math.floor(math.log10(value))
    for factor in (0.2, 0.25, 0.5, 1, 2):
        if value / (step * factor) <= 6:
            step *= factor
            break
    return math.ceil(value / step - 1e-9) * step, step


def bars(rows, key, unit):
    """Horizontal bars, one for each row that has the metric."""
    rows = [(row, row["metrics"][key]) for row in rows if row["metrics"].get(key)]
    if not rows:
        return ""
    left, width, line = 220, 760, 30
    top, step = nice_top(max(m["max"] for _, m in rows))
    height = line * len(rows) + 26
    out = [f'<svg viewBox="0 0 1040 {height}" role="img">']

    def x(value):
        return left + value / top * width

    at = 0
    while at <= top + step / 2:
        out.append(f'<line class="grid" x1="{x(at):.1f}" x2="{x(at):.1f}" y1="0" y2="{height - 22}"/>'
                   f'<text class="soft" x="{x(at):.1f}" y="{height - 6}" text-anchor="middle">{number(at)}</text>')
        at += step
    for i, (row, m) in enumerate(rows):
        y, name = i * line + 5, row["contender"]
        weight = ' font-weight="700"' if name.startswith("antq") else ""
        tip = (f"{name}: median {number(m['median'])} {unit}, {number(m['min'])} to {number(m['max'])}, "
               f"quartiles {number(m['q1'])} and {number(m['q3'])}, {len(m['values'])} runs")
        out.append(f'<g><title>{escape(tip)}</title>'
                   f'<text x="{left - 10}" y="{y + 15}" text-anchor="end"{weight}>{escape(name)}</text>'
                   f'<rect x="{left}" y="{y}" width="{max(1, x(m["median"]) - left):.1f}" height="{line - 10}" rx="3" '
                   f'fill="{colour(name)}" fill-opacity="{1 if name == "antq" else .72}"/>'
                   f'<line class="whisker" x1="{x(m["min"]):.1f}" x2="{x(m["max"]):.1f}" y1="{y + 10}" y2="{y + 10}"/>'
                   f'<line class="whisker" stroke-width="4" stroke-opacity=".55" x1="{x(m["q1"]):.1f}" '
                   f'x2="{x(m["q3"]):.1f}" y1="{y + 10}" y2="{y + 10}"/>')
        out += [f'<circle class="dot" cx="{x(v):.1f}" cy="{y + 10}" r="2.4"/>' for v in m["values"]]
        out.append(f'<text x="{x(m["max"]) + 8:.1f}" y="{y + 15}" font-weight="600">{number(m["median"])}</text></g>')
    out.append("</svg>")
    return "".join(out)


def curve(rows, key, unit, x_title):
    """One line for each contender over x, logarithmic; a mark from the least to the greatest run."""
    rows = [(row, row["metrics"][key]) for row in rows if row["metrics"].get(key) and row["x"] is not None]
    if not rows:
        return ""
    left, right, width, height = 70, 200, 770, 260
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
                   f'<text class="soft" x="{left - 8}" y="{y(at) + 4:.1f}" text-anchor="end">{number(at)}</text>')
        at += step
    for value in points:
        out.append(f'<text class="soft" x="{x(value):.1f}" y="{height + 26}" text-anchor="middle">{number(value)}</text>')
    out.append(f'<text class="soft" x="{left + width / 2}" y="{height + 43}" text-anchor="middle">{escape(x_title)}</text>')
    labels = []
    for name in dict.fromkeys(row["contender"] for row, _ in rows):
        line = sorted((row["x"], m) for row, m in rows if row["contender"] == name)
        path = " ".join(f"{x(v):.1f},{y(m['median']):.1f}" for v, m in line)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour(name)}" stroke-width="2.5"/>')
        for v, m in line:
            out.append(f'<g><title>{escape(name)} at {v}: median {number(m["median"])} {unit}, {number(m["min"])} to '
                       f'{number(m["max"])}</title><line class="whisker" x1="{x(v):.1f}" x2="{x(v):.1f}" '
                       f'y1="{y(m["min"]):.1f}" y2="{y(m["max"]):.1f}"/><circle cx="{x(v):.1f}" '
                       f'cy="{y(m["median"]):.1f}" r="4" fill="{colour(name)}"/></g>')
        labels.append([y(line[-1][1]["median"]), name])
    labels.sort()
    for i, label in enumerate(labels):  # apart from each other
        if i > 0 and label[0] < labels[i - 1][0] + 17:
            label[0] = labels[i - 1][0] + 17
        out.append(f'<text x="{left + width + 10}" y="{label[0] + 4:.1f}" fill="{colour(label[1])}">{escape(label[1])}</text>')
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


def tiles(data):
    wanted = [("download", "antq", "gbit", "Gbit/s", "download, one stream"),
              ("upload", "antq", "gbit", "Gbit/s", "upload, one stream"),
              ("upload", "antq", "cpu_send", "s/GiB", "CPU sending"),
              ("upload", "antq", "cpu_recv", "s/GiB", "CPU receiving"),
              ("requests", "antq, 64 bytes back", "rate", "/s", "requests, 64 in flight"),
              ("ping", "antq", "p50", "µs", "64 bytes there and back"),
              ("handshake-p256", "antq", "server_us", "µs", "server CPU, full handshake"),
              ("memory", "antq", "kib", "KiB", "idle connection's memory")]
    out = ""
    for key, contender, metric, unit, title in wanted:
        value = median_of(data, key, contender, metric)
        if value is not None:
            out += f'<div class="tile"><b>{number(value)} <small>{unit}</small></b><span>antq: {escape(title)}</span></div>'
    return f'<div class="tiles">{out}</div>' if out else ""


def ratio_table(data):
    if not data.get("ratios"):
        return ""
    rows = ""
    for r in data["ratios"]:
        aim, verdict = "", ""
        if r["aim"] is not None:
            aim = ("at least " if r["better"] == "high" else "at most ") + number(r["aim"])
            verdict = '<span class="met">met</span>' if r["met"] else '<span class="missed">missed</span>'
        rows += (f'<tr><td>{escape(r["title"])}</td><td class="n">{number(r["value"])}</td><td>{aim}</td>'
                 f'<td>{verdict}</td></tr>')
    return (f'<h2>Ratios and aims</h2><p class="soft">Of medians of this run.</p><table><tr><th></th><th class="n"></th>'
            f'<th>aim</th><th></th></tr>{rows}</table>')


def warnings(data):
    out, noise, payload = [], data["noise"], data["payload"]
    if noise.get("noisy"):
        out.append(f'This machine was too noisy to trust small differences: a loop of fixed work varied by '
                   f'{noise.get("cv", 0):.1%} (coefficient of variation; 5 % is the limit), its slowest run took '
                   f'{noise.get("worst", 1):.2f} times its fastest, and {noise["stolen"]:.1%} of the time was stolen '
                   f'by the hypervisor (2 % is the limit).')
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
        rows = "".join(f'<tr><td>{escape(k)}</td><td class="n">{number(v) if isinstance(v, (int, float)) else escape(v)}</td></tr>'
                       for k, v in core.items())
        out += (f'<h2>The core alone</h2><p class="soft">Two endpoints in memory, no sockets: bench/core.</p>'
                f'<table>{rows}</table>')
    micro = data.get("micro")
    if micro:
        rows = "".join(f'<tr><td>{escape(k.replace("_", " "))}</td><td class="n">{number(v["ns"])}</td>'
                       f'<td class="n soft">{number(v["min"])}–{number(v["max"])}</td></tr>' for k, v in micro.items())
        out += (f'<h2>The leaves</h2><p class="soft">Nanoseconds per operation: bench/micro.</p><table><tr><th></th>'
                f'<th class="n">median</th><th class="n">range</th></tr>{rows}</table>')
    return out


def write(data, path):
    machine, noise = data["machine"], data["noise"]
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(data["unix_s"]))
    parts = [f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
             f'<title>antq, measured {when}</title><style>{STYLE}</style><h1>antq, measured</h1>'
             f'<p class="soft">{when} · {escape(machine["antq"])} · {escape(machine["cpu"])}, {machine["cores"]} cores'
             f'{", a virtual machine" if machine["virtual"] else ""} · {escape(machine["system"])}</p>']
    parts += [f'<div class="warn">{escape(text)}</div>' for text in warnings(data)]
    parts.append(tiles(data))
    parts.append(f'<p>{data["bytes"] >> 20:,} MiB a transfer, {data["runs"]} runs of each, in turn (A B C A B C …); client '
                 f'on core {machine["client_cores"]}, server on core {machine["server_cores"]}, over loopback'
                 f'{", in a network namespace of their own" if data["payload"]["isolated"] else ""}. Bars are medians; the '
                 f'thin line is the whole range, the thick one the quartiles, a dot is a run. Compare within this page only.</p>')
    for measure in data["measures"]:
        if not any(row["metrics"] for row in measure["rows"]):
            continue
        parts.append(f'<h2>{escape(measure["title"])}</h2><p class="soft small">{escape(measure["note"])}</p>')
        for m in measure["metrics"]:
            chart = (curve(measure["rows"], m["key"], m["unit"], measure["x_title"]) if measure["x_title"]
                     else bars(measure["rows"], m["key"], m["unit"]))
            if chart:
                hint = "more is better" if m["better"] == "high" else "less is better"
                parts.append(f'<h3>{escape(m["title"])}, {escape(shown(m["unit"]))} <span class="soft">({hint})</span></h3>{chart}')
        parts.append(table(measure))
    parts += [ratio_table(data), leaves(data), payload_section(data)]
    peers = "".join(f"<tr><td>{escape(k)}</td><td>{escape(v)}</td></tr>" for k, v in machine["peers"].items())
    parts.append(f'<h2>The machine</h2><table><tr><td>processor</td><td>{escape(machine["cpu"])}, {machine["cores"]} cores; '
                 f'{escape(", ".join(machine["features"]))}</td></tr><tr><td>memory</td><td>{machine["memory_bytes"] >> 30} GiB'
                 f'</td></tr><tr><td>system</td><td>{escape(machine["system"])}</td></tr><tr><td>load at the start</td><td>'
                 f'{machine["load_at_start"][0]:.2f}</td></tr><tr><td>calibration</td><td>{noise["runs"]} runs of a fixed loop: '
                 f'coefficient of variation {noise.get("cv", 0):.2%}, slowest to fastest {noise.get("worst", 1):.2f}; '
                 f'{noise["stolen"]:.2%} stolen</td></tr>{peers}</table>')
    parts.append("<h2>Not measured</h2><ul>" + "".join(f"<li>{escape(t)}</li>" for t in data["not_measured"]) + "</ul>")
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join(parts) + "\n")


def print_text(data):
    for text in warnings(data):
        print(f"\nNOTE: {text}")
    for measure in data["measures"]:
        print(f'\n{measure["title"]}')
        titles = [f'{m["title"]}, {m["unit"]}' for m in measure["metrics"]]
        print(f'  {"":34}' + "".join(f"{t:>30}" for t in titles))
        for row in measure["rows"]:
            name = row["contender"] + (f", {row['x']}" if row["x"] is not None else "")
            cells = ""
            for m in measure["metrics"]:
                got = row["metrics"].get(m["key"])
                cells += f'{number(got["median"]) + " (" + number(got["min"]) + " to " + number(got["max"]) + ")":>30}' \
                    if got else f'{"-":>30}'
            print(f"  {name:34}{cells}" + (f'  {row["failed"][:60]}' if row.get("failed") else ""))
    if data.get("ratios"):
        print("\nRatios of medians")
        for r in data["ratios"]:
            verdict = "" if r["aim"] is None else f' {"met" if r["met"] else "missed"}, ' \
                f'{"at least" if r["better"] == "high" else "at most"} {number(r["aim"])}'
            print(f'  {r["title"]:62}{number(r["value"]):>10} {verdict}')


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as source:
        write(json.load(source), sys.argv[2])
