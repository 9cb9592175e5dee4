"""Send other traffic: UDP at about a rate, in waves as TCP makes them. `noise.py ADDRESS BITS_PER_S SEED`."""

from __future__ import annotations

import math
import random
import socket
import sys
import time


def main() -> None:
    address, rate_bps = sys.argv[1], float(sys.argv[2])
    rng = random.Random(int(sys.argv[3]))
    period = rng.uniform(0.8, 2.0)
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    packet = bytes(1172)
    began = due = time.monotonic()
    while True:
        # between 0.7 and 1.3 of the rate: the queue fills and drains, as under a TCP download
        share = 1 + 0.45 * math.sin((time.monotonic() - began) * 2 * math.pi / period)
        try:
            sock.sendto(packet, (address, 9))
        except OSError:
            time.sleep(0.05)
        due += 1200 * 8 / (rate_bps * share * 0.8)
        time.sleep(max(0.0, due - time.monotonic()))


if __name__ == "__main__":
    main()
