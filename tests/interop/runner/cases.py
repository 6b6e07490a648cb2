"""cases.py -- the interop runner's 22 QUIC test cases: what is fetched over which link, and when it passes.

The criteria are those of github.com/quic-interop/quic-interop-runner (testcases_quic.py), told in the words
of each judge below. A judge returns None, or a sentence that says what is wrong. It gets a Run:

    run.names               the files that the client had to fetch
    run.www, run.downloads  where they were, where they had to go
    run.client, run.server  wire.Trace of the left and of the right end of the link
    run.keys                there is a key log
    run.notes               what should be told of a case that passes

TESTCASE, what the endpoints are told, is the case's name unless the table says otherwise.
"""
import filecmp
import os
from collections import namedtuple

from wire import (HANDSHAKE, INITIAL, NEGOTIATION, ONE_RTT, RETRY, V1, V2, ZERO_RTT)

KB, MB = 1 << 10, 1 << 20
CHACHA20 = 0x1303
LINK = ['--delay', '15', '--rate', '10', '--queue', '25']
MULTIPLEXED = 1999
EARLY_FILES, EARLY_NAME = 40, 250
CONNECTIONS = 50

# sizes: of the files. link: beyond LINK. client, server: TESTCASE where it is not the name.
# fast: seconds matter little, so `ninja check` plays it.
Case = namedtuple('Case', 'name what judge sizes link client server host seconds chain name_size fast delay')


def case(name, what, judge, sizes, link=(), client=None, server=None, host='server4', seconds=60, chain=1,
         name_size=0, fast=False, delay=None):
    return Case(name, what, judge, sizes, list(link), client or name, server or name, host, seconds, chain,
                name_size, fast, delay)


# ---- what many cases ask for

def files(run):
    """Exactly the files that were asked for came, byte by byte."""
    came = {n for n in os.listdir(run.downloads) if os.path.isfile(os.path.join(run.downloads, n))}
    if came - set(run.names):
        return f'{len(came - set(run.names))} files that nobody asked for'
    if set(run.names) - came:
        return f'{len(set(run.names) - came)} of {len(run.names)} files did not come'
    for n in run.names:
        if not filecmp.cmp(os.path.join(run.www, n), os.path.join(run.downloads, n), shallow=False):
            return f'{n} came with other bytes'
    return None


def version_and_files(run):
    """The server speaks version 1 only, and the files came."""
    versions = run.server.versions(INITIAL, True)
    if versions != {V1}:
        return f'the server\'s Initials have versions {sorted(map(hex, versions))}, not 0x1'
    return files(run)


def handshakes(run, count):
    """The server's connection ids in its Initials tell how many handshakes there were."""
    ids = {h.scid for _, h in run.server.packets(INITIAL, True)}
    return None if len(ids) == count else f'{len(ids)} handshakes instead of {count}'


def keys(run):
    return None if run.keys else 'neither end wrote a key log'


def plain(run, count=1):
    return handshakes(run, count) or version_and_files(run)


# ---- the judges

def handshake(run):
    """One handshake, no Retry."""
    if run.client.packets(RETRY, True):
        return 'a Retry was sent'
    return plain(run)


def longrtt(run):
    """The ClientHello is sent at least twice."""
    run.client.open()
    hellos = 0
    for d in run.client.inside(False):
        if any(h.kind == INITIAL for h in d.headers):
            hellos += '1' in d.values('tls.handshake.type') or '0' in d.values('quic.crypto.offset')
    if hellos < 2:
        return f'{hellos} ClientHellos, not at least 2'
    return plain(run)


def chacha20(run):
    """The client offers ChaCha20-Poly1305 first, which is what the runner's code looks at, and it is chosen,
    which we add. Its text wants nothing else offered; what is, is noted."""
    offered, chosen = [], set()
    for d in run.client.inside(False):
        if any(h.kind == INITIAL for h in d.headers):
            offered += [int(v, 0) for v in d.values('tls.handshake.ciphersuite')]
    for d in run.client.inside(True):
        if any(h.kind == INITIAL for h in d.headers):
            chosen |= {int(v, 0) for v in d.values('tls.handshake.ciphersuite')}
    if not offered or offered[0] != CHACHA20:
        return f'the client offers {" ".join(map(hex, offered))}: not 0x1303 first'
    if chosen != {CHACHA20}:
        return f'the server chose {sorted(map(hex, chosen))}, not 0x1303'
    if set(offered) != {CHACHA20}:
        run.notes.append(f'offers {" ".join(map(hex, offered))}, not 0x1303 alone')
    return plain(run)


def multiplexing(run):
    """1999 files over one connection of at most 1000 streams at once."""
    limits = [int(v) for d in run.client.inside(True) if any(h.kind == HANDSHAKE for h in d.headers)
              for v in d.values('tls.quic.parameter.initial_max_streams_bidi')]
    if not limits or max(limits) > 1000:
        return f'the server\'s initial_max_streams_bidi is {limits or "not seen"}, not at most 1000'
    return keys(run) or plain(run)


def retry(run):
    """A Retry is sent, its token comes back in an Initial whose packet number goes on."""
    tokens = {h.token for _, h in run.client.packets(RETRY, True)}
    if not tokens:
        return 'no Retry was sent'
    highest = -1
    for d in run.client.inside(False):
        first = next((h for h in d.headers if h.kind == INITIAL), None)
        number = next(map(int, d.values('quic.packet_number')), -1)
        if not first:
            continue
        if not first.token:
            highest = max(highest, number)
        elif number <= highest:
            return f'packet number {number} after {highest}: begun anew after the Retry'
        elif first.token in tokens:
            return plain(run)
    return 'no Initial has the token of the Retry'


def resumption(run):
    """Two handshakes, the first with a certificate, the second without."""
    with_certificate, order = set(), []
    for d in run.client.inside(True):
        for h in d.headers:
            if h.kind == HANDSHAKE:
                order.append(h.scid)
                if d.values('tls.handshake.certificates_length'):
                    with_certificate.add(h.scid)
    if len(set(order)) != 2:
        return f'Handshake packets of {len(set(order))} connections, not 2'
    if order[0] not in with_certificate:
        return 'no certificate in the first handshake'
    if order[-1] in with_certificate:
        return 'a certificate in the second handshake: not resumed'
    return keys(run) or plain(run, 2)


def zerortt(run):
    """Two handshakes; the requests are in 0-RTT packets, and 1-RTT has little to say."""
    early = sum(h.size for _, h in run.client.packets(ZERO_RTT, False))
    if early == 0:
        return 'the client sent no 0-RTT packet'
    late = 0
    for d in run.client.inside(False):
        if any(h.kind == ONE_RTT for h in d.headers):
            late += sum(len(v) // 2 for v in d.values('quic.protected_payload'))
    if late > EARLY_NAME * EARLY_FILES // 2:
        return f'{late} bytes in the client\'s 1-RTT packets: the requests did not go early'
    return plain(run, 2)


def keyupdate(run):
    """Both ends send packets with key phase 1."""
    phases = {}
    for who, trace in ((False, run.client), (True, run.server)):
        values = [v for d in trace.inside(who) for v in d.values('quic.key_phase')]
        phases[who] = sum(v in ('1', 'True') for v in values)
    if not phases[False] or not phases[True]:
        return f'{phases[False]} packets of the client and {phases[True]} of the server in key phase 1'
    return keys(run) or plain(run)


def ecn(run):
    """Each end marks with ECT and never with CE, and tells in ACKs what marks it saw."""
    ends = ((False, 'client', run.client), (True, 'server', run.server))
    for who, end, trace in ends:
        marks = [0, 0, 0, 0]
        for d in trace.way(who):
            marks[d.ecn] += 1
        if not marks[1] and not marks[2]:
            return f'the {end} marks no packet with ECT'
        if marks[3]:
            return f'the {end} marks {marks[3]} packets with CE'
    for who, end, trace in ends:
        if not any(d.values('quic.ack.ect0_count') for d in trace.inside(who)):
            return f'the {end} sends no ACK with ECN counts'
    return keys(run) or handshake(run)


def amplificationlimit(run):
    """A long chain (7500 bytes of CRYPTO), and never more than three times what the client sent (the
    runner lets a fourth time pass) before its address is validated."""
    long = 0
    for d in run.server.inside(True):
        if any(h.kind == HANDSHAKE for h in d.headers):
            for offset, size in zip(d.values('quic.crypto.offset'), d.values('quic.crypto.length')):
                long = max(long, int(offset) + int(size))
    if long < 7500:
        return f'the server sent {long} bytes in Handshake CRYPTO frames, not 7500: another chain?'
    wrong = keys(run) or plain(run)
    if wrong:
        return wrong
    ours = {h.scid for _, h in run.server.packets(INITIAL, True) if len(h.scid) >= 8}
    allowed = 0
    for d in run.server.datagrams:
        if not d.headers or d.headers[0].kind == NEGOTIATION:
            return 'a packet that does not belong here'
        first = d.headers[0]
        if not d.from_server():
            if first.kind == HANDSHAKE or first.dcid in ours:
                return None
            allowed += 3 * len(d.payload)
        elif len(d.payload) > allowed:
            return f'the server sends {len(d.payload)} bytes where {allowed} are allowed'
        else:
            allowed -= len(d.payload)
    return 'the client\'s address was never validated'


def multiconnect(run):
    """A connection for each file."""
    return plain(run, CONNECTIONS)


def ipv6(run):
    """No QUIC over IPv4."""
    if any(not d.ipv6 for d in run.server.way(True)):
        return 'the server sends packets over IPv4'
    return plain(run)


def v2(run):
    """Compatible version negotiation: the client begins with version 1, all ends in version 2."""
    begun = run.client.versions(INITIAL, False)
    if V1 not in begun:
        return f'the client\'s Initials have versions {sorted(map(hex, begun))}, 0x1 not among them'
    if V2 not in run.server.versions(INITIAL, True):
        return 'no Initial of the server has version 2'
    for who, end, trace in ((False, 'client', run.client), (True, 'server', run.server)):
        versions = trace.versions(HANDSHAKE, who)
        if versions != {V2}:
            return f'the {end}\'s Handshake packets have versions {sorted(map(hex, versions))}'
    return files(run)


def rebinding(run):
    """On each new path the server's first packet challenges, and every challenge is answered."""
    wrong = keys(run) or plain(run)
    if wrong:
        return wrong
    paths, last, challenges = set(), None, set()
    for d in run.server.inside(True):
        if last is not None and d.path() != last and d.path() not in paths:
            if not d.values('quic.path_challenge.data'):
                return f'the server\'s first packet to {d.dst}:{d.dport} has no PATH_CHALLENGE'
            challenges.add(d.values('quic.path_challenge.data')[0])
        last = d.path()
        paths.add(last)
    if len(paths) < 2:
        return 'the server sent on one path only'
    answers = {v for d in run.client.inside(False) for v in d.values('quic.path_response.data')}
    if challenges - answers:
        return f'{len(challenges - answers)} of {len(challenges)} PATH_CHALLENGEs were not answered'
    return None


def rebind_addr(run):
    """The same, and the client's address changes, too."""
    if len({d.dst for d in run.server.way(True)}) < 2:
        return 'the server sent to one address only'
    return rebinding(run)


def connectionmigration(run):
    """The same, by the client's own will: it uses a new connection id on the new path."""
    wrong = rebinding(run)
    if wrong:
        return wrong
    paths, last, dcid = set(), None, None
    for d in run.client.way(False):
        now = d.headers[0].dcid if d.headers else None
        if last is not None and d.path() != last and d.path() not in paths and now == dcid:
            return f'the client uses its connection id on the path to {d.dst}:{d.dport}, too'
        last, dcid = d.path(), now
        paths.add(last)
    return None


BURSTS = ['--burst', '3']
REBIND = ['--rebind', '1', '--rebind-every', '5']

CASES = (
    case('handshake', 'a handshake and a small file', handshake, [KB], fast=True),
    case('transfer', 'three files, flow control', plain, [2 * MB, 3 * MB, 5 * MB]),
    case('longrtt', 'a handshake with a round trip of 1.5 s', longrtt, [KB], delay=750, client='handshake',
         server='handshake', fast=True),
    case('chacha20', 'ChaCha20-Poly1305 alone', chacha20, [3 * MB], fast=True),
    case('multiplexing', f'{MULTIPLEXED} files over one connection', multiplexing, [32] * MULTIPLEXED,
         client='transfer', server='transfer', fast=True),
    case('retry', 'a Retry and its token', retry, [10 * KB], fast=True),
    case('resumption', 'a resumed session', resumption, [5 * KB, 10 * KB], fast=True),
    case('zerortt', 'requests in 0-RTT', zerortt, [32] * EARLY_FILES, name_size=EARLY_NAME, fast=True),
    case('http3', 'three files over HTTP/3', plain, [5 * KB, 10 * KB, 500 * KB], fast=True),
    case('blackhole', 'nothing passes for 2 of each 7 s', plain, [10 * MB], ['--on', '5', '--off', '2'],
         client='transfer', server='transfer'),
    case('keyupdate', 'a key update', keyupdate, [3 * MB], server='transfer', fast=True),
    case('ecn', 'ECN marks', ecn, [100 * KB], fast=True),
    case('amplificationlimit', 'at most three times before the address is validated', amplificationlimit,
         [5 * KB], ['--drop-first', '2', '--drop-last', '7'], client='transfer', server='transfer', chain=9,
         fast=True),
    case('handshakeloss', '50 handshakes, 30 % lost', multiconnect, [KB] * CONNECTIONS,
         ['--loss', '30'] + BURSTS, client='multiconnect', server='multiconnect', seconds=300),
    case('transferloss', '2 % lost', plain, [2 * MB], ['--loss', '2'] + BURSTS, client='transfer',
         server='transfer', fast=True),
    case('handshakecorruption', '50 handshakes, 30 % corrupted', multiconnect, [KB] * CONNECTIONS,
         ['--corrupt', '30', '--corrupt-head', '50'] + BURSTS, client='multiconnect', server='multiconnect',
         seconds=300),
    case('transfercorruption', '2 % corrupted', plain, [2 * MB],
         ['--corrupt', '2', '--corrupt-head', '50'] + BURSTS, client='transfer', server='transfer', fast=True),
    case('ipv6', 'over IPv6', ipv6, [5 * KB, 10 * KB], client='transfer', server='transfer', host='server6',
         fast=True),
    case('v2', 'compatible negotiation of version 2', v2, [KB], fast=True),
    case('rebind-port', 'the client\'s port changes', rebinding, [10 * MB], REBIND, client='transfer',
         server='transfer'),
    case('rebind-addr', 'the client\'s address changes', rebind_addr, [10 * MB], REBIND + ['--rebind-address'],
         client='transfer', server='transfer'),
    case('connectionmigration', 'to the server\'s preferred address', connectionmigration, [2 * MB],
         client='transfer', host='server46', fast=True),
)
