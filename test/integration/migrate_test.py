"""checkoutctl migrate and its record, on a PostgreSQL cluster of this test's own."""
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import unittest
from pathlib import Path

from cluster import Cluster
from stack import wait_until

CTL = Path(os.environ["CHECKOUT_BUILD"]) / "bin" / "checkoutctl"
MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"
ALL = sorted(path.name for path in MIGRATIONS.glob("*.sql"))
CLUSTER = None


def user(letter):
    return f"{letter * 8}-{letter * 4}-4{letter * 3}-8{letter * 3}-{letter * 12}"


def order_row(name, whose, key):
    """As a release before 0014 writes it; so the next."""
    return ("INSERT INTO orders.orders (id, user_id, total_cents, idempotency_key, currency,"
            "    cart_id, reservation_id, charge_id, lines)"
            f" VALUES ('{name}', '{whose}', 1, '{key}', 'EUR', '{name}', 'r', 'h', '[]')")


def checkout_row(name, whose, key):
    return ("INSERT INTO orders.checkouts (order_id, idempotency_key, user_id, cart_id,"
            "    payment_method_id, fingerprint, cart, owner, lease_until, state, finished_at)"
            f" VALUES ('{name}', '{key}', '{whose}', '{name}', 'pm', sha256('x'), '[]', 'o',"
            "    now(), 'completed', now())")


class Program(threading.Thread):
    """Writes one order after the other, and repeats a click of long ago.  What waits for a
    lock for longer than the services do fails."""

    def __init__(self, name, whose, in_front=""):
        super().__init__(daemon=True)
        self.name, self.whose, self.in_front = name, whose, in_front
        self.written, self.failure, self.stopping = 0, None, False
        self.psql = subprocess.Popen(
            ["psql", "-q", "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", CLUSTER.folder,
             "-p", str(CLUSTER.port), "-U", "postgres", "checkout"], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, "PGOPTIONS": "-c lock_timeout=5s"})  # as lib/db/connection/setup.c has it

    def run(self):
        while not self.stopping:
            name = f"{self.name}{self.written}"
            row = name, self.whose, f"{self.in_front}key-{name}"
            again = checkout_row(f"{name}-again", user("a"), "key-before0")
            self.psql.stdin.write(
                f"BEGIN; {checkout_row(*row)}; {order_row(*row)}; COMMIT;"
                f"{again} ON CONFLICT (idempotency_key) DO NOTHING;"
                "SELECT 'found' FROM orders.checkouts WHERE idempotency_key = 'key-before0'"
                " FOR UPDATE;\n\\echo done\n")
            self.psql.stdin.flush()
            for line in iter(self.psql.stdout.readline, "done\n"):
                if line != "found\n":
                    self.failure = line or "psql ended"
                    return
            self.written += 1

    def stop(self):
        self.stopping = True
        self.join(60)
        self.psql.communicate("", timeout=60)


def setUpModule():
    global CLUSTER
    CLUSTER = Cluster("local all checkout_inventory scram-sha-256\n"
                      "local all checkout_sandbox scram-sha-256\n"
                      "local all all trust\nhost all all 127.0.0.1/32 trust\n")


def tearDownModule():
    CLUSTER.stop()


class Migrate(unittest.TestCase):
    def setUp(self):
        CLUSTER.make_database()
        self.folder = Path(tempfile.mkdtemp(prefix="checkout-files-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.url = CLUSTER.url()

    def write(self, **files):
        for name, sql in files.items():
            (self.folder / f"{name.lstrip('m')}.sql").write_text(sql, encoding="utf-8")

    def words(self, folder=None):
        return [str(CTL), "migrate", "--config", "/dev/null", "--dir",
                str(folder or self.folder)]

    def migrate(self, *more, folder=None):
        environment = {**os.environ, "CHECKOUT_DATABASE_URL": self.url}
        return subprocess.run([*self.words(folder), *more], env=environment, text=True,
                              capture_output=True, timeout=60)

    def applies(self, *names, folder=None):
        done = self.migrate(folder=folder)
        self.assertEqual(done.stderr, "")
        self.assertEqual(done.returncode, 0)
        expected = "".join(f"applied {name}\n" for name in names) or "up to date\n"
        self.assertEqual(done.stdout, expected)

    def refuses(self, *words):
        """Exit 1, one sentence with these words, and nothing applied."""
        before = self.record()
        done = self.migrate()
        self.assertEqual(done.returncode, 1, done)
        self.assertEqual(done.stdout, "")
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)
        self.assertEqual(self.record(), before)

    def record(self):
        sql = "SELECT number, name FROM checkout_meta.migrations ORDER BY number"
        return CLUSTER.psql(sql, check=False).stdout

    def exists(self, table):
        return CLUSTER.psql(f"SELECT to_regclass('{table}') IS NOT NULL").stdout == "t\n"

    def test_the_projects_own_migrations_apply_once(self):
        self.applies(*ALL, folder=MIGRATIONS)
        self.applies(folder=MIGRATIONS)

    def test_keys_get_their_user_in_front_whatever_they_are(self):
        """Migration 0014, on rows of the release before it."""
        alice, bob = user("a"), user("b")
        before = [name for name in ALL if name < "0014"]
        for name in before:
            shutil.copy(MIGRATIONS / name, self.folder)
        self.applies(*before)
        rows = [(alice, "key-one1"), (bob, "key-two2"), (alice, alice + ":key-one1"),
                (alice, alice + "key-one1"), (bob, alice), (bob, "it''s-one")]
        CLUSTER.psql(f"INSERT INTO orders.users VALUES ('{alice}'), ('{bob}');" + "".join(
            f"{order_row(f'o{n}', whose, key)}; {checkout_row(f'o{n}', whose, key)};"
            for n, (whose, key) in enumerate(rows)))
        (name,) = [name for name in ALL if name.startswith("0014")]
        shutil.copy(MIGRATIONS / name, self.folder)
        self.applies(name)
        self.assertEqual(
            CLUSTER.psql("SELECT idempotency_key FROM orders.orders ORDER BY id").stdout,
            "".join(f"{whose} {key}\n".replace("''", "'") for whose, key in rows))
        # Checkouts are pruned as they are: see the migration.
        self.assertEqual(CLUSTER.psql("SELECT count(*) FROM orders.checkouts"
                                      " WHERE strpos(idempotency_key, ' ') = 0").stdout, "6\n")

    def test_keys_get_their_user_while_programs_of_both_releases_write(self):
        """Migration 0014 and those after it, under load.  It is held up in its middle until
        every program has written more, so none of them waits for its end."""
        for name in (before := [name for name in ALL if name < "0014"]):
            shutil.copy(MIGRATIONS / name, self.folder)
        self.applies(*before)
        whose = user("a"), user("b"), user("c")
        rows = [(f"before{n}", whose[0], f"key-before{n}") for n in range(200)]
        CLUSTER.psql(f"INSERT INTO orders.users SELECT unnest('{{{','.join(whose)}}}'::uuid[]);"
                     + "".join(f"{order_row(*row)}; {checkout_row(*row)};" for row in rows))
        programs = [Program("one", whose[0]), Program("two", whose[1]),
                    Program("new", whose[2], in_front=f"{whose[2]} ")]
        self.addCleanup(lambda: [program.stop() for program in programs if program.is_alive()])
        for program in programs:
            program.start()

        def all_write(what):
            wanted = [program.written + 20 for program in programs]
            wait_until(lambda: any(program.failure for program in programs) or all(
                program.written >= most for program, most in zip(programs, wanted)), 60, what)
            self.assertEqual([program.failure for program in programs], [None] * 3, what)

        all_write("before it")
        holder = subprocess.Popen(
            ["psql", "-q", "-X", "-A", "-t", "-h", CLUSTER.folder, "-p", str(CLUSTER.port), "-U",
             "postgres", "checkout"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        holder.stdin.write("BEGIN; SELECT id FROM orders.orders WHERE id = 'before199'"
                           " FOR UPDATE;\n")
        holder.stdin.flush()
        self.assertEqual(holder.stdout.readline(), "before199\n")
        for name in ALL[len(before):]:
            shutil.copy(MIGRATIONS / name, self.folder)
        migrator = subprocess.Popen(
            self.words(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, "CHECKOUT_DATABASE_URL": self.url})
        try:
            wait_until(lambda: CLUSTER.psql(
                "SELECT pid FROM pg_stat_activity WHERE usename = 'checkout_owner'"
                " AND wait_event_type = 'Lock'").stdout, 60, "the migrator is in its middle")
            all_write("in its middle")
        finally:
            holder.communicate("COMMIT;\n", timeout=60)
            told, _ = migrator.communicate(timeout=60)
        self.assertEqual((migrator.returncode, told), (0, "".join(
            f"applied {name}\n" for name in ALL[len(before):])))
        all_write("after it")
        for program in programs:
            program.stop()
        self.assertEqual([program.failure for program in programs], [None] * 3)
        written = len(rows) + sum(program.written for program in programs)
        new_form = "user_id || ' ' || replace(idempotency_key, user_id || ' ', '')"
        for table in ("orders", "checkouts"):
            self.assertEqual(CLUSTER.psql(
                f"SELECT count(*), count(DISTINCT {new_form}) FROM orders.{table}").stdout,
                f"{written}|{written}\n", table)
        # What was there before, and what new programs write, has its user in front.
        self.assertEqual(CLUSTER.psql(
            "SELECT count(*) FROM orders.orders WHERE strpos(idempotency_key, ' ') = 0"
            " AND id NOT SIMILAR TO '(one|two)%'").stdout, "0\n")
        # An order of either form is found by its click: its checkout has one of both forms.
        self.assertEqual(CLUSTER.psql(
            f"SELECT count(*) FROM orders.orders o JOIN orders.checkouts c ON order_id = id"
            " WHERE c.idempotency_key IN (o.idempotency_key,"
            "    replace(o.idempotency_key, o.user_id || ' ', ''))").stdout, f"{written}\n")

    def test_only_what_is_new_is_applied(self):
        self.write(m0001_a="CREATE TABLE a (); CREATE TABLE b ();")
        self.applies("0001_a.sql")
        self.write(m0002_b="CREATE TABLE c ()")
        (self.folder / "README.md").write_text("passed over", encoding="utf-8")
        self.applies("0002_b.sql")
        self.assertEqual(self.record(), "1|0001_a.sql\n2|0002_b.sql\n")

    def test_an_edited_old_migration_is_refused(self):
        self.write(m0001_a="CREATE TABLE a ()")
        self.applies("0001_a.sql")
        self.write(m0001_a="CREATE TABLE a () -- harmless", m0002_b="CREATE TABLE b ()")
        self.refuses("0001_a.sql", "edited")
        self.assertFalse(self.exists("b"))

    def test_a_renamed_old_migration_is_refused(self):
        self.write(m0001_a="CREATE TABLE a ()")
        self.applies("0001_a.sql")
        (self.folder / "0001_a.sql").rename(self.folder / "0001_z.sql")
        self.refuses("0001_z.sql", "0001_a.sql")

    def test_a_database_newer_than_the_files_is_refused(self):
        self.write(m0001_a="CREATE TABLE a ()", m0002_b="CREATE TABLE b ()")
        self.applies("0001_a.sql", "0002_b.sql")
        (self.folder / "0002_b.sql").unlink()
        self.refuses("0002_b.sql", "newer")

    def test_a_gap_is_refused(self):
        self.write(m0001_a="", m0003_c="")
        self.refuses("0003_c.sql", "0002")

    def test_a_number_twice_is_refused(self):
        self.write(m0001_a="", m0002_b="", m0002_c="")
        self.refuses("0002_b.sql", "0002_c.sql", "same number")

    def test_a_name_of_another_form_is_refused(self):
        for name in ("one.sql", "1_a.sql", "0001-a.sql", "0001_.sql", "0001_A.sql",
                     "0000_a.sql"):
            with self.subTest(name):
                path = self.folder / name
                path.write_text("", encoding="utf-8")
                self.refuses(name)
                path.unlink()

    def test_an_empty_or_missing_folder_is_refused(self):
        self.refuses("no migrations")
        self.folder.rmdir()
        self.refuses("cannot open")
        self.folder.mkdir()

    def test_a_failing_migration_leaves_nothing_and_names_its_line(self):
        self.write(m0001_a="CREATE TABLE a ()",
                   m0002_b="CREATE TABLE b ();\n-- é\nSELECT nonsense;\n", m0003_c="")
        done = self.migrate()
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stdout, "applied 0001_a.sql\n")
        self.assertIn("0002_b.sql failed at line 3", done.stderr)
        self.assertIn("nonsense", done.stderr)
        self.assertEqual(self.record(), "1|0001_a.sql\n")
        self.assertFalse(self.exists("b"))
        self.write(m0002_b="CREATE TABLE b ()")
        self.applies("0002_b.sql", "0003_c.sql")

    def test_the_servers_detail_and_hint_are_told(self):
        for sql, words in (("CREATE TABLE a (n int PRIMARY KEY); INSERT INTO a VALUES (1), (1)",
                            "DETAIL: Key (n)=(1) already exists."),
                           ("SELECT nonsense(1)", "HINT: No function matches")):
            with self.subTest(sql):
                self.write(m0001_a=sql)
                self.refuses("0001_a.sql failed at line 1", words)

    def test_a_migration_may_not_end_its_transaction(self):
        for sql in ("CREATE TABLE a (); COMMIT", "COMMIT; BEGIN", "ROLLBACK",
                    "COMMIT AND CHAIN"):
            with self.subTest(sql):
                self.write(m0001_a=sql)
                self.refuses("0001_a.sql", "ends its transaction")

    def test_one_migrations_settings_do_not_reach_the_next(self):
        self.write(m0001_a="CREATE SCHEMA s; SET search_path = s; CREATE TABLE a ()",
                   m0002_b="CREATE TABLE b ()")
        self.applies("0001_a.sql", "0002_b.sql")
        self.assertTrue(self.exists("s.a"))
        self.assertTrue(self.exists("public.b"))

    def test_the_databases_defaults_do_not_count(self):
        for setting, worst, ours in (("default_transaction_isolation", "serializable",
                                      "read committed"),
                                     ("default_transaction_read_only", "on", "off"),
                                     ("synchronous_commit", "off", "on"),
                                     ("client_min_messages", "error", "warning"),
                                     ("client_encoding", "LATIN1", "UTF8")):
            with self.subTest(setting):
                self.setUp()
                CLUSTER.psql(f"ALTER DATABASE checkout SET {setting} = '{worst}'",
                             "postgres")
                self.write(m0001_a="CREATE TABLE a AS "
                                   f"SELECT current_setting('{setting}') AS value")
                self.applies("0001_a.sql")
                self.assertEqual(CLUSTER.psql("SELECT value FROM a").stdout, f"{ours}\n")

    def test_many_migrators_at_once_apply_each_once(self):
        self.write(m0001_a="CREATE TABLE a ()", m0002_b="CREATE TABLE b ()")
        environment = {**os.environ, "CHECKOUT_DATABASE_URL": self.url}
        running = [subprocess.Popen(self.words(), stdout=subprocess.PIPE, env=environment,
                                    text=True) for _ in range(6)]
        outputs = [process.communicate(timeout=60)[0] for process in running]
        self.assertEqual([process.returncode for process in running], [0] * 6)
        one = "applied 0001_a.sql\napplied 0002_b.sql\n"
        self.assertEqual(sorted(outputs), [one] + ["up to date\n"] * 5)

    def test_a_lock_held_too_long_is_a_clear_sentence(self):
        self.write(m0001_a="")
        holder = subprocess.Popen(["psql", "-X", "-A", "-t", "-h", CLUSTER.folder, "-p",
                                   str(CLUSTER.port), "-U",
                                   "postgres", "checkout"], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, text=True)
        holder.stdin.write("SELECT pg_advisory_lock(4850143087654321);\n\\echo locked\n")
        holder.stdin.flush()
        while holder.stdout.readline() != "locked\n":
            pass
        done = self.migrate("--lock-wait", "1")
        holder.communicate("", timeout=30)
        self.assertEqual(done.returncode, 1)
        self.assertIn("another migrator holds this database's lock", done.stderr)
        self.applies("0001_a.sql")

    def test_a_database_that_is_away_is_a_clear_sentence_without_the_url(self):
        self.write(m0001_a="")
        self.url = f"postgresql://checkout_owner:secret@/checkout?host={self.folder}"
        done = self.migrate()
        self.assertEqual(done.returncode, 1)
        self.assertIn("Cannot connect to the database", done.stderr)
        self.assertNotIn("secret", done.stderr)

    def test_roles_get_their_passwords_and_only_verifiers_travel(self):
        self.applies(*ALL, folder=MIGRATIONS)
        passwords = self.folder / "passwords"
        passwords.write_text("# of this test\n\ncheckout_inventory = it's \"secret\"=\n",
                             encoding="utf-8")
        done = self.migrate("--roles", str(passwords), folder=MIGRATIONS)
        self.assertEqual(done.returncode, 1)
        self.assertIn("chmod 600", done.stderr)
        passwords.chmod(0o600)
        CLUSTER.psql("ALTER SYSTEM SET log_statement = 'all'", "postgres")
        CLUSTER.psql("SELECT pg_reload_conf()", "postgres")
        done = self.migrate("--roles", str(passwords), folder=MIGRATIONS)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        whoami = CLUSTER.psql("SELECT current_user", role="checkout_inventory",
                              env={**os.environ, "PGPASSWORD": "it's \"secret\"="})
        self.assertEqual(whoami.stdout, "checkout_inventory\n")
        wrong = CLUSTER.psql("SELECT 1", role="checkout_inventory", check=False,
                             env={**os.environ, "PGPASSWORD": "wrong"})
        self.assertNotEqual(wrong.returncode, 0)
        log = Path(CLUSTER.folder, "log").read_text(encoding="utf-8")
        self.assertIn("ALTER ROLE", log)
        self.assertNotIn("secret", log)

    def test_a_role_has_one_owner_whose_password_no_other_changes(self):
        self.applies(*ALL, folder=MIGRATIONS)
        passwords = self.folder / "passwords"
        passwords.touch(0o600)
        for owner, password, works in (("id-1 /one on host", "first", "first"),
                                       ("id-2 /two on host", "second", "first"),
                                       ("id-1 /moved on host", "third", "third"),
                                       ("id-3 /moved on host", "fourth", "fourth"),
                                       ("id-1 /one on host", "fifth", "fourth")):
            with self.subTest(owner):
                passwords.write_text(f"@owner = {owner}\ncheckout_sandbox = {password}\n",
                                     encoding="utf-8")
                done = self.migrate("--roles", str(passwords), folder=MIGRATIONS)
                self.assertEqual(done.returncode == 0, works == password, done.stderr)
                if works != password:
                    self.assertIn("checkout_sandbox belongs to another state folder: /",
                                  done.stderr)
                who = CLUSTER.psql("SELECT current_user", role="checkout_sandbox",
                                   env={**os.environ, "PGPASSWORD": works})
                self.assertEqual(who.stdout, "checkout_sandbox\n", who.stderr)

    def test_roles_are_all_or_none_and_refused_with_their_line(self):
        # One of its own: since PostgreSQL 16 the owner may not alter itself so.
        self.write(m0001_a="CREATE ROLE one_of_ours")
        self.addCleanup(CLUSTER.psql, "DROP ROLE IF EXISTS one_of_ours")
        passwords = self.folder / "passwords"
        for text, words in (("nonsense", "line 1 has no '='"),
                            ("\na =", "line 2 needs a role"),
                            ("one_of_ours = x\n\none_of_ours = y",
                             "line 3 sets one_of_ours once more, after line 1"),
                            ("@owner = x\n@owner = x", "line 2 sets @owner once more"),
                            ("one_of_ours = x\nnobody_at_all = y", "nobody_at_all")):
            with self.subTest(text):
                passwords.write_text(text, encoding="utf-8")
                passwords.chmod(0o600)
                done = self.migrate("--roles", str(passwords))
                self.assertEqual(done.returncode, 1)
                self.assertIn(words, done.stderr)
        password = CLUSTER.psql("SELECT rolpassword IS NULL FROM pg_authid"
                                " WHERE rolname = 'one_of_ours'").stdout
        self.assertEqual(password, "t\n")


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], "-v"])
