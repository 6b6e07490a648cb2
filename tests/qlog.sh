#!/bin/sh
# qlog.sh SRC BUILD -- --qlog and `antq qlog` with the program itself: what it writes follows the drafts
# (tests/qlog_schema.py), disks and folders that fail are told and harm no connection, and files are shown,
# also those of other programs and damaged ones.
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"
need python3
Q=$T/q
mkdir "$Q"
unset QLOGDIR

# shown CODE PATTERN FILE: `antq qlog FILE`, its exit code, and a line of what it says.
shown() {
    got=0
    "$ANTQ" qlog "$3" >"$T/show.out" 2>"$T/show.err" || got=$?
    [ "$got" -eq "$1" ] || fail "antq qlog $3: exit $got, not $1: $(cat "$T/show.err")"
    cat "$T/show.out" "$T/show.err" | grep -qE -- "$2" || fail "antq qlog $3 lacks /$2/"
}

# ---- connections of all kinds, both ends ----------------------------------------------------------------
server_start perf serve --listen 127.0.0.1:0 --retry --qlog "$Q"
"$ANTQ" perf "$SERVER_ADDR" --insecure --download "$(scale 8)M" --upload 1M --requests 300 --streams 7 \
    --handshakes 3 --qlog "$Q" --keylog "$T/keys" >"$T/run.out" 2>"$T/run.err" || fail 'perf --qlog'
server_end
server_start echo serve --listen 127.0.0.1:0 --qlog "$Q"
QLOGDIR=$Q "$ANTQ" echo "$SERVER_ADDR" --insecure --count 100 --key-update-every 20 >"$T/run.out" 2>"$T/run.err" ||
    fail 'echo with QLOGDIR'
! "$ANTQ" echo "$SERVER_ADDR" --pin "$(printf '%064d' 7)" --qlog "$Q" >"$T/run.out" 2>"$T/run.err" ||
    fail 'a wrong pin was accepted'
head -c 100000 /dev/urandom >"$T/in"
"$ANTQ" echo "$SERVER_ADDR" --insecure --pipe --qlog "$Q" <"$T/in" >"$T/out" 2>"$T/run.err" || fail 'pipe'
cmp "$T/in" "$T/out"
server_end
clients=$(find "$Q" -name '*_client.sqlog' | wc -l)
[ "$clients" -eq 7 ] || fail "$clients files of clients, not 7"
for f in "$Q"/*_client.sqlog; do
    [ -s "${f%_client.sqlog}_server.sqlog" ] || fail "the server has no log beside $f"
done
ok 'a file for each connection at each end, of one name'
python3 "$SRC/tests/qlog_schema.py" "$Q"/*.sqlog >"$T/schema.out" 2>"$T/schema.err" || fail 'not as the drafts say'
ok "$(wc -l <"$T/schema.out") files follow the drafts of qlog 0.3"
python3 "$SRC/tests/qlog_schema.py" --self-test "$Q"/*.sqlog >"$T/self.out" 2>"$T/self.err" || fail 'the check is blind'
ok 'every spoiled record is refused'
for event in packet_dropped=0 key_updated=1; do
    grep -q "${event%=*}=" "$T/schema.out" || [ "${event#*=}" -eq 0 ] || fail "no $event anywhere"
done
grep -ql '"packet_type":"retry"' "$Q"/*_client.sqlog || fail 'the Retry was not logged'
grep -ql '"trigger":"local_update"' "$Q"/*_client.sqlog || fail 'the key updates were not logged'
grep -ql '"connection_code":"crypto_error_0x12a"' "$Q"/*_server.sqlog || fail 'the refused certificate was not logged'
grep -ql '"connectivity:mtu_updated","data":{"old":1200,"new":1452,"done":true}' "$Q"/*_server.sqlog ||
    fail 'the MTU was not logged'
grep -ql '"recovery:ecn_state_updated","data":{"old":"unknown","new":"' "$Q"/*_client.sqlog || fail 'ECN was not logged'
! grep -L '"transport:version_information","data":{"chosen_version":"0000000[01]"}' "$Q"/*.sqlog | grep -q . ||
    fail 'a version was not logged'
mkdir "$T/moves"
server_start perf serve --listen 127.0.0.1:0 --qlog "$T/moves"
"$ANTQ" perf "$SERVER_ADDR" --insecure --upload 64M --migrate-after 0.02 --qlog "$T/moves" >"$T/run.out" 2>"$T/run.err" ||
    fail 'perf --migrate-after'
server_end
python3 "$SRC/tests/qlog_schema.py" "$T"/moves/*.sqlog >"$T/schema.out" 2>"$T/schema.err" || fail 'not as the drafts say'
for state in probing_started probing_successful migration_complete; do
    grep -q "\"connectivity:migration_state_updated\",\"data\":{\"new\":\"$state\"" "$T"/moves/*_client.sqlog ||
        fail "a client that moves logs no $state"
done
ok 'MTU, ECN, versions and moves are in the logs'

# ---- shown ----------------------------------------------------------------------------------------------------
for f in "$Q"/*.sqlog; do
    shown 0 '^closed     owner (local|remote), ' "$f"
    sent=$(grep -c '"transport:packet_sent","data":{"header":{"packet_type":"[^r]' "$f") || true
    grep -q "^sent       $sent packets" "$T/show.out" || fail "$f: not $sent packets sent"
done
ok 'antq qlog shows each, and counts as they do'
"$ANTQ" qlog --summary "$f" >"$T/sum.out"
[ "$(wc -l <"$T/sum.out")" -le 12 ] || fail '--summary is long'
"$ANTQ" qlog - <"$f" | tail -n 1 | grep -q '^closed' || fail 'not from standard input'
ok '--summary, standard input'

# ---- folders and disks --------------------------------------------------------------------------------------
for sub in 'echo 127.0.0.1:1 --insecure' 'perf 127.0.0.1:1 --insecure' 'echo serve --listen 127.0.0.1:0' \
    'perf serve --listen 127.0.0.1:0'; do
    got=0
    # shellcheck disable=SC2086
    timeout 10 "$ANTQ" $sub --qlog "$T/none" >"$T/run.out" 2>"$T/run.err" || got=$?
    { [ "$got" -eq 1 ] && grep -q '^antq: --qlog: cannot write into ".*none": No such file' "$T/run.err"; } ||
        fail "antq $sub --qlog without the folder: exit $got"
    [ ! -s "$T/run.out" ] || fail "antq $sub began all the same"
done
ok 'no folder: said before the start'
server_start echo serve --listen 127.0.0.1:0
# A file may have 4 KiB, which is what a full disk does at a moment of its own.
mkdir "$T/full"
got=0
(
    trap '' XFSZ
    ulimit -f 8
    "$ANTQ" echo "$SERVER_ADDR" --insecure --count 200 --json --qlog "$T/full"
) >"$T/run.out" 2>"$T/run.err" || got=$?
[ "$got" -eq 1 ] || fail "a qlog that could not be written: exit $got"
grep -q '"received":200' "$T/run.out" || fail 'the connection suffered from its log'
[ "$(grep -c '^antq: cannot write the qlog' "$T/run.err")" -eq 1 ] || fail 'not told once'
ok 'a full disk: told once, exit 1, the connection unharmed'
got=0
"$ANTQ" echo "$SERVER_ADDR" --insecure --count 20 --json --keylog /dev/full >"$T/run.out" 2>"$T/run.err" || got=$?
[ "$got" -eq 1 ] || fail "a key log that could not be written: exit $got"
grep -q '"received":20' "$T/run.out" || fail 'the connection suffered from its key log'
[ "$(grep -c '^antq: cannot write to the key log: No space' "$T/run.err")" -eq 1 ] || fail 'not told once'
ok 'the same for the key log'
# Whoever is killed leaves whole records.
mkdir "$T/killed"
rm -f "$T/run.out"
"$ANTQ" echo "$SERVER_ADDR" --insecure --count 100000 --interval 1 --qlog "$T/killed" >"$T/run.out" 2>"$T/run.err" &
client=$!
started $client
wait_for_line "$T/run.out" 'confirmed' $client || fail 'the client did not connect'
sleep 0.5
kill -KILL $client
wait $client 2>/dev/null || true
shown 0 '^closed     not in this log' "$T"/killed/*_client.sqlog
python3 "$SRC/tests/qlog_schema.py" "$T"/killed/*.sqlog >"$T/schema.out" 2>"$T/schema.err" || fail 'a killed client'
ok 'a client that was killed leaves whole records'
server_end

# ---- files from elsewhere ---------------------------------------------------------------------------------------
# Today's draft: other names, another namespace, extensions, times since the epoch, records over lines.
{
    printf '\036{"file_schema":"urn:ietf:params:qlog:file:sequential","serialization_format":"application/qlog+json-seq",\n'
    printf ' "trace":{"vantage_point":{"type":"server"},"event_schemas":["urn:ietf:params:qlog:events:quic"],\n'
    printf '  "common_fields":{"group_id":"c0ffee","time_format":"relative_to_epoch"}}}\n'
    printf '\036{"time":1700000000000.5,"name":"quic:packet_sent","data":{"header":{"packet_type":"1RTT","packet_number":7,"spin_bit":false},"raw":{"length":1200,"payload_length":1170},\n'
    printf '  "frames":[{"frame_type":"stream","stream_id":4,"offset":10,"fin":true,"raw":{"payload_length":99}},{"frame_type":"datagram","raw":{"length":5}}]}}\n'
    printf '\036{"time":1700000000002,"name":"quic:packet_received","data":{"header":{"packet_type":"handshake","packet_number":1},"frames":[{"frame_type":"ack","acked_ranges":[[0,3],[7]]}]}}\n'
    printf '\036{"time":1700000000002.25,"name":"http3:frame_parsed","data":{"stream_id":4,"nested":{"a":[1,2]}}}\n'
    printf '\036{"time":1700000000003,"name":"quic:recovery_metrics_updated","data":{"smoothed_rtt":12.5,"congestion_window":14720}}\n'
    printf '\036{"time":1700000000004,"name":"quic:packet_lost","data":{"header":{"packet_type":"1RTT","packet_number":7}}}\n'
    printf '\036{"time":1700000000010.75,"name":"quic:connection_closed","data":{"initiator":"remote","application_error":"unknown","error_code":256,"reason":"bye \033[31m"}}\n' |
        sed 's/\x1b/\\u001b/'
} >"$T/other.sqlog"
shown 0 '^closed     initiator remote, application_error unknown, error_code 256, reason bye' "$T/other.sqlog"
for line in '       0.000  sent      1RTT 7, 1200 bytes: stream 4 10+99 fin, datagram' \
    '       1.500  received  handshake 1: ack 0-3,7' \
    '       1.750  http3:frame_parsed stream_id=4 nested={"a":[1,2]}' \
    '       2.500  metrics   smoothed_rtt=12.5 congestion_window=14720' \
    '       3.500  LOST      1RTT 7' \
    'duration   10.250 ms, 6 events, 1 of kinds not known here' \
    'lost       1 packets, 100.00 % of those sent; 0 received ones dropped'; do
    grep -qF -- "$line" "$T/show.out" || fail "the other program's file lacks: $line"
done
ok "another program's file"
printf '{"qlog_version":"0.3","qlog_format":"NDJSON","trace":{"common_fields":{"time_format":"delta"}}}\n{"time":1,"name":"a:b","data":{}}\n{"time":2,"name":"a:b"}\n' >"$T/lines.qlog"
shown 0 '^duration   3.000 ms, 2 events' "$T/lines.qlog"
ok 'one text a line, times from event to event'

shown 1 '^antq: cannot read ".*nothing": No such file' "$T/nothing"
: >"$T/empty"
shown 1 '^antq: ".*empty" is empty$' "$T/empty"
echo 'what is this' >"$T/junk"
shown 1 '^antq: .*junk: line 1, column 1: not JSON: a value is expected$' "$T/junk"
head -c 20000 /dev/urandom >"$T/noise"
shown 1 '^antq: .*noise' "$T/noise"
echo '{"no":"qlog"}' >"$T/json"
shown 1 '^antq: .*json: line 1: no qlog' "$T/json"
echo '{"qlog_version":"0.3","traces":[{"events":[]}]}' >"$T/whole.qlog"
shown 1 'one JSON object with all events' "$T/whole.qlog"
head -c 700 "$T/other.sqlog" >"$T/cut"
shown 1 '^antq: .*cut: line 6, column [0-9]+: not JSON: .*; the file ends here' "$T/cut"
grep -q '^closed     not in this log' "$T/show.out" || fail 'what could be read was not shown'
sed '6s/"time"/time/' "$T/other.sqlog" >"$T/damaged"
shown 1 '^antq: .*damaged: line 6, column 2: not JSON: a name in quotes is expected' "$T/damaged"
grep -q '5 events' "$T/show.out" || fail 'the records after the damaged one are missing'
got=0
"$ANTQ" qlog "$T/other.sqlog" >/dev/full 2>"$T/run.err" || got=$?
[ "$got" -eq 1 ] || fail "standard output is full: exit $got"
got=0
"$ANTQ" qlog 2>"$T/run.err" || got=$?
{ [ "$got" -eq 2 ] && grep -q '^antq: FILE is missing' "$T/run.err"; } || fail "antq qlog alone: exit $got"
ok 'damaged files: the line is told, the rest is shown'
count_end
