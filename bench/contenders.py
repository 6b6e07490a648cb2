"""contenders.py -- antq and what it is compared with: one method for each thing that can be run once.

Each starts its own server and client (procs.py), and gives a dict of numbers, or raises Failed: a
run that did something else than it was asked for (another size, larger packets, a handshake that
was not resumed) is a failure, not a number.
"""
import os
import socket
import subprocess
import time

from procs import (CLIENT_CORES, Failed, Server, loopback_bytes, on_cpu_s, resident_bytes, run_client,
                   run_json, wait_for_port)

HERE = os.path.dirname(os.path.abspath(__file__))
GIB = 1 << 30
PAYLOAD = 1452


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

    def tls_server(self, key="p256"):
        return Server([self.tool("tlstcp"), "serve", "--listen", "127.0.0.1:0",
                       "--cert", self.file(key + ".pem"), "--key", self.file(key + ".key")])

    def tls_client(self, server):
        return [self.tool("tlstcp"), "client", server.addr, "--ca", self.file("ca.pem")]

    def antq_server(self, flags=(), ipv6=False, key="p256", more=()):
        return Server([self.antq, "perf", "serve", "--listen", "[::1]:0" if ipv6 else "127.0.0.1:0",
                       "--cert", self.file(key + ".pem"), "--key", self.file(key + ".key"), *flags, *more])

    def antq_client(self, server, *flags):
        return [self.antq, "perf", server.addr, "--ca", self.file("ca.pem"), "--json", *flags]

    def transfer(self, way, flags=(), ipv6=False, bytes_=None, streams=1):
        many = ["--max-streams", str(streams)] if streams > 100 else []
        with self.antq_server(flags, ipv6, more=many) as server:
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
            latency = {k: got["latency_us"][k] for k in ("p50", "p99", "p99_9")}
            return dict(latency, rate=got["requests_per_s"])

    def spread_requests(self, conns, count, in_flight=64):
        """So many in flight in all, on the connections in turn."""
        with self.many_server(conns) as server:
            got, _ = run_json([self.tool("requests"), server.addr, "--ca", self.file("ca.pem"), "--conns", str(conns),
                               "--in-flight", str(in_flight), "--requests", str(count)])
            return dict(got["latency_us"], rate=got["answers"] / got["seconds"])

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
            return dict(got["latency_us"], asked=got["asked_us"]["p50"])

    def early_first_byte(self, count, busy=False):
        """The same in 0-RTT: one connection brings the ticket, the rest ask in their first packets."""
        with self.antq_server(more=["--early-data"] + (["--busy-poll"] if busy else [])) as server:
            got, _ = run_json(self.conns(server, count + 1, "--first-byte", "1", "--early", "1", "--busy-poll", str(int(busy))))
            return dict(got["latency_us"], asked=got["asked_us"]["p50"])

    def tls_first_byte(self, count):
        with self.tls_server() as server:
            got, _ = run_json([*self.tls_client(server), "--first-byte", str(count)])
            return got["latency_us"]

    def idle(self, count, watch_s=0):
        """Resident memory of the server's for each connection. With watch_s, its CPU while the client, which sends
        something every 30 s, keeps all of them alive: meant for whole periods of that. The kernel's counters tell
        nothing of that: datagrams of many connections travel as one. The client counts who had an answer."""
        with self.many_server(count) as server:
            pid = server.process.pid
            before = resident_bytes(pid)
            command = self.conns(server, count, "--idle", str(4 + watch_s + 2) if watch_s > 0 else "600")
            with Server(command, ready="ready", cores=CLIENT_CORES, timeout_s=30 + count / 300) as client:
                time.sleep(4)  # tickets are acknowledged, TLS is freed
                got = {"kib": (resident_bytes(pid) - before) / count / 1024, "mb": resident_bytes(pid, "VmRSS") / 1e6}
                if watch_s > 0:
                    cpu_s, begun = server.cpu_s(), time.monotonic()
                    time.sleep(watch_s)
                    got["busy"] = (server.cpu_s() - cpu_s) / (time.monotonic() - begun) * 100
                    kept = client.report(60 + count / 500)["kept"]  # it says goodbye on all of them
                    if kept < count:
                        raise Failed(f"{count} connections, only {kept} of them kept alive")
        return got

    def retry(self, count):
        """Bytes that a server keeps for each client to which it sent a Retry: one Initial, from so many ports."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as trap:
            trap.bind(("127.0.0.1", 0))
            trap.settimeout(5)
            client = [self.antq, "perf", f"127.0.0.1:{trap.getsockname()[1]}", "--insecure", "--timeout", "1"]
            with subprocess.Popen(client, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
                initial = trap.recv(65536)
                process.terminate()
        with self.antq_server(more=["--retry"]) as server:
            addr = ("127.0.0.1", int(server.addr.rsplit(":", 1)[1]))
            ask_for_retries(initial, addr, max(100, count // 10))  # what is allocated once
            before = resident_bytes(server.process.pid)
            ask_for_retries(initial, addr, count)
            return {"bytes": max(0, resident_bytes(server.process.pid) - before) / count}

    # -- handshakes

    @staticmethod
    def shaken(got, count, resumed, server_s, client_s, latency):
        """The figures of so many handshakes, if they were what was asked for."""
        if got["resumed"] != (count if resumed else 0):
            raise Failed(f"{got['resumed']} of {count} handshakes resumed a session, {'all' if resumed else 'none'} should")
        return {"p50": latency["p50"], "p99": latency["p99"], "rate": got["handshakes_per_s"],
                "server_us": server_s / count * 1e6, "client_us": client_s / count * 1e6, "per_core": count / server_s}

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
            return {**self.shaken(got, count, resumed, server.cpu_s() - before, cpu_s, got["handshake_us"]),
                    "confirmed": got["confirmed_us"]["p50"]}

    def busy_handshakes(self, count, key, resumed):
        """The server's CPU where it need not sleep between any two packets: what a core can do. Connections that ended keep
        their places for three PTOs, which at thousands a second are more than the usual number."""
        with self.antq_server(key=key, more=["--max-conns", "8192"]) as server:
            got, cpu_s = run_json(self.conns(server, count, "--handshakes", "1", "--resumed", str(int(resumed))))
            server_s = server.cpu_s()
            return {"rate": got["handshakes_per_s"], "server_us": server_s / count * 1e6,
                    "client_us": cpu_s / count * 1e6, "per_core": count / server_s}

    def tls_handshakes(self, count, key, resumed):
        with self.tls_server(key) as server:
            got, cpu_s = run_json([*self.tls_client(server), "--handshakes", str(count), "--resumed",
                                   str(int(resumed))])
            return self.shaken(got, count, resumed, server.cpu_s(), cpu_s, got["latency_us"])

    def memory_handshakes(self, count, key, resumed):
        got, _ = run_json([self.tool("tlsmem"), "--cert", self.file(key + ".pem"), "--key", self.file(key + ".key"),
                           "--ca", self.file("ca.pem"), "--count", str(count), "--resumed", str(int(resumed))])
        if got["resumed"] != resumed:
            raise Failed("TLS in memory did not resume as asked")
        return {"server_us": got["server_us"], "client_us": got["client_us"], "per_core": 1e6 / got["server_us"]}


def ask_for_retries(initial, addr, count):
    """Sends the Initial from `count` ports, one after the other; each must be answered by a Retry."""
    for _ in range(count):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.settimeout(2)
            one.sendto(initial, addr)
            try:
                answer = one.recv(65536)
            except OSError as error:
                raise Failed("the server did not answer with a Retry") from error
            if answer[0] & 0xF0 != 0xF0:  # RFC 9000 §17.2.5: a long header, type 3
                raise Failed(f"an answer that begins with {answer[0]:#x} is no Retry")
