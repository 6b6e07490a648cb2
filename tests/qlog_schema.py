#!/usr/bin/env python3
"""qlog_schema.py FILE... -- checks qlog files against the drafts of qlog 0.3, field by field.

What stands in the tables is allowed, and nothing else: an unknown event or member, a missing one, a value of
another kind or outside its list fails with file and record. Also what no table says: RFC 7464 framing, times
that do not run back, packet numbers that rise, a packet lost at most once and only one that was sent.
With --self-test, good records are spoiled in every way the tables know, and each must fail.
"""
import copy
import json
import re
import sys

U = 'unsigned'
MS = 'milliseconds'
T = 'text'
B = 'bool'
HEX = 'hex'
ANY = 'any'

def one_of(*values):
    return ('one of', values)

# name: (required members, optional members); a member's kind is a name above, one_of, or another table.
RAW = ({'length': U}, {})
HEADER_ANY = ({'packet_type': one_of('initial', 'handshake', '1RTT'), 'packet_number': U}, {})
HEADER_RETRY = ({'packet_type': one_of('retry')}, {})
STREAM_TYPE = one_of('bidirectional', 'unidirectional')
TRANSPORT_ERROR = 'transport error'
RANGES = 'ranges'
FRAME = 'frame'
STATE = one_of('attempted', 'peer_validated', 'handshake_complete', 'handshake_confirmed', 'closing', 'draining',
               'closed')
KEY = one_of('client_initial_secret', 'server_initial_secret', 'client_handshake_secret',
             'server_handshake_secret', 'client_1rtt_secret', 'server_1rtt_secret')
CC = one_of('slow_start', 'congestion_avoidance', 'recovery')
WHO = one_of('local', 'remote')
ECN = one_of('testing', 'unknown', 'failed', 'capable')

FRAMES = {
    'padding': ({'payload_length': U}, {}),
    'ping': ({}, {}),
    'ack': ({'ack_delay': MS, 'acked_ranges': RANGES}, {'ect0': U, 'ect1': U, 'ce': U}),
    'reset_stream': ({'stream_id': U, 'error_code': U, 'final_size': U}, {}),
    'stop_sending': ({'stream_id': U, 'error_code': U}, {}),
    'crypto': ({'offset': U, 'length': U}, {}),
    'new_token': ({'token': ({'raw': RAW}, {})}, {}),
    'stream': ({'stream_id': U, 'offset': U, 'length': U}, {'fin': B}),
    'max_data': ({'maximum': U}, {}),
    'max_stream_data': ({'stream_id': U, 'maximum': U}, {}),
    'max_streams': ({'stream_type': STREAM_TYPE, 'maximum': U}, {}),
    'data_blocked': ({'limit': U}, {}),
    'stream_data_blocked': ({'stream_id': U, 'limit': U}, {}),
    'streams_blocked': ({'stream_type': STREAM_TYPE, 'limit': U}, {}),
    'new_connection_id': ({'sequence_number': U, 'retire_prior_to': U, 'connection_id_length': U,
                           'connection_id': HEX}, {}),
    'retire_connection_id': ({'sequence_number': U}, {}),
    'path_challenge': ({'data': HEX}, {}),
    'path_response': ({'data': HEX}, {}),
    'connection_close': ({'error_space': one_of('transport', 'application'), 'error_code': TRANSPORT_ERROR},
                         {'trigger_frame_type': U}),
    'handshake_done': ({}, {}),
    'immediate_ack': ({}, {}),
    'ack_frequency': ({'sequence_number': U, 'ack_eliciting_threshold': U, 'request_max_ack_delay': MS}, {}),
}
PARAMETERS = {name: U for name in (
    'max_idle_timeout', 'max_udp_payload_size', 'initial_max_data', 'initial_max_stream_data_bidi_local',
    'initial_max_stream_data_bidi_remote', 'initial_max_stream_data_uni', 'initial_max_streams_bidi',
    'initial_max_streams_uni', 'ack_delay_exponent', 'max_ack_delay', 'active_connection_id_limit')}
EVENTS = {
    'connectivity:connection_started': (
        {'ip_version': one_of('v4', 'v6'), 'dst_ip': T, 'dst_port': U, 'protocol': one_of('QUIC'), 'src_cid': HEX,
         'dst_cid': HEX}, {'src_ip': T, 'src_port': U}),
    'connectivity:connection_state_updated': ({'new': STATE}, {'old': STATE}),
    'connectivity:connection_closed': (
        {'owner': WHO, 'reason': T,
         'trigger': one_of('clean', 'handshake_timeout', 'idle_timeout', 'error', 'stateless_reset',
                           'version_mismatch', 'application')},
        {'application_code': U, 'connection_code': TRANSPORT_ERROR}),
    'connectivity:mtu_updated': ({'new': U}, {'old': U, 'done': B}),
    'connectivity:migration_state_updated': (
        {'tuple_id': T, 'new': one_of('probing_started', 'probing_abandoned', 'probing_successful', 'migration_started',
                                      'migration_abandoned', 'migration_complete')}, {}),
    'transport:version_information': ({'chosen_version': HEX}, {}),
    'recovery:ecn_state_updated': ({'old': ECN, 'new': ECN}, {}),
    'transport:parameters_set': (
        {'owner': WHO}, dict(PARAMETERS, disable_active_migration=B, tls_cipher=T)),
    'transport:alpn_information': ({'chosen_alpn': T}, {}),
    'transport:packet_sent': ({'header': HEADER_ANY, 'raw': RAW, 'frames': FRAME}, {}),
    'transport:packet_received': ({'header': HEADER_ANY, 'raw': RAW, 'frames': FRAME}, {}),
    'transport:packet_dropped': (
        {'raw': RAW, 'details': ({'reason': T}, {}),
         'trigger': one_of('internal_error', 'rejected', 'unsupported', 'invalid', 'duplicate',
                           'connection_unknown', 'decryption_failure', 'key_unavailable', 'general')}, {}),
    'transport:stream_state_updated': ({'stream_id': U, 'stream_type': STREAM_TYPE, 'new': one_of('closed')}, {}),
    'recovery:metrics_updated': (
        {}, {'min_rtt': MS, 'smoothed_rtt': MS, 'latest_rtt': MS, 'rtt_variance': MS, 'congestion_window': U,
             'bytes_in_flight': U, 'ssthresh': U, 'pacing_rate': U}),
    'recovery:congestion_state_updated': ({'new': CC}, {'old': CC}),
    'recovery:packet_lost': ({'header': HEADER_ANY}, {}),
    'recovery:loss_timer_updated': (
        {'timer_type': one_of('pto'), 'event_type': one_of('expired'),
         'packet_number_space': one_of('initial', 'handshake', 'application_data')}, {}),
    'security:key_updated': ({'key_type': KEY, 'trigger': one_of('tls', 'remote_update', 'local_update')},
                             {'key_phase': U}),
    'security:key_discarded': ({'key_type': KEY, 'trigger': one_of('tls')}, {}),
    'loglevel:warning': ({'message': T}, {}),
}
HEADER = ({'qlog_version': one_of('0.3'), 'qlog_format': one_of('JSON-SEQ'), 'title': T,
           'trace': ({'vantage_point': ({'name': T, 'type': one_of('client', 'server')}, {}),
                      'common_fields': ({'ODCID': HEX, 'group_id': HEX, 'protocol_type': ANY,
                                         'time_format': one_of('relative'), 'reference_time': MS}, {})}, {})}, {})


OPTIONAL = {name for _, optional in list(EVENTS.values()) + list(FRAMES.values()) for name in optional}


class Wrong(Exception):
    pass


def number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def check_value(where, kind, value):
    ok = True
    if isinstance(kind, tuple) and kind[0] == 'one of':
        ok = value in kind[1]
    elif isinstance(kind, tuple):
        check_object(where, kind, value)
    elif kind == U:
        ok = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2 ** 64
    elif kind == MS:
        ok = number(value) and value >= 0
    elif kind == T:
        ok = isinstance(value, str)
    elif kind == B:
        ok = isinstance(value, bool)
    elif kind == HEX:
        ok = isinstance(value, str) and re.fullmatch('([0-9a-f]{2})*', value)
    elif kind == TRANSPORT_ERROR:
        ok = (isinstance(value, int) and value >= 0) or (isinstance(value, str) and re.fullmatch(
            'crypto_error_0x1[0-9a-f]{2}|[a-z_]+', value))
    elif kind == RANGES:
        ok = isinstance(value, list) and value and all(
            isinstance(r, list) and 1 <= len(r) <= 2 and all(isinstance(n, int) and n >= 0 for n in r) and r[0] <= r[-1]
            and (len(r) == 1 or r[0] < r[1]) for r in value)
    elif kind == FRAME:
        if not isinstance(value, list) or not value:
            raise Wrong(f'{where}: no frames')
        for i, frame in enumerate(value):
            check_frame(f'{where}[{i}]', frame)
    if not ok:
        raise Wrong(f'{where}: {value!r} is not {kind}')


def check_object(where, table, value):
    required, optional = table
    if not isinstance(value, dict):
        raise Wrong(f'{where}: {value!r} is no object')
    for name in required:
        if name not in value:
            raise Wrong(f'{where}: {name} is missing')
    for name, member in value.items():
        kind = required.get(name, optional.get(name))
        if kind is None:
            raise Wrong(f'{where}: unknown member {name}')
        check_value(f'{where}.{name}', kind, member)


def check_frame(where, frame):
    if not isinstance(frame, dict) or frame.get('frame_type') not in FRAMES:
        raise Wrong(f'{where}: no frame that we know: {frame!r}')
    check_object(where + ' ' + frame['frame_type'], FRAMES[frame['frame_type']],
                 {k: v for k, v in frame.items() if k != 'frame_type'})


def table_of(record):
    table = EVENTS[record['name']]
    header = record['data'].get('header') if isinstance(record['data'], dict) else None
    if isinstance(header, dict) and header.get('packet_type') == 'retry':
        return ({'header': HEADER_RETRY}, {})
    return table


def check_event(record):
    check_object('event', ({'time': MS, 'name': T, 'data': ANY}, {}), record)
    if record['name'] not in EVENTS:
        raise Wrong(f"unknown event {record['name']}")
    check_object(record['name'], table_of(record), record['data'])
    if record['name'] == 'recovery:metrics_updated' and not record['data']:
        raise Wrong('metrics_updated without a metric')


class Story:
    """What is true of the records together."""

    def __init__(self):
        self.time, self.sent, self.lost, self.newest, self.count = 0, set(), set(), {}, {}

    def take(self, record):
        name, data = record['name'], record['data']
        if record['time'] < self.time:
            raise Wrong('time runs back')
        self.time = record['time']
        self.count[name] = self.count.get(name, 0) + 1
        header = data.get('header', {})
        packet = (header.get('packet_type'), header.get('packet_number'))
        if name == 'transport:packet_sent' and packet[0] != 'retry':
            if packet[1] <= self.newest.get(packet[0], -1):
                raise Wrong(f'packet {packet} is sent again')
            self.newest[packet[0]] = packet[1]
            self.sent.add(packet)
        if name == 'recovery:packet_lost':
            if packet not in self.sent or packet in self.lost:
                raise Wrong(f'packet {packet} is lost, but was not sent, or is lost again')
            self.lost.add(packet)


def records(path):
    with open(path, 'rb') as file:
        texts = file.read().split(b'\x1e')
    if texts[0] != b'':
        raise Wrong('does not begin with RS')
    for text in texts[1:]:
        if not text.endswith(b'\n'):
            raise Wrong('a record without its LF')
        yield json.loads(text)


def check_file(path):
    story = Story()
    for i, record in enumerate(records(path)):
        try:
            if i == 0:
                check_object('header', HEADER, record)
                odcid = record['trace']['common_fields']['ODCID']
                end = f"/{odcid}_{record['trace']['vantage_point']['type']}.sqlog"
                if not path.endswith(end):
                    raise Wrong(f'the file is not named {end}')
            else:
                check_event(record)
                story.take(record)
        except Wrong as wrong:
            raise Wrong(f'record {i + 1}: {wrong}\n{json.dumps(record)[:400]}') from None
    for name in ('connectivity:connection_started', 'transport:packet_sent'):
        if not story.count.get(name):
            raise Wrong(f'no {name}')
    if story.count.get('connectivity:connection_closed', 0) > 1:
        raise Wrong('closed twice')
    return story


def spoiled(value):
    """Each copy of a value with one thing wrong."""
    if isinstance(value, dict):
        for name in value:
            without = {k: v for k, v in value.items() if k != name}
            yield ('without ' + name, without)
            for what, bad in spoiled(value[name]):
                yield (f'{name}: {what}', dict(value, **{name: bad}))
        yield ('with another', dict(value, another=1))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            for what, bad in spoiled(item):
                yield (f'[{i}] {what}', value[:i] + [bad] + value[i + 1:])
    elif isinstance(value, bool):
        yield ('no bool', 1)
    elif number(value):
        yield ('negative', -1)
        yield ('a text', 'x y')
    else:
        yield ('a number below 0', -1)


def self_test(path):
    """Spoils the first of each event and frame; only members that are optional may be missing."""
    seen, missed, tried = set(), [], 0
    for record in list(records(path))[1:]:
        kinds = {record['name']} | {f['frame_type'] for f in record['data'].get('frames', [])}
        if kinds <= seen:
            continue
        seen |= kinds
        for what, bad in spoiled(record):
            tried += 1
            try:
                check_event(copy.deepcopy(bad))
            except Wrong:
                continue
            if what.split('without ')[-1] not in OPTIONAL:
                missed.append(f"{record['name']}: {what}")
    if missed or tried < 100:
        raise Wrong(f'{tried} spoiled records, accepted: {missed}')
    return tried


def main():
    names = sys.argv[1:]
    test = names[:1] == ['--self-test']
    for name in names[1:] if test else names:
        try:
            if test:
                print(f'{name}: {self_test(name)} spoiled records refused')
            else:
                story = check_file(name)
                print(name, ' '.join(f'{k.split(":")[1]}={v}' for k, v in sorted(story.count.items())))
        except (Wrong, ValueError) as wrong:
            print(f'{name}: {wrong}', file=sys.stderr)
            return 1
    return 0 if names else 2


sys.exit(main())
