#!/bin/sh
# http_caddy.sh SRC BUILD -- `antq http get` from Debian's caddy, which is quic-go.
. "$1/tests/lib.sh"
need caddy
. "$1/tests/interop/http_lib.sh"
make_cert
make_site
PORT=$((20000 + $$ % 10000))
mkdir "$T/home"
cat >"$T/Caddyfile" <<CADDY
{
	admin off
	auto_https off
	servers {
		protocols h1 h2 h3
	}
}
https://127.0.0.1:$PORT, https://localhost:$PORT {
	bind 127.0.0.1
	tls $T/cert.pem $T/key.pem
	root * $T/www
	file_server
}
CADDY
HOME=$T/home XDG_DATA_HOME=$T/home XDG_CONFIG_HOME=$T/home caddy run --config "$T/Caddyfile" --adapter caddyfile \
    >"$T/caddy.log" 2>&1 &
CADDY_PID=$!
started "$CADDY_PID"
wait_for_line "$T/caddy.log" 'serving initial configuration' "$CADDY_PID" 20 || fail 'caddy does not start'
peer 'get from caddy'
get_from "https://127.0.0.1:$PORT"
fetch "https://127.0.0.1:$PORT/empty" || fail 'no empty file'
[ ! -s "$T/get.out" ] || fail 'the empty file has bytes'
ok 'an empty file'
fetch "https://localhost:$PORT/folder/" "https://127.0.0.1:$PORT/small" --output-dir "$T/got" ||
    fail 'two origins, one after the other'
cmp "$T/www/folder/index.html" "$T/got/index.html" || fail 'the index differs'
ok 'two origins in one call'
kill "$CADDY_PID"
wait "$CADDY_PID" || true
count_end
