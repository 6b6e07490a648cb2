"""noise.py -- how fast the machine is just now, and waiting until it is not slowed down.

A virtual machine's neighbours share physical cores with it: the same work then takes up to twice as
long, for some seconds or for a fraction of one, and /proc/stat tells nothing of that. So a loop of
fixed work (`micro --calibrate`) is timed on both cores before and after each sample. A sample beside
which it was slow is taken again, as long as time allows. What decides is the loop alone, never the
sample's figures, so that no contender is favoured.
"""
import statistics
import time

from procs import CLIENT_CORES, SERVER_CORES, run_json

SLOW = 1.1  # times what the loop takes on the quiet machine
FIRST = 60  # readings that tell what that is, at the start
WAIT_S, PAUSE_S = 4, 0.05  # for quiet, before a sample; between two readings
NOISY_CV, NOISY_PART, NOISY_STOLEN = 0.05, 0.1, 0.02  # what the report warns of


def stat():
    """Jiffies of all CPUs so far, and those that the hypervisor stole."""
    with open("/proc/stat") as f:
        values = [int(v) for v in f.readline().split()[1:]]
    return sum(values[:8]), values[7]


class Noise:
    """The loop's times so far. `kept` are those beside samples that count, `again` samples that do not."""

    def __init__(self, tool, clock=time.monotonic, sleep=time.sleep):
        self.tool, self.clock, self.sleep = tool, clock, sleep
        self.times, self.kept, self.again, self.stolen = [], [], 0, stat()

    def begin(self):
        for _ in range(FIRST):
            self.read()
            self.sleep(PAUSE_S)

    def loop_ns(self, cores):
        return statistics.mean(run_json([self.tool, "--calibrate", "5"], cores=cores)[0]["ns"])

    def read(self):
        """The loop's time now, on the slower of both cores."""
        self.times.append(max(self.loop_ns(CLIENT_CORES), self.loop_ns(SERVER_CORES)))
        return self.times[-1]

    def quiet_ns(self):
        """What the loop takes on the quiet machine: the fastest readings may be a clock's short boost."""
        return sorted(self.times)[len(self.times) // 10]

    def is_slow(self, ns):
        return ns > SLOW * self.quiet_ns()

    def sample(self, function, until):
        """function's result, taken while the machine was quiet if it is that before the time `until`; else the one
        beside which it was least slow."""
        best = None
        while True:
            waited = self.clock() + WAIT_S
            before = self.read()
            while self.is_slow(before) and self.clock() < min(waited, until):
                self.sleep(PAUSE_S)
                before = self.read()
            got = function()
            ns = max(before, self.read())
            if best is None or ns < best[0]:
                best = (ns, got)
            if not self.is_slow(ns) or self.clock() >= until:
                break
            self.again += 1
        self.kept.append(best[0])
        return best[1]

    def summary(self):
        total, steal = stat()
        slowest = SLOW * self.quiet_ns()  # as is known now; at the start less was
        slow = sum(ns > slowest for ns in self.kept)
        stolen = (steal - self.stolen[1]) / max(1, total - self.stolen[0])
        out = {"stolen": stolen, "readings": len(self.times), "samples": len(self.kept), "slow": slow,
               "again": self.again}
        if len(self.kept) > 1:
            out["cv"] = statistics.stdev(self.kept) / statistics.mean(self.kept)
            out["worst"] = max(self.kept) / min(self.kept)
        part = slow / max(1, len(self.kept))
        out["noisy"] = out.get("cv", 0) > NOISY_CV or part > NOISY_PART or stolen > NOISY_STOLEN
        return out
