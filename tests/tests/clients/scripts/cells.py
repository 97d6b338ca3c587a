"""What the Python scripts have in common: their places, and a line for each cell."""

import os
import sys
import time
import traceback

FORM = os.environ["BASTION_FORM"]
VM = os.environ["BASTION_VM"]
PORT = int(os.environ["BASTION_PORT"])
KEY = "keys/olga"
# The user name of the first form, and those of the second: outside and inside.
LONG = f"ops+{VM}"

SIGNALS = "trap 'echo got USR1; exit 9' USR1; echo ready; while :; do sleep 0.05; done"
LONG_COMMAND_ROOM = 128 * 1024 - 1 - len("x=''; echo ${#x}")
LONG_COMMAND = "x='" + "y" * LONG_COMMAND_ROOM + "'; echo ${#x}"
LOAD = bytes(n % 253 for n in range(1 << 20)) * 48
BYTES_COMMAND = b"printf %s 'caf\xe9 \xff' > 'p\xe9\xff'; ls -N; cat p*; rm p*"
SFTP_HELLO, SFTP_ANSWER = bytes([0, 0, 0, 5, 1, 0, 0, 0, 3]), bytes([2, 0, 0, 0, 3])


def same(is_so, should):
    assert is_so == should, f"{is_so!r} is not {should!r}"


def say(name, began, error):
    if error is None:
        print(f"ok {name} {int((time.monotonic() - began) * 1000)} ms", flush=True)
    else:
        text = "".join(traceback.format_exception(error)).replace("\n", " | ")
        print(f"failed {name}: {text}", flush=True)


def names():
    return sys.argv[1:]
