#!/bin/sh
# peer_fail.sh SRC BUILD -- what goes wrong between two peers, as users make it go wrong: each failure tells
# the step, the reason and what to try, and ends with 1 (2: wrong use). Over loopback, without a namespace.
. "$1/tests/lib.sh"
for k in a b c boot; do "$ANTQ" id --key "$T/$k.key" >"$T/$k.id" 2>/dev/null; done
A=$(cat "$T/a.id") B_ID=$(cat "$T/b.id") C=$(cat "$T/c.id")
server_start bootstrap --listen 127.0.0.1:0 --key "$T/boot.key"
BOOT=$(cat "$T/boot.id")@$SERVER_ADDR

# The bootstrap node lets one key register a few times a second only: a try that met that is repeated.
fails() { # fails STATUS PATTERN ARG...: antq ends with STATUS, and says what matches
    want=$1 pattern=$2
    shift 2
    for again in 1 2 3 4; do
        status=0
        timeout 60 "$ANTQ" "$@" </dev/null >"$T/run.out" 2>"$T/run.err" || status=$?
        grep -q rate_limited "$T/run.err" || break
        sleep "$again"
    done
    [ "$status" = "$want" ] || fail "antq $1 ended with $status, not $want: $(cat "$T/run.err")"
    grep -q -- "$pattern" "$T/run.err" || fail "antq $1 does not say '$pattern': $(cat "$T/run.err")"
}
start() { # start KEY PATTERN ARG...; sets PID
    key=$1 for=$2
    shift 2
    for again in 1 2 3 4; do
        rm -f "$T/$key.err" # a former one's lines must not be taken for this one's
        "$ANTQ" "$@" --key "$T/$key.key" --bootstrap "$BOOT" >"$T/$key.out" 2>"$T/$key.err" </dev/null &
        PID=$!
        started "$PID"
        wait_for_line "$T/$key.err" "$for|rate_limited" "$PID" 30 || fail "antq $1 does not come up: $(cat "$T/$key.err")"
        grep -q rate_limited "$T/$key.err" || return 0
        kill "$PID" 2>/dev/null || true
        wait "$PID" || true
        sleep "$again"
    done
    fail "antq $1 is not let in"
}
online='registration: full'

# ---- before there is anybody: ping, chat and send say the same ----
start b "$online" peer
peer=$PID
echo text >"$T/file"
for what in "ping $B_ID" "chat $B_ID" "send $B_ID $T/file"; do
    # shellcheck disable=SC2086
    {
        fails 2 'bootstrap is needed: \[PEERID@\]HOST:PORT' $what --key "$T/a.key"
        fails 2 'must end with a host and a port' $what --key "$T/a.key" --bootstrap 127.0.0.1:none
        fails 2 'must end with a host and a port' $what --key "$T/a.key" --bootstrap :4433
        fails 2 '"abc" in "abc@127.0.0.1:1" is no PeerId' $what --key "$T/a.key" --bootstrap abc@127.0.0.1:1
        fails 1 'registering with no.such.host.invalid:1: [a-z_]*; is its ' $what --key "$T/a.key" \
            --bootstrap no.such.host.invalid:1
        fails 1 'wrong_pin; another key answers under this name' $what --key "$T/a.key" --bootstrap "$C@$SERVER_ADDR"
        fails 1 "cannot listen on $SERVER_ADDR: port in use" $what --key "$T/a.key" --bootstrap "$BOOT" --listen "$SERVER_ADDR"
        fails 1 'key: cannot write' $what --key "$T/none/a.key" --bootstrap "$BOOT"
    }
done
ok 'a bootstrap node that is missing, misnamed, not to be found, or another'
fails 1 'registering with 127.0.0.1:1: [a-z_]*; is its address right, is it running' ping "$B_ID" --key "$T/a.key" \
    --bootstrap "$C@127.0.0.1:1"
grep -q 'no bootstrap node has us; `antq doctor`' "$T/run.err" || fail 'it does not say what to try'
ok 'a port where nobody answers'
for what in "ping" "chat"; do
    fails 2 'that PeerId is our own' $what "$A" --key "$T/a.key" --bootstrap "$BOOT"
    fails 2 'is no PeerId: it is 52' $what me --key "$T/a.key" --bootstrap "$BOOT"
    fails 1 'failed while coordinating: not_registered; is the PeerId right' $what "$C" --key "$T/a.key" --bootstrap "$BOOT"
done
fails 2 'that PeerId is our own' send "$A" "$T/file" --key "$T/a.key" --bootstrap "$BOOT"
fails 2 'PEERID is missing' ping --key "$T/a.key" --bootstrap "$BOOT"
ok 'a PeerId that is none, is ours, or nobody has'

# ---- JSON, whole also when it fails ----
if command -v python3 >/dev/null 2>&1; then
    "$ANTQ" ping "$B_ID" --key "$T/c.key" --bootstrap "$BOOT" --count 2 --json 2>/dev/null |
        python3 -c 'import json, sys; r = json.load(sys.stdin); assert r["received"] == 2 and r["path"] in ("relayed", "direct")' ||
        fail 'the JSON of ping is no JSON'
    fails 1 'not_registered' ping "$A" --key "$T/c.key" --bootstrap "$BOOT" --json
    python3 -c 'import json, sys; r = json.loads(sys.stdin.read()); assert (r["event"], r["step"]) == ("failed", "coordinating") and r["reason"] and r["hint"]' \
        <"$T/run.out" || fail "a failure's JSON: $(cat "$T/run.out")"
    ok 'JSON'
fi

# ---- files that are none, a peer that takes none ----
fails 1 'No such file' send "$B_ID" "$T/none" --key "$T/a.key" --bootstrap "$BOOT"
fails 1 'it is a directory' send "$B_ID" "$T" --key "$T/a.key" --bootstrap "$BOOT"
fails 2 'which files' send "$B_ID" --key "$T/a.key" --bootstrap "$BOOT"
fails 1 'takes no files now; it must run `antq recv`' send "$B_ID" "$T/file" --key "$T/a.key" --bootstrap "$BOOT"
fails 1 'dir: cannot use' recv --dir "$T/none" --key "$T/a.key" --bootstrap "$BOOT"
fails 1 'Not a directory' recv --dir "$T/file" --key "$T/a.key" --bootstrap "$BOOT"
ok 'no file, no folder, nobody who takes files'

# ---- a bootstrap node that lets a key register a few times a second only: its word is waited for ----
"$ANTQ" id --key "$T/often.key" >/dev/null 2>&1
for what in "ping $B_ID --count 1" "chat $B_ID"; do
    : >"$T/run.err"
    i=0
    until grep -q 'rate_limited; it is tried again in ' "$T/run.err"; do
        i=$((i + 1))
        [ "$i" -le 30 ] || fail "antq $what is never told to wait"
        status=0
        # shellcheck disable=SC2086
        echo hello | timeout 60 "$ANTQ" $what --key "$T/often.key" --bootstrap "$BOOT" >"$T/run.out" 2>"$T/run.err" || status=$?
        [ "$status" = 0 ] || fail "antq $what ended with $status: $(cat "$T/run.err")"
    done
done
ok 'who is told to wait waits'

# ---- Ctrl-C ----
start a 'answer 2' ping "$B_ID" --count 1000
kill -INT "$PID"
wait "$PID" || fail "ping ended with $? after SIGINT"
grep -q 'sent, .* answered' "$T/a.out" || fail 'ping says nothing of what it measured'
kill -INT "$peer"
wait "$peer" || fail "peer ended with $? after SIGINT"
ok 'Ctrl-C'

# ---- what was typed wrong: which character ----
fails 2 'the 52. is "1"' ping "${B_ID%?}1" --key "$T/a.key" --bootstrap "$BOOT"
fails 2 'these are 51' ping "${B_ID%?}" --key "$T/a.key" --bootstrap "$BOOT"
fails 2 'none ends with "b"' ping "${B_ID%?}b" --key "$T/a.key" --bootstrap "$BOOT"
fails 2 'an IPv6 address stands in brackets' ping "$B_ID" --key "$T/a.key" --bootstrap ::1:4433
fails 2 'must end with a host and a port' ping "$B_ID" --key "$T/a.key" --bootstrap '127.0.0.1: 1'
for kind in 'RSA' 'EC -pkeyopt ec_paramgen_curve:P-384'; do
    # shellcheck disable=SC2086
    (umask 077 && openssl genpkey -algorithm $kind -out "$T/other.key" 2>/dev/null)
    fails 1 'peers take Ed25519 and P-256 keys only' id --key "$T/other.key"
    fails 1 'peers take Ed25519 and P-256 keys only' ping "$B_ID" --key "$T/other.key" --bootstrap "$BOOT"
    rm -f "$T/other.key"
done
ok 'a PeerId, a name and keys that cannot be'

# ---- one bootstrap node by two names ----
start b "$online" peer
peer=$PID
"$ANTQ" id --key "$T/e.key" >/dev/null 2>&1
timeout 60 "$ANTQ" ping "$B_ID" --key "$T/e.key" --bootstrap "$BOOT,$BOOT" --count 1 >"$T/run.out" 2>"$T/run.err" ||
    fail "a node that is named twice: $(cat "$T/run.err")"
grep -q 'same_node' "$T/run.err" || fail "not told that it is one node: $(cat "$T/run.err")"
ok 'a node that is named twice'

# ---- chat: JSON, a standard output that nobody takes, a peer that leaves ----
if command -v python3 >/dev/null 2>&1; then
    printf 'said "so"\n\303\274' | timeout 60 "$ANTQ" chat "$B_ID" --key "$T/e.key" --bootstrap "$BOOT" --json >"$T/run.out" 2>"$T/run.err" ||
        fail "chat --json: $(cat "$T/run.err")"
    python3 -c 'import json, sys
said = [e["text"] for e in map(json.loads, open(sys.argv[1], encoding="utf-8")) if e["event"] == "chat"]
assert said == ["said \"so\"", "\u00fc"], said' "$T/run.out" || fail "the JSON of chat: $(cat "$T/run.out")"
fi
status=0
timeout 60 "$ANTQ" ping "$B_ID" --key "$T/e.key" --bootstrap "$BOOT" --count 1 >/dev/full 2>"$T/run.err" || status=$?
[ "$status" = 1 ] && grep -q 'cannot write to standard output' "$T/run.err" || fail "ping to a full disk ends with $status"
status=0
timeout 60 "$ANTQ" peer --key "$T/c.key" --bootstrap "$BOOT" --json >/dev/full 2>"$T/run.err" || status=$?
[ "$status" = 1 ] && grep -q 'cannot write to standard output' "$T/run.err" || fail "peer to a full disk ends with $status"
mkfifo "$T/keyboard"
sleep 60 >"$T/keyboard" &
started $!
timeout 60 "$ANTQ" chat "$B_ID" --key "$T/e.key" --bootstrap "$BOOT" <"$T/keyboard" >"$T/run.out" 2>"$T/chat.err" &
chat=$!
started "$chat"
wait_for_line "$T/chat.err" 'connected, ' "$chat" 30 || fail "chat does not connect: $(cat "$T/chat.err")"
kill "$peer"
wait "$peer" || fail "peer ended with $?"
status=0
wait "$chat" || status=$?
[ "$status" = 1 ] && grep -q 'the peer is gone' "$T/chat.err" || fail "chat ended with $status when its peer left: $(cat "$T/chat.err")"
ok 'chat: JSON, and its ends'

# ---- names that a receiver does not take, and one that two write ----
mkdir "$T/names"
start b "$online" recv --dir "$T/names"
recv=$PID
echo text >"$T/.profile"
utf8=$(printf '\303\274')
echo text >"$T/$utf8"
fails 1 'sending .profile: it refuses the name: a leading dot' send "$B_ID" "$T/.profile" --key "$T/a.key" --bootstrap "$BOOT"
timeout 60 "$ANTQ" send "$B_ID" "$T/$utf8" --key "$T/a.key" --bootstrap "$BOOT" --json >"$T/run.out" 2>"$T/run.err" || fail "a name in UTF-8: $(cat "$T/run.err")"
grep -q "\"name\":\"$utf8\"" "$T/run.out" && grep -q "^$utf8: 5 bytes, whole" "$T/b.err" || fail 'a name in UTF-8 is not itself in JSON'
[ -z "$(find "$T/names" -name '.*' -type f)" ] && cmp -s "$T/$utf8" "$T/names/$utf8" || fail 'what came is not what was sent'
if command -v flock >/dev/null 2>&1; then
    part=$T/names/.antq-$(sha256sum "$T/file" | cut -c 1-16).part
    : >"$part"
    flock "$part" sleep 60 &
    flock=$!
    started "$flock"
    i=0
    while flock -n "$part" true; do
        i=$((i + 1))
        [ "$i" -lt 100 ] || fail 'flock takes no lock'
        sleep 0.1
    done
    fails 1 'receiving the same file from somebody else' send "$B_ID" "$T/file" --key "$T/a.key" --bootstrap "$BOOT"
    [ -e "$part" ] || fail "another's part was removed"
    kill "$flock"
    rm -f "$part"
fi
kill "$recv"
wait "$recv" || fail "recv ended with $?"
if [ "$(id -u)" != 0 ]; then
    mkdir -m 500 "$T/closed"
    fails 1 'dir: cannot write in' recv --dir "$T/closed" --key "$T/a.key" --bootstrap "$BOOT"
fi
ok 'names that cannot be, in UTF-8, and taken'

# ---- a receiver's disk is full: here, a limit of 64 KiB a file ----
head -c 300000 /dev/urandom >"$T/big"
mkdir "$T/in"
trap '' XFSZ
rm -f "$T/b.err"
(ulimit -f 128 && exec "$ANTQ" recv --dir "$T/in" --key "$T/b.key" --bootstrap "$BOOT") >"$T/b.out" 2>"$T/b.err" &
recv=$!
started "$recv"
wait_for_line "$T/b.err" "$online" "$recv" 30 || fail 'recv does not come up'
fails 1 'sending big: it cannot write it: is its disk full' send "$B_ID" "$T/big" --key "$T/a.key" --bootstrap "$BOOT"
grep -q 'receiving big: File too large\|receiving big: No space left' "$T/b.err" || fail 'the receiver does not say it'
kill "$recv"
wait "$recv" || fail "recv ended with $?"
trap - XFSZ
ok 'a full disk'

# ---- a receiver that is killed in the middle, and a sender that is interrupted ----
start b "$online" recv --dir "$T/in"
recv=$PID
head -c 200000000 /dev/zero >"$T/long"
start a 'connected, ' send "$B_ID" "$T/long"
send=$PID
kill -KILL "$recv"
wait "$recv" 2>/dev/null || true
kill -INT "$send"
status=0
wait "$send" || status=$?
[ "$status" = 1 ] || fail "send ended with $status after SIGINT"
grep -q 'interrupted: 1 of 1 files not sent' "$T/a.err" || fail "send does not say what was not sent: $(cat "$T/a.err")"
[ ! -e "$T/in/long" ] || fail 'half a file has its name'
ok 'a killed receiver, an interrupted sender'

# ---- two with one key: the later one is the peer ----
start b "$online" recv --dir "$T/in"
recv=$PID
cp "$T/b.key" "$T/b2.key"
start b2 "$online" recv --dir "$T/in"
wait_for_line "$T/b.err" 'stop one of the two' "$recv" 60 || fail "who was there first does not learn it: $(cat "$T/b.err")"
ok 'two receivers with one key'
server_end
count_end
