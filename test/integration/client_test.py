#!/usr/bin/env python3
"""client_test.py - libcheckout-client as another program finds it: installed into a prefix,
compiled with what pkg-config says and nothing else, on a real stack.
"""
import os
import re
import subprocess
import tempfile
import uuid
from pathlib import Path

from stack import BUILD, REPO, StackTest, main, wait_until

CARD = "pm_card_visa"


def run(*command, **more):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=120, **more)
    if done.returncode != 0:
        raise AssertionError(f"{command} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


class ClientTest(StackTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = tempfile.TemporaryDirectory(prefix="checkout-client-")
        cls.addClassCleanup(folder.cleanup)
        cls.folder = Path(folder.name)
        cls.prefix = cls.folder / "prefix"
        run("cmake", "--install", BUILD, "--component", "client", "--prefix", cls.prefix)
        [pc] = cls.prefix.rglob("checkout-client.pc")
        cls.lib = pc.parent.parent
        cls.environ = dict(os.environ, PKG_CONFIG_PATH=str(pc.parent),
                           LD_LIBRARY_PATH=str(cls.lib))
        cls.stack.product("client", 50, price_cents=1234)
        cls.user = str(uuid.uuid4())
        cls.key = cls.introduce("shop")

    @classmethod
    def introduce(cls, name):
        """A key of its own, let in while the orchestrator runs."""
        key, keys = cls.folder / f"{name}.key", cls.stack.state / "keys"
        cls.stack.ctl("key", "new", name, "--out", str(key))
        public = re.search(r"^public *= *(\S+)", key.read_text(), re.M)[1]
        cls.stack.ctl("key", "allow", str(keys / "orchestrator.callers"), name, public,
                      "orders.v1.Orders/*")
        return key

    def pkg_config(self, *words):
        return run("pkg-config", *words, "checkout-client", env=self.environ).split()

    def compile(self, name, *words):
        program = self.folder / name
        run("gcc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-o", program,
            REPO / "client" / "example.c", *words)
        return program

    def order(self, program, key=None, cart=None):
        state = self.stack.state
        return subprocess.run(
            [program, self.key, state / "keys" / "known_services",
             f"ipc://{state}/run/orchestrator.sock", self.user, cart or f"c-{uuid.uuid4().hex[:8]}",
             "client", CARD, key or str(uuid.uuid4())],
            env=self.environ, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)

    def assert_ordered(self, done):
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        order, cents, currency = done.stdout.split()
        self.assertEqual((cents, currency), ("1234", "EUR"))
        self.assertEqual(self.stack.sql(
            f"SELECT user_id, total_cents FROM orders.orders WHERE id = '{order}'"),
            [[self.user, "1234"]])
        return order

    def test_the_example_compiled_with_pkg_config_alone_places_an_order(self):
        program = self.compile("shared", *self.pkg_config("--cflags", "--libs"))
        # Nobody was restarted: the orchestrator reads its list again, in half a second or two.
        wait_until(lambda: self.order(program).returncode == 0, 30, "the new caller is let in")
        self.assert_ordered(self.order(program))

    def test_the_static_library_does_the_same(self):
        words = self.pkg_config("--cflags", "--libs", "--static")
        words = ["-l:libcheckout-client.a" if w == "-lcheckout-client" else w for w in words]
        program = self.compile("static", *words)
        self.assertNotIn("checkout-client", run("ldd", program))
        wait_until(lambda: self.order(program).returncode == 0, 30, "the new caller is let in")
        self.assert_ordered(self.order(program))

    def test_a_key_is_one_order_by_http_and_by_the_library(self):
        program = self.compile("twice", *self.pkg_config("--cflags", "--libs"))
        wait_until(lambda: self.order(program).returncode == 0, 30, "the new caller is let in")
        key, cart = str(uuid.uuid4()), f"c-{uuid.uuid4().hex[:8]}"
        order = self.assert_ordered(self.order(program, key, cart))
        shopper = self.stack.shopper(self.user)
        self.addCleanup(shopper.close)
        answer = shopper.order(cart, key=key)
        self.expect(answer, 201)
        self.assertEqual(answer.json["order_id"], order)

    def test_a_refusal_is_told_in_a_word_and_a_sentence(self):
        program = self.compile("refused", *self.pkg_config("--cflags", "--libs"))
        wait_until(lambda: self.order(program).returncode == 0, 30, "the new caller is let in")
        done = self.order(program, key="short")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertTrue(done.stderr.startswith("invalid_argument: "), done.stderr)

    def test_nothing_is_shown_but_what_the_header_names(self):
        header = (self.prefix / "include" / "checkout" / "client.h").read_text()
        named = {name for name in re.findall(r"\b(checkout_\w+)\(", header)
                 if not name.endswith("_done")}  # types of callbacks
        for words in (["-D", self.lib / "libcheckout-client.so"],
                      ["-g", self.lib / "libcheckout-client.a"]):
            shown = {line.split()[2].split("@")[0]
                     for line in run("nm", "--defined-only", *words).splitlines()
                     if len(line.split()) == 3}
            self.assertEqual(shown - {"CHECKOUT_CLIENT_1"}, named)

    def test_the_header_needs_no_other_of_ours_and_is_c99(self):
        header = self.prefix / "include" / "checkout" / "client.h"
        self.assertEqual([str(p.relative_to(self.prefix / "include"))
                          for p in (self.prefix / "include").rglob("*.h")], ["checkout/client.h"])
        included = re.findall(r"#include (\S+)", header.read_text())
        self.assertEqual(included, ["<stdbool.h>", "<stddef.h>", "<stdint.h>"])
        run("gcc", "-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-x", "c",
            header)


if __name__ == "__main__":
    main()
