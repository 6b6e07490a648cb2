"""nat_matrix.py [--source SRC] [--build BUILD] [FLAG]... -- which NATs come together, how, and how fast.

For each ordered pair of kinds (nat_lab.sh) it lets nat_cell.sh build a lab and dial, some cells at a
time, prints the matrix, and judges it by the table WAYS: every pair must connect; a pair that can have a
direct path must get it, where the bootstrap node's kernel shows that nothing was relayed any more; the
others must say that they are relayed, and be.

  --runs N        each cell so often [20]
  --jobs N        so many cells at a time [4]
  --retry N       a cell that should have become direct and has not is tried again, so often [0]
  --slack MS      relayed packets are believed to have been under way for so long after the switch [300]
  --relayed       no direct paths are expected: connections and first bytes only
  --times         times, too, are judged (on a machine that has nothing else to do)
  --pair A:B      only this cell; several may be given; B may be `same`: both behind one A
  --json FILE     all that was measured is kept there
  --from FILE     nothing is run; what --json has kept is printed and judged

The last line counts the cells and the aims that passed or failed; the status is 0 if none failed.
"""
import argparse
import collections
import concurrent.futures
import json
import os
import re
import signal
import subprocess
import sys

KINDS = ['public', 'cone', 'addr', 'port', 'port-open', 'sym', 'cgnat']
OTHERS = [('port', 'same'), ('port-hairpin', 'same'), ('cone-hairpin-isolated', 'same'), ('fw6', 'fw6')]
# What the two kinds are to each other: U public, E, A, P, Q, S; a double NAT is its stricter one.
LETTER = {'public': 'U', 'cone': 'E', 'addr': 'A', 'port': 'P', 'cgnat': 'P', 'sym': 'S', 'seq': 'Q', 'fw6': 'P'}
WAYS = {
    'UU': 'dial', 'UE': 'dial', 'UA': 'reverse dial', 'UP': 'reverse dial', 'UQ': 'reverse dial', 'US': 'reverse dial',
    'EE': 'dial', 'EA': 'toward E', 'EP': 'toward E', 'EQ': 'toward E', 'ES': 'toward E',
    'AA': 'both open', 'AP': 'both open', 'AQ': 'both open', 'AS': 'both open', 'PP': 'both open',
    'PQ': 'relay', 'PS': 'relay', 'QQ': 'relay', 'QS': 'relay', 'SS': 'relay',
}
RELAYED_WAY_MS = 50     # from one peer through the bootstrap node to the other
PROOF_MS = 500          # so long at least it must have gone on after what was under way
FIRST_BYTE_P95_MS = 200
DIRECT_P50_MS, DIRECT_P95_MS = 250, 600
POOLED, LEAST = 0.99, 0.90


class Cell:
    def __init__(self, near, far):
        self.near, self.far, self.runs, self.error, self.wanted = near, far, [], None, 0
        letters = ''.join(sorted((LETTER[k.split('-')[0]] for k in (near, far if far != 'same' else near)),
                                 key='UEAPQS'.index))
        self.way = 'same NAT' if far == 'same' else WAYS[letters]
        self.pooled = self.way not in ('relay', 'same NAT')

    @property
    def name(self):
        return f'{self.near} -> {self.far}'

    def expects(self, args):
        """A direct path."""
        return not args.relayed and self.way != 'relay'

    def values(self, f):
        return sorted(v for v in map(f, self.runs) if v is not None)


def percentile(values, share):
    """Nearest rank; None of nothing."""
    return values[max(0, -(-len(values) * share // 100) - 1)] if values else None


def nft_ms(text):
    """nft's 16m39s948ms."""
    unit = {'d': 86400000, 'h': 3600000, 'm': 60000, 's': 1000, 'ms': 1}
    return sum(int(n) * unit[u] for n, u in re.findall(r'(\d+)(ms|[dhms])', text))


def connected(run):
    ping = run['ping']
    return run['status'] == 0 and ping is not None and ping['received'] == ping['sent'] > 0


def first_byte(run):
    """When the dialler's first byte was there: the answer to it came a way later."""
    return run['ping']['first_byte_ms'] - RELAYED_WAY_MS if connected(run) else None


def doubt(run):
    """Why a run that says it is direct is not believed; None: it is."""
    ping = run['ping']
    if ping['direct_ms'] is None:
        return 'says direct, but not since when'
    # What registered_ms counts from is not known to some 60 ms: slack is for that, too.
    switch_ms = run['began'] / 1e6 + ping['registered_ms'] + ping['direct_ms']
    quiet_ms = run['ended'] / 1e6 - switch_ms - run['slack']
    last_ms = None if run['left'] == '-' else 1000000 - nft_ms(run['left'])
    if last_ms is not None and last_ms < quiet_ms:
        return f'says direct, but {quiet_ms - last_ms:.0f} ms later packets were still relayed'
    if quiet_ms < PROOF_MS:
        return 'direct too late to be shown'
    return None


def direct(run):
    return connected(run) and run['ping']['path'] == 'direct' and not doubt(run)


def direct_ms(run):
    return run['ping']['direct_ms'] if direct(run) else None


def after_handshake(run):
    return max(0, run['ping']['direct_ms'] - run['ping']['connected_ms']) if direct(run) else None


def trouble(cell, run, args):
    """What is wrong with a run, or None."""
    ping = run['ping']
    if not connected(run):
        return f'not connected: status {run["status"]}, {run["words"]} {json.dumps(ping)}'
    if ping['path'] == 'direct' and doubt(run):
        return doubt(run)
    if ping['path'] == 'relayed' and run['packets'] == 0:
        return 'says relayed, but nothing was'
    if cell.expects(args) and ping['path'] != 'direct':
        return 'stays relayed'
    return None


class Matrix:
    def __init__(self, args):
        self.args, self.groups = args, set()
        pairs = [p.split(':') for p in args.pair] or [(a, b) for a in KINDS for b in KINDS] + OTHERS
        for pair in pairs:
            if len(pair) != 2 or any(kind.split('-')[0] not in [*LETTER, 'same'] for kind in pair) or pair[0] == 'same':
                sys.exit(f'--pair {":".join(pair)}: KIND:KIND or KIND:same; kinds that can connect: {", ".join(LETTER)}')
        self.cells = [Cell(a, b) for a, b in pairs]

    def save(self, path):
        with open(path, 'w', encoding='ascii') as f:
            json.dump([{'pair': [c.near, c.far], 'error': c.error, 'runs': c.runs} for c in self.cells], f, indent=1)

    def load(self, path):
        self.cells = []
        with open(path, encoding='ascii') as f:
            for kept in json.load(f):
                cell = Cell(*kept['pair'])
                cell.error, cell.runs, cell.wanted = kept['error'], kept['runs'], len(kept['runs'])
                self.cells.append(cell)

    def start(self, cell, runs, count):
        wait = ['--count', str(count), '--wait-direct', '10'] if cell.expects(self.args) else ['--count', '5']
        command = ['sh', os.path.join(self.args.source, 'tests/net/nat_cell.sh'), self.args.source, self.args.build,
                   cell.near, cell.far, str(runs), '--interval', '0.1'] + wait
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                   stdin=subprocess.DEVNULL, start_new_session=True)
        self.groups.add(process.pid)
        try:
            text, _ = process.communicate(timeout=60 + 120 * runs)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGTERM)
            text, _ = process.communicate()
        self.groups.discard(process.pid)
        for line in text.splitlines():
            if line.startswith('{"run"'):
                cell.runs.append({**json.loads(line), 'slack': self.args.slack})
        if process.returncode != 0:
            cell.error = f'status {process.returncode}: {text[-3000:]}'

    def play(self, cell):
        cell.wanted = self.args.runs
        self.start(cell, self.args.runs, 20)
        for _ in range(self.args.retry):
            late = [run for run in cell.runs if connected(run) and trouble(cell, run, self.args)]
            if cell.error or not late:
                break
            print(f'again: {cell.name}: {trouble(cell, late[0], self.args)}', flush=True)
            cell.runs = [run for run in cell.runs if run not in late]
            self.start(cell, len(late), 60)
        if self.args.verbose:
            print(line_of(cell), flush=True)

    def play_all(self):
        pool = concurrent.futures.ThreadPoolExecutor(self.args.jobs)
        try:
            list(pool.map(self.play, self.cells))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            for group in list(self.groups):
                os.killpg(group, signal.SIGTERM)

    def judge(self):
        """Prints what failed; how many passed and failed."""
        passed, failed = 0, 0
        for cell in self.cells:
            troubles = collections.Counter(filter(None, (trouble(cell, run, self.args) for run in cell.runs)))
            bad = any(text.startswith(('not', 'says')) for text in troubles)
            few = cell.expects(self.args) and len(cell.values(after_handshake)) < LEAST * len(cell.runs)
            if bad or few or cell.error or len(cell.runs) != cell.wanted:
                failed += 1
                words = [f'{n} of {len(cell.runs)} runs: {text}' for text, n in troubles.items()]
                print(f'FAIL: {cell.name}: ' + '; '.join(words + [cell.error] * bool(cell.error)))
            else:
                passed += 1
        for text, good in self.aims():
            print(('aim: ' if good else 'FAIL: ') + text)
            passed, failed = passed + good, failed + (not good)
        return passed, failed

    def pool(self, f, cells):
        return sorted(v for cell in cells for v in cell.values(f))

    def aims(self):
        first = percentile(self.pool(first_byte, self.cells), 95)
        if self.args.times and first is not None:
            yield f'first byte at the peer, p95 {first:.0f} ms, at most {FIRST_BYTE_P95_MS}', first <= FIRST_BYTE_P95_MS
        pooled = [cell for cell in self.cells if cell.pooled and cell.expects(self.args)]
        runs = sum(len(cell.runs) for cell in pooled)
        if runs == 0:
            return
        steps = self.pool(after_handshake, pooled)
        yield f'direct in {len(steps)} of {runs} runs, at least {POOLED:.0%}', len(steps) >= POOLED * runs
        if self.args.times and steps:
            for share, most in ((50, DIRECT_P50_MS), (95, DIRECT_P95_MS)):
                ms = percentile(steps, share)
                yield f'from the handshake to direct, p{share} {ms:.0f} ms, at most {most}', ms <= most


def pair_of(values):
    return f'{percentile(values, 50):.0f}/{percentile(values, 95):.0f}' if values else '-'


def line_of(cell):
    good = sum(map(connected, cell.runs))
    share = f'{good}/{len(cell.runs)}'
    kinds = collections.Counter('direct' if direct(run) else 'relayed' for run in cell.runs if connected(run))
    path = ', '.join(kind if count == good else f'{count} {kind}' for kind, count in kinds.most_common())
    return (f'{cell.name:32} {share:7} {pair_of(cell.values(first_byte)):>9} '
            f'{pair_of(cell.values(direct_ms)):>9} {pair_of(cell.values(after_handshake)):>9}  '
            f'{path or "-":20} {cell.way}')


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    for name, default in (('--runs', 20), ('--jobs', 4), ('--retry', 0), ('--slack', 300)):
        parser.add_argument(name, type=int, default=default)
    for name in ('--relayed', '--times', '--verbose'):
        parser.add_argument(name, action='store_true')
    for name, default in (('--source', '.'), ('--build', 'build')):
        parser.add_argument(name, default=default)
    parser.add_argument('--pair', action='append', default=[])
    for name in ('--json', '--from'):
        parser.add_argument(name)
    args = parser.parse_args()
    matrix = Matrix(args)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
    if vars(args)['from']:
        matrix.load(vars(args)['from'])
    else:
        matrix.play_all()
    print('ms, p50/p95, since the call to connect: the first byte is at the target, the path is direct; the latter\n'
          'also since the handshake. Any two hosts are 50 ms of round trip apart.\n')
    print(f'{"dialler -> target":32} {"conn.":7} {"1st byte":>9} {"direct":>9} {"handshake":>9}  {"path":20} how')
    for cell in matrix.cells:
        print(line_of(cell))
    print()
    if args.json:
        matrix.save(args.json)
    passed, failed = matrix.judge()
    print(f'{passed} passed, {failed} failed')
    return failed != 0


sys.exit(main())
