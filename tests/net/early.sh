#!/bin/sh
# early.sh SRC BUILD -- 0-RTT as it is seen on the wire: in which flight the request leaves.
#
# A link of 100 ms each way, captured where the client is. The first connection brings a ticket and sends
# no 0-RTT packet. With the ticket, 0-RTT packets leave before anything has come back, and all of the
# request in them: after the answer has begun nothing of that size follows. A server that knows nothing of
# the ticket rejects them: the answer comes all the same, and the client says so, without an error.
. "$1/tests/lib.sh"
. "$1/tests/net/ns.sh"
need python3
ns_need "$@"
ns_add left right
WRAP="nsenter -t $NS_right -n"

cat >"$T/judge.py" <<'PYTHON'
"""judge.py SRC CAPTURE 0|1: 0-RTT packets are in the first flight, or nowhere."""
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1] + '/tests/interop/runner')
import wire

seen = wire.read(sys.argv[2])
# The connection before this one may still have something to say: this one is at the newest port.
port = next(d.sport for d in reversed(seen) if d.src == '10.9.0.1')
seen = [d for d in seen if port in (d.sport, d.dport)]
answer = next(i for i, d in enumerate(seen) if d.src == '10.9.0.2')
first = [h.kind for d in seen[:answer] for h in d.headers]
every = [h.kind for d in seen if d.src == '10.9.0.1' for h in d.headers]
assert first and first[0] == wire.INITIAL, first
if sys.argv[3] == '1':
    early = [h.size for d in seen[:answer] for h in d.headers if h.kind == wire.ZERO_RTT]
    assert early and sum(early) > 32, early
    assert wire.ONE_RTT not in first, first
else:
    assert wire.ZERO_RTT not in every, every
print(len(first), 'packets in the first flight,', first.count(wire.ZERO_RTT), 'of them 0-RTT')
PYTHON

# asked 0|1 WHAT: one request; 0-RTT packets are expected or not, and the client says WHAT of them
asked() {
    rm -f "$T/left.pcap"
    link_up left right --delay 100 --capture-left "$T/left.pcap"
    status=0
    ns_run left timeout 60 "$ANTQ" perf "$addr" --insecure --requests 1 --ticket "$T/ticket" --early-data --json \
        >"$T/perf.json" 2>"$T/client.err" || status=$?
    [ "$status" -eq 0 ] || fail "antq perf ended with $status"
    link_down
    [ "$(json early_data "$T/perf.json")" = "$2" ] || fail "0-RTT: $(json early_data "$T/perf.json"), not $2"
    told=$(python3 "$T/judge.py" "$SRC" "$T/left.pcap" "$1") || fail "the capture of: 0-RTT $2"
}

serve() {
    server_start perf serve --listen "${addr:-10.9.0.2:0}" --early-data
    addr=$SERVER_ADDR
}

addr=
link_up left right --delay 1
serve
link_down
asked 0 no
ok "without a ticket: $told"
asked 1 accepted
ok "with one: $told"
server_end
link_up left right --delay 1
serve
link_down
asked 1 rejected
ok "rejected, and answered: $told"
server_end
count_end
