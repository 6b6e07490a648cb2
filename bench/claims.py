"""claims.py -- what antq says of itself, as a table: each claim, what this run measured, met or missed.

A claim compares medians of one run. `shown` is how its figure is written: "percent" and "times" of
ratios, otherwise a unit. `low` and `high` bound the figure by the quartiles of what it is made of;
where the aim lies between them, the verdict is `close`: a further run may say otherwise. A claim
whose parts were not measured says so; it is never left out.
"""

NAMES = {"ipsec-mb": "Intel IPsec-MB", "boringssl": "BoringSSL alone"}


class Figures:
    """Medians and quartiles of one run's measures, added, divided and compared."""

    def __init__(self, measures):
        self.found = {(m["id"], row["contender"], row["x"]): row["metrics"] for m in measures for row in m["rows"]}

    def get(self, measure, contender, key, x=None):
        """(median, first quartile, third quartile), or None."""
        got = self.found.get((measure, contender, x), {}).get(key)
        return (got["median"], got["q1"], got["q3"]) if got else None

    @staticmethod
    def add(*parts):
        return None if None in parts else tuple(sum(values) for values in zip(*parts))

    @staticmethod
    def divide(a, b):
        if a is None or b is None or min(b) <= 0:
            return None
        return a[0] / b[0], a[1] / b[2], a[2] / b[1]


def claim(group, text, figure, aim, better, shown, detail=""):
    """`figure` is (value, low, high) or None: not measured."""
    out = {"group": group, "text": text, "aim": aim, "better": better, "shown": shown, "detail": detail,
           "value": None, "met": None, "close": False}
    if figure is not None:
        value, low, high = figure
        out.update(value=value, met=value >= aim if better == "high" else value <= aim, close=low < aim < high)
    return out


def ratio(figures, group, text, a, b, aim, better, shown, unit):
    detail = f"{digits(a[0])} against {digits(b[0])} {unit}" if a and b else ""
    return claim(group, text, figures.divide(a, b), aim, better, shown, detail)


def digits(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def goodput(f, backends):
    out = []
    for way in ("upload", "download"):
        title = way.capitalize()

        def gbit(name, way=way):
            return f.get(way, name, "gbit")

        for backend in sorted(backends, reverse=True):
            out.append(ratio(f, "Goodput", f"{title}: with {NAMES.get(backend, backend)}, at least 65 % of what this machine "
                             "allows when it only seals and opens packets", gbit(f"antq, {backend}"),
                             gbit(f"limit, {backend}"), 0.65, "high", "percent", "Gbit/s"))
        out.append(ratio(f, "Goodput", f"{title}: encrypted, at least 3 times plain UDP that is not", gbit("antq"),
                         gbit("UDP plain"), 3, "high", "times", "Gbit/s"))
        out.append(ratio(f, "Goodput", f"{title}: no worse than TLS over TCP", gbit("antq"), gbit("TLS 1.3 over TCP"), 1,
                         "high", "times", "Gbit/s"))
        out.append(ratio(f, "Goodput", f"{title}: without GSO and GRO, at least 80 % of plain UDP",
                         gbit("antq without GSO and GRO"), gbit("UDP plain"), 0.8, "high", "percent", "Gbit/s"))
        if way == "download":
            out.append(ratio(f, "Goodput", "Download: at least 4 times Debian's ngtcp2 programs", gbit("antq"),
                             gbit("ngtcp2"), 4, "high", "times", "Gbit/s"))
        for key, what, aim in (("cpu_send", "Sending", 0.45), ("cpu_recv", "Receiving", 0.40)):
            out.append(claim("CPU", f"{what} a GiB ({way}) costs at most {aim:.2f} s of CPU", f.get(way, "antq", key), aim,
                             "low", "s"))
    return out


def handshakes(f):
    out, rtt = [], f.get("ping", "UDP plain", "p50")
    for key, title in (("p256", "Full, P-256"), ("ed25519", "Full, Ed25519"), ("resumed", "Resumed")):
        name = f"handshake-{key}"
        server, client = f.get(name, "TLS in memory", "server_us"), f.get(name, "TLS in memory", "client_us")
        p50 = f.get(name, "antq", "p50")
        out.append(ratio(f, "Handshakes", f"{title}: the server's CPU is at most 1.9 times that of the same TLS in memory",
                         f.get(name, "antq", "server_us"), server, 1.9, "low", "times", "µs"))
        out.append(ratio(f, "Handshakes", f"{title}, 32 at once: the server's CPU is at most 1.5 times that of the same TLS "
                         "in memory", f.get(name, "antq, 32 at once", "server_us"), server, 1.5, "low", "times", "µs"))
        out.append(ratio(f, "Handshakes", f"{title}: the median takes at most 1.25 times both sides' TLS in memory and one "
                         "round trip of plain UDP", p50, f.add(server, client, rtt), 1.25, "low", "times", "µs"))
        out.append(ratio(f, "Handshakes", f"{title}: 99 % take at most 2.5 times the median", f.get(name, "antq", "p99"), p50,
                         2.5, "low", "times", "µs"))
    for how in ("", ", busy polling"):
        for metric, begin in (("asked", "request"), ("p50", "dial")):
            out.append(claim("Handshakes", f"0-RTT{how}: from the {begin} to the first byte of the answer, the median takes "
                             "at most 250 µs", f.get("first-byte", f"antq, 0-RTT{how}", metric), 250, "low", "µs"))
    return out


def small(f):
    rtt = f.get("ping", "UDP plain", "p50")
    out = [ratio(f, "Small messages", "64 bytes there and back: the median is at most 1.15 times plain UDP's",
                 f.get("ping", "antq", "p50"), rtt, 1.15, "low", "times", "µs"),
           ratio(f, "Small messages", "64 bytes there and back: 99 % take at most 1.3 times plain UDP's",
                 f.get("ping", "antq", "p99"), f.get("ping", "UDP plain", "p99"), 1.3, "low", "times", "µs"),
           ratio(f, "Small messages", "64 bytes there and back, busy polling: the median is below plain UDP's",
                 f.get("ping", "antq, busy polling", "p50"), rtt, 1, "low", "times", "µs"),
           claim("Small messages", "At least 400,000 requests per second on one connection, 64 in flight",
                 f.get("requests", "antq, 64 bytes back", "rate"), 400000, "high", "per s")]
    for kind, how in (("antq, 64 in flight", "64 in flight in all"), ("antq, one on each", "one in flight on each")):
        out.append(ratio(f, "Small messages", f"Requests over 1,000 connections, {how}: at least 70 % of the rate over 10",
                         f.get("requests-connections", kind, "rate", 1000), f.get("requests-connections", kind, "rate", 10),
                         0.7, "high", "percent", "per second"))
    return out


def memory(f):
    each = [claim("Memory", f"Each of {count} idle connections holds at most 4 KiB of the server's memory, TLS included",
                  f.get(key, "antq", "kib"), 4, "low", "KiB")
            for key, count in (("idle", "1,000"), ("idle-10k", "10,000"), ("idle-100k", "100,000"))]
    return each + [
        claim("Memory", "100,000 idle connections: a process of less than 450 MB", f.get("idle-100k", "antq", "mb"), 450,
              "low", "MB"),
        claim("Memory", "100,000 idle connections, kept alive every 30 s: less than 4 % of a core",
              f.get("idle-100k", "antq", "busy"), 4, "low", "%"),
        claim("Memory", "A client that was sent a Retry costs no memory", f.get("retry", "antq", "bytes"), 0, "low", "bytes")]


def honest(payload, core):
    sizes = [p["largest"] for p in payload["tap"]]
    # Without a sight of all of them nothing can be said, unless what was seen is too large already.
    blind = payload["blind"] if sizes and max(sizes) <= payload["limit"] else []
    largest = (max(sizes),) * 3 if sizes and not blind else None
    out = [claim("Fair comparison", f"No contender's UDP payload is above {payload['limit']:,} bytes", largest,
                 payload["limit"], "low", "bytes", f"not seen: {', '.join(blind)}" if blind else f"{len(sizes)} transfers looked at" if sizes else "")]
    if core and core.get("budget"):
        share = core["instructions"] / core["budget"]
        out.append(claim("Regression", "The core alone takes no more instructions per packet than its budget and 3 %",
                         (share,) * 3, 1.03, "low", "percent", f"{core['instructions']:,.0f} of {core['budget']:,.0f}"))
    return out


def evaluate(measures, backends, payload, core=None):
    f = Figures(measures)
    out = goodput(f, backends) + handshakes(f) + small(f) + memory(f) + honest(payload, core)
    groups = list(dict.fromkeys(c["group"] for c in out))
    return sorted(out, key=lambda c: groups.index(c["group"]))


def written(value, shown):
    """A figure as people write it."""
    if value is None:
        return "not measured"
    if shown == "percent":
        return f"{value * 100:.1f} %"
    if shown == "times":
        return f"{value:.2f} ×"
    return f"{digits(value)} {shown}"


def verdict(entry):
    if entry["met"] is None:
        return "not measured"
    return ("met" if entry["met"] else "missed") + (", but close" if entry["close"] else "")
