"""leaves.py -- bench/core and bench/micro: nanoseconds, and instructions where callgrind can count them.

Instructions do not mind noise, and most virtual machines have no counters for them; so valgrind
counts. Its processor has no AVX-512: what IPsec-MB does there is not what it does here, and is left
out.
"""
import json
import os
import re
import shutil
import subprocess

from procs import Failed, run_json


def core(bench, log):
    """ns per packet with each backend; instructions by bench/core.sh, against its budget."""
    out = {"backends": {}}
    for backend in bench.backends:
        out["backends"][backend], _ = run_json([bench.tool("core"), "--aead", backend])
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "core.sh")
    source = os.path.dirname(os.path.dirname(script))
    done = subprocess.run(["sh", script, source, bench.build], capture_output=True, text=True)
    count = re.search(r"^([0-9.]+) instructions per packet with \S+, budget ([0-9.]+)", done.stdout, re.M)
    if count:
        out["instructions"], out["budget"] = float(count.group(1)), float(count.group(2))
    else:
        log("  core: no instructions counted: " + (done.stdout.strip().splitlines() or ["?"])[-1])
    return out


def count_instructions(bench, folder):
    """Instructions per operation of each row of bench/micro, or {}: no valgrind, or it cannot run this."""
    if not shutil.which("valgrind") or not shutil.which("objcopy"):
        return {}
    program, profile = os.path.join(folder, "micro"), os.path.join(folder, "profile")
    # Without debug information, which not every valgrind can read from every compiler.
    subprocess.run(["objcopy", "--strip-debug", bench.tool("micro"), program], check=True)
    try:
        done = subprocess.run(["valgrind", "--tool=callgrind", "--toggle-collect=counted", "--dump-after=counted",
                               "--callgrind-out-file=" + profile, program, "--count", "1"],
                              capture_output=True, text=True, timeout=120)
        operations = json.loads(done.stdout)
        out = {}
        for number, (name, ops) in enumerate(operations.items(), 1):
            with open(f"{profile}.{number}") as f:
                out[name] = int(re.search(r"^totals: (\d+)", f.read(), re.M).group(1)) / ops
        return out
    except (OSError, ValueError, AttributeError, subprocess.TimeoutExpired):
        return {}


def micro(bench):
    """Rows of {ns by backend, instructions}; what no cipher is in is measured with the first backend only."""
    runs = {}
    for backend in bench.backends:
        try:
            runs[backend], _ = run_json([bench.tool("micro"), "--aead", backend])
        except Failed:
            continue
    counted = count_instructions(bench, bench.folder)
    out = {}
    for name in next(iter(runs.values()), {}):
        sealing = re.search(r"seal|open|mask", name) is not None
        out[name] = {"ns": {b: run[name] for b, run in runs.items() if sealing or b == bench.backends[0]},
                     "instructions": counted.get(name), "cipher": sealing}
    return out
