"""Packets that are wrong inside the encryption, before anybody has logged in.

    encrypted.py PORT ROUND

paramiko exchanges the keys; from there on each case sends what no client should. One line of JSON
for each: its name, whether the gateway ended the connection, and after how many seconds.
"""

import json
import os
import socket
import struct
import sys
import threading
import time

import paramiko

PORT, ROUND = int(sys.argv[1]), int(sys.argv[2])
PATIENCE = 60


def string(data):
    return struct.pack(">I", len(data)) + data


LOGIN = bytes([50]) + string(b"root") + string(b"ssh-connection")
KEY = string(string(b"ssh-ed25519") + string(bytes(32)))

# Payloads that are encrypted and authenticated as they should be.
PAYLOADS = {
    "an empty login": bytes([50]),
    "a login whose name is 2^32 - 1 long": bytes([50]) + b"\xff\xff\xff\xff" + b"root",
    "a login cut in its method": LOGIN + struct.pack(">I", 9) + b"pub",
    "a login name of 200 KiB": bytes([50]) + string(b"a" * (200 << 10)) + string(b"ssh-connection") + string(b"none"),
    "a login by an unknown method": LOGIN + string(b"telepathy"),
    "a login for another service": bytes([50]) + string(b"root") + string(b"nothing") + string(b"none"),
    "a key of no bytes": LOGIN + string(b"publickey") + b"\0" + string(b"ssh-ed25519") + string(b""),
    "a key that lies about its length": LOGIN + string(b"publickey") + b"\0" + string(b"ssh-ed25519") + string(b"\xff\xff\xff\xffssh"),
    "a signature of no bytes": LOGIN + string(b"publickey") + b"\1" + string(b"ssh-ed25519") + KEY + string(b""),
    "a signature of garbage": LOGIN + string(b"publickey") + b"\1" + string(b"ssh-ed25519") + KEY + string(os.urandom(300)),
    "a certificate of garbage": LOGIN + string(b"publickey") + b"\0" + string(b"ssh-ed25519-cert-v01@openssh.com") + string(string(b"ssh-ed25519-cert-v01@openssh.com") + os.urandom(400)),
    "a service that nobody has": bytes([5]) + string(b"ssh-nothing"),
    "a service request of nothing": bytes([5]),
    "a channel before the login": bytes([90]) + string(b"session") + struct.pack(">III", 0, 1 << 20, 1 << 15),
    "data for a channel that is not": bytes([94]) + struct.pack(">I", 7) + string(b"rm"),
    "a window for a channel that is not": bytes([93]) + struct.pack(">II", 7, 0xFFFFFFFF),
    "a channel request of nothing": bytes([98]),
    "a global request before the login": bytes([80]) + string(b"tcpip-forward") + b"\1" + string(b"") + struct.pack(">I", 1),
    "the server's own words": bytes([52]),
    "the server's banner": bytes([53]) + string(b"welcome") + string(b""),
    "a proposal of nothing": bytes([20]),
    "a proposal of garbage": bytes([20]) + os.urandom(500),
    "new keys without an exchange": bytes([21]),
    "a public key without a proposal": bytes([30]) + string(bytes(32)),
    "extensions without end": bytes([7]) + b"\xff\xff\xff\xff" + string(b"server-sig-algs"),
    "message 0": bytes([0]),
    "message 255": bytes([255]) * 64,
    "something to ignore, of 250 KiB": bytes([2]) + string(bytes(250 << 10)),
    "a debug message cut short": bytes([4, 1]) + struct.pack(">I", 1 << 20),
}


def wrong_tag(transport):
    """The last byte of a packet is not what it was."""
    write = transport.packetizer.write_all
    transport.packetizer.write_all = lambda out: write(out[:-1] + bytes([out[-1] ^ 1]))
    send(transport, bytes([2]) + string(b"x"))


def twice(transport):
    """A packet that has been sent before."""
    write = transport.packetizer.write_all

    def again(out):
        write(out)
        write(out)

    transport.packetizer.write_all = again
    send(transport, bytes([2]) + string(b"x"))


def cut_short(transport):
    """Half of a packet, and then silence."""
    write = transport.packetizer.write_all
    transport.packetizer.write_all = lambda out: write(out[: len(out) // 2])
    send(transport, bytes([2]) + string(b"x" * 400))


def raw(data):
    return lambda transport: transport.packetizer.write_all(data)


# What is wrong with the encryption itself. With AES-GCM a packet's length is not encrypted.
RAW = {
    "a wrong tag": wrong_tag,
    "a packet twice": twice,
    "half a packet": cut_short,
    "garbage": raw(os.urandom(4096)),
    "length 0": raw(bytes(64)),
    "length 1": raw(struct.pack(">I", 1) + bytes(64)),
    "length 2^32 - 1": raw(b"\xff" * 64),
    "length 300,000": raw(struct.pack(">I", 300_000) + os.urandom(4096)),
    "a length and not that much": raw(struct.pack(">I", 32_000) + os.urandom(100)),
}


def send(transport, payload):
    message = paramiko.Message()
    message.add_bytes(payload)
    transport._send_message(message)


def attempt(number, name, act):
    began = time.monotonic()
    try:
        plain = socket.create_connection(
            ("127.0.0.1", PORT), timeout=PATIENCE, source_address=(f"127.{80 + ROUND % 100}.{number}.1", 0)
        )
        transport = paramiko.Transport(plain)
        transport.get_security_options().ciphers = ["aes256-gcm@openssh.com"]
        transport.start_client(timeout=PATIENCE)
        began = time.monotonic()
        act(transport)
    except (paramiko.SSHException, EOFError, OSError):
        # The gateway may close before it has taken everything: that is the point.
        pass
    while transport.is_active() and time.monotonic() - began < PATIENCE:
        time.sleep(0.05)
    return {"case": name, "ended": not transport.is_active(), "seconds": round(time.monotonic() - began, 2)}


def main():
    cases = [(name, lambda t, payload=payload: send(t, payload)) for name, payload in PAYLOADS.items()]
    cases += list(RAW.items())
    lock = threading.Lock()

    def one(number, name, act):
        found = attempt(number, name, act)
        with lock:
            print(json.dumps(found), flush=True)

    threads = [threading.Thread(target=one, args=(n, *case)) for n, case in enumerate(cases)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


main()
