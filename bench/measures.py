"""measures.py -- what is measured: comparisons of contenders, run in turn, and how long that takes.

Samples of small things are short, a tenth of a second or so: then most of those between two
quiet moments are quiet themselves.

EXPECTED_S is what a row of each took on the reference machine, once: seconds whatever the size, and
seconds more at 1 GiB (scale 1). From it come the time told at the start, and each measure's share
of the time allowed.
"""
import os
import statistics
import time

from procs import Failed, foreign_s, net_counter

FOREIGN_MAX = 0.03  # part of the machine that others may take before the report warns

EXPECTED_S = {
    "upload": (0.12, 0.52), "download": (0.14, 0.52), "ping": (0.1, 0.2), "requests": (0.1, 0.1),
    "requests-one": (0.1, 0.4), "requests-connections": (0.6, 0.15), "streams": (0.1, 0.45), "connections": (0.4, 0.55),
    "handshake-p256": (0.1, 0.1), "handshake-ed25519": (0.1, 0.1), "handshake-resumed": (0.2, 0.1),
    "first-byte": (0.1, 0.1), "retry": (1.8, 0), "idle": (4.8, 0), "idle-10k": (11, 0), "idle-100k": (90, 0),
}
LEAVES_S = 8  # bench/core and bench/micro, at the end


def expected_s(measure, scale):
    fixed, more = EXPECTED_S[measure.key]
    return (fixed + more * scale) * len(measure.rows)


class Measure:
    """One comparison: rows of (contender, x or None, function giving a dict of metrics). `timed`: the figures are of
    time, so that a sample taken while the machine was slowed down is taken again."""

    def __init__(self, key, title, metrics, note="", x_title=None, timed=True):
        self.key, self.title, self.metrics, self.note, self.x_title = key, title, metrics, note, x_title
        self.timed = timed
        self.rows, self.samples, self.failures, self.rounds, self.foreign = [], {}, {}, 0, 0

    def add(self, contender, function, x=None):
        self.rows.append((contender, x, function))

    def run_row(self, contender, x, function, noise, until, log):
        """Seconds that one sample took."""
        name, took = (contender, x), []
        if len(self.failures.get(name, [])) > 1:
            return 0

        def once():
            begun, errors = time.monotonic(), net_counter("Udp.RcvbufErrors")
            got = function()
            got["buffer_losses"] = net_counter("Udp.RcvbufErrors") - errors
            took.append(time.monotonic() - begun)
            return got

        try:
            self.samples.setdefault(name, []).append(noise.sample(once, until) if self.timed else once())
        except Failed as error:
            self.failures.setdefault(name, []).append(str(error))
            log(f"  {contender}: {error}")
        return max(took, default=0)

    def run(self, runs, budget_s, noise, log, patient=True):
        """Rounds of all rows in turn: `runs` of them, or fewer when the time allowed is over. What of that time the
        rounds do not need is for samples to be taken again, if patient."""
        begun, longest, foreign = time.monotonic(), 0, foreign_s()
        for number in range(runs):
            started = time.monotonic()
            if number > 0 and started - begun + longest > budget_s:
                break
            until = begun + budget_s * (number + 1) / runs - longest if patient else begun
            took = sum(self.run_row(*row, noise, until, log) for row in self.rows)
            self.rounds = number + 1
            longest = max(longest, took)
            if time.monotonic() - started > 20 and number + 1 < runs:
                log(f"  round {number + 1} of {runs}")
        seconds = time.monotonic() - begun
        self.foreign = max(0, foreign_s() - foreign) / max(seconds, 0.1) / (os.cpu_count() or 1)
        return seconds

    def summary(self):
        rows = []
        for contender, x, _ in self.rows:
            samples = self.samples.get((contender, x), [])
            row = {"contender": contender, "x": x, "runs": len(samples), "metrics": {}}
            if self.failures.get((contender, x)):
                row["failed"] = self.failures[(contender, x)][0]
            for key in sorted({k for sample in samples for k in sample}):
                row["metrics"][key] = spread([s[key] for s in samples if s.get(key) is not None])
            rows.append(row)
        return {"id": self.key, "title": self.title, "note": self.note, "x_title": self.x_title,
                "metrics": self.metrics, "rounds": self.rounds, "foreign": self.foreign, "rows": rows}


def spread(values):
    if not values:
        return None
    quartiles = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
    return {"median": statistics.median(values), "min": min(values), "max": max(values),
            "q1": quartiles[0], "q3": quartiles[2], "values": values}


def metric(key, title, unit, better):
    return {"key": key, "title": title, "unit": unit, "better": better}


GOODPUT = [metric("gbit", "goodput", "Gbit/s", "high"), metric("cpu_send", "CPU, sending side", "s/GiB", "low"),
           metric("cpu_recv", "CPU, receiving side", "s/GiB", "low")]
LATENCY = [metric("p50", "median", "us", "low"), metric("p99", "99 %", "us", "low"),
           metric("p99_9", "99.9 %", "us", "low")]
RATE = metric("rate", "requests", "per second", "high")
CURVES = {"full": (1, 3, 10, 30, 100, 300, 1000), "short": (1, 10, 1000)}


def antq_kinds(bench):
    """antq as (contender, flags, over IPv6): with each AEAD backend, without the offloads, over IPv6."""
    kinds = [("antq", [], False)]
    kinds += [(f"antq, {name}", ["--aead", name], False) for name in bench.backends]
    return kinds + [("antq without GSO and GRO", ["--no-gso", "--no-gro"], False), ("antq over IPv6", [], True)]


def goodput(bench):
    up = Measure("upload", "One connection, one stream, client to server", GOODPUT,
                 "antq's bytes are its stream's; UDP's are its payloads'; the limit's are what a QUIC packet of that "
                 "size could carry at most. The limit seals every packet and opens it, and does nothing else.")
    down = Measure("download", "One connection, one stream, server to client", GOODPUT,
                   "antq's client compares every byte it gets; the others discard theirs. The peers' programs are "
                   "timed as a whole, start and handshake included: some milliseconds.")
    # UDP and the limit know no direction; they are measured again so that each ratio is of one comparison.
    for measure in (up, down):
        for mode, name in (("plain", "UDP plain"), ("mmsg", "UDP with sendmmsg"), ("gso", "UDP with GSO and GRO")):
            measure.add(name, lambda mode=mode, **k: bench.udp(mode, **k))
        for backend in bench.backends:
            measure.add(f"limit, {backend}", lambda backend=backend, **k: bench.udp("sealed", backend, **k))
    for way, measure in (("upload", up), ("download", down)):
        measure.add("TLS 1.3 over TCP", lambda way=way, **k: bench.tls(way, **k))
        for name, flags, ipv6 in antq_kinds(bench):
            measure.add(name, lambda way=way, flags=flags, ipv6=ipv6, **k: bench.transfer(way, flags, ipv6, **k))
    for name, path, _ in bench.peers:
        down.add(name, lambda path=path, **k: bench.peer(path, **k))
    return [up, down]


def small(bench, scale):
    ping = Measure("ping", "64 bytes there and back, one at a time", LATENCY,
                   "antq opens a stream for each (8 bytes there, 64 back), UDP and TLS do not.")
    count = max(200, int(3000 * scale))
    ping.add("UDP plain", lambda: bench.udp_ping(count))
    ping.add("TLS 1.3 over TCP", lambda: bench.tls_ping(count))
    ping.add("antq", lambda: bench.requests(count, 1, 64))
    ping.add("antq, busy polling", lambda: bench.requests(count, 1, 64, ["--busy-poll"]))
    rate = Measure("requests", "Requests on one connection, each a stream, 64 in flight", [RATE] + LATENCY[:2])
    for size in (64, 1024, 16384):
        rate.add(f"antq, {size} bytes back", lambda size=size: bench.requests(
            max(1000, int((25000 if size < 16384 else 8000) * scale)), 64, size))
    return [ping, rate]


def handshakes(bench, scale):
    cpu = [metric("p50", "complete, median", "us", "low"), metric("server_us", "server CPU", "us each", "low"),
           metric("client_us", "client CPU", "us each", "low"),
           metric("per_core", "handshakes a server core has time for", "per second", "high"),
           metric("p99", "complete, 99 %", "us", "low"), metric("confirmed", "confirmed, median", "us", "low")]
    count = max(50, int(125 * scale))
    measures = []
    for key, resumed, title in (("p256", False, "Full handshakes, ECDSA P-256"),
                                ("ed25519", False, "Full handshakes, Ed25519"),
                                ("p256", True, "Resumed handshakes")):
        measure = Measure(f"handshake-{'resumed' if resumed else key}", title, cpu,
                          "The certificate is verified against an authority; each handshake is checked to be resumed, or "
                          "not. In memory is the same TLS exchange by BoringSSL alone; antq's and TCP's count the kernel, "
                          "too: one after the other, where each side sleeps until the other has answered (but "
                          "antq's client looks for up to 300 us first, as long as that pays), or 32 at once. "
                          "Complete: from the dial, with its socket, until the client can use streams; "
                          "confirmed: HANDSHAKE_DONE came, a round trip later.")
        arguments = (count, key, resumed)
        measure.add("TLS in memory", lambda a=arguments: bench.memory_handshakes(*a))
        measure.add("TLS 1.3 over TCP", lambda a=arguments: bench.tls_handshakes(*a))
        measure.add("antq", lambda a=arguments: bench.handshakes(*a))
        measure.add("antq, 32 at once", lambda a=arguments: bench.busy_handshakes(2 * a[0], *a[1:]))
        measures.append(measure)
    asked = metric("asked", "of it, since the request was written, median", "us", "low")
    first = Measure("first-byte", "From the dial to the first byte of the answer", [*LATENCY, asked],
                    "Each time a new connection from a new port, the certificate (P-256) verified against an authority; "
                    "the request goes out when TLS is done; in 0-RTT, with a ticket, it is in the first flight, the "
                    "server answers before its handshake is complete, and each is checked to be accepted.")
    count = max(50, int(100 * scale))
    first.add("TLS 1.3 over TCP", lambda: bench.tls_first_byte(count))
    first.add("antq", lambda: bench.first_byte(count))
    first.add("antq, 0-RTT", lambda: bench.early_first_byte(count))
    first.add("antq, 0-RTT, busy polling", lambda: bench.early_first_byte(count, busy=True))
    return measures + [first]


def sharing(bench, scale, curve):
    """Curves: over streams, over connections; and requests of other sizes and depths."""
    streams = Measure("streams", "Streams sharing one connection", GOODPUT, "A download, in equal parts.", "streams")
    conns = Measure("connections", "Connections sharing, a stream on each", GOODPUT,
                    "A download, in equal parts. One client process, one server process, one socket each. CPU "
                    "seconds count the handshakes, too.", "connections")
    rate = Measure("requests-connections", "Requests over many connections", [RATE, metric("p99", "latency, 99 %", "us", "low")],
                   "64 bytes back. Either as many in flight in all as one connection has above, spread over all "
                   "connections; or one in flight on each.", "connections")
    for x in curve:
        streams.add("antq", lambda x=x: bench.transfer("download", streams=x), x)
        conns.add("antq", lambda x=x: bench.sharing(x), x)
        rate.add("antq, 64 in flight", lambda x=x: bench.spread_requests(x, int(25000 * scale)), x)
        rate.add("antq, one on each", lambda x=x: bench.many_requests(x, int(min(25000, 5000 * x) * scale)), x)
    single = Measure("requests-one", "Requests on one connection, 1 and 100 outstanding", [RATE] + LATENCY[:2])
    for size in (1024, 16384):
        for x in (1, 100):
            single.add(f"antq, {size >> 10} KiB back, {x} at once", lambda size=size, x=x: bench.requests(
                int((5000 if x == 1 else 10000 if size > 9999 else 50000) * scale), x, size))
    return [streams, conns, single, rate]


def idle(bench, mode, memory_bytes):
    note = "Anonymous resident memory, all in: the endpoint, TLS, the allocator; 4 s after the last handshake."
    kib = metric("kib", "server's memory for each", "KiB", "low")
    mb = metric("mb", "the server's whole resident memory", "MB", "low")
    busy = metric("busy", "server's CPU, all kept alive every 30 s", "% of a core", "low")
    retry = Measure("retry", "Clients that were sent a Retry", [metric("bytes", "server's memory for each", "bytes", "low")],
                    "Initials from ever new ports, each answered by a Retry; resident memory before and after.",
                    timed=False)
    retry.add("antq", lambda: bench.retry(1000 if mode == "short" else 20000))
    out = [retry]
    for key, count, watch_s in (("idle", 1000, 0), ("idle-10k", 10000, 0), ("idle-100k", 100000, 30)):
        if count == 1000 or mode == "full" and (count < 100000 or memory_bytes > 8 << 30):
            measure = Measure(key, f"{count:,} idle connections", [kib, mb] + ([busy] if watch_s else []), note,
                              timed=False)
            measure.add("antq", lambda count=count, watch_s=watch_s: bench.idle(count, watch_s))
            out.append(measure)
    return out


def everything(bench, mode, scale, memory_bytes):
    curves = sharing(bench, scale, CURVES[mode]) if mode in CURVES else []
    return goodput(bench) + small(bench, scale) + handshakes(bench, scale) + curves + idle(bench, mode, memory_bytes)
