"""nat_probe.py CHECK NAME=PATH... -- what the NATs of nat_lab.sh do to packets, in the words of RFC 4787.

One process with sockets in several network namespaces: NAME is a namespace's in the lab, PATH where the
kernel has it. So each check is a plain sequence of sends and receives. That a packet does not come is
shown by order, not by waiting: another one, sent behind it the same way, has come (links keep the order).

  facts        mapping, filtering, ports, and whether an unasked packet spoils a later mapping, of a's NAT
  hairpin      whether b, behind a's NAT, is reached by its inner and by its outer address
  ttl HOPS     a packet from a with TTL HOPS opens all NATs of a, and does not reach b's; one more does
  rebind KEEPS after conntrack -F the port is another (0) or the same (1), and nothing comes in before
  blocked      UDP does not pass, TCP does
  trip         round trips between each two of a, b and boot, the least of some, in ms
  cut          whether packets from a to b, which is public, do not come, while those through boot do
  relayed      sends boot what is relayed, three times, and what is not, twice

Prints one line; ends with 1 and a message when what must hold everywhere does not.
"""
import ctypes
import os
import select
import socket
import subprocess
import sys
import time

PATIENCE = 20
NS = dict(word.split('=', 1) for word in sys.argv[2:] if '=' in word)
WORDS = [word for word in sys.argv[2:] if '=' not in word]
BOOT = [('192.0.2.2', 3478), ('192.0.2.2', 3479), ('192.0.2.3', 3478), ('192.0.2.3', 3479)]
BOOT6 = [('2001:db8:b::2', 3478), ('2001:db8:b::2', 3479)]
V6 = 'fw6' in WORDS
LIBC = ctypes.CDLL(None, use_errno=True)
HOME = os.open('/proc/self/ns/net', os.O_RDONLY)


def enter(fd):
    if LIBC.setns(fd, 0x40000000) != 0:
        raise OSError(ctypes.get_errno(), 'setns')


def make(name, at=None, kind=socket.SOCK_DGRAM, v6=False):
    """A socket in a namespace: it stays there when this process goes home."""
    there = os.open(NS[name], os.O_RDONLY)
    enter(there)
    try:
        s = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, kind)
    finally:
        enter(HOME)
        os.close(there)
    s.settimeout(PATIENCE)
    s.bind(at or ('::' if v6 else '0.0.0.0', 0))
    return s


def run(name, *command):
    return subprocess.run(['nsenter', '--net=' + NS[name], *command], check=True, capture_output=True,
                          text=True).stdout


def came(nat):
    return int(run(nat, 'nft', 'list', 'counters').split('packets ')[1].split()[0])


def wait_for(condition, what):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def servers():
    return [make('boot', at, v6=V6) for at in (BOOT6 if V6 else BOOT)]


def address(server):
    return server.getsockname()[:2]


def ask(host, server):
    """How the server sees the host's socket."""
    host.sendto(b'who', address(server))
    data, seen = server.recvfrom(100)
    assert data == b'who', data
    return seen[:2]


def next_of(s):
    return s.recvfrom(100)[0]


def no_more(s):
    return not select.select([s], [], [], 0)[0]


def mapping():
    boot, host = servers(), make('a', v6=V6)
    seen = [ask(host, server) for server in boot]
    assert len({ip for ip, _ in seen}) == 1, f'several outer addresses: {seen}'
    ports = [port for _, port in seen]
    kept = ports[0] == host.getsockname()[1]
    if len(set(ports)) == 1:
        return 'endpoint-independent', 'kept' if kept else 'changed'
    assert len(set(ports)) == len(ports), f'neither one port nor one for each: {ports}'
    steps = {(after - before) % 512 for before, after in zip(ports, ports[1:])}
    return 'address and port-dependent', 'counting' if steps == {1} else 'random'


def filtering():
    """The others answer first, the one that was asked last."""
    boot, host = servers(), make('a', v6=V6)
    seen = ask(host, boot[0])
    for i in reversed(range(len(boot))):
        boot[i].sendto(b'%d' % i, seen)
    got = {next_of(host)}
    while b'0' not in got:
        got.add(next_of(host))
    assert no_more(host)
    words = {frozenset({b'0'}): 'address and port-dependent', frozenset({b'0', b'1'}): 'address-dependent',
             frozenset({b'0', b'1', b'2', b'3'}): 'endpoint-independent'}
    return words[frozenset(got)]


def spoiled():
    """An unasked packet to a mapping from where it is wanted later: does that still get the same port?"""
    boot, host = servers(), make('a', v6=V6)
    seen, before = ask(host, boot[0]), came('nat') if 'nat' in NS else 0
    boot[1].sendto(b'unasked', seen)
    if 'nat' in NS:
        wait_for(lambda: came('nat') > before, 'the unasked packet does not come')
    again = ask(host, boot[1])
    return 'the same' if again == seen else 'another'


def facts():
    kind, ports = mapping()
    print(f'mapping {kind}, port {ports}, filtering {filtering()}, unasked, then {spoiled()}')


def hairpin():
    boot, a, b = servers()[0], make('a'), make('b')
    outer_a, outer_b = ask(a, boot), ask(b, boot)

    def reaches(to, source):
        a.sendto(b'from a', to)
        ask(a, boot)
        boot.sendto(b'fence', outer_b)
        data, seen = b.recvfrom(100)
        if data == b'fence':
            return 'no'
        assert next_of(b) == b'fence' and seen == source, f'from {seen}, which should be {source}'
        b.sendto(b'back', seen)
        assert a.recvfrom(100) == (b'back', to)
        return 'yes'

    inner = reaches(('192.168.1.3', b.getsockname()[1]), ('192.168.1.2', a.getsockname()[1]))
    print(f'inner address {inner}, outer {reaches(outer_b, outer_a)}')


def ttl():
    hops, v6 = int(WORDS[0]), V6
    boot, a, b = servers()[0], make('a', v6=v6), make('b', v6=v6)
    outer_a, outer_b, before = ask(a, boot), ask(b, boot), came('natB')

    def send(host, hops_out):
        option = (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS) if v6 else (socket.IPPROTO_IP, socket.IP_TTL)
        host.setsockopt(*option, hops_out)
        host.sendto(b'open', outer_b)
        host.setsockopt(*option, 64)

    def is_shut(host, outer):
        """What b sends does not come in; boot's, sent after it has come to the NAT, does."""
        arrived = came('nat')
        b.sendto(b'early', outer)
        wait_for(lambda: came('nat') > arrived, 'what b sends does not come to the NAT')
        boot.sendto(b'fence', outer)
        return next_of(host) == b'fence' and no_more(host)

    # An INPUT that takes it would keep b's early packet in mind, and the NAT never open to b (facts).
    assert 'open' in WORDS or is_shut(a, outer_a), 'open before it is opened'
    send(a, hops)
    ask(a, boot)
    assert came('natB') == before, f'TTL {hops} reaches the other NAT'
    b.sendto(b'late', outer_a)
    assert next_of(a) == b'late', f'TTL {hops} does not open'
    send(a, hops + 1)
    wait_for(lambda: came('natB') == before + 1, f'TTL {hops + 1} does not reach the other NAT')
    if hops > 2:
        another = make('a', v6=v6)
        outer = ask(another, boot)
        send(another, hops - 1)
        assert is_shut(another, outer), f'TTL {hops - 1} opens the outer NAT, too'
    print('yes')


def rebind():
    boot, host = servers(), make('a')
    seen = ask(host, boot[0])
    run('nat', 'conntrack', '-F')
    before = came('nat')
    boot[0].sendto(b'forgotten', seen)
    wait_for(lambda: came('nat') > before, 'it does not come to the NAT')
    boot[1].sendto(b'fence', ask(host, boot[1]))
    assert next_of(host) == b'fence' and no_more(host), 'conntrack -F forgets nothing'
    again = ask(host, boot[0])
    boot[0].sendto(b'again', again)
    assert next_of(host) == b'again'
    kept = again == seen
    assert kept == (WORDS[0] == '1'), f'{seen}, then {again}'
    print('yes')


def blocked():
    boot, host = servers()[0], make('a')
    listener, caller = make('boot', BOOT[0], socket.SOCK_STREAM), make('a', None, socket.SOCK_STREAM)
    listener.listen()
    host.sendto(b'who', address(boot))
    caller.connect(BOOT[0])
    listener.accept()
    assert no_more(boot), 'UDP passes'
    print('yes')


def trip():
    """Through whatever NAT there is: a and b ask boot, and each other where the lab says how."""
    boot, a, b = servers()[0], make('a'), make('b')
    pairs = [(a, boot, address(boot)), (b, boot, address(boot))]
    if 'direct' in WORDS:
        pairs.append((a, b, (WORDS[-1], b.getsockname()[1])))
    least = []
    for one, other, to in pairs:
        trips = []
        for _ in range(5):
            began = time.monotonic()
            one.sendto(b'there', to)
            other.sendto(b'back', other.recvfrom(100)[1])
            next_of(one)
            trips.append((time.monotonic() - began) * 1000)
        least.append(min(trips))
    assert min(least) >= 49.9 and max(least) < 250, least
    print(' '.join(f'{ms:.1f}' for ms in least))


def cut():
    boot, a, b = servers()[0], make('a'), make('b')
    outer_b = ask(b, boot)
    a.sendto(b'from a', outer_b)
    ask(a, boot)
    boot.sendto(b'fence', outer_b)
    print('no' if next_of(b) == b'from a' else 'yes')


def relayed():
    boot, host = make('boot', ('192.0.2.2', 4433)), make('a')
    for first in b'\x30\x40\x30\xc0\x30':
        host.sendto(bytes([first]) + bytes(71), ('192.0.2.2', 4433))
    for _ in range(5):
        next_of(boot)
    print('sent')


CHECKS = {f.__name__: f for f in (facts, hairpin, ttl, rebind, blocked, trip, cut, relayed)}
try:
    CHECKS[sys.argv[1]]()
except (AssertionError, socket.timeout) as e:
    sys.exit(f'nat_probe.py {" ".join(sys.argv[1:2] + WORDS)}: {e}')
