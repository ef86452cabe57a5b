"""Databases that are not as they must be: told in a sentence, and nothing half done."""
import concurrent.futures
import os
import socket
import subprocess
import tempfile
import threading
import unittest
from pathlib import Path

from cluster import Cluster, Pooler
from stack import CTL, REPO, Stack, check_sums, main, wait_until

MIGRATIONS = REPO / "migrations"
LOCKS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"


def migrate(url, *more):
    return subprocess.run(
        [str(CTL), "migrate", "--config", "/dev/null", "--dir", str(MIGRATIONS), *more],
        env={**os.environ, "CHECKOUT_DATABASE_URL": url}, text=True, capture_output=True,
        timeout=120)


class OldServer:
    """Passes everything on, but says that the server is PostgreSQL 14."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.cluster.port))
            threading.Thread(target=self._pass, args=(client, server), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client), daemon=True).start()

    @staticmethod
    def _pass(source, sink):
        while data := source.recv(1 << 16):
            for major in (b"15.", b"16.", b"17.", b"18."):  # of one length
                data = data.replace(b"server_version\0" + major, b"server_version\00014.")
            sink.sendall(data)
        sink.shutdown(socket.SHUT_RDWR)

    def stop(self):
        self.listener.close()


class Unsafe(unittest.TestCase):
    """What no session can set: `checkoutctl migrate` refuses it, and does nothing."""

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster()
        cls.addClassCleanup(cls.cluster.stop)

    def setUp(self):
        self.cluster.make_database()

    def refused(self, *words, url=None, arguments=()):
        done = migrate(url or self.cluster.url(), *arguments)
        self.assertEqual(done.returncode, 1, done)
        self.assertEqual(done.stdout, "")
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)
        self.assertEqual(self.cluster.psql(
            "SELECT to_regnamespace('checkout_meta') IS NULL").stdout, "t\n")
        self.assertEqual(self.cluster.psql(LOCKS).stdout, "0\n")

    def test_a_server_that_may_forget_is_refused(self):
        for name, worst, best in (("fsync", "off", "on"), ("full_page_writes", "off", "on"),
                                  ("data_sync_retry", "on", "off"),
                                  ("zero_damaged_pages", "on", "off")):
            with self.subTest(name):
                self.cluster.restart(f"-c {name}={worst}")
                self.refused(f"{name} is {worst}, set on the server's command line: ",
                             f"start it without {name} there")
                self.cluster.restart()
                self.cluster.psql(f"ALTER SYSTEM SET {name} = {worst}")
                self.cluster.restart()
                self.cluster.psql("GRANT pg_read_all_settings TO checkout_owner")
                self.refused(f"{name} is {worst}, set in the server's files ("
                             f"{self.cluster.data}/postgresql.auto.conf line ",
                             f"ALTER SYSTEM SET {name} = {best}")
                self.cluster.psql("REVOKE pg_read_all_settings FROM checkout_owner")
                self.cluster.psql("ALTER SYSTEM RESET ALL")
                self.cluster.restart()

    def test_every_thing_that_is_wrong_is_told(self):
        self.cluster.restart("-c fsync=off -c full_page_writes=off")
        self.refused("fsync is off", "full_page_writes is off")
        self.cluster.restart()

    def test_an_encoding_other_than_utf8_is_refused(self):
        self.cluster.make_database(more="ENCODING 'LATIN1' TEMPLATE template0")
        self.refused('The database "checkout" has the encoding LATIN1', "ENCODING 'UTF8'")

    def test_a_server_older_than_15_is_refused(self):
        old = OldServer(self.cluster)
        self.addCleanup(old.stop)
        self.refused("The server is PostgreSQL 14", "15 or newer",
                     url=self.cluster.url(port=old.port))

    def test_rules_that_are_switched_off_are_refused_wherever_that_is(self):
        setting = "SET session_replication_role = replica"
        self.cluster.psql("DO $$ BEGIN CREATE ROLE checkout_inventory LOGIN; EXCEPTION"
                          " WHEN duplicate_object THEN NULL; END $$")
        for of, cure in (
                ("DATABASE checkout", 'ALTER DATABASE "checkout" RESET'),
                ("ROLE checkout_owner", 'ALTER ROLE "checkout_owner" RESET'),
                ("ROLE checkout_owner IN DATABASE checkout",
                 'ALTER ROLE "checkout_owner" IN DATABASE "checkout" RESET'),
                ("ROLE ALL", "ALTER ROLE ALL RESET"),
                ("ROLE checkout_inventory", "ALTER ROLE checkout_inventory RESET"),
                ("ROLE checkout_inventory IN DATABASE checkout",
                 "ALTER ROLE checkout_inventory IN DATABASE checkout RESET")):
            with self.subTest(of):
                self.cluster.psql(f"ALTER {of} {setting}")
                self.refused("session_replication_role is ", cure)
                self.cluster.psql(f"ALTER {of} RESET session_replication_role")

    def test_passwords_are_not_given_on_such_a_server(self):
        self.assertEqual(migrate(self.cluster.url()).returncode, 0)
        passwords = Path(tempfile.mkdtemp(prefix="checkout-files-"), "passwords")
        self.addCleanup(lambda: (passwords.unlink(), passwords.parent.rmdir()))
        passwords.touch(0o600)
        self.cluster.restart("-c fsync=off")
        done = migrate(self.cluster.url(), "--roles", str(passwords))
        self.cluster.restart()
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("fsync is off", done.stderr)

    def test_a_refusal_has_the_servers_detail_and_hint(self):
        self.cluster.psql("REVOKE CONNECT ON DATABASE checkout FROM PUBLIC")
        self.cluster.psql("DO $$ BEGIN CREATE ROLE checkout_stranger LOGIN; EXCEPTION"
                          " WHEN duplicate_object THEN NULL; END $$")
        done = migrate(self.cluster.url(role="checkout_stranger"))
        self.assertIn('permission denied for database "checkout" DETAIL: User does not have',
                      done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)

    def test_a_url_from_a_file_may_have_blanks_and_line_ends_around_it(self):
        done = migrate(f" \t{self.cluster.url()}\r\n")
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_our_roles_may_connect_where_public_may_not(self):
        self.cluster.psql("REVOKE CONNECT ON DATABASE checkout FROM PUBLIC")
        self.assertEqual(migrate(self.cluster.url()).returncode, 0)
        for role in ("inventory", "payment", "orders", "sandbox"):
            self.assertEqual(self.cluster.psql("SELECT 1", role=f"checkout_{role}").stdout,
                             "1\n")


class OutsideStack(Stack):
    """On a cluster that the test has by itself."""

    def __init__(self, url):
        super().__init__(CHECKOUT_DATABASE_URL=url)

    def said(self, event):
        """Lines of all services, in the order of their times (which they begin with)."""
        return sorted(line for name in ("inventory", "payment", "orchestrator")
                      for line in self.log(name).splitlines() if f"event={event}" in line)

    def database(self):
        return self.environment["CHECKOUT_DATABASE_URL"].strip()


class Outside(unittest.TestCase):
    """A stack on a database of somebody else's."""

    def setUp(self):
        self.cluster = Cluster()
        self.addCleanup(self.cluster.stop)
        self.cluster.make_database()
        self.cart = 0

    def stack_on(self, url):
        stack = OutsideStack(url)
        self.addCleanup(stack.stop)
        stack.start()
        stack.product("mug", 100)
        return stack

    def buy(self, stack):
        """Whatever happens meanwhile, it becomes an order in the end."""
        self.cart += 1
        shopper, cart = stack.shopper(), f"cart-{self.cart}"
        self.addCleanup(shopper.close)
        shopper.until_final(lambda: shopper.put_cart(cart, [("mug", 1)]))
        answer = shopper.order_until_final(cart, f"key-{cart}")
        self.assertEqual(answer.status, 201, repr(answer))

    def test_services_warn_at_each_connect_and_go_on(self):
        """Of all that can change under a running service; its database's encoding cannot, nor can
        the server become older."""
        stack = self.stack_on(self.cluster.url() + "\n")
        self.assertEqual(stack.said("database_unsafe"), [])
        self.cluster.psql("ALTER DATABASE checkout SET session_replication_role = replica")
        self.cluster.restart("-c fsync=off -c full_page_writes=off -c data_sync_retry=on"
                             " -c zero_damaged_pages=on")
        wait_until(lambda: len(stack.said("database_unsafe")) >= 4, 60, "all have warned")
        for line in stack.said("database_unsafe"):
            self.assertIn("level=warn", line)
            for name, worst in (("fsync", "off"), ("full_page_writes", "off"),
                                ("data_sync_retry", "on"), ("zero_damaged_pages", "on")):
                self.assertIn(f"{name} is {worst}, set on the server's command line", line)
            self.assertIn("session_replication_role is replica, set by ALTER DATABASE", line)
        self.buy(stack)
        before = len(stack.said("database_unsafe"))
        self.cluster.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                          " WHERE usename = 'checkout_inventory'")
        wait_until(lambda: len(stack.said("database_unsafe")) > before, 60, "it is told anew")
        check_sums(self, stack)

    def test_a_pooler_in_session_mode_works_and_in_transaction_mode_is_refused(self):
        pooler = Pooler(self.cluster, "session")
        self.addCleanup(pooler.stop)
        url = self.cluster.url(port=pooler.port)
        stack = self.stack_on(url)
        self.buy(stack)
        for mode in ("transaction", "statement"):
            with self.subTest(mode):
                self.in_mode(stack, pooler, mode, url)
        with self.subTest("while sessions stand"):
            self.turns_to_transactions(stack, pooler)
        check_sums(self, stack)

    def turns_to_transactions(self, stack, pooler):
        before = len(stack.said("database_not_serving"))
        pooler.reload("transaction")
        shoppers = [stack.shopper() for _ in range(6)]
        for shopper in shoppers:
            self.addCleanup(shopper.close)

        def use(shopper):
            """One alone would be given the same server process each time."""
            shopper.put_cart("any", [("mug", 1)])
            shopper.ask("GET", "/v1/orders")

        def is_told():
            with concurrent.futures.ThreadPoolExecutor(len(shoppers)) as pool:
                list(pool.map(use, shoppers))
            return any("A pooler in transaction mode" in line
                       for line in stack.said("database_not_serving")[before:])

        wait_until(is_told, 60, "it is told")
        pooler.reload("session")
        self.buy(stack)

    def in_mode(self, stack, pooler, mode, url):
        before = len(stack.said("database_not_serving"))
        pooler.halt()
        pooler.start(mode)
        sentence = "A pooler in transaction mode is in front of the database"
        wait_until(lambda: sum(sentence in line for line in
                               stack.said("database_not_serving")[before:]) >= 4, 60,
                   "all services have told of it")
        self.assertIn("pooler in transaction mode", stack.ctl("health", check=False).stdout)
        refused = migrate(url)
        self.assertEqual((refused.returncode, refused.stdout), (1, ""))
        self.assertIn(sentence, refused.stderr)
        self.assertIn("pool_mode = session", refused.stderr)
        self.leaves_nothing(pooler)
        pooler.halt()
        pooler.start("session")
        self.buy(stack)

    def leaves_nothing(self, pooler):
        """No lock, and every server process as its database made it."""
        self.assertEqual(self.cluster.psql(LOCKS).stdout, "0\n")
        for role in ("owner", "inventory", "payment", "orders", "sandbox"):
            done = subprocess.run(
                ["psql", "-XAtq", self.cluster.url(f"checkout_{role}", port=pooler.port), "-c",
                 "SELECT current_setting('lock_timeout'), current_setting('search_path'),"
                 " current_setting('idle_session_timeout')"],
                capture_output=True, text=True, timeout=60)
            self.assertEqual(done.stdout, '0|"$user", public|0\n', done.stderr)


if __name__ == "__main__":
    main()
