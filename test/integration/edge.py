"""edge.py - more gateways in front of one stack, each with settings of its own.

    with Gateway(stack, "strict", user_rate=1) as gateway:
        shopper = gateway.shopper()

A gateway ends by SIGTERM, and then its exit status must be 0.
"""
import contextlib
import http.client
import http.server
import re
import signal
import socket
import subprocess
import threading
from pathlib import Path

import logs
from stack import FAULTS, Answer, Shopper, wait_until


class Gateway:
    def __init__(self, stack, name, **settings):
        self.stack, self.name, self.port = stack, name, None
        self.log_file = stack.state / "log" / f"{name}.log"
        self.conf = stack.state / "conf" / f"{name}.conf"
        rows = dict(re.findall(r"^(\w+) = (.*)$", (stack.state / "conf" / "gateway.conf")
                               .read_text(), re.MULTILINE))
        rows.update({"port": 0}, **settings)
        if "rpc_url" in rows:
            rows["rpc_url"] = f"ipc://{stack.state}/run/{name}.sock"
        self.conf.write_text("".join(f"{row} = {value}\n" for row, value in rows.items()))
        self.settings = settings
        self.process = None

    def environ(self):
        """The stack's environment without the settings made here: it would override the file."""
        own = {f"CHECKOUT_GATEWAY_{name.upper()}" for name in self.settings}
        return {name: value for name, value in self.stack._environ().items() if name not in own}

    def start(self):
        with open(self.log_file, "ab") as log:
            begin = log.tell()
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", str(self.stack.build / "bin" / "gateway"),
                 "--config", str(self.conf)], env=self.environ(),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)

        def serving():
            said = self.log()[begin:]
            if self.process.poll() is not None:
                raise AssertionError(f"{self.name} ended with {self.process.returncode}: {said}")
            return re.search(r"event=serving .*port=(\d+)", said)

        self.port = int(wait_until(serving, 60, f"{self.name} serves")[1])
        return self

    def again(self):
        """Restarts it on the same port."""
        self.__init__(self.stack, self.name, **{**self.settings, "port": self.port})
        return self.start()

    @contextlib.contextmanager
    def frozen(self):
        """Stops it (SIGSTOP): what is sent to it waits in the kernel."""
        tasks = Path(f"/proc/{self.process.pid}/task")
        self.process.send_signal(signal.SIGSTOP)
        try:
            wait_until(lambda: all("State:\tT" in status.read_text()
                                   for status in tasks.glob("*/status")), 10, "it stands still")
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def log(self):
        return self.log_file.read_text(errors="replace")

    def stop(self):
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(60)
        self.process = None
        if status != 0 or any(word in self.log() for word in FAULTS):
            raise AssertionError(f"{self.name} ended with {status}: {self.log()[-3000:]}")
        wrong = logs.wrong(self.log_file.name, self.log_file.read_bytes().split(b"\n")[:-1])
        if wrong:
            raise AssertionError("\n".join(wrong[:20]))

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait(60)
            self.process = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def shopper(self, user=None, token=None, **more):
        shopper = Shopper(self.stack, user, token, **more)
        shopper.stack = _At(self.port)
        return shopper


class _At:
    """What a Shopper needs of its stack: where to connect."""

    def __init__(self, port):
        self.port = port


class KeyServer:
    """Serves one document over plain http on this machine; can go away."""

    def __init__(self, document):
        self.document, self.asked, self.status = document, 0, 200
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked += 1
                self.send_response(outer.status if outer.document else 500)
                self.end_headers()
                self.wfile.write(outer.document or b"")

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/jwks.json"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def raw(port, data, patience=30):
    """Sends bytes on a connection of their own; the Answer to the first request in them."""
    with socket.create_connection(("127.0.0.1", port), timeout=patience) as connection:
        connection.sendall(data)
        response = http.client.HTTPResponse(
            connection, method=data.split(b" ", 1)[0].decode(errors="replace"))
        response.begin()
        return Answer(response, response.read())


HOLD_UP = """
    CREATE FUNCTION public.hold_up() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM set_config('lock_timeout', '0', true), pg_advisory_xact_lock_shared(77);
        RETURN NULL;
    END $$;
    CREATE TRIGGER hold_up BEFORE INSERT OR UPDATE OR DELETE ON {table}
        EXECUTE FUNCTION public.hold_up()"""


@contextlib.contextmanager
def held_up(stack, table):
    """Whatever writes there waits, and with it what its writer has not begun, however long that
    takes (a lock is waited for as long as lock_timeout).  Gives a function that counts who
    waits."""
    stack.sql(HOLD_UP.format(table=table))
    with subprocess.Popen(["psql", "-XAtq", stack.database()], text=True,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        try:
            holder.stdin.write("SELECT 'held' FROM pg_advisory_lock(77);\n")
            holder.stdin.flush()
            if holder.stdout.readline() != "held\n":
                raise AssertionError(f"{table} cannot be locked")
            yield lambda: stack.number("SELECT count(*) FROM pg_locks WHERE NOT granted "
                                       "AND locktype = 'advisory' AND objid = 77")
        finally:
            holder.stdin.close()  # which ends the session
            stack.sql("DROP FUNCTION public.hold_up() CASCADE")
