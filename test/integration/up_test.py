"""./up: its options, what it refuses, and that it leaves nothing running."""
import os
import re
import shutil
import signal
import socket
import subprocess
import unittest

from stack import PROCESSES, Stack, main, wait_until


class Up(unittest.TestCase):
    def stack(self, **environment):
        stack = Stack(**environment)
        self.addCleanup(stack.stop)
        return stack

    def refused(self, stack, *arguments, says, **environment):
        """./up ends with one sentence that says it, non-zero, and nothing runs."""
        done = stack.up("--detach", *arguments, **environment)
        self.assertNotEqual(done.returncode, 0)
        sentences = done.stderr.strip().splitlines()
        self.assertEqual(len(sentences), 1, done.stderr)
        self.assertRegex(sentences[0], says)
        self.assertEqual(stack.leftovers(), {})

    def test_detach_status_and_stop(self):
        stack = self.stack()
        done = stack.up("--detach")
        self.assertEqual(done.returncode, 0, done.stderr)
        status = stack.status()
        self.assertEqual(status["state"], "ready")
        self.assertEqual(status["gateway"], f"http://127.0.0.1:{stack.port}")
        for name in PROCESSES:
            os.kill(int(status[f"pid.{name}"]), 0)
        one = subprocess.run(["psql", "-XAtq", status["database"], "-c", "SELECT current_user"],
                             capture_output=True, text=True, timeout=30)
        self.assertEqual(one.stdout, "checkout_owner\n", one.stderr)

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
        outputs = [subprocess.run(["bash", "-c", line], capture_output=True, text=True,
                                  timeout=60, env=environ) for line in paste]
        placed = re.search(r'"order_id":"([^"]+)"', outputs[0].stdout)
        self.assertTrue(placed, outputs[0])
        self.assertIn(placed[1], outputs[1].stdout, outputs[1])

    def test_two_stacks_run_side_by_side(self):
        one, two = self.stack().start(), self.stack().start()
        print(f"ready in {one.seconds_to_ready:.1f} s and {two.seconds_to_ready:.1f} s (new)")
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
        stack = self.stack().start()
        for name in PROCESSES:
            stack.kill(name)
        wait_until(lambda: stack.status()["state"] == "ready", 60, "all are ready again")
        stack.process.send_signal(signal.SIGINT)
        self.assertEqual(stack.process.wait(60), 0)
        self.assertEqual(stack.leftovers(), {})

    def test_nothing_outlives_a_supervisor_that_is_killed(self):
        stack = self.stack().start()
        stack.process.kill()
        stack.process.wait(60)
        wait_until(lambda: not stack.leftovers(), 60, "its processes end")
        self.assertEqual(stack.status()["state"], "stopped")
        stack.start()

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
        stack = self.stack()
        self.assertEqual(stack.up("--detach").returncode, 0)
        stack.up("--stop")
        (stack.state / "postgres" / "PG_VERSION").unlink()
        self.refused(stack, says="not a whole PostgreSQL cluster.*--reset")
        self.assertEqual(stack.up("--reset").returncode, 0)
        self.assertFalse(stack.state.exists())

    def test_a_missing_key_is_refused(self):
        stack = self.stack()
        self.assertEqual(stack.up("--detach").returncode, 0)
        stack.up("--stop")
        (stack.state / "keys" / "payment.key").unlink()
        self.refused(stack, says="lacks payment.key")

    def test_a_database_that_is_down_is_refused(self):
        stack = self.stack()
        url = f"postgresql://owner:secret@/checkout?host={stack.base}/nowhere"
        self.refused(stack, says="database", CHECKOUT_DATABASE_URL=url)

    def test_an_outside_database_is_used_with_a_role_a_service(self):
        outside = self.stack().start()
        outside.sql("ALTER ROLE checkout_owner CREATEDB")
        outside.sql("CREATE DATABASE outside")
        stack = self.stack(CHECKOUT_DATABASE_URL=
                           f"postgresql://checkout_owner@/outside?host={outside.state}/run")
        stack.start()
        self.assertEqual(stack.status()["pid.postgres"], "")
        users = outside.sql("SELECT DISTINCT usename FROM pg_stat_activity "
                            "WHERE datname = 'outside' ORDER BY 1")
        for role in ("inventory", "payment", "orders", "sandbox"):
            self.assertIn([f"checkout_{role}"], users)

    def test_a_service_that_cannot_start_is_named_with_its_last_line(self):
        stack = self.stack(CHECKOUT_PAYMENT_LISTEN_URL="ipc:///nowhere/at/all.sock")
        self.refused(stack, says="^payment .*: .+")

    def test_a_path_too_long_for_a_socket_is_refused(self):
        stack = self.stack()
        stack.state = stack.base / ("x" * 90)
        self.refused(stack, says="too long a path")

    @unittest.skipUnless(os.geteuid() == 0, "only root runs PostgreSQL as another user")
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
