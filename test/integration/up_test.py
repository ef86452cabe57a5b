"""./up: its options, what it refuses, and that it leaves nothing running.

Tests that need a state folder that was used before start from a copy of one (prepared).
"""
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import unittest
from urllib.parse import quote

from server import OWNER, Server
from stack import PROCESSES, REPO, Stack, free_port, main, wait_until

IS_ROOT = os.geteuid() == 0
PROXIES = {name: "http://127.0.0.1:1" for name in ("http_proxy", "all_proxy", "ALL_PROXY")}


class Up(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.used = Stack()
        cls.addClassCleanup(cls.used.stop)
        done = cls.used.up("--detach")
        assert done.returncode == 0, done.stderr
        cls.used.up("--stop")

    def stack(self, **environment):
        stack = Stack(**environment)
        self.addCleanup(stack.stop)
        return stack

    def prepared(self, **environment):
        """A stack that ran before and was stopped."""
        stack = self.stack(**environment)
        subprocess.run(["cp", "-a", self.used.state, stack.state], check=True, timeout=60)
        return stack

    @staticmethod
    def as_nobody(stack, *arguments, **environment):
        nobody = ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups"]
        environ = {**stack._environ(), "HOME": str(stack.base), **environment}
        return subprocess.run([*nobody, *stack.up_command(*arguments)], env=environ, text=True,
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=120)

    def refused(self, stack, *arguments, says, **environment):
        """./up ends with one sentence that says it, non-zero, and nothing runs."""
        done = stack.up("--detach", *arguments, **environment)
        self.assertNotEqual(done.returncode, 0)
        sentences = done.stderr.strip().splitlines()
        self.assertEqual(len(sentences), 1, done.stderr)
        self.assertRegex(sentences[0], says)
        self.assertEqual(stack.leftovers(), {})

    def test_detach_status_and_stop(self):
        stack = self.stack(**PROXIES)
        stack.state = stack.base / "parent" / "s"
        done = stack.up("--detach")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(stack.state.parent.stat().st_mode & 0o7777, 0o755)
        self.assertEqual(stack.state.stat().st_mode & 0o7777, 0o711)
        status = stack.status()
        self.assertEqual(status["state"], "ready")
        self.assertEqual(status["gateway"], f"http://127.0.0.1:{stack.port}")
        for name in PROCESSES:
            os.kill(int(status[f"pid.{name}"]), 0)
        one = subprocess.run(["psql", "-XAtq", status["database"], "-c", "SELECT current_user"],
                             capture_output=True, text=True, timeout=30)
        self.assertEqual(one.stdout, "checkout_owner\n", one.stderr)

        elsewhere = stack.up("--status", CHECKOUT_BUILD="/nowhere").stdout
        self.assertIn("state=ready", elsewhere.splitlines(), "the programs that run are asked")
        self.refuses_a_second_supervisor(stack)
        self.prints_lines_that_place_and_show_an_order(done.stdout)

        self.assertEqual(stack.up("--stop").returncode, 0)
        self.assertEqual(stack.leftovers(), {})
        done = stack.up("--status")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("state=stopped", done.stdout.splitlines())
        self.assertEqual(stack.up("--stop").returncode, 0, "stopping twice is no error")

        again = stack.up("--detach")
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assertEqual(stack.number("SELECT count(*) FROM orders.orders"), 1, "state stays")

    def refuses_a_second_supervisor(self, stack):
        done = stack.up("--detach")
        self.assertNotEqual(done.returncode, 0)
        self.assertRegex(done.stderr, "already running")
        self.assertEqual(stack.status()["state"], "ready")

    def prints_lines_that_place_and_show_an_order(self, printed):
        paste = [line for line in printed.splitlines() if line.startswith("  ")]
        self.assertEqual(len(paste), 2, printed)
        environ = {name: value for name, value in os.environ.items() if name != "CHECKOUT_STATE"}
        environ.update(PROXIES)
        outputs = [subprocess.run(["bash", "-c", line], capture_output=True, text=True,
                                  timeout=60, env=environ) for line in paste]
        placed = re.search(r'"order_id":"([^"]+)"', outputs[0].stdout)
        self.assertTrue(placed, outputs[0])
        self.assertIn(placed[1], outputs[1].stdout, outputs[1])

    def test_two_stacks_run_side_by_side(self):
        one, two = self.stack().start(), self.prepared().start()
        print(f"ready in {one.seconds_to_ready:.1f} s (new)")
        one.product("only-here", 1)
        self.assertEqual(two.number("SELECT count(*) FROM inventory.products "
                                    "WHERE sku = 'only-here'"), 0)
        one.process.terminate()
        self.assertEqual(one.process.wait(60), 0)
        self.assertEqual(one.leftovers(), {})
        self.assertEqual(two.status()["state"], "ready")
        one.start()
        print(f"ready in {one.seconds_to_ready:.1f} s (initialised before)")

    def test_what_dies_is_started_again_and_ctrl_c_stops_all(self):
        stack = self.prepared()
        stack.configure_webhook()
        stack.start()
        for name in (*PROCESSES, "webhook"):
            stack.kill(name)
        wait_until(lambda: stack.status()["state"] == "ready", 60, "all are ready again")
        self.assertIn("event=sender_started endpoint=shop", stack.log("webhook"))
        stack.process.send_signal(signal.SIGINT)
        self.assertEqual(stack.process.wait(60), 0)
        self.assertEqual(stack.leftovers(), {})

    def test_nothing_outlives_a_supervisor_that_is_killed(self):
        stack = self.prepared().start()
        stack.process.kill()
        stack.process.wait(60)
        wait_until(lambda: not stack.leftovers(), 60, "its processes end")
        self.assertEqual(stack.status()["state"], "stopped")
        stack.start()

    def test_nothing_outlives_a_supervisor_that_is_killed_while_it_starts(self):
        stack = self.stack()
        reached, stand_in = stack.base / "reached", stack.base / "bin" / "setpriv"
        stand_in.parent.mkdir()
        # The orchestrator comes to ask for its signal when the supervisor has just ended.
        stand_in.write_text(f"""#!/bin/sh
            case "$*" in */orchestrator\\ --config*)
                # By root; then once more, by its own user.
                [ -e '{reached}' ] || {{ : >'{reached}'
                while [ -e /proc/$PPID ]; do sleep 0.01; done; }} ;;
            esac
            exec {shutil.which("setpriv")} "$@"
        """)
        stand_in.chmod(0o755)
        stack.environment["PATH"] = f"{stand_in.parent}:{os.environ['PATH']}"
        stack.spawn()
        wait_until(reached.exists, 60, "the orchestrator is about to start")
        stack.process.kill()
        stack.process.wait(60)
        wait_until(lambda: not stack.leftovers(), 60, "its processes end")

    def test_ctrl_c_while_starting_leaves_nothing_and_a_second_start_works(self):
        stack = self.stack()
        for step in ("postgres.new", "postgres", "keys.new", "pids/postgres.pid",
                     "pids/orchestrator.pid"):
            stack.spawn()
            wait_until(lambda: (stack.state / step).exists() or stack.process.poll() is not None,
                       60, f"{step} is there")
            stack.process.send_signal(signal.SIGINT)
            stack.process.wait(60)
            self.assertEqual(stack.leftovers(), {}, step)
            shutil.rmtree(stack.state / "keys", ignore_errors=True)
        stack.start()

    def test_a_start_that_is_killed_while_it_initialises_can_be_repeated(self):
        stack = self.stack()
        stack.spawn()
        wait_until(lambda: (stack.state / "postgres.new").exists(), 60, "initdb runs")
        stack.process.kill()
        stack.process.wait(60)
        wait_until(lambda: not stack.leftovers(), 60, "its processes end")
        stack.start()

    def test_a_taken_port_is_refused(self):
        stack = self.stack()
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", stack.port))
            taken.listen()
            self.refused(stack, says=f"Port {stack.port} is taken")
        self.assertFalse(stack.state.exists())

    def test_a_folder_that_is_not_ours_is_neither_used_nor_deleted(self):
        stack = self.stack()
        stack.state.mkdir()
        (stack.state / "precious").touch()
        self.refused(stack, says="was not made by ./up")
        self.assertNotEqual(stack.up("--reset").returncode, 0)
        self.assertTrue((stack.state / "precious").exists())

    def test_a_half_initialised_cluster_is_refused_and_reset_helps(self):
        stack = self.prepared()
        (stack.state / "postgres" / "PG_VERSION").unlink()
        self.refused(stack, says="not a whole PostgreSQL cluster.*--reset")
        self.assertEqual(stack.up("--reset").returncode, 0)
        self.assertFalse(stack.state.exists())

    def test_a_cluster_of_a_version_that_is_not_installed_is_refused_and_kept(self):
        """As after an upgrade of the system that removed the old PostgreSQL: docs/upgrade.md."""
        stack = self.prepared()
        version = stack.state / "postgres" / "PG_VERSION"
        made_by = version.read_text()
        version.write_text("9\n")
        self.refused(stack, says=r"was made by PostgreSQL 9, which is not installed; install "
                     r"postgresql-9, or .*docs/upgrade\.md")
        version.write_text(made_by)
        self.assertEqual(stack.up("--detach").returncode, 0)

    def test_a_missing_key_is_refused(self):
        stack = self.prepared()
        (stack.state / "keys" / "payment.key").unlink()
        self.refused(stack, says="lacks payment.key")

    def test_a_database_that_is_down_is_refused(self):
        stack = self.stack()
        url = f"postgresql://owner:secret@/checkout?host={stack.base}/nowhere"
        self.refused(stack, says="database", CHECKOUT_DATABASE_URL=url)

    def test_a_private_cluster_heeds_nothing_that_is_meant_for_others(self):
        """libpq reads all of these, and more with each version."""
        stack = self.stack(PGHOST="nowhere.invalid", PGHOSTADDR="127.0.0.1", PGPORT="1",
                           PGUSER="nobody", PGDATABASE="none", PGSERVICE="none",
                           PGSERVICEFILE="/nowhere", PGOPTIONS="-c nonsense=1",
                           PGSSLMODE="verify-full", PGREQUIREAUTH="scram-sha-256",
                           PGPASSFILE="/nowhere", PGCLIENTENCODING="nonsense",
                           PGTARGETSESSIONATTRS="standby", PGREQUIREPEER="nobody",
                           PGDATA="/nowhere", PGCONNECT_TIMEOUT="1", PGTZ="nonsense")
        stack.start()
        stack.product("mug", 1)
        shopper = stack.shopper()
        shopper.put_cart("c", [("mug", 1)])
        self.assertEqual(shopper.order("c", "key-of-c").status, 201)

    def test_an_outside_database_is_used_with_a_role_a_service(self):
        outside = Server()
        self.addCleanup(outside.stop)
        url = f"postgresql://shop:{quote(OWNER, safe='')}@127.0.0.1:{outside.port}/checkout"
        stack = self.stack(CHECKOUT_DATABASE_URL=url)
        stack.start()
        self.assertEqual(stack.status()["pid.postgres"], "")
        users = outside.psql("postgres", "SELECT DISTINCT usename FROM pg_stat_activity "
                                         "WHERE datname = 'checkout' ORDER BY 1")
        for role in ("inventory", "payment", "orders", "sandbox"):
            self.assertIn(f"checkout_{role}", users)
        second = self.stack(CHECKOUT_DATABASE_URL=url)
        self.refused(second, says=f"belongs to another state folder: {stack.state} on")
        self.stays_with_its_kind_of_database(self.prepared().start(), stack, url)

    def stays_with_its_kind_of_database(self, private, outside, url):
        done = private.up("--detach", CHECKOUT_DATABASE_URL=url)
        self.assertRegex(done.stderr, "^.* was made with a private PostgreSQL cluster.*\n$")
        self.assertEqual(done.returncode, 1)
        outside.up("--stop")
        self.refused(outside, says="was made with an outside database",
                     CHECKOUT_DATABASE_URL="")

    def test_logs_stay_small_and_lose_no_line(self):
        limit = 16384
        # A tmpfs cannot cut a file's front off, and may lose what is logged meanwhile.
        disk = tempfile.TemporaryDirectory(prefix="checkout-", dir="/var/tmp")
        self.addCleanup(disk.cleanup)
        stack = self.prepared(base=disk.name, CHECKOUT_LOG_BYTES=str(limit)).start()
        log, before = stack.state / "log/gateway.log", stack.state / "log/gateway.log.1"
        shopper, ids = stack.anonymous(), []

        def ask():
            ids.append(shopper.ask("GET", "/v1/products").headers["x-request-id"])
            self.assertLess(len(ids), 20000, "the log is never cut")

        while log.stat().st_size < limit:
            ask()
        # More than that meanwhile could be cut twice.
        wait_until(before.exists, 30, "the log is cut")
        for _ in range(20):
            ask()
        wait_until(lambda: ids[-1] in log.read_text(), 10, "the last answer is logged")
        text = before.read_text() + log.read_text()
        self.assertEqual([found for found in ids if found not in text], [])
        wait_until(lambda: log.stat().st_size < limit, 10, "the log is small again")

    def test_what_does_not_end_is_killed_in_time(self):
        stack = self.prepared(CHECKOUT_STOP_SECONDS="3").start()
        stopped = [stack.pid(name) for name in ("inventory", "postgres")]
        children = self.children(stopped[1])
        self.assertTrue(children)
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        stack.process.terminate()
        self.assertEqual(stack.process.wait(60), 1)
        self.assertEqual(stack.leftovers(), {})
        wait_until(lambda: not any(map(self.is_running, children)), 10, "its backends are gone")
        for name in ("inventory", "postgres"):
            self.assertRegex(stack.output(), f"{name} did not end within [0-9]+ s and was killed")
        stack.start()

    def test_a_process_has_the_time_that_its_settings_give_it(self):
        """Longer than the 20 s that all services once had together."""
        stack = self.prepared(CHECKOUT_GATEWAY_DRAIN_DELAY_MS="21000").start()
        stack.process.terminate()
        self.assertEqual(stack.process.wait(60), 0)
        self.assertNotIn("was killed", stack.output())
        self.assertEqual(stack.leftovers(), {})

    @staticmethod
    def children(pid):
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return [int(child) for child in file.read().split()]

    @staticmethod
    def is_running(pid):
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii") as file:
                return file.read().rpartition(") ")[2][0] not in "ZX"
        except OSError:
            return False

    @unittest.skipUnless(IS_ROOT, "only root can be somebody else")
    def test_another_users_state_is_said_to_be_that(self):
        ours = self.prepared().start()
        if self.as_nobody(ours, "--help").returncode != 0:
            self.skipTest("nobody cannot read this tree")
        for option in ("--status", "--stop", "--reset", "--detach"):
            done = self.as_nobody(ours, option)
            self.assertEqual((done.returncode, done.stdout), (1, ""), option)
            self.assertRegex(done.stderr, "^The state folder .* belongs to root, .*\n$", option)
        self.assertEqual(ours.status()["state"], "ready")

        theirs = self.stack()
        shutil.chown(theirs.base, "nobody")
        done = self.as_nobody(theirs, "--detach")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(theirs.status()["state"], "ready", "root may look")
        done = theirs.up("--detach")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, "^The state folder .* belongs to nobody; .*\n$")
        self.assertEqual(theirs.up("--stop").returncode, 0, "root may stop it")
        self.assertEqual(theirs.leftovers(), {})

    def test_a_state_folder_that_cannot_be_made_is_refused(self):
        stack = self.stack()
        for parent in ("/proc/nowhere", "/dev/null"):
            stack.state = stack.base / "s"
            done = stack.up("--detach", "--state", f"{parent}/s")
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr, f"^The state folder {parent}/s cannot be made .*\n$")

    def test_an_interrupted_check_ends_what_its_tests_started(self):
        script = f"""set -euo pipefail
            for part in base family; do source {REPO}/deploy/up/$part.sh; done
            FAMILY_SECONDS=1
            trap 'family_end "$BUSY"; exit 130' TERM
            family_run bash -c '
                trap "sleep 0.2; echo stopped; exit" TERM
                setsid bash -c "echo \\$\\$; exec sleep 1000 >&-" &
                wait'"""
        with subprocess.Popen(["bash", "-c", script], stdout=subprocess.PIPE, text=True) as check:
            stray = int(check.stdout.readline())
            check.terminate()
            self.assertEqual(check.wait(60), 130)
            self.assertEqual(check.stdout.read(), "stopped\n")
        self.assertFalse(self.is_running(stray))

    def test_a_service_that_cannot_start_is_named_with_its_last_line(self):
        stack = self.prepared(CHECKOUT_PAYMENT_LISTEN_URL="ipc:///nowhere/at/all.sock")
        self.refused(stack, says="^payment .*: .+")

    def test_a_path_too_long_for_a_socket_is_refused(self):
        stack = self.stack()
        stack.state = stack.base / ("x" * 90)
        self.refused(stack, says="too long a path")

    @unittest.skipUnless(IS_ROOT, "only root runs PostgreSQL as another user")
    def test_a_folder_the_database_cannot_enter_is_refused(self):
        stack = self.stack()
        stack.base.chmod(0o700)
        self.refused(stack, says=f"cannot enter {stack.base}")

    def test_wrong_usage_is_exit_2(self):
        stack = self.stack()
        for arguments in (["--nonsense"], ["--port", "70000"], ["--port"]):
            self.assertEqual(stack.up(*arguments).returncode, 2, arguments)


if __name__ == "__main__":
    main()
