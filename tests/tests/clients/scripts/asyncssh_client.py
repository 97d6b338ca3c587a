"""asyncssh: every cell on a connection of its own."""

import asyncio
import sys
import time

import asyncssh
from cells import *

# The gateway's host certificate is checked as by OpenSSH: the CA stands in `known_hosts`.
KNOWN = "known_hosts"


class Connection:
    """A connection to the VM, in the form that is tried."""

    def __init__(self, **options):
        self.options = options

    async def __aenter__(self):
        shared = dict(known_hosts=KNOWN, client_keys=[KEY], config=None, agent_path=None)
        gateway = dict(host="127.0.0.1", port=PORT, host_key_alias="bastion")
        self.outer = None
        if FORM == "plus":
            self.it = await asyncssh.connect(**gateway, username=LONG, **shared, **self.options)
        else:
            self.outer = await asyncssh.connect(**gateway, username="olga", **shared)
            self.it = await asyncssh.connect(
                VM, username="ops", tunnel=self.outer, **shared, **self.options
            )
        return self.it

    async def __aexit__(self, *_):
        self.it.close()
        await self.it.wait_closed()
        if self.outer:
            self.outer.close()
            await self.outer.wait_closed()


async def ran(it, command, sent=b"", **options):
    # Without anything to send asyncssh would leave the input open.
    sent = {"input": sent} if sent else {"stdin": asyncssh.DEVNULL}
    done = await it.run(command, **sent, encoding=None, **options)
    return done.stdout, done.stderr, done.exit_status


async def exec_():
    async with Connection() as it:
        for status in (0, 7, 255):
            same(await ran(it, f"echo here; exit {status}"), (b"here\n", b"", status))


async def shell():
    async with Connection() as it:
        same(await ran(it, None, b"echo $((6 * 7))\nexit 5\n"), (b"42\n", b"", 5))


async def terminal():
    async with Connection() as it:
        modes = {asyncssh.PTY_VINTR: 7}
        login = await it.create_process(
            term_type="vt220", term_size=(101, 33), term_modes=modes
        )
        login.stdin.write("stty size; stty -a; echo 'te''rm' $TERM\n")
        seen = await login.stdout.readuntil("term vt220")
        assert "33 101" in seen and "intr = ^G" in seen, seen
        login.change_terminal_size(132, 44)
        await asyncio.sleep(0.3)
        login.stdin.write("stty size\n")
        await login.stdout.readuntil("44 132")
        login.stdin.write("exit 5\n")
        same((await login.wait()).exit_status, 5)


async def subsystem():
    async with Connection() as it:
        sftp = await it.create_process(subsystem="sftp", encoding=None)
        sftp.stdin.write(SFTP_HELLO)
        same((await sftp.stdout.readexactly(9))[4:], SFTP_ANSWER)
        try:
            await it.create_process(subsystem="netconf", encoding=None)
        except asyncssh.ChannelOpenError:
            return
        raise AssertionError("netconf was not refused")


async def env():
    async with Connection() as it:
        sent = {"LC_BASTION": "sent", "LD_PRELOAD": "kept", "SECRET": "kept"}
        out, _, _ = await ran(it, "echo [$LC_BASTION] [$LD_PRELOAD] [$SECRET]", env=sent)
        same(out, b"[sent] [] []\n")


async def signal():
    async with Connection() as it:
        process = await it.create_process(SIGNALS)
        same(await process.stdout.readline(), "ready\n")
        process.send_signal("USR1")
        done = await process.wait()
        same((done.stdout.strip(), done.exit_status), ("got USR1", 9))


async def exit_signal():
    async with Connection() as it:
        for name in ("TERM", "KILL"):
            done = await it.run(f"kill -{name} $$")
            same((done.exit_signal[0], done.exit_status), (name, -1))


async def stderr():
    async with Connection() as it:
        same(await ran(it, "echo out; echo err >&2; exit 2"), (b"out\n", b"err\n", 2))


async def half_close():
    async with Connection() as it:
        out, _, status = await ran(it, "wc -c; sleep 0.3; echo done; exit 4", bytes(100_000))
        same((out, status), (b"100000\ndone\n", 4))
        process = await it.create_process("exec >&- 2>&-; cat > late; exit 6", encoding=None)
        process.stdin.write(b"early ")
        same(await process.stdout.read(), b"")
        process.stdin.write(b"late")
        process.stdin.write_eof()
        same((await process.wait()).exit_status, 6)
        same((await ran(it, "cat late"))[0], b"early late")


async def early_data():
    class Early(asyncssh.SSHClientSession):
        def __init__(self):
            self.back, self.status = b"", asyncio.Event()

        def connection_made(self, chan):
            # The request is not sent yet: its reply comes long after these bytes have left.
            self.chan = chan
            asyncio.get_running_loop().call_soon(self.send)

        def send(self):
            try:
                self.chan.write(b"early" * 1000)
                self.chan.write_eof()
            except (OSError, AssertionError):
                asyncio.get_running_loop().call_soon(self.send)

        def data_received(self, data, _):
            self.back += data

        def connection_lost(self, _):
            self.status.set()

    async with Connection() as it:
        for _ in range(5):
            _, session = await it.create_session(Early, "cat", encoding=None)
            await session.status.wait()
            same(session.back, b"early" * 1000)


async def bytes_():
    async with Connection() as it:
        # asyncssh takes commands as text, which it sends as UTF-8.
        command = "printf 'caf\\351' > $(printf 'p\\351\\377'); ls -N p*; cat p*; rm p*"
        out, _, status = await ran(it, command)
        assert b"p\xe9\xff\n" in out and b"caf\xe9" in out, out
        async with it.start_sftp_client(path_encoding=None) as sftp:
            await sftp.mkdir(b"d\xe9\xff")
            assert b"d\xe9\xff" in await sftp.listdir(b".")
            await sftp.rmdir(b"d\xe9\xff")
        same(status, 0)


async def long_command():
    async with Connection() as it:
        same(await ran(it, LONG_COMMAND), (f"{LONG_COMMAND_ROOM}\n".encode(), b"", 0))


async def channels():
    async with Connection() as it:
        async def one(number):
            line = f"echo up; read line; echo $line; exit {number}"
            process = await it.create_process(line)
            same(await process.stdout.readline(), "up\n")
            return process

        opened = await asyncio.gather(*(one(number) for number in range(64)))
        for number, process in enumerate(opened):
            process.stdin.write(f"line {number}\n")
        for number, process in enumerate(opened):
            done = await process.wait()
            same((done.stdout, done.exit_status), (f"line {number}\n", number))


async def load(it):
    out, _, status = await ran(it, "cat", LOAD)
    assert out == LOAD, f"{len(out)} of {len(LOAD)} bytes came back, or others"
    same(status, 0)


async def rekey():
    async with Connection(rekey_bytes=1 << 24) as it:
        await load(it)


async def our_rekey():
    async with Connection() as it:
        await load(it)


async def keepalive():
    async with Connection(keepalive_interval=1, keepalive_count_max=2) as it:
        same((await ran(it, "sleep 7; exit 3"))[2], 3)


async def sftp():
    async with Connection() as it, it.start_sftp_client(path_encoding=None) as sftp:
        data = LOAD[:3_000_000]
        async with sftp.open(b"asyncssh.bin", "wb") as file:
            await file.write(data)
        async with sftp.open(b"asyncssh.bin", "rb") as file:
            assert await file.read() == data
        await sftp.rename(b"asyncssh.bin", b"a\xe9r.bin")
        same((await sftp.stat(b"a\xe9r.bin")).size, len(data))
        await sftp.remove(b"a\xe9r.bin")
        try:
            await sftp.stat(b"no-such-file")
        except asyncssh.SFTPNoSuchFile:
            return
        raise AssertionError("a file that is not there was found")


async def scp_old():
    local = f"asyncssh.{FORM}"
    with open(local, "wb") as file:
        file.write(LOAD[:3_000_000])
    async with Connection() as it:
        await asyncssh.scp(local, (it, "asyncssh.scp"))
        await asyncssh.scp((it, "asyncssh.scp"), f"{local}.back")
    with open(f"{local}.back", "rb") as file:
        assert file.read() == LOAD[:3_000_000]


async def empty():
    async with Connection() as it:
        same(await ran(it, "cat"), (b"", b"", 0))
        async with it.start_sftp_client() as sftp:
            async with sftp.open("empty.bin", "wb"):
                pass
            async with sftp.open("empty.bin", "rb") as file:
                same(await file.read(), b"")


CELLS = {
    "exec": exec_, "shell": shell, "terminal": terminal, "subsystem": subsystem, "env": env,
    "signal": signal, "exit-signal": exit_signal, "stderr": stderr, "half-close": half_close,
    "early-data": early_data, "bytes": bytes_, "long-command": long_command,
    "channels": channels, "rekey": rekey, "our-rekey": our_rekey, "keepalive": keepalive,
    "sftp": sftp, "scp-old": scp_old, "empty": empty,
}

for name in names():
    began, error = time.monotonic(), None
    try:
        asyncio.run(asyncio.wait_for(CELLS[name](), 60))
    except Exception as failure:
        error = failure
    say(name, began, error)
sys.exit(0)
