"""The certificates of tls+tcp:// are read anew: new connections have the new ones, and no call is lost.

Beside the stack's own processes runs a second set that talks tls+tcp:// alone:

    shopper -> gateway -> orchestrator -> inventory, payment
"""
import contextlib
import itertools
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import threading
from pathlib import Path

from edge import Gateway
from stack import FAULTS, StackTest, free_port, main, wait_until

PATIENCE = 60  # seconds
NEW_KEY = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
HELLO = b"\0SP\0\0\x30\0\0"  # of a REQ socket (proto/README.md)


class Certificates:
    """A folder with what the processes read (own.pem, own.key, ca.pem), and CAs to make them of."""

    def __init__(self, folder):
        self.folder, self.count = Path(folder), 0
        self.folder.mkdir(mode=0o755)
        self.ca, self.cert, self.key = (self.folder / name for name in ("ca.pem", "own.pem", "own.key"))

    def run(self, command):
        subprocess.run(["bash", "-euc", command], cwd=self.folder, check=True, capture_output=True)

    def make_ca(self, name):
        self.run(f"openssl req -x509 {NEW_KEY} -days 2 -subj /CN={name} -keyout {name}.key -out {name}.pem")

    def issue(self, ca):
        """A new certificate and key of the CA, not yet where they are read: (cert, key, serial)."""
        self.count += 1
        name, serial = f"issued-{self.count}", 0x1000 + self.count
        self.run(f"openssl req {NEW_KEY} -subj /CN=own -keyout {name}.key -out {name}.csr;"
                 f"echo subjectAltName=DNS:127.0.0.1,IP:127.0.0.1 > {name}.ext;"
                 f"openssl x509 -req -in {name}.csr -CA {ca}.pem -CAkey {ca}.key -set_serial {serial}"
                 f" -days 2 -extfile {name}.ext -out {name}.pem; chmod 600 {name}.key")
        return self.folder / f"{name}.pem", self.folder / f"{name}.key", serial

    @staticmethod
    def put(source, target):
        """In the place of what is there, at one moment."""
        shutil.copy2(source, f"{target}.new")
        os.replace(f"{target}.new", target)

    def use(self, ca):
        """Where they are read is a new pair of the CA; its serial."""
        cert, key, serial = self.issue(ca)
        self.put(cert, self.cert)
        self.put(key, self.key)
        return serial

    def trust(self, *cas):
        (self.folder / "bundle").write_text("".join((self.folder / f"{ca}.pem").read_text() for ca in cas))
        self.put(self.folder / "bundle", self.ca)

    def settings(self):
        return {"tls_cert": self.cert, "tls_key": self.key, "tls_ca": self.ca}


class Service:
    """Another replica of one of the stack's services, with settings of its own."""

    def __init__(self, stack, name, **settings):
        self.stack, self.name = stack, name
        self.port = settings.pop("port")
        self.url = f"tls+tcp://127.0.0.1:{self.port}"
        self.conf = stack.state / "conf" / f"{name}-tls.conf"
        self.log_file = stack.state / "log" / f"{name}-tls.log"
        rows = dict(re.findall(r"^(\w+) = (.*)$", (stack.state / "conf" / f"{name}.conf").read_text(),
                               re.MULTILINE))
        rows.update(settings, listen_url=self.url)
        self.conf.write_text("".join(f"{row} = {value}\n" for row, value in rows.items()))
        self.process = None

    def start(self):
        begin = len(self.log())
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", str(self.stack.build / "bin" / self.name),
                 "--config", str(self.conf)], env=self.stack._environ(),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until(lambda: "event=serving " in self.log()[begin:] or self.process.poll(), PATIENCE,
                   f"{self.name} serves")
        return self

    def log(self):
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(PATIENCE)
        if status != 0 or any(word in self.log() for word in FAULTS):
            raise AssertionError(f"{self.name} ended with {status}: {self.log()[-3000:]}")


class ReloadTls(StackTest):
    # A process that ends has nng 1.5.2 still hold TLS connections, with a reload or without one.
    environment = {"ASAN_OPTIONS": "detect_leaks=0"}

    def setUp(self):
        self.files = Certificates(self.stack.base / f"tls-{self.id().rsplit('.test_', 1)[1][:16]}")
        self.files.make_ca("first")
        self.serial = self.files.use("first")
        self.files.trust("first")
        tls = self.files.settings()
        ports = [free_port() for _ in range(3)]
        inventory, payment, orchestrator = (f"tls+tcp://127.0.0.1:{port}" for port in ports)
        self.services = [
            Service(self.stack, "inventory", port=ports[0], **tls),
            Service(self.stack, "payment", port=ports[1], **tls),
            Service(self.stack, "orchestrator", port=ports[2], inventory_addresses=inventory,
                    payment_addresses=payment, events_url=f"ipc://{self.stack.base}/events-tls.sock",
                    **tls)]
        for service in self.services:
            service.start()
            self.addCleanup(service.stop)
        self.gateway = Gateway(self.stack, "gateway-tls", orchestrator_addresses=orchestrator,
                               inventory_addresses=inventory, payment_addresses=payment, **tls)
        self.gateway.start()
        self.addCleanup(self.gateway.stop)
        self.shopper = self.gateway.shopper()
        self.addCleanup(self.shopper.close)
        self.numbers, self.placed = itertools.count(), 0

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.stack.product("mug-tls", 100000)

    def place(self, shopper=None):
        """One order, asked for once; who asks again gets the same answer and would hide a loss."""
        shopper, name = shopper or self.shopper, f"{self.files.folder.name}-{next(self.numbers)}"
        self.assertIn(shopper.put_cart(name, [("mug-tls", 1)]).status, (200, 201))
        self.expect(shopper.order(name, f"key-{name}"), 201)
        self.placed += 1

    def use(self, ca):
        self.serial = self.files.use(ca)

    def processes(self):
        return [*self.services, self.gateway]

    def hang_up(self, change=lambda: None, event="rpc_certificate_reloaded"):
        """The change, then SIGHUP to all of them; what each has said since, once that has the
        event.  (On a slow machine the change may be noticed before the signal.)"""
        said = {}
        begun = {process: len(process.log()) for process in self.processes()}
        change()
        for process in self.processes():
            process.process.send_signal(signal.SIGHUP)
        for process, begin in begun.items():
            wait_until(lambda: f"event={event} " in process.log()[begin:], PATIENCE,
                       f"{process.name} says {event}")
            self.assertIsNone(process.process.poll())
            said[process.name] = process.log()[begin:]
        return said

    def served(self, service, cert=None, key=None):
        """The serial of the certificate that a new connection is shown, once it has been let in."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(self.files.ca)
        context.load_cert_chain(cert or self.files.cert, key or self.files.key)
        with socket.create_connection(("127.0.0.1", service.port), timeout=10) as plain:
            with context.wrap_socket(plain) as connection:
                connection.sendall(HELLO)
                answer = b""
                while len(answer) < len(HELLO):
                    more = connection.recv(len(HELLO) - len(answer))
                    if not more:
                        raise ssl.SSLError("not let in")
                    answer += more
                return int(connection.getpeercert()["serialNumber"], 16)

    def serves(self, service, serial, *pair):
        """Not yet, too, if it could not be asked: nng 1.5.2 may just listen anew (nng_defects.h)."""
        with contextlib.suppress(OSError):
            return self.served(service, *pair) == serial
        return False

    def test_a_new_connection_is_shown_the_new_certificate(self):
        self.place()
        for _ in range(2):
            for service in self.services:
                wait_until(lambda: self.serves(service, self.serial), 5, f"{service.name} shows it")
            before, said = self.serial, self.hang_up(lambda: self.use("first"))
            self.assertNotEqual(before, self.serial)
            for service in self.services:
                self.assertIn(f"serial={self.serial:X}", said[service.name])
                wait_until(lambda: self.serves(service, self.serial), 5, f"{service.name} shows it")
            self.place()
        # What is in use already is not taken again.
        said = {process: len(process.log()) for process in self.processes()}
        for process in self.processes():
            process.process.send_signal(signal.SIGHUP)
        for process, begin in said.items():
            wait_until(lambda: "event=list_reloaded " in process.log()[begin:], PATIENCE, "it read")
            self.assertNotIn("rpc_certificate", process.log()[begin:])

    def test_an_authority_is_replaced_while_all_run(self):
        self.place()
        old = self.files.issue("first")
        self.files.make_ca("second")
        for change in (lambda: self.files.trust("first", "second"), lambda: self.use("second"),
                       lambda: self.files.trust("second")):
            self.hang_up(change)
            self.place()
        for service in self.services:
            wait_until(lambda: self.serves(service, self.serial), 5, f"{service.name} shows it")
            with self.assertRaises(OSError):
                self.served(service, *old[:2])
        # Who comes anew has never known the first: all that call it must have the new ones.
        for service in self.services:
            service.stop()
            service.start()
        wait_until(lambda: self.shopper.ask("GET", "/healthz").status == 200, PATIENCE, "all is well")
        self.place()

    def test_what_is_bad_is_told_each_time_and_not_used(self):
        files = self.files
        files.make_ca("nobodys")
        cert, key, _ = files.issue("first")
        foreign = files.issue("nobodys")
        good = [shutil.copy2(path, f"{path}.good") for path in (files.cert, files.key)]
        garbage = files.folder / "garbage"
        garbage.write_text("no certificate\n")

        def open_to_all():
            files.put(cert, files.cert)
            files.put(key, files.key)
            files.key.chmod(0o644)

        for reason, change in (
                ("not the certificate's", lambda: files.put(cert, files.cert)),
                ("own.pem", lambda: files.put(garbage, files.cert)),
                ("own.pem cannot be opened", files.cert.unlink),
                ("is not valid by", lambda: [files.put(source, target) for source, target in
                                    zip(foreign[:2], (files.cert, files.key))]),
                ("chmod 600", open_to_all)):
            with self.subTest(reason):
                change()
                for _ in range(2):
                    for said in self.hang_up(event="rpc_certificate_reload_failed").values():
                        self.assertIn(reason, said)
                for service in self.services:
                    wait_until(lambda: self.serves(service, self.serial, *good), 5,
                               f"{service.name} shows what it did")
                self.place()
                for source, target in zip(good, (files.cert, files.key)):
                    files.put(source, target)

    def test_no_call_is_lost(self):
        done, troubles = threading.Event(), []

        def shop():
            shopper = self.gateway.shopper()
            try:
                while not done.is_set():
                    self.place(shopper)
            except BaseException as trouble:
                troubles.append(trouble)
            finally:
                shopper.close()

        threads = [threading.Thread(target=shop) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            rounds = 0
            while rounds < 5 or (self.placed < 50 and not troubles):
                rounds += 1
                self.hang_up(lambda: self.use("first"))
                for service in self.services:
                    wait_until(lambda: self.serves(service, self.serial), 5,
                               f"{service.name} shows it")
        finally:
            done.set()
            for thread in threads:
                thread.join(PATIENCE)
        self.assertEqual(troubles, [])

    def test_a_change_is_noticed_without_a_signal(self):
        self.use("first")
        for service in self.services:
            wait_until(lambda: self.serves(service, self.serial), PATIENCE, f"{service.name} shows it")
        self.place()


if __name__ == "__main__":
    main()
