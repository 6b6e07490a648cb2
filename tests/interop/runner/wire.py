"""wire.py -- what a capture says: QUIC's unprotected headers, read here, and what is inside, by tshark.

The headers say most of what the criteria ask for: versions, packet types, connection ids, tokens, sizes,
addresses, ECN marks; that needs no keys and knows version 2 (RFC 9369), which tshark 4.0 does not. For
the rest (TLS messages, frames, key phases) tshark decrypts with the key log, a row for each datagram.

The captures are the link emulator's: pcap, raw IP, one file for each end of the link.
"""
import os
import socket
import struct
import subprocess

V1, V2 = 0x1, 0x6b3343cf
INITIAL, ZERO_RTT, HANDSHAKE, RETRY, ONE_RTT, NEGOTIATION = (
    'Initial', '0-RTT', 'Handshake', 'Retry', '1-RTT', 'Version Negotiation')
TYPES = {V1: (INITIAL, ZERO_RTT, HANDSHAKE, RETRY), V2: (RETRY, INITIAL, ZERO_RTT, HANDSHAKE)}

SERVER_ADDRESSES = ('10.9.0.2', 'fd09::2')

# tshark's fields, a column each; several values in one datagram are separated by blanks.
FIELDS = ('frame.number', 'tls.handshake.type', 'tls.handshake.ciphersuite',
          'tls.handshake.certificates_length', 'tls.quic.parameter.initial_max_streams_bidi',
          'quic.crypto.offset', 'quic.crypto.length', 'quic.packet_number', 'quic.key_phase',
          'quic.protected_payload', 'quic.ack.ect0_count', 'quic.path_challenge.data',
          'quic.path_response.data', 'quic.decryption_failed')


class Header:
    """One QUIC packet's header."""

    def __init__(self, kind, version=None, dcid=b'', scid=b'', token=b'', size=0):
        self.kind, self.version = kind, version
        self.dcid, self.scid, self.token, self.size = dcid, scid, token, size


class Datagram:
    """One UDP datagram with the headers of its QUIC packets, and tshark's row once it was asked."""

    def __init__(self, number, time, ip, udp):
        self.number, self.time = number, time
        self.src, self.dst, self.ecn, self.ipv6 = ip
        self.sport, self.dport = struct.unpack('!HH', udp[:4])
        self.payload = udp[8:]
        self.headers = headers(self.payload)
        self.inside = {}

    def from_server(self):
        return self.src in SERVER_ADDRESSES

    def path(self):
        return (self.src, self.sport, self.dst, self.dport)

    def values(self, field):
        return self.inside.get(field, [])


def varint(data, at):
    size = 1 << (data[at] >> 6)
    value = data[at] & 0x3f
    for byte in data[at + 1:at + size]:
        value = value << 8 | byte
    return value, at + size


def long_header(data):
    """The header of a packet with a long header, and how many bytes the packet has."""
    version = struct.unpack('!I', data[1:5])[0]
    at = 6 + data[5]
    dcid = data[6:at]
    scid = data[at + 1:at + 1 + data[at]]
    at += 1 + data[at]
    if version == 0:
        return Header(NEGOTIATION, 0, dcid, scid, size=len(data)), len(data)
    kind = TYPES.get(version, TYPES[V1])[data[0] >> 4 & 3]
    if kind == RETRY:
        return Header(kind, version, dcid, scid, data[at:-16], len(data)), len(data)
    token = b''
    if kind == INITIAL:
        length, at = varint(data, at)
        token, at = data[at:at + length], at + length
    length, at = varint(data, at)
    return Header(kind, version, dcid, scid, token, length), at + length


def headers(data):
    """Those of the coalesced packets in a datagram; a corrupted rest is left out."""
    found = []
    try:
        while data and (data[0] & 0xc0 or not found):    # zeros after a packet are padding
            if not data[0] & 0x80:
                found.append(Header(ONE_RTT, dcid=data[1:21], size=len(data)))
                break
            header, size = long_header(data)
            found.append(header)
            data = data[size:]
    except (IndexError, struct.error):
        pass
    return found


def address(packed):
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


def read(path):
    """The UDP datagrams in a capture."""
    with open(path, 'rb') as f:
        data = f.read()
    at, number, found = 24, 0, []
    while at + 16 <= len(data):
        seconds, us, size, _ = struct.unpack('=IIII', data[at:at + 16])
        packet, at, number = data[at + 16:at + 16 + size], at + 16 + size, number + 1
        time = seconds + us / 1e6
        if packet[0] >> 4 == 4 and packet[9] == 17:
            ip = (address(packet[12:16]), address(packet[16:20]), packet[1] & 3, False)
            found.append(Datagram(number, time, ip, packet[(packet[0] & 15) * 4:]))
        elif packet[0] >> 4 == 6 and packet[6] == 17:
            ip = (address(packet[8:24]), address(packet[24:40]), packet[1] >> 4 & 3, True)
            found.append(Datagram(number, time, ip, packet[40:]))
    return found


class Trace:
    """One end's capture. `keys` names a key log, or is None."""

    def __init__(self, path, keys, ports):
        self.path, self.keys, self.ports = path, keys, ports
        self.datagrams = read(path)
        self.opened = False

    def open(self):
        """Lets tshark look inside, once."""
        if self.opened:
            return
        self.opened = True
        command = ['tshark', '-n', '-r', self.path, '-T', 'fields', '-E', 'separator=/t',
                   '-E', 'occurrence=a', '-E', 'aggregator=/s']
        if self.keys:
            command += ['-o', f'tls.keylog_file:{self.keys}']
        for port in self.ports:
            command += ['-d', f'udp.port=={port},quic']
        for field in FIELDS:
            command += ['-e', field]
        run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                             timeout=300, env={**os.environ, 'LC_ALL': 'C'})
        if run.returncode:
            raise RuntimeError(f'tshark: {run.stderr.strip()}')
        rows = {}
        for line in run.stdout.splitlines():
            cells = line.split('\t')
            rows[int(cells[0])] = {f: c.split() for f, c in zip(FIELDS, cells) if c}
        for d in self.datagrams:
            d.inside = rows.get(d.number, {})

    def way(self, from_server):
        return [d for d in self.datagrams if d.from_server() == from_server]

    def packets(self, kind, from_server):
        """(datagram, header) of each packet of this kind."""
        return [(d, h) for d in self.way(from_server) for h in d.headers if h.kind == kind]

    def versions(self, kind, from_server):
        return {h.version for _, h in self.packets(kind, from_server)}

    def inside(self, from_server):
        self.open()
        return self.way(from_server)
