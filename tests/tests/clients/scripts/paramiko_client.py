"""paramiko: every cell on a connection of its own."""

import sys
import threading
import time

import paramiko
from cells import *
from paramiko.common import cMSG_CHANNEL_DATA, cMSG_CHANNEL_REQUEST

# paramiko says on standard error what it meets; only failures matter here.
paramiko.util.log_to_file("/dev/null")


class Connection:
    """A transport to the VM, in the form that is tried."""

    def __init__(self, prepare=lambda transport: None):
        key = paramiko.Ed25519Key.from_private_key_file(KEY)
        self.outer = None
        address = ("127.0.0.1", PORT)
        if FORM == "plus":
            self.transport = paramiko.Transport(address)
            user = LONG
        else:
            self.outer = paramiko.Transport(address)
            self.outer.connect(username="olga", pkey=key)
            tunnel = self.outer.open_channel("direct-tcpip", (VM, 22), ("127.0.0.1", 0))
            self.transport = paramiko.Transport(tunnel)
            user = "ops"
        prepare(self.transport)
        self.transport.connect(username=user, pkey=key)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.transport.close()
        if self.outer:
            self.outer.close()

    def channel(self):
        channel = self.transport.open_session()
        channel.settimeout(40)
        return channel

    def run(self, command, sent=b""):
        channel = self.channel()
        channel.exec_command(command)
        if sent:
            channel.sendall(sent)
        channel.shutdown_write()
        return finish(channel)


def finish(channel):
    out = read(channel.recv)
    err = read(channel.recv_stderr)
    return out, err, channel.recv_exit_status()


def read(receive):
    out = bytearray()
    while piece := receive(65536):
        out += piece
    return bytes(out)


def until(channel, what):
    seen = b""
    while what not in seen:
        piece = channel.recv(65536)
        assert piece, f"no {what!r} in {seen!r}"
        seen += piece
    return seen


def exec_():
    with Connection() as it:
        for status in (0, 7, 255):
            same(it.run(f"echo here; exit {status}"), (b"here\n", b"", status))


def shell():
    with Connection() as it:
        channel = it.channel()
        channel.invoke_shell()
        channel.sendall(b"echo $((6 * 7))\nexit 5\n")
        channel.shutdown_write()
        same(finish(channel), (b"42\n", b"", 5))


def terminal():
    with Connection() as it:
        channel = it.channel()
        channel.get_pty("vt220", 101, 33)
        channel.invoke_shell()
        channel.sendall("stty size; echo 'te''rm' $TERM\n")
        until(channel, b"term vt220")
        channel.resize_pty(132, 44)
        time.sleep(0.3)
        channel.sendall("stty size\n")
        until(channel, b"44 132")
        channel.sendall("exit 5\n")
        same(finish(channel)[2], 5)


def subsystem():
    with Connection() as it:
        channel = it.channel()
        channel.invoke_subsystem("sftp")
        channel.sendall(SFTP_HELLO)
        same(channel.recv(9)[4:], SFTP_ANSWER)
        try:
            it.channel().invoke_subsystem("netconf")
        except paramiko.SSHException:
            return
        raise AssertionError("netconf was not refused")


def env():
    with Connection() as it:
        channel = it.channel()
        channel.set_environment_variable("LC_BASTION", "sent")
        for refused in ("LD_PRELOAD", "SECRET"):
            channel.set_environment_variable(refused, "kept")
        channel.exec_command("echo [$LC_BASTION] [$LD_PRELOAD] [$SECRET]")
        same(finish(channel)[0], b"[sent] [] []\n")


def request(channel, kind, *fields, reply=False):
    """A channel request that paramiko has no method for."""
    message = paramiko.Message()
    message.add_byte(cMSG_CHANNEL_REQUEST)
    message.add_int(channel.remote_chanid)
    message.add_string(kind)
    message.add_boolean(reply)
    for field in fields:
        message.add_string(field)
    channel.transport._send_user_message(message)


def signal():
    with Connection() as it:
        channel = it.channel()
        channel.exec_command(SIGNALS)
        until(channel, b"ready")
        request(channel, "signal", "USR1")
        out, _, status = finish(channel)
        same((out.strip(), status), (b"got USR1", 9))


def exit_signal():
    # paramiko does not tell the signal, only that there was no status.
    with Connection() as it:
        same(it.run("kill -TERM $$")[2], -1)
        same(it.run("exit 3")[2], 3)


def stderr():
    with Connection() as it:
        same(it.run("echo out; echo err >&2; exit 2"), (b"out\n", b"err\n", 2))


def half_close():
    with Connection() as it:
        out, _, status = it.run("wc -c; sleep 0.3; echo done; exit 4", bytes(100_000))
        same((out, status), (b"100000\ndone\n", 4))
        channel = it.channel()
        channel.exec_command("exec >&- 2>&-; cat > late; exit 6")
        channel.sendall(b"early ")
        same(read(channel.recv), b"")
        channel.sendall(b"late")
        channel.shutdown_write()
        same(channel.recv_exit_status(), 6)
        same(it.run("cat late")[0], b"early late")


def early_data():
    with Connection() as it:
        for _ in range(5):
            channel = it.channel()
            request(channel, "exec", "cat", reply=False)
            message = paramiko.Message()
            message.add_byte(cMSG_CHANNEL_DATA)
            message.add_int(channel.remote_chanid)
            message.add_string(b"early" * 1000)
            channel.transport._send_user_message(message)
            channel.shutdown_write()
            same(finish(channel)[0], b"early" * 1000)


def bytes_():
    with Connection() as it:
        out, _, status = it.run(BYTES_COMMAND)
        assert b"p\xe9\xff\n" in out and b"caf\xe9 \xff" in out, out
        same(status, 0)


def long_command():
    with Connection() as it:
        same(it.run(LONG_COMMAND), (f"{LONG_COMMAND_ROOM}\n".encode(), b"", 0))


def channels():
    with Connection() as it:
        opened = []
        for number in range(64):
            channel = it.channel()
            channel.exec_command(f"echo up; read line; echo $line; exit {number}")
            opened.append(channel)
        for channel in opened:
            same(channel.recv(3), b"up\n")
        for number, channel in enumerate(opened):
            channel.sendall(f"line {number}\n".encode())
        for number, channel in enumerate(opened):
            same(finish(channel), (f"line {number}\n".encode(), b"", number))


def load(it):
    channel = it.channel()
    channel.exec_command("cat")
    back = bytearray()

    def receive():
        while piece := channel.recv(1 << 20):
            back.extend(piece)

    receiving = threading.Thread(target=receive)
    receiving.start()
    # `sendall` copies what is left after each packet, so it gets pieces.
    for at in range(0, len(LOAD), 1 << 20):
        channel.sendall(LOAD[at : at + (1 << 20)])
    channel.shutdown_write()
    receiving.join()
    assert back == LOAD, f"{len(back)} of {len(LOAD)} bytes came back, or others"
    same(channel.recv_exit_status(), 0)


def rekey():
    def prepare(transport):
        transport.packetizer.REKEY_BYTES = 1 << 24

    with Connection(prepare) as it:
        load(it)


def our_rekey():
    with Connection() as it:
        load(it)


def keepalive():
    with Connection() as it:
        it.transport.set_keepalive(1)
        same(it.run("sleep 7; exit 3")[2], 3)


def sftp():
    with Connection() as it:
        sftp = paramiko.SFTPClient.from_transport(it.transport)
        data = LOAD[:3_000_000]
        with sftp.open("paramiko.bin", "wb") as file:
            file.set_pipelined(True)
            file.write(data)
        with sftp.open("paramiko.bin", "rb") as file:
            file.prefetch()
            assert file.read() == data
        sftp.rename("paramiko.bin", b"p\xe9r.bin")
        same(sftp.stat(b"p\xe9r.bin").st_size, len(data))
        sftp.remove(b"p\xe9r.bin")
        try:
            sftp.stat("no-such-file")
        except FileNotFoundError:
            return
        raise AssertionError("a file that is not there was found")


def empty():
    with Connection() as it:
        same(it.run("cat"), (b"", b"", 0))
        sftp = paramiko.SFTPClient.from_transport(it.transport)
        sftp.open("empty.bin", "wb").close()
        same(sftp.open("empty.bin", "rb").read(), b"")


CELLS = {
    "exec": exec_, "shell": shell, "terminal": terminal, "subsystem": subsystem, "env": env,
    "signal": signal, "exit-signal": exit_signal, "stderr": stderr, "half-close": half_close,
    "early-data": early_data, "bytes": bytes_, "long-command": long_command,
    "channels": channels, "rekey": rekey, "our-rekey": our_rekey, "keepalive": keepalive,
    "sftp": sftp, "empty": empty,
}

for name in names():
    began, error = time.monotonic(), None
    try:
        CELLS[name]()
    except Exception as failure:
        error = failure
    say(name, began, error)
sys.exit(0)
