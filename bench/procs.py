"""procs.py -- starting servers and clients, pinned, and the kernel's counters about them."""
import json
import os
import re
import subprocess
import tempfile
import threading
import time

CLIENT_TIMEOUT_S = 60


class Failed(Exception):
    """One run of one contender gave no number."""


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


def resident_bytes(pid, field="RssAnon"):
    """Resident memory that is the process's own: the anonymous part. VmRSS: with shared pages of files, too."""
    with open(f"/proc/{pid}/status") as f:
        return int(re.search(rf"^{field}:\s*(\d+) kB", f.read(), re.M).group(1)) * 1024


class Server:
    """A pinned server that has said it is ready. To be used with `with`."""

    def __init__(self, command, ready=r"listening on (\S+)", env=None, cores=None, timeout_s=10):
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, text=True,
                                        stdin=subprocess.DEVNULL, env=env, preexec_fn=pin(cores or SERVER_CORES))
        self.addr = None
        timer = threading.Timer(timeout_s, self.process.kill)
        timer.start()
        try:
            for line in self.process.stdout:
                match = re.search(ready, line)
                if match:
                    self.addr = match.group(1) if match.groups() else None
                    break
        except BaseException:  # we are being ended
            self.process.kill()
            self.process.wait()
            raise
        finally:
            timer.cancel()
        if self.process.poll() is not None:
            self.log.seek(0)
            raise Failed(f"{command[0]} did not start: {self.log.read()[-300:]}")
        # What it prints from here on must not fill the pipe.
        self.printed = []
        self.reader = threading.Thread(target=lambda: self.printed.append(self.process.stdout.read()), daemon=True)
        self.reader.start()
        self.begun_s = on_cpu_s(self.process.pid)

    def report(self, timeout_s):
        """For one that ends by itself, with a JSON object: that object."""
        try:
            self.process.wait(timeout_s)
            self.reader.join(timeout_s)
            return json.loads(self.printed[0])
        except (ValueError, IndexError, subprocess.TimeoutExpired) as error:
            raise Failed(f"{os.path.basename(self.process.args[0])} said nothing: {error}") from error

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


def run_client(command, env=None, timeout_s=CLIENT_TIMEOUT_S, cores=None):
    """Runs a pinned client to its end: its standard output, and the CPU seconds it used."""
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=env,
                                   stdin=subprocess.DEVNULL, preexec_fn=pin(cores or CLIENT_CORES))
        timer = threading.Timer(timeout_s, process.kill)
        timer.start()
        try:
            out = process.stdout.read()
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:  # we are being ended
            process.kill()
            process.wait()
            raise
        finally:
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


# ---- the kernel's counters ---------------------------------------------------------------------

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


def foreign_s():
    """CPU seconds that the machine spent so far, but not on us and on what we started and ended."""
    with open("/proc/stat") as f:
        user, nice, system, _, _, irq, softirq = (int(v) for v in f.readline().split()[1:8])
    times = os.times()
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK") - sum(times[:4])
