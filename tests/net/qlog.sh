#!/bin/sh
# qlog.sh SRC BUILD -- qlogs of a transfer through a bad link: losses, spurious ones, duplicates, damaged packets
# and probes are in them, as the drafts say, and the two ends tell one story.
. "$1/tests/lib.sh"
. "$1/tests/net/ns.sh"
ns_need "$@"
need python3

mkdir "$T/q"
ns_add left right
link_up left right --delay 5 --loss 4 --reorder 3 --reorder-by 3 --duplicate 2 --corrupt 2 --seed 7
WRAP="nsenter -t $NS_right -n"
server_start perf serve --listen 10.9.0.2:0 --qlog "$T/q"
ns_run left timeout 100 "$ANTQ" perf "$SERVER_ADDR" --insecure --download 2M --upload 1M --qlog "$T/q" \
    >"$T/run.out" 2>"$T/run.err" || fail 'the transfer'
sleep 0.5 # the last close arrives
server_end
link_down
python3 "$SRC/tests/qlog_schema.py" "$T"/q/*.sqlog >"$T/schema.out" 2>"$T/schema.err" || fail 'not as the drafts say'
python3 "$SRC/tests/qlog_schema.py" --self-test "$T"/q/*.sqlog >"$T/self.out" 2>"$T/self.err" || fail 'the check is blind'
count() { grep -c "$1" "$2" || true; }
for end in client server; do
    f=$(ls "$T"/q/*_$end.sqlog)
    [ "$(count '"recovery:packet_lost"' "$f")" -gt 10 ] || fail "the $end lost nothing"
    for trigger in duplicate decryption_failure; do
        [ "$(count "\"trigger\":\"$trigger\"" "$f")" -gt 3 ] || fail "the $end has no $trigger"
    done
    grep -q '"new":"recovery"' "$f" || fail "the $end was never in recovery"
    grep -q '"bytes_in_flight":[1-9]' "$f" || fail "the $end had nothing in flight"
    "$ANTQ" qlog --summary "$f" >"$T/sum.out" || fail "antq qlog of the $end's"
    cat "$T/sum.out"
    eval "${end}_sent=$(count '"transport:packet_sent"' "$f") ${end}_got=$(count '"transport:packet_received"' "$f")"
done
# shellcheck disable=SC2154
{ [ "$client_sent" -gt "$server_got" ] && [ "$server_sent" -gt "$client_got" ]; } || fail 'more came than was sent'
ok 'a bad link, seen from both ends'
count_end
