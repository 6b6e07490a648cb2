#!/usr/bin/env python3
"""run.py -- measures antq beside its contenders, so that the numbers hold.

    run.py [--full | --short] [--build DIR] [--out DIR] [--only ID,ID] [--runs N]

Writes OUT/report.json and OUT/report.html (report.py). `ninja bench` is the default, about 5
minutes; `ninja bench-full` is --full, 22 to 45; --short only proves that all of it
works. procs.py starts and pins, contenders.py says what can be run once, measures.py what is
compared, leaves.py what needs no sockets, claims.py what is to be shown.

What makes a number here worth reading:
  - contenders are interleaved (A B C A B C ...), so that a drifting machine drifts for all;
  - client and server are pinned to one core each where there are two, servers start afresh;
  - medians, with the range and the quartiles beside them; and ratios of medians of one run;
  - CPU time is the kernel's, of each process: getrusage of the client, schedstat of the server;
  - as root it runs in a network namespace of its own whose loopback has an MTU of 1,500, a tap
    looks at the UDP payloads of each contender once, and losses in socket buffers are counted;
  - a loop of fixed work is timed beside each sample (noise.py): a sample is taken again where the
    machine was slowed down meanwhile, as long as time allows, and the report says how it was.

Standard library only. It starts nothing that it does not end, and talks to loopback only.
"""
import argparse
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True
import claims  # noqa: E402
import leaves  # noqa: E402
import measures  # noqa: E402
import report  # noqa: E402
from contenders import GIB, PAYLOAD, Bench  # noqa: E402
from noise import Noise  # noqa: E402
from procs import CLIENT_CORES, CORES, SERVER_CORES, Failed, Server, net_counter  # noqa: E402

# By mode: seconds allowed in all, rounds of each measure, bytes of a transfer, all other counts times this.
MODES = {"full": (44 * 60, 7, 2 * GIB, 2), "bench": (6 * 60, 5, GIB, 1), "short": (150, 1, 64 << 20, 0.1)}
SIZES_S = 5  # looking at the payloads
UNTIMED_ROOM = 1.3  # times what is expected, for measures whose samples are not taken again
LOOKED_AT = 8 << 20  # bytes of each transfer that the tap looks at


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


def look(bench, function):
    """What the tap saw of one transfer; Failed unless it saw all of that transfer's bytes."""
    with Server([bench.tool("sizes")], ready="ready") as tap:
        function(bytes_=LOOKED_AT)
        tap.process.send_signal(signal.SIGUSR1)
        got = tap.report(10)
    if got["datagrams"] * got["largest"] < LOOKED_AT or got["unseen"] > 0:
        raise Failed(f"the tap saw {got['datagrams']} datagrams and missed {got['unseen']}: not all of the transfer")
    return got


def sizes(bench, transfers, log):
    """Each contender of the transfers once, before a tap that looks at every UDP payload. What it saw, and of whom not
    all was seen."""
    out, blind = [], []
    for measure in transfers:
        for contender, _, function in measure.rows:
            if contender.startswith("TLS"):  # not UDP
                continue
            try:
                got = look(bench, function)
            except Failed as error:
                log(f"  sizes of {contender}: {error}")
                blind.append(f"{contender}, {measure.key}")
                continue
            out.append({"measure": measure.key, "contender": contender, "datagrams": got["datagrams"],
                        "largest": got["largest"], "over": got["over"], "unseen": got["unseen"]})
            if got["over"] > 0:
                log(f"  {contender} sent UDP payloads of {got['largest']} bytes")
    return out, blind


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
    parser.add_argument("--full", action="store_true", help="everything; 22 to 45 minutes")
    parser.add_argument("--short", action="store_true", help="64 MiB, 1 run: proves that it works, in half a minute")
    parser.add_argument("--build", default="build", help="where ninja built [build]")
    parser.add_argument("--out", help="where the report goes [BUILD/bench]")
    parser.add_argument("--only", help="these measures, by id, separated by commas")
    parser.add_argument("--runs", type=int, help="rounds of each measure")
    options = parser.parse_args()
    isolated = isolate(sys.argv[1:])
    # What was started is ended, and the folder removed, also when somebody ends us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
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


class Plan:
    """How long it will take, measure by measure, and how the time allowed is shared out."""

    def __init__(self, chosen, mode, runs, log):
        self.limit_s, _, _, self.scale = MODES[mode]
        self.runs, self.log, self.begun, self.done = runs, log, time.monotonic(), 0
        self.left = [(m, runs * measures.expected_s(m, self.scale)) for m in chosen]
        self.count, self.later_s = len(chosen), measures.LEAVES_S

    def expected_s(self):
        return sum(seconds for _, seconds in self.left) + self.later_s

    def budget_s(self):
        """For the next measure: what it is expected to take, and an equal part of the time to spare, in which its samples
        may be taken again; measures that are not timed take none again, and need little more than expected."""
        left = self.limit_s - (time.monotonic() - self.begun) - self.later_s
        needed = [seconds * (1 if m.timed else UNTIMED_ROOM) for m, seconds in self.left]
        timed = sum(m.timed for m, _ in self.left)
        if left < sum(needed) or not self.left[0][0].timed:
            return left * needed[0] / sum(needed)
        return needed[0] + (left - sum(needed)) / timed

    def finish(self, measure, seconds):
        _, expected = self.left.pop(0)
        self.done += 1
        taken = f", {measure.foreign:.0%} of the machine taken by others" if measure.foreign > measures.FOREIGN_MAX else ""
        self.log(f"{self.done} of {self.count}, {measure.key}: {measure.rounds} rounds in {seconds:.0f} s (expected "
                 f"{expected:.0f}){taken}; {minutes(self.expected_s())} left")


def minutes(seconds):
    return f"about {seconds / 60:.0f} min" if seconds >= 90 else f"about {seconds:.0f} s"


def run_all(chosen, plan, runs, noise, log, patient):
    for measure in chosen:
        budget_s = plan.budget_s()
        if budget_s <= 0:
            log(f"{measure.key}: out of time")
            plan.left.pop(0)
            continue
        plan.finish(measure, measure.run(runs, budget_s, noise, log, patient))


def not_measured(chosen, runs, mode, data):
    out = ["peers' uploads, requests, handshakes and memory: adapters know downloads only"]
    if mode == "bench":
        out.append("what only `ninja bench-full` measures: streams and connections up to 1,000, 10,000 and 100,000 idle ones")
    out += [f"{m.title}: {'out of time' if m.rounds == 0 else f'only {m.rounds} rounds of {runs}, for want of time'}"
            for m in chosen if m.rounds < runs]
    if data.get("micro") and not any(row["instructions"] for row in data["micro"].values()):
        out.append("instructions of the leaves: no valgrind here")
    return out


def run(options, isolated, bench, out, log):
    mode = "full" if options.full else "short" if options.short else "bench"
    _, runs, bench.bytes, scale = MODES[mode]
    runs = options.runs or runs
    bench.prepare()
    bench.backends = subprocess.run([bench.tool("udp"), "backends"], capture_output=True, text=True).stdout.split()
    about = machine(bench)
    chosen = measures.everything(bench, mode, scale, about["memory_bytes"])
    if options.only:
        wanted = options.only.split(",")
        unknown = set(wanted) - {m.key for m in chosen}
        if unknown:
            sys.exit(f"no measure {', '.join(sorted(unknown))} here; there are: {', '.join(m.key for m in chosen)}")
        chosen = [m for m in chosen if m.key in wanted]
    plan = Plan(chosen, mode, runs, log)
    log(f"{mode}: {bench.bytes >> 20} MiB a transfer, {runs} rounds, "
        + ("a namespace with MTU 1,500" if isolated else "no namespace: not root")
        + f"; expected to take {minutes(plan.expected_s() + SIZES_S)}, at most {minutes(plan.limit_s)}")
    noise = Noise(bench.tool("micro"))
    noise.begin()
    fragments = net_counter("Ip.FragCreates")
    transfers = [m for m in chosen if m.key in ("upload", "download")]
    payloads, blind = sizes(bench, transfers, log) if isolated else ([], [])
    run_all(chosen, plan, runs, noise, log, patient=mode != "short")
    data = {"mode": mode, "unix_s": int(time.time()), "runs": runs, "foreign_max": measures.FOREIGN_MAX,
            "bytes": bench.bytes, "machine": about, "noise": noise.summary(), "backends": bench.backends,
            "payload": {"limit": PAYLOAD, "isolated": isolated, "tap": payloads, "blind": blind,
                        "fragments": net_counter("Ip.FragCreates") - fragments},
            "measures": [m.summary() for m in chosen]}
    if not options.only:
        data["core"], data["micro"] = leaves.core(bench, log), leaves.micro(bench)
    data["not_measured"] = not_measured(chosen, runs, mode, data)
    data["claims"] = claims.evaluate(data["measures"], bench.backends, data["payload"], data.get("core"))
    data["seconds"] = round(time.monotonic() - plan.begun)
    with open(os.path.join(out, "report.json"), "w") as f:
        json.dump(data, f, indent=1)
    report.write(data, os.path.join(out, "report.html"))
    report.print_text(data)
    print(f"\n{out}/report.html and report.json, after {data['seconds']} s")
    failed = [f"{m['id']}, {row['contender']}: {row['failed']}" for m in data["measures"] for row in m["rows"]
              if row.get("failed")]
    for text in failed:
        print("FAILED: " + text)
    return 1 if failed or any(p["over"] for p in payloads) else 0


if __name__ == "__main__":
    sys.exit(main())
