"""Types into a program in a terminal of its own, and looks at what comes back.

    terminal.py PROGRAM WORDS...

The terminal has a size, an interrupt character and a name that no default has; the login on the
other side must have all three, and follow when the size changes.
"""

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time

SECONDS = 20


def resize(terminal, rows, columns):
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


class Login:
    def __init__(self, argv):
        self.seen = b""
        ours, theirs = pty.openpty()
        resize(theirs, 33, 101)
        modes = termios.tcgetattr(theirs)
        modes[6][termios.VINTR] = b"\x07"
        termios.tcsetattr(theirs, termios.TCSANOW, modes)
        self.pid = os.fork()
        if self.pid == 0:
            os.login_tty(theirs) if hasattr(os, "login_tty") else self.adopt(theirs)
            os.execvp(argv[0], argv)
        os.close(theirs)
        self.terminal = ours

    @staticmethod
    def adopt(terminal):
        os.setsid()
        fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
        for number in (0, 1, 2):
            os.dup2(terminal, number)

    def read(self, seconds):
        ready, _, _ = select.select([self.terminal], [], [], seconds)
        if not ready:
            return False
        try:
            piece = os.read(self.terminal, 65536)
        except OSError:
            piece = b""
        self.seen += piece
        return bool(piece)

    def expect(self, what):
        end = time.monotonic() + SECONDS
        while what not in self.seen:
            left = end - time.monotonic()
            if left <= 0 or not self.read(left):
                sys.exit(f"terminal.py: no {what!r} in {self.seen!r}")
        self.seen = self.seen.split(what, 1)[1]

    def type(self, text):
        os.write(self.terminal, text.encode())

    def end(self):
        while self.read(SECONDS):
            pass
        _, status = os.waitpid(self.pid, 0)
        return os.waitstatus_to_exitcode(status)


def main():
    login = Login(sys.argv[1:])
    # What a shell echoes is not what it answers: the words are put together there.
    login.type("stty size; stty -a; echo 'te''rm' $TERM\n")
    login.expect(b"33 101")
    login.expect(b"intr = ^G")
    login.expect(b"term " + os.environ.get("TERM", "").encode())
    resize(login.terminal, 44, 132)
    os.kill(login.pid, signal.SIGWINCH)
    time.sleep(0.5)
    login.type("stty size\n")
    login.expect(b"44 132")
    login.type("sleep 30 && echo 'sle''pt' || echo 'inter''rupted'\n")
    time.sleep(0.5)
    login.type("\x07")
    login.type("echo 'af''ter'\n")
    login.expect(b"after")
    login.type("exit 5\n")
    sys.exit(login.end())


main()
