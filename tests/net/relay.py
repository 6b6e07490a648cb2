"""relay.py SERVER_PORT SECONDS [ADDRESS...] -- a UDP relay that takes another port now and then, as a NAT does.

Clients send to the port that it prints; towards 127.0.0.1:SERVER_PORT it has one socket, which it closes
and opens anew every SECONDS, bound to the next of the addresses: what the server still sends to the old one
is lost. At SIGTERM it prints how often it did so, and ends.
"""
import select
import signal
import socket
import sys
import time


def main():
    server, period = ("127.0.0.1", int(sys.argv[1])), float(sys.argv[2])
    addresses = sys.argv[3:] or ["127.0.0.1"]
    inside = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    inside.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    inside.bind(("127.0.0.1", 0))
    print("listening on 127.0.0.1:%d" % inside.getsockname()[1], flush=True)
    over = []
    signal.signal(signal.SIGTERM, lambda *_: over.append(True))
    outside, client, count, due = None, None, -1, 0
    while not over:
        if time.monotonic() >= due:
            if outside:
                outside.close()
            count += 1
            outside = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            outside.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            outside.bind((addresses[count % len(addresses)], 0))
            # The first one stays until the handshake must be over (RFC 9000 section 9).
            due = time.monotonic() + period if client else time.monotonic() + 0.05
        for ready in select.select([inside, outside], [], [], 0.01)[0]:
            try:
                if ready is inside:
                    data, sender = inside.recvfrom(65536)
                    if client is None:
                        due = time.monotonic() + max(period, 0.1)
                    client = sender
                    outside.sendto(data, server)
                elif client:
                    inside.sendto(outside.recvfrom(65536)[0], client)
            except OSError:
                pass
    print("rebound %d times" % count, flush=True)


main()
