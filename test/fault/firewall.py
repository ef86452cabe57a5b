"""firewall.py - cuts connections on loopback silently, in a network namespace of its own.

    enter()                 # at the start of a program: a network namespace, once
    firewall = Firewall()
    firewall.silence(5433)  # nothing from or to that port arrives any more
    firewall.speak(5433)
    firewall.calm()         # all do

Whoever has a connection there learns of it by waiting alone, as when a cable is cut or a
machine's power.
"""
import os
import subprocess
import sys

ENTERED = "CHECKOUT_OWN_NETWORK"
TABLE = """
table inet checkout {
    set silent { type inet_service; }
    chain out { type filter hook output priority 0;
                tcp dport @silent drop
                tcp sport @silent drop; }
}
"""


def may_enter():
    """Whether this process may have a network namespace and a firewall in it."""
    if os.geteuid() != 0:
        return False
    return subprocess.run(["unshare", "--net", "nft", "list", "ruleset"],
                          capture_output=True).returncode == 0


def enter():
    """Starts this program again, in a network namespace with loopback alone."""
    if os.environ.get(ENTERED) == "yes":
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return
    os.environ[ENTERED] = "yes"
    sys.stdout.flush()
    os.execvp("unshare", ["unshare", "--net", sys.executable, *sys.argv])


class Firewall:
    def __init__(self):
        self._nft(TABLE)

    @staticmethod
    def _nft(text):
        subprocess.run(["nft", "-f", "-"], input=text, text=True, check=True)

    def silence(self, port):
        self._nft(f"add element inet checkout silent {{ {port} }}")

    def speak(self, port):
        self._nft(f"add element inet checkout silent {{ {port} }}\n"  # it may be out already
                  f"delete element inet checkout silent {{ {port} }}")

    def calm(self):
        self._nft("flush set inet checkout silent")
