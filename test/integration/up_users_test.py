"""./up run by root: each process has a user of its own, without capabilities, that can read
what it needs, and nothing of the others'."""
import os
import re
import subprocess
import unittest
from pathlib import Path

from stack import PROCESSES, SERVICES, Stack, StackTest, as_user, check_sums, main, wait_until

USERS = {**{name: f"checkout-{name}" for name in (*SERVICES, "webhook")}, "postgres": "postgres"}


@unittest.skipUnless(os.geteuid() == 0, "only root can be somebody else")
class Users(StackTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.stack.configure_webhook()
        cls.stack.process.terminate()
        cls.stack.process.wait(60)
        cls.stack.start()

    @staticmethod
    def status_of(pid):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return dict(line.split(":\t", 1) for line in lines if ":\t" in line)

    @staticmethod
    def descendants(pid):
        found = []
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += [int(child), *Users.descendants(int(child))]
        return found

    def test_every_process_is_a_user_of_its_own_without_capabilities(self):
        uids = set()
        for name in (*PROCESSES, "webhook"):
            status = self.status_of(self.stack.pid(name))
            uid = int(subprocess.run(["id", "-u", USERS[name]], capture_output=True, text=True,
                                     check=True).stdout)
            self.assertEqual(status["Uid"].split(), [str(uid)] * 4, name)
            uids.add(uid)
        self.assertEqual(len(uids), len(PROCESSES) + 1)
        supervisor = self.stack.pid("up")
        for pid in self.descendants(supervisor):
            with self.subTest(Path(f"/proc/{pid}/comm").read_text()):
                status = self.status_of(pid)
                self.assertNotIn("0", status["Uid"].split() + status["Gid"].split())
                self.assertNotIn("0", status["Groups"].split())
                for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb"):
                    self.assertEqual(int(status[f"Cap{kind}"], 16), 0, kind)
                self.assertEqual(status["NoNewPrivs"], "1")

    def may(self, name, what, path):
        return subprocess.run(
            [*as_user(name), "test", what, str(path)]).returncode == 0

    def test_each_reads_what_it_needs_and_nothing_of_the_others(self):
        state = self.stack.state
        own = {f"{name}.conf" for name in USERS} | {f"{name}.key" for name in USERS}
        for name in (*SERVICES, "webhook"):
            for folder in ("conf", "keys"):
                for file in (state / folder).iterdir():
                    needed = (file.name in (f"{name}.conf", f"{name}.key", f"{name}.callers",
                                            "known_services", "jwks.json")
                              or (name, file.name) == ("gateway", "demo.jwt"))
                    self.assertEqual(self.may(name, "-r", file), needed, f"{name}: {file.name}")
                    self.assertFalse(self.may(name, "-w", file)
                                     and file.name not in own | {f"{name}.callers", "demo.jwt"})
            self.assertFalse(self.may(name, "-r", state / "settings"))
            self.assertFalse(self.may(name, "-x", state / "postgres"))
            self.assertFalse(self.may(name, "-w", state / "programs" / name))
            self.assertEqual(self.may(name, "-r", state / "webhook" / "secret"), name == "webhook")
            self.assertFalse(self.may(name, "-r", state / "log"))
            self.assertFalse(self.may(name, "-r", state / "log" / "gateway.log"))

    def test_a_services_user_is_its_own_database_roles_and_no_other(self):
        for name in SERVICES:
            roles = {"inventory": {"inventory"}, "payment": {"payment", "sandbox"},
                     "orchestrator": {"orders"}}.get(name, set())
            for role in ("inventory", "payment", "sandbox", "orders", "owner"):
                done = subprocess.run(
                    [*as_user(name), "psql", "-XAtq", "-c", "SELECT current_user",
                     f"postgresql://checkout_{role}@/checkout?host={self.stack.state}/run"],
                    capture_output=True, text=True, timeout=60, cwd="/",
                    env={**os.environ, "HOME": "/nonexistent"})
                self.assertEqual(done.returncode == 0, role in roles, f"{name} as {role}")

    def test_what_the_databases_user_puts_in_a_files_place_is_not_written_by_root(self):
        stack = Stack()
        self.addCleanup(stack.stop)
        self.assertEqual(stack.up("--detach").returncode, 0)
        self.assertEqual(stack.up("--stop").returncode, 0)
        victim = stack.base / "roots"
        victim.write_text("root's")
        victim.chmod(0o600)
        hba = stack.state / "postgres" / "pg_hba.conf"
        hba.unlink()
        hba.symlink_to(victim)
        self.assertNotEqual(stack.up("--detach").returncode, 0)
        self.assertEqual((victim.read_text(), victim.stat().st_uid), ("root's", 0))

    def test_orders_are_placed_and_what_is_changed_by_root_is_read_anew(self):
        self.stack.product("cup", 5)
        shopper = self.stack.shopper()
        self.addCleanup(shopper.close)
        shopper.put_cart("c1", [("cup", 1)])
        self.expect(shopper.order("c1", "key-12345678"), 201)
        keys = self.stack.state / "keys"
        self.stack.ctl("key", "new", "late", "--out", str(keys / "late.key"))
        public = re.search(r"^public = (.+)$", (keys / "late.key").read_text(), re.MULTILINE)[1]
        self.stack.ctl("key", "allow", str(keys / "inventory.callers"), "late", public,
                       "inventory.v1.Inventory/GetStock")
        wait_until(lambda: self.stack.ctl(
            "call", "--service", "inventory", "--key", str(keys / "late.key"),
            "rpc.v1.Health/Check", check=False).returncode == 0, 30, "the caller is let in")
        check_sums(self, self.stack)


if __name__ == "__main__":
    main()
