#!/usr/bin/env python3
"""run.py -- measures antq beside its contenders, so that the numbers hold.

    run.py [--full | --short] [--build DIR] [--out DIR] [--only ID,ID] [--runs N]

Writes OUT/report.json and OUT/report.html (bench/report.py). `ninja bench` is the default, about
5 minutes; `ninja bench-full` is --full, at most 45; --short only proves that all of it works.

What makes a number here worth reading:
  - contenders are interleaved (A B C A B C ...), so that a drifting machine drifts for all;
  - client and server are pinned to one core each where there are two, servers start afresh;
  - medians, with the range and the quartiles beside them; and ratios of medians of one run;
  - CPU time is the kernel's, of each process: getrusage of the client, schedstat of the server;
  - as root it runs in a network namespace of its own whose loopback has an MTU of 1,500, a tap
    looks at the UDP payloads of each contender once, and losses in socket buffers are counted;
  - a loop of fixed work is timed throughout: where that varies, the report says so.

Standard library only. It starts nothing that it does not end, and talks to loopback only.
"""
import argparse
import json
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True
import report  # noqa: E402

GIB = 1 << 30
PAYLOAD = 1452
CLIENT_TIMEOUT_S = 60
FOREIGN_MAX = 0.03  # part of the machine that others may take before the report warns


class Failed(Exception):
    """One run of one contender gave no number."""


# ---- processes ---------------------------------------------------------------------------------

CORES = sorted(os.sched_getaffinity(0))
CLIENT_CORES = {CORES[0]}
SERVER_CORES = {CORES[1] if len(CORES) > 1 else CORES[0]}


def pin(cores):
    def before_exec():
        os.sched_setaffinity(0, cores)
    return before_exec


def on_cpu_s(pid):
    """CPU seconds of a process and those below it, from the scheduler, in nanoseconds' steps."""
    total, todo = 0, [pid]
    while todo:
        at = todo.pop()
        try:
            for task in os.listdir(f"/proc/{at}/task"):
                with open(f"/proc/{at}/task/{task}/schedstat") as f:
                    total += int(f.read().split()[0])
                with open(f"/proc/{at}/task/{task}/children") as f:
                    todo += [int(child) for child in f.read().split()]
        except (OSError, ValueError, IndexError):
            continue
    return total / 1e9


def resident_bytes(pid):
    """Resident memory that is the process's own: the anonymous part, without shared pages of files."""
    with open(f"/proc/{pid}/status") as f:
        return int(re.search(r"^RssAnon:\s*(\d+) kB", f.read(), re.M).group(1)) * 1024


class Server:
    """A pinned server that has said it is ready. To be used with `with`."""

    def __init__(self, command, ready=r"listening on (\S+)", env=None, cores=None, timeout_s=10):
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, text=True,
                                        stdin=subprocess.DEVNULL, env=env, preexec_fn=pin(cores or SERVER_CORES))
        self.addr = None
        timer = threading.Timer(timeout_s, self.process.kill)
        timer.start()
        for line in self.process.stdout:
            match = re.search(ready, line)
            if match:
                self.addr = match.group(1) if match.groups() else None
                break
        timer.cancel()
        if self.process.poll() is not None:
            self.log.seek(0)
            raise Failed(f"{command[0]} did not start: {self.log.read()[-300:]}")
        # What it prints from here on is of no interest, but must not fill the pipe.
        threading.Thread(target=self.process.stdout.read, daemon=True).start()
        self.begun_s = on_cpu_s(self.process.pid)

    def cpu_s(self):
        return on_cpu_s(self.process.pid) - self.begun_s

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


def run_client(command, env=None, timeout_s=CLIENT_TIMEOUT_S):
    """Runs a pinned client to its end: its standard output, and the CPU seconds it used."""
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=env,
                                   stdin=subprocess.DEVNULL, preexec_fn=pin(CLIENT_CORES))
        timer = threading.Timer(timeout_s, process.kill)
        timer.start()
        out = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        timer.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        process.stdout.close()
        if process.returncode != 0:
            log.seek(0)
            raise Failed(f"{' '.join(command)} ended with {process.returncode}: {log.read()[-300:]}")
        return out, usage.ru_utime + usage.ru_stime


def run_json(command, **more):
    out, cpu_s = run_client(command, **more)
    try:
        return json.loads(out), cpu_s
    except ValueError:
        raise Failed(f"{' '.join(command)} printed no JSON: {out[-200:]}")


# ---- the contenders ----------------------------------------------------------------------------

class Bench:
    """Where things are, and one method for each thing that can be run once."""

    def __init__(self, build, folder):
        self.build, self.folder = build, folder
        self.antq = os.path.join(build, "antq")
        self.peers = []  # (name, path, description)
        self.bytes = GIB

    def tool(self, name):
        return os.path.join(self.build, "bench", name)

    def file(self, name):
        return os.path.join(self.folder, name)

    def prepare(self):
        os.makedirs(self.file("files"), exist_ok=True)
        subprocess.run([self.tool("certs"), self.folder], check=True)
        folder = os.path.join(HERE, "peers.d")
        for name in sorted(os.listdir(folder)):
            if name.endswith(".sh"):
                path = os.path.join(folder, name)
                probe = subprocess.run([path, "probe"], env=self.peer_env(), capture_output=True, text=True)
                if probe.returncode == 0:
                    self.peers.append((name[:-3], path, probe.stdout.strip()))

    def make_file(self, size):
        """The file peers serve: in memory, its name its size."""
        path = self.file(f"files/{size}")
        if not os.path.exists(path):
            block = os.urandom(1 << 20)
            with open(path, "wb") as f:
                for at in range(0, size, len(block)):
                    f.write(block[:size - at])

    def peer_env(self):
        return dict(os.environ, BENCH_DIR=self.folder, BENCH_PAYLOAD=str(PAYLOAD))

    # -- goodput

    @staticmethod
    def moved(bytes_, seconds, cpu_send, cpu_recv, **more):
        gib = bytes_ / GIB
        return dict(more, gbit=bytes_ * 8 / seconds / 1e9, cpu_send=cpu_send / gib, cpu_recv=cpu_recv / gib)

    def udp(self, mode, aead="boringssl", bytes_=None):
        flags = ["--mode", mode, "--aead", aead]
        with Server([self.tool("udp"), "recv", "--listen", "127.0.0.1:0", *flags]) as server:
            got, cpu_s = run_json([self.tool("udp"), "send", server.addr, *flags,
                                   "--bytes", str(bytes_ or self.bytes)])
            return self.moved(got["bytes"], got["seconds"], cpu_s, server.cpu_s(),
                              lost=got["lost"] / got["packets"])

    def tls(self, way, bytes_=None):
        with self.tls_server() as server:
            got, cpu_s = run_json([*self.tls_client(server), "--" + way, str(bytes_ or self.bytes)])
            cpu = (cpu_s, server.cpu_s())
            return self.moved(got["bytes"], got["seconds"], *(cpu if way == "upload" else cpu[::-1]))

    def tls_server(self):
        return Server([self.tool("tlstcp"), "serve", "--listen", "127.0.0.1:0",
                       "--cert", self.file("p256.pem"), "--key", self.file("p256.key")])

    def tls_client(self, server):
        return [self.tool("tlstcp"), "client", server.addr, "--ca", self.file("ca.pem")]

    def antq_server(self, flags=(), ipv6=False, key="p256", more=()):
        return Server([self.antq, "perf", "serve", "--listen", "[::1]:0" if ipv6 else "127.0.0.1:0",
                       "--cert", self.file(key + ".pem"), "--key", self.file(key + ".key"), *flags, *more])

    def antq_client(self, server, *flags):
        return [self.antq, "perf", server.addr, "--ca", self.file("ca.pem"), "--json", *flags]

    def transfer(self, way, flags=(), ipv6=False, bytes_=None, streams=1):
        with self.antq_server(flags, ipv6) as server:
            got, cpu_s = run_json(self.antq_client(server, "--" + way, str(bytes_ or self.bytes),
                                                   "--streams", str(streams), *flags))
            if got["mtu"] > PAYLOAD:
                raise Failed(f"antq sent packets of {got['mtu']} bytes")
            cpu = (cpu_s, server.cpu_s())
            # By the program's own clock: from the first stream's begin to its last byte, acknowledged.
            return self.moved(got["download_bytes"] + got["upload_bytes"], got["seconds"],
                              *(cpu if way == "upload" else cpu[::-1]), packets_lost=got["lost_packets"])

    def peer(self, path, bytes_=None):
        """One download through an adapter, whose contract is in peers.d/README.md."""
        size, port = bytes_ or self.bytes, 20000 + os.getpid() % 20000
        self.make_file(size)
        with Server(["sh", "-c", 'echo starting; exec "$0" "$@" >/dev/null', path, "serve", "127.0.0.1", str(port)],
                    ready="starting", env=self.peer_env()) as server:
            wait_for_port(port, server)
            server.begun_s = on_cpu_s(server.process.pid)
            before = loopback_bytes()
            out, cpu_s = run_client([path, "download", "127.0.0.1", str(port), str(size)], env=self.peer_env())
            seconds, got = float(out.split()[0]), int(out.split()[1])
            if got != size or loopback_bytes() - before < size:
                raise Failed(f"{path} moved fewer bytes than it says")
            return self.moved(got, seconds, server.cpu_s(), cpu_s)

    # -- small messages

    def udp_ping(self, count, size=64):
        with Server([self.tool("udp"), "echo", "--listen", "127.0.0.1:0"]) as server:
            got, _ = run_json([self.tool("udp"), "ping", server.addr, "--count", str(count), "--size", str(size)])
            return {k: got["latency_us"][k] for k in ("p50", "p99", "p99_9")}

    def tls_ping(self, count):
        with self.tls_server() as server:
            got, _ = run_json([*self.tls_client(server), "--ping", str(count)])
            return {k: got["latency_us"][k] for k in ("p50", "p99", "p99_9")}

    def requests(self, count, streams, size, flags=()):
        with self.antq_server(flags) as server:
            got, _ = run_json(self.antq_client(server, "--requests", str(count), "--streams", str(streams),
                                               "--response-size", str(size), *flags))
            latency = {k: v for k, v in got["latency_us"].items() if k in ("p50", "p99", "p99_9")}
            return dict(latency, rate=got["requests_per_s"])

    # -- many connections, and idle ones

    def conns(self, server, count, *flags):
        return [self.tool("conns"), server.addr, "--ca", self.file("ca.pem"), "--conns", str(count), *flags]

    def many_server(self, count):
        return self.antq_server(more=["--max-conns", str(count + 1024), "--idle-timeout", "300"])

    def sharing(self, count):
        with self.many_server(count) as server:
            got, cpu_s = run_json(self.conns(server, count, "--download", str(self.bytes)))
            return self.moved(got["bytes"], got["seconds"], server.cpu_s(), cpu_s)

    def many_requests(self, count, requests):
        with self.many_server(count) as server:
            got, _ = run_json(self.conns(server, count, "--requests", str(max(count, requests))))
            return dict(got["latency_us"], rate=got["answers"] / got["seconds"])

    def first_byte(self, count):
        with self.antq_server() as server:
            got, _ = run_json(self.conns(server, count, "--first-byte", "1"))
            return got["latency_us"]

    def idle(self, count, watch_s):
        """Resident memory of the server's for each connection and in all, and CPU while the client keeps all alive."""
        with self.many_server(count) as server:
            before = resident_bytes(server.process.pid)
            command = self.conns(server, count, "--idle", "600")
            with Server(command, ready="ready", cores=CLIENT_CORES, timeout_s=30 + count / 300):
                time.sleep(4)  # tickets are acknowledged, TLS is freed
                after = resident_bytes(server.process.pid)
                kib, mb = (after - before) / count / 1024, after / 1e6
                cpu_s, begun = server.cpu_s(), time.monotonic()
                time.sleep(watch_s)
                busy = (server.cpu_s() - cpu_s) / (time.monotonic() - begun)
            return {"kib": kib, "mb": mb, "busy": busy * 100} if watch_s >= 30 else {"kib": kib, "mb": mb}

    # -- handshakes

    def handshakes(self, count, key, resumed):
        ticket = self.file("ticket-" + key)
        flags = ["--ticket", ticket] if resumed else []
        with self.antq_server(key=key) as server:
            if resumed:  # a fresh server has a fresh ticket key
                if os.path.exists(ticket):
                    os.unlink(ticket)
                run_json(self.antq_client(server, "--requests", "1", *flags))
            before = server.cpu_s()
            got, cpu_s = run_json(self.antq_client(server, "--handshakes", str(count), *flags))
            return {"p50": got["handshake_us"]["p50"], "p99": got["handshake_us"]["p99"],
                    "confirmed": got["confirmed_us"]["p50"],
                    "rate": got["handshakes_per_s"], "server_us": (server.cpu_s() - before) / count * 1e6,
                    "client_us": cpu_s / count * 1e6}

    def busy_handshakes(self, count, key, resumed):
        """The server's CPU where it need not sleep between any two packets: what a core can do."""
        with self.antq_server(key=key) as server:
            got, cpu_s = run_json(self.conns(server, count, "--handshakes", "1", "--resumed", str(int(resumed))))
            return {"rate": got["handshakes_per_s"], "server_us": server.cpu_s() / count * 1e6,
                    "client_us": cpu_s / count * 1e6}

    def memory_handshakes(self, count, key, resumed):
        got, _ = run_json([self.tool("tlsmem"), "--cert", self.file(key + ".pem"), "--key", self.file(key + ".key"),
                           "--ca", self.file("ca.pem"), "--count", str(count), "--resumed", str(int(resumed))])
        return {"server_us": got["server_us"], "client_us": got["client_us"]}


def wait_for_port(port, server):
    """Until something listens on a UDP port: /proc/net/udp says so."""
    for _ in range(200):
        for name in ("udp", "udp6"):
            with open(f"/proc/self/net/{name}") as f:
                if re.search(rf":{port:04X} ", f.read()):
                    return
        if server.process.poll() is not None:
            break
        time.sleep(0.05)
    raise Failed("a peer's server does not listen")


def loopback_bytes():
    with open("/proc/self/net/dev") as f:
        return int(re.search(r"^\s*lo:\s*(\d+)", f.read(), re.M).group(1))


def net_counter(name):
    """A counter of /proc/net/snmp, such as Udp.RcvbufErrors: of this namespace."""
    table, field = name.split(".")
    with open("/proc/self/net/snmp") as f:
        lines = [line.split() for line in f if line.startswith(table + ":")]
    return int(dict(zip(lines[0], lines[1])).get(field, 0))


# ---- what is measured --------------------------------------------------------------------------

class Measure:
    """One comparison: rows of (contender, x or None, function giving a dict of metrics)."""

    def __init__(self, key, title, metrics, note="", x_title=None):
        self.key, self.title, self.metrics, self.note, self.x_title = key, title, metrics, note, x_title
        self.rows, self.samples, self.failures, self.rounds, self.foreign = [], {}, {}, 0, 0

    def add(self, contender, function, x=None):
        self.rows.append((contender, x, function))

    def run(self, runs, budget_s, log):
        """Rounds of all rows in turn: `runs` of them, or fewer when the time allowed is over."""
        begun, longest, foreign = time.monotonic(), 0, foreign_s()
        for number in range(runs):
            started = time.monotonic()
            if number > 0 and started - begun + longest > budget_s:
                break
            for contender, x, function in self.rows:
                name = (contender, x)
                if len(self.failures.get(name, [])) > 1:
                    continue
                try:
                    errors = net_counter("Udp.RcvbufErrors")
                    got = function()
                    got["buffer_losses"] = net_counter("Udp.RcvbufErrors") - errors
                    self.samples.setdefault(name, []).append(got)
                except Failed as error:
                    self.failures.setdefault(name, []).append(str(error))
                    log(f"  {contender}: {error}")
            self.rounds = number + 1
            longest = max(longest, time.monotonic() - started)
        seconds = time.monotonic() - begun
        self.foreign = max(0, foreign_s() - foreign) / max(seconds, 0.1) / (os.cpu_count() or 1)
        log(f"{self.key}: {self.rounds} rounds in {seconds:.0f} s"
            + (f", {self.foreign:.0%} of the machine taken by others" if self.foreign > FOREIGN_MAX else ""))

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


def foreign_s():
    """CPU seconds that the machine spent so far, but not on us and on what we started and ended."""
    with open("/proc/stat") as f:
        user, nice, system, _, _, irq, softirq = (int(v) for v in f.readline().split()[1:8])
    times = os.times()
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK") - sum(times[:4])


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


def antq_kinds(bench):
    """antq as (contender, flags, over IPv6): with each AEAD backend that its --help tells of."""
    text = subprocess.run([bench.antq, "perf", "--help"], capture_output=True, text=True).stdout
    kinds = [("antq", [], False)]
    if "--aead" in text:
        for name in bench.backends:
            kinds.append((f"antq, {name}", ["--aead", name], False))
    return kinds + [("antq without GSO and GRO", ["--no-gso", "--no-gro"], False), ("antq over IPv6", [], True)]


def goodput(bench):
    up = Measure("upload", "One connection, one stream, client to server", GOODPUT,
                 "antq's bytes are its stream's; UDP's are its payloads'; the limit's are what a QUIC packet of that "
                 "size could carry at most. The limit seals every packet and opens it, and does nothing else.")
    down = Measure("download", "One connection, one stream, server to client", GOODPUT,
                   "antq's client compares every byte it gets; the others discard theirs. The peers' programs are "
                   "timed as a whole, start and handshake included: some milliseconds.")
    for mode, name in (("plain", "UDP plain"), ("mmsg", "UDP with sendmmsg"), ("gso", "UDP with GSO and GRO")):
        up.add(name, lambda mode=mode, **k: bench.udp(mode, **k))
    for backend in bench.backends:
        up.add(f"limit, {backend}", lambda backend=backend, **k: bench.udp("sealed", backend, **k))
        # The same bytes flow either way; it is repeated so that the ratio is of one run.
        down.add(f"limit, {backend}", lambda backend=backend, **k: bench.udp("sealed", backend, **k))
    down.add("UDP plain", lambda **k: bench.udp("plain", **k))
    for way, measure in (("upload", up), ("download", down)):
        measure.add("TLS 1.3 over TCP", lambda way=way, **k: bench.tls(way, **k))
        for name, flags, ipv6 in antq_kinds(bench):
            measure.add(name, lambda way=way, flags=flags, ipv6=ipv6, **k: bench.transfer(way, flags, ipv6, **k))
    for name, path, _ in bench.peers:
        down.add(name, lambda path=path, **k: bench.peer(path, **k))
    return [up, down]


def small(bench, scale):
    ping = Measure("ping", "64 bytes there and back, one at a time", LATENCY,
                   "antq opens a stream for each (8 bytes there, 64 back; by bench/conns), UDP and TLS do not.")
    count = max(200, int(10000 * scale))
    ping.add("UDP plain", lambda: bench.udp_ping(count))
    ping.add("TLS 1.3 over TCP", lambda: bench.tls_ping(count))
    ping.add("antq", lambda: bench.many_requests(1, count))
    ping.add("antq --busy-poll", lambda: bench.requests(count, 1, 64, ["--busy-poll"]))
    rate = Measure("requests", "Requests on one connection, each a stream, 64 in flight",
                   [metric("rate", "requests", "per second", "high")] + LATENCY[:2])
    for size in (64, 1024, 16384):
        rate.add(f"antq, {size} bytes back", lambda size=size: bench.requests(
            max(1000, int((100000 if size < 16384 else 30000) * scale)), 64, size))
    return [ping, rate]


def handshakes(bench, scale):
    cpu = [metric("server_us", "server CPU", "us each", "low"), metric("client_us", "client CPU", "us each", "low"),
           metric("p50", "complete, median", "us", "low"), metric("p99", "complete, 99 %", "us", "low"),
           metric("confirmed", "confirmed, median", "us", "low"), metric("rate", "handshakes", "per s", "high")]
    count = max(50, int(500 * scale))
    measures = []
    for key, resumed, title in (("p256", False, "Full handshakes, ECDSA P-256"),
                                ("ed25519", False, "Full handshakes, Ed25519"),
                                ("p256", True, "Resumed handshakes")):
        measure = Measure(f"handshake-{'resumed' if resumed else key}", title, cpu,
                          "The certificate is verified against an authority. In memory is the same TLS exchange by "
                          "BoringSSL alone; antq's counts everything, the kernel too: one after the other, where each side "
                          "sleeps until the other has answered, or 32 at once. Complete: from the dial, with its "
                          "socket, until the client can use streams, one round trip; confirmed: HANDSHAKE_DONE came, two.")
        measure.add("TLS in memory", lambda key=key, resumed=resumed: bench.memory_handshakes(count, key, resumed))
        measure.add("antq", lambda key=key, resumed=resumed: bench.handshakes(count, key, resumed))
        measure.add("antq, 32 at once", lambda key=key, resumed=resumed: bench.busy_handshakes(2 * count, key, resumed))
        measures.append(measure)
    return measures


def many(bench, scale, full, memory_bytes):
    """Scaling: streams, connections, idle connections."""
    streams = Measure("streams", "Streams sharing one connection", GOODPUT, "A download, in equal parts.", "streams")
    for x in (1, 3, 10, 30, 100):
        streams.add("antq", lambda x=x: bench.transfer("download", streams=x), x)
    conns = Measure("connections", "Connections sharing, a stream on each", GOODPUT,
                    "One client process, one server process, one socket each.", "connections")
    rate = Measure("requests-connections", "Requests over many connections, one in flight on each",
                   [metric("rate", "requests", "per second", "high"), metric("p99", "latency, 99 %", "us", "low")],
                   "64 bytes back.", "connections")
    for x in (1, 10, 100, 1000):
        conns.add("antq", lambda x=x: bench.sharing(x), x)
        rate.add("antq", lambda x=x: bench.many_requests(x, int((10000 if x == 1 else 50000) * scale)), x)
    single = Measure("requests-one", "Requests on one connection, each a stream",
                     [metric("rate", "requests", "per second", "high")] + LATENCY[:2])
    for size in (1024, 16384):
        for x in (1, 100):
            single.add(f"antq, {size >> 10} KiB back, {x} in flight", lambda size=size, x=x: bench.requests(
                int((10000 if x == 1 or size > 9999 else 50000) * scale), x, size))
    first = Measure("first-byte", "From the dial to the first byte of the answer", LATENCY,
                    "Each time a new connection from a new port, the certificate verified against an authority; the "
                    "request goes out when TLS is done.")
    first.add("antq", lambda: bench.first_byte(max(50, int(200 * scale))))
    sizes = [metric("kib", "server's memory for each", "KiB", "low"), metric("mb", "in all", "MB", "low")]
    memory = Measure("memory", "Memory of idle connections", sizes,
                     "Anonymous resident memory, all in: the endpoint, TLS, the allocator; 4 s after the last handshake.")
    memory.add("antq", lambda: bench.idle(1000, 0))
    if not full:
        return [first, memory]
    memory.add("antq, 10,000", lambda: bench.idle(10000, 0))
    hundred = Measure("memory-100k", "100,000 idle connections", sizes + [
        metric("busy", "server's CPU, kept alive every 30 s", "% of a core", "low")], memory.note)
    if memory_bytes > 8 * GIB:
        hundred.add("antq, 100,000", lambda: bench.idle(100000, 65))
    return [streams, conns, single, rate, first, memory, hundred]


# ---- the whole ---------------------------------------------------------------------------------

def ratios(measures):
    """The comparisons that matter, of medians of one run."""
    out = []

    def median(key, contender, name):
        for measure in measures:
            if measure["id"] == key:
                for row in measure["rows"]:
                    if row["contender"] == contender and row["metrics"].get(name):
                        return row["metrics"][name]["median"]
        return None

    def add(title, a, b, aim, better):
        if a is not None and b:
            out.append({"title": title, "value": a / b, "aim": aim, "better": better,
                        "met": None if aim is None else (a / b >= aim if better == "high" else a / b <= aim)})

    def plain(title, value, aim, better):
        add(title, value, 1, aim, better)

    for way in ("upload", "download"):
        antq = median(way, "antq", "gbit")
        for measure in measures:
            if measure["id"] == way:
                for row in measure["rows"]:
                    if row["contender"].startswith("limit, "):
                        backend = row["contender"][7:]
                        ours = median(way, f"antq, {backend}", "gbit") or (antq if backend == "boringssl" else None)
                        add(f"{way}: antq to {row['contender']}", ours,
                            median(way, row["contender"], "gbit"), 0.65, "high")
        add(f"{way}: antq to plain UDP", antq, median(way, "UDP plain", "gbit"), 3, "high")
        add(f"{way}: antq without GSO and GRO to plain UDP", median(way, "antq without GSO and GRO", "gbit"),
            median(way, "UDP plain", "gbit"), 0.8, "high")
        add(f"{way}: antq to TLS over TCP", antq, median(way, "TLS 1.3 over TCP", "gbit"), 1, "high")
        plain(f"{way}: CPU seconds per GiB, sending", median(way, "antq", "cpu_send"), 0.45, "low")
        plain(f"{way}: CPU seconds per GiB, receiving", median(way, "antq", "cpu_recv"), 0.40, "low")
    add("download: antq to ngtcp2", median("download", "antq", "gbit"), median("download", "ngtcp2", "gbit"), 4, "high")
    rtt = median("ping", "UDP plain", "p50")
    for key, title in (("p256", "P-256"), ("ed25519", "Ed25519"), ("resumed", "resumed")):
        name = f"handshake-{key}"
        tls = (median(name, "TLS in memory", "server_us"), median(name, "TLS in memory", "client_us"))
        add(f"handshake {title}: server CPU to TLS in memory", median(name, "antq", "server_us"), tls[0], 1.9, "low")
        add(f"handshake {title}, 32 at once: server CPU to TLS in memory",
            median(name, "antq, 32 at once", "server_us"), tls[0], 1.5, "low")
        if None not in tls and rtt:
            add(f"handshake {title}: p50 to TLS in memory and one round trip", median(name, "antq", "p50"),
                sum(tls) + rtt, 1.25, "low")
        add(f"handshake {title}: p99 to its p50", median(name, "antq", "p99"), median(name, "antq", "p50"), 2.5, "low")
    add("ping-pong: p50 to plain UDP", median("ping", "antq", "p50"), rtt, 1.15, "low")
    add("ping-pong with --busy-poll: p50 to plain UDP", median("ping", "antq --busy-poll", "p50"), rtt, 1, "low")
    add("ping-pong: p99 to plain UDP", median("ping", "antq", "p99"), median("ping", "UDP plain", "p99"), 1.3, "low")
    plain("requests per second, 64 in flight", median("requests", "antq, 64 bytes back", "rate"), 400000, "high")
    plain("KiB of memory for an idle connection, of 1,000", median("memory", "antq", "kib"), 4, "low")
    plain("KiB of memory for an idle connection, of 10,000", median("memory", "antq, 10,000", "kib"), 4, "low")
    plain("MB of memory in all with 100,000 idle connections", median("memory-100k", "antq, 100,000", "mb"), 450, "low")
    plain("% of a core to keep 100,000 alive", median("memory-100k", "antq, 100,000", "busy"), 4, "low")
    rates = {row["x"]: row["metrics"]["rate"]["median"] for measure in measures if measure["id"] == "requests-connections"
             for row in measure["rows"] if row["metrics"].get("rate")}
    add("requests per second at 1,000 connections to those at 10", rates.get(1000), rates.get(10), 0.7, "high")
    return out


class Noise:
    """A loop of fixed work, timed on the client's core throughout; and what others took meanwhile."""

    def __init__(self, bench):
        self.bench, self.times, self.begun, self.stolen = bench, [], time.time(), self.stat()

    @staticmethod
    def stat():
        with open("/proc/stat") as f:
            values = [int(v) for v in f.readline().split()[1:]]
        return sum(values[:8]), values[7]

    def sample(self):
        got, _ = run_json([self.bench.tool("micro"), "--calibrate", "1"])
        self.times += got["ns"]

    def summary(self):
        total, steal = self.stat()
        stolen = (steal - self.stolen[1]) / max(1, total - self.stolen[0])
        out = {"stolen": stolen, "runs": len(self.times)}
        if len(self.times) > 1:
            out["cv"] = statistics.stdev(self.times) / statistics.mean(self.times)
            out["worst"] = max(self.times) / min(self.times)
        out["noisy"] = out.get("cv", 0) > 0.05 or stolen > 0.02
        return out


def machine(bench):
    with open("/proc/cpuinfo") as f:
        text = f.read()
    model = re.search(r"model name\s*:\s*(.*)", text)
    flags = set(re.search(r"^flags\s*:\s*(.*)", text, re.M).group(1).split()) if "flags" in text else set()
    with open("/proc/meminfo") as f:
        memory = int(re.search(r"MemTotal:\s*(\d+)", f.read()).group(1)) * 1024
    version = subprocess.run([bench.antq, "--version"], capture_output=True, text=True).stdout.strip()
    return {"cpu": model.group(1) if model else platform.machine(), "cores": len(CORES),
            "features": sorted(flags & {"aes", "avx2", "avx512f", "vaes", "vpclmulqdq", "sha_ni", "gfni"}),
            "virtual": "hypervisor" in flags, "memory_bytes": memory, "system": platform.platform(),
            "client_cores": sorted(CLIENT_CORES), "server_cores": sorted(SERVER_CORES),
            "load_at_start": os.getloadavg(), "antq": version,
            "peers": {name: text for name, _, text in bench.peers}}


def sizes(bench, measures, log):
    """Each contender of the transfers once, before a tap that looks at every UDP payload."""
    out = []
    for measure in measures:
        for contender, _, function in measure.rows:
            if contender.startswith("TLS"):
                continue
            try:
                with Server([bench.tool("sizes")], ready="ready") as tap:
                    function(bytes_=8 << 20)
                    tap.process.send_signal(signal.SIGUSR1)
                    tap.process.wait(5)
                    tap.log.seek(0)
                    got = json.loads(tap.log.read())
            except (Failed, ValueError, subprocess.TimeoutExpired) as error:
                log(f"  sizes of {contender}: {error}")
                continue
            out.append({"measure": measure.key, "contender": contender, "datagrams": got["datagrams"],
                        "largest": got["largest"], "over": got["over"], "unseen": got["unseen"]})
            if got["over"] > 0:
                log(f"  {contender} sent UDP payloads of {got['largest']} bytes")
    return out


def isolate(arguments):
    """As root: this program again, in a network namespace of its own. Returns whether we are in one."""
    if "BENCH_INSIDE" in os.environ:
        subprocess.run(["ip", "link", "set", "lo", "mtu", "1500", "up"], check=True)
        return True
    if os.geteuid() != 0 or not shutil.which("unshare") or not shutil.which("ip") \
            or subprocess.run(["unshare", "-n", "true"], capture_output=True).returncode != 0:
        return False
    os.environ["BENCH_INSIDE"] = "1"
    os.execvp("unshare", ["unshare", "-n", sys.executable, os.path.abspath(__file__), *arguments])


def main():
    parser = argparse.ArgumentParser(description="Measures antq beside its contenders.")
    parser.add_argument("--full", action="store_true", help="everything; at most 45 minutes")
    parser.add_argument("--short", action="store_true", help="64 MiB and 2 runs: proves that it works")
    parser.add_argument("--build", default="build", help="where ninja built [build]")
    parser.add_argument("--out", help="where the report goes [BUILD/bench]")
    parser.add_argument("--only", help="these measures, by id, separated by commas")
    parser.add_argument("--runs", type=int, help="rounds of each measure")
    options = parser.parse_args()
    isolated = isolate(sys.argv[1:])
    build = os.path.abspath(options.build)
    out = os.path.abspath(options.out or os.path.join(build, "bench"))
    os.makedirs(out, exist_ok=True)
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = tempfile.mkdtemp(prefix="antq-bench.", dir=memory)
    begun = time.monotonic()

    def log(text):
        print(f"[{time.monotonic() - begun:4.0f} s] {text}", flush=True)

    try:
        return run(options, isolated, Bench(build, folder), out, log)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run(options, isolated, bench, out, log):
    mode = "full" if options.full else "short" if options.short else "bench"
    limit_s = {"full": 44 * 60, "bench": 5.5 * 60, "short": 120}[mode]
    runs = options.runs or {"full": 9, "bench": 5, "short": 2}[mode]
    scale = {"full": 2, "bench": 1, "short": 0.1}[mode]
    begun = time.monotonic()
    bench.bytes = {"full": 2 * GIB, "bench": GIB, "short": 64 << 20}[mode]
    bench.prepare()
    bench.backends = subprocess.run([bench.tool("udp"), "backends"], capture_output=True, text=True).stdout.split()
    noise = Noise(bench)
    noise.sample()
    log(f"{mode}: {bench.bytes >> 20} MiB, {runs} runs, "
        + ("a namespace with MTU 1,500" if isolated else "no namespace: not root"))

    transfers = goodput(bench)
    about = machine(bench)
    measures = (transfers + small(bench, scale) + handshakes(bench, scale)
                + many(bench, scale, options.full, about["memory_bytes"]))
    if options.only:
        measures = [m for m in measures if m.key in options.only.split(",")]
        transfers = [m for m in transfers if m in measures]
    fragments = net_counter("Ip.FragCreates")
    payloads = sizes(bench, transfers, log) if isolated else []
    for number, measure in enumerate(measures):
        left = limit_s - (time.monotonic() - begun)
        # The transfers come first and may take more than their part.
        part = left / (len(measures) - number) * (4 if measure in transfers else 1)
        few = 1 if measure.key == "memory-100k" else 3 if measure.key == "memory" else runs
        if left <= 0:
            log(f"{measure.key}: out of time")
            continue
        measure.run(min(runs, few), min(part, left), log)
        noise.sample()
    data = {"mode": mode, "unix_s": int(time.time()), "seconds": round(time.monotonic() - begun), "runs": runs, "foreign_max": FOREIGN_MAX,
            "bytes": bench.bytes, "machine": about, "noise": noise.summary(),
            "payload": {"limit": PAYLOAD, "isolated": isolated, "tap": payloads,
                        "fragments": net_counter("Ip.FragCreates") - fragments},
            "measures": [m.summary() for m in measures]}
    late = [m.title for m in measures if m.rows and not m.rounds]
    data["not_measured"] = NOT_MEASURED + [f"{title}: out of time" for title in late]
    if not options.only:
        data["core"], _ = run_json([bench.tool("core")])
        data["micro"], _ = run_json([bench.tool("micro")])
    data["ratios"] = ratios(data["measures"])
    with open(os.path.join(out, "report.json"), "w") as f:
        json.dump(data, f, indent=1)
    report.write(data, os.path.join(out, "report.html"))
    report.print_text(data)
    print(f"\n{out}/report.html and report.json, after {data['seconds']} s")
    failed = [row for m in data["measures"] for row in m["rows"] if row.get("failed")]
    return 1 if failed or any(p["over"] for p in payloads) else 0


NOT_MEASURED = [
    "0-RTT: the transport has none yet",
    "busy polling: the reactor has no such mode yet",
    "peers' uploads, requests, handshakes and memory: adapters know downloads only",
    "more than 100 streams at once: the limit of `antq perf` and of its server",
]

if __name__ == "__main__":
    sys.exit(main())
