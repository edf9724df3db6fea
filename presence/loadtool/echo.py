"""The denominator: a pair of datagrams exchanged by two processes that only make the system calls.

`python -m presence.loadtool.echo` is the one in the server's place.
"""

import json
import select
import subprocess
import sys
import time

from presence._fastcore import RawAnswerer, RawSender
from presence.loadtool.traffic import Hops

WINDOW = 256


def exchange_us(hops: Hops, notify_bytes: int, reply_bytes: int, count: int) -> float:
    """Return the processor time the sender needs for one datagram out and one in, in microseconds."""
    answerer = RawAnswerer(hops.sockets, hops.addresses, reply_bytes)
    ports = ",".join(map(str, answerer.ports()))
    command = [
        sys.executable,
        "-m",
        "presence.loadtool.echo",
        ports,
        str(hops.addresses),
        str(notify_bytes),
        str(count),
    ]
    finished = select.poll()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as sender:
        assert sender.stdout is not None
        finished.register(sender.stdout, select.POLLIN)
        while not finished.poll(0):
            answerer.answer(0.02)
        said = json.loads(sender.stdout.readline())
    return float(said["cpu_s"]) / count * 1e6


def send(ports: str, addresses: str, size: str, count: str) -> None:
    """Exchange datagrams and print what it took."""
    sender = RawSender([int(port) for port in ports.split(",")], int(addresses), int(size))
    sender.run(int(count) // 10, WINDOW)
    cpu_s = time.process_time()
    wall_s, lost = sender.run(int(count), WINDOW)
    print(json.dumps({"cpu_s": time.process_time() - cpu_s, "wall_s": wall_s, "lost": lost}), flush=True)


if __name__ == "__main__":
    send(*sys.argv[1:])
