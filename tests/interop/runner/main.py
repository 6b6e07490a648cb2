"""main.py -- plays the interop runner's cases between two commands, and judges the wire. Called by runner.sh.

    main.py --antq PROGRAM --link PROGRAM --source DIR [--pair CLIENT:SERVER]... [--case NAME]... [...]

An endpoint is a command that follows the contract (apps/interop/endpoint.sh tells it): antq and ngtcp2 are
known, others come with --endpoint NAME=COMMAND. For each pair and case: certificates, files with random
bytes, two namespaces and a link (room.py), the server, the client with a time limit; then the judge of
cases.py. A case is passed, failed, or unsupported (an endpoint ended with 127), and says why.

The last line counts `N passed, N failed, N skipped`, skipped being the unsupported ones.
"""
import argparse
import json
import os
import random
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

import cases
import wire
from room import Room

PORT, PREFERRED = 443, 1443
UNSUPPORTED = 127


class Run:
    """What a judge sees."""

    def __init__(self, folder, names, keys):
        self.names, self.keys, self.notes = names, keys, []
        self.www, self.downloads = os.path.join(folder, 'www'), os.path.join(folder, 'downloads')
        self.client = wire.Trace(os.path.join(folder, 'client.pcap'), keys, (PORT, PREFERRED))
        self.server = wire.Trace(os.path.join(folder, 'server.pcap'), keys, (PORT, PREFERRED))


def options():
    known = [c.name for c in cases.CASES]
    p = argparse.ArgumentParser(prog='runner.sh SRC BUILD', description='The interop runner\'s cases between two commands.')
    p.add_argument('--antq', required=True, help=argparse.SUPPRESS)
    p.add_argument('--link', required=True, help=argparse.SUPPRESS)
    p.add_argument('--source', required=True, help=argparse.SUPPRESS)
    p.add_argument('--pair', action='append', metavar='CLIENT:SERVER', help='who plays with whom [antq:antq, and '
                   'antq:ngtcp2 and ngtcp2:antq where gtlsclient and gtlsserver are installed]')
    p.add_argument('--endpoint', action='append', default=[], metavar='NAME=COMMAND',
                   help='another endpoint, a command for the shell')
    p.add_argument('--h3', action='append', default=['ngtcp2'], metavar='NAME',
                   help='this endpoint speaks only HTTP/3: ALPN=h3 in all its cases')
    p.add_argument('--case', action='append', metavar='NAME', help='one of: ' + ' '.join(known))
    p.add_argument('--fast', action='store_true', help='without the cases that take longer than some seconds')
    p.add_argument('--except', dest='without', action='append', default=[], metavar='NAME', help='leave out a case')
    p.add_argument('--control', action='store_true', help='judge a plain handshake by every criterion it must not meet')
    p.add_argument('--seed', type=int, default=1, help='of the link\'s losses [1]')
    p.add_argument('--json', metavar='FILE', help='the results, also as JSON')
    p.add_argument('--logs', metavar='DIR', help='keep captures, keys, logs: DIR/CLIENT_SERVER/CASE')
    o = p.parse_args()
    for name in (o.case or []) + o.without:
        if name not in known:
            p.error(f'no case "{name}"; there are {" ".join(known)}')
    o.cases = [c for c in cases.CASES if c.name not in o.without and (c.name in o.case if o.case else c.fast or not o.fast)]
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    o.endpoints = {'antq': 'sh ' + shlex.quote(os.path.join(o.source, 'apps/interop/endpoint.sh')),
                   'ngtcp2': 'sh ' + shlex.quote(os.path.join(here, 'ngtcp2_endpoint.sh'))}
    for text in o.endpoint:
        name, sign, command = text.partition('=')
        if not sign or not name.replace('-', '').isalnum():
            p.error(f'--endpoint expects NAME=COMMAND, not "{text}"')
        o.endpoints[name] = command
    if not o.pair:
        o.pair = ['antq:antq']
        if shutil.which('gtlsclient') and shutil.which('gtlsserver'):
            o.pair += ['antq:ngtcp2', 'ngtcp2:antq']
    for pair in o.pair:
        for name in pair.split(':', 1):
            if ':' not in pair or name not in o.endpoints:
                p.error(f'--pair {pair}: expects CLIENT:SERVER of {" ".join(o.endpoints)}')
    return o


def openssl(*arguments):
    subprocess.run(['openssl', *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def make_certificates(folder, length):
    """ca.pem, and below it a chain of that length: cert.pem, priv.key."""
    def at(name):
        return os.path.join(folder, name)
    os.mkdir(folder)
    with open(at('ca.cnf'), 'w', encoding='ascii') as f:
        f.write('basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n')
    with open(at('leaf.cnf'), 'w', encoding='ascii') as f:
        f.write('subjectAltName=DNS:server,DNS:server4,DNS:server6,DNS:server46\n')
    openssl('req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/O=interop root',
            '-keyout', at('0.key'), '-out', at('0.pem'))
    for i in range(1, length + 1):
        leaf = i == length
        openssl('req', '-new', '-newkey', 'rsa:2048', '-nodes', '-keyout', at(f'{i}.key'), '-out', at('csr'),
                '-subj', '/O=interop ' + ('leaf' if leaf else f'intermediate {i}'))
        openssl('x509', '-req', '-sha256', '-days', '2', '-in', at('csr'), '-out', at(f'{i}.pem'),
                '-CA', at(f'{i - 1}.pem'), '-CAkey', at(f'{i - 1}.key'), '-set_serial', str(i),
                '-extfile', at('leaf.cnf' if leaf else 'ca.cnf'))
    with open(at('cert.pem'), 'wb') as chain:
        for i in range(length, 0, -1):
            with open(at(f'{i}.pem'), 'rb') as f:
                chain.write(f.read())
    shutil.copy(at(f'{length}.key'), at('priv.key'))
    shutil.copy(at('0.pem'), at('ca.pem'))


def make_files(case, folder, seed):
    """Their names; the bytes are random."""
    chance, names = random.Random(seed), []
    os.mkdir(folder)
    for i, size in enumerate(case.sizes):
        name = f'{i}-' + ''.join(chance.choices('abcdefghijklmnopqrstuvwxyz', k=12))
        name = (name + 'x' * case.name_size)[:case.name_size or None]
        with open(os.path.join(folder, name), 'wb') as f:
            f.write(os.urandom(size))
        names.append(name)
    return names


def key_log(folder):
    """The client's, else the server's, if it is one."""
    for side in ('client', 'server'):
        path = os.path.join(folder, side, 'keys.log')
        if os.path.exists(path):
            with open(path, encoding='ascii', errors='replace') as f:
                if 'SERVER_HANDSHAKE_TRAFFIC_SECRET' in f.read():
                    return path
    return None


def environment(folder, side, o, h3):
    logs = os.path.join(folder, side)
    env = {'ROLE': side, 'WWW': os.path.join(folder, 'www'), 'DOWNLOADS': os.path.join(folder, 'downloads'),
           'CERTS': os.path.join(folder, 'certs'), 'PORT': str(PORT), 'ANTQ': o.antq, 'SSLKEYLOGFILE':
           os.path.join(logs, 'keys.log'), 'QLOGDIR': os.path.join(logs, 'qlog'), 'TMPDIR': folder,
           'PREFERRED_ADDRESS': f'10.9.0.2:{PREFERRED}', 'PREFERRED_ADDRESS6': f'[fd09::2]:{PREFERRED}',
           'CLIENT_PARAMS': '', 'SERVER_PARAMS': ''}
    os.makedirs(env['QLOGDIR'])
    if h3:
        env['ALPN'] = 'h3'
    return env


def transfer(case, room, commands, envs):
    """Server and client, with the time that the case has. Returns None, or (result, reason)."""
    server = room.start('server', commands['server'], envs['server'])
    if not room.wait_for_port(server, 10):
        if server.poll() == UNSUPPORTED:
            return 'unsupported', 'server: ' + last_words(room, 'server')
        return 'failed', f'the server does not listen: {last_words(room, "server")}'
    client = room.start('client', commands['client'], envs['client'])
    try:
        status = client.wait(case.seconds)
    except subprocess.TimeoutExpired:
        room.end(client)
        return 'failed', f'the client did not end within {case.seconds} s'
    # What is still on its way is still seen; then the server says goodbye.
    time.sleep(0.2 + 2 * (case.delay or 15) / 1000)
    if server.poll() is None:
        room.end(server)
    elif server.poll() == UNSUPPORTED:
        return 'unsupported', 'server: ' + last_words(room, 'server')
    if status == UNSUPPORTED:
        return 'unsupported', 'client: ' + last_words(room, 'client')
    if status != 0:
        return 'failed', f'the client ended with {status}: {last_words(room, "client")}'
    return None


def last_words(room, side):
    lines = room.read(f'{side}/output.txt').decode(errors='replace').strip().splitlines()
    words = lines[-1] if lines else 'without a word'
    return words.split('not supported: ')[-1][:160]


def play(case, pair, folder, o, judge=None):
    """One case: (result, reason)."""
    for name in ('client', 'server', 'downloads'):
        os.mkdir(os.path.join(folder, name))
    make_certificates(os.path.join(folder, 'certs'), case.chain)
    names = make_files(case, os.path.join(folder, 'www'), o.seed)
    h3 = any(name in o.h3 for name in pair)
    envs, commands = {}, {}
    for side, name, testcase in (('client', pair[0], case.client), ('server', pair[1], case.server)):
        envs[side] = environment(folder, side, o, h3)
        envs[side]['TESTCASE'] = testcase
        commands[side] = o.endpoints[name]
    envs['client']['REQUESTS'] = ' '.join(f'https://{case.host}:{PORT}/{n}' for n in names)
    link = cases.LINK + case.link + ['--seed', str(o.seed)]
    if case.delay:
        link += ['--delay', str(case.delay)]
    with Room(folder, o.link, PORT) as room:
        room.connect(link)
        ended = transfer(case, room, commands, envs)
        room.disconnect()
    if ended:
        return ended
    run = Run(folder, names, key_log(folder))
    if judge:
        return judge(run)
    wrong = case.judge(run)
    return ('failed', wrong) if wrong else ('passed', '; '.join(run.notes))


def play_in(folder, case, pair, o, judge=None):
    """The same in a folder of its own, timed, whatever happens."""
    os.makedirs(folder)
    start = time.monotonic()
    try:
        result, reason = play(case, pair, folder, o, judge)
    except (OSError, RuntimeError, subprocess.SubprocessError) as e:
        result, reason = 'failed', f'the runner: {e}'
    return {'case': case.name, 'client': pair[0], 'server': pair[1], 'result': result, 'reason': reason,
            'seconds': round(time.monotonic() - start, 1)}


# What a plain handshake over the usual link is not. (It may be longrtt: on a machine so busy that the
# ClientHello goes twice.)
NOT_A_HANDSHAKE = ('chacha20', 'retry', 'resumption', 'zerortt', 'keyupdate', 'amplificationlimit',
                   'handshakeloss', 'ipv6', 'v2', 'rebind-port', 'rebind-addr', 'connectionmigration')


def control(o, base):
    """The judges must be able to say no: none of these may accept a plain handshake."""
    by_name = {c.name: c for c in cases.CASES}

    def judge(run):
        accepted = []
        for name in NOT_A_HANDSHAKE:
            wrong = by_name[name].judge(run)
            print(f'control    {name:20} {wrong or "ACCEPTED"}', flush=True)
            if not wrong:
                accepted.append(name)
        os.unlink(os.path.join(run.downloads, run.names[0]))
        if not by_name['handshake'].judge(run):
            accepted.append('handshake without its file')
        return ('failed', 'accepted: ' + ' '.join(accepted)) if accepted else ('passed', '')
    row = play_in(os.path.join(base, 'control'), by_name['handshake'], ('antq', 'antq'), o, judge)
    row['case'] = 'control'
    return row


def show(row):
    pair = f'{row["client"]}:{row["server"]}'
    print(f'{row["result"]:12}{row["case"]:20} {pair:14} {row["seconds"]:6.1f} s  '
          f'{row["reason"]}'.rstrip(), flush=True)


def table(rows, pairs):
    """Markdown, as the README has it."""
    cell = {(r['case'], r['client'], r['server']): r['result'] for r in rows}
    heads = [f'{client} from {server}' for client, server in pairs]
    widths = [max(len(h), 11) for h in heads]
    lines = [f'| {"":20} | ' + ' | '.join(h.ljust(w) for h, w in zip(heads, widths)) + ' |',
             '|' + '-' * 22 + '|' + '|'.join('-' * (w + 2) for w in widths) + '|']
    for name in dict.fromkeys(r['case'] for r in rows):
        cells = [cell.get((name, *pair), '-').ljust(w) for pair, w in zip(pairs, widths)]
        lines.append(f'| {name:20} | ' + ' | '.join(cells) + ' |')
    counts = []
    for pair, w in zip(pairs, widths):
        mine = [r['result'] for r in rows if (r['client'], r['server']) == pair]
        counts.append(f'{mine.count("passed")} of {len(mine)}'.ljust(w))
    return '\n'.join(lines + [f'| {"passed":20} | ' + ' | '.join(counts) + ' |'])


def main():
    o = options()
    pairs = [tuple(pair.split(':', 1)) for pair in o.pair]
    rows, controls = [], []
    scratch = tempfile.mkdtemp(prefix='antq-interop.')
    base = os.path.abspath(o.logs) if o.logs else scratch
    try:
        if o.control:
            controls.append(control(o, base))
            show(controls[0])
        for pair in pairs:
            for case in o.cases:
                folder = os.path.join(base, '_'.join(pair), case.name)
                row = play_in(folder, case, pair, o)
                rows.append(row)
                show(row)
                if not o.logs:
                    shutil.rmtree(folder, ignore_errors=True)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    print('\n' + table(rows, pairs) + '\n')
    if o.json:
        with open(o.json, 'w', encoding='utf-8') as f:
            json.dump({'seed': o.seed, 'results': controls + rows}, f, indent=1)
            f.write('\n')
    results = [r['result'] for r in controls + rows]
    failed = results.count('failed')
    print(f'{results.count("passed")} passed, {failed} failed, {results.count("unsupported")} skipped')
    return 1 if failed or not results.count('passed') else 0


if __name__ == '__main__':
    sys.exit(main())
