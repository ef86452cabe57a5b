"""A process in which nng hangs ends itself, is started again, and no order is lost by it.

A peer that dies at the wrong moment leaves nng 1.5.2 unable to give any connection back
(lib/rpc/nng_defects/linger.c): nothing can be dialled again.  nng_hangs.c brings that about.
"""
import uuid

from chaos import ChaosStack
from stack import BUILD, StackTest, check_sums, main, wait_until

HANGING = ("gateway", "orchestrator")  # one without a server of its own, and one with


class Hang(StackTest):
    @classmethod
    def setUpClass(cls):
        cls.stack = ChaosStack(LD_PRELOAD=str(BUILD / "lib" / "libnng_hangs.so"))
        cls.folder = cls.stack.base / "hangs"
        cls.folder.mkdir()
        cls.folder.chmod(0o777)  # the services have users of their own
        cls.stack.environment["NNG_HANGS_DIR"] = str(cls.folder)
        for row in ("RPC_URL", "CALLERS_FILE"):
            cls.stack.environment[f"CHECKOUT_GATEWAY_{row}"] = ""
        cls.addClassCleanup(cls.stack.stop)
        cls.stack.start()

    def test_whoever_cannot_be_reached_again_is_started_again(self):
        self.stack.product("cup", 100)
        shopper = self.stack.shopper()
        self.addCleanup(shopper.close)
        key = str(uuid.uuid4())
        shopper.put_cart(key, [("cup", 1)])
        hung = {name: self.stack.pid(name) for name in HANGING}
        for name in HANGING:
            (self.folder / name).touch()
        self.stack.kill("inventory")  # to which both are connected
        wait_until(lambda: not list(self.folder.iterdir()), 10, "both hang")
        wait_until(lambda: all(self.stack.pid(name) not in (None, pid)
                               for name, pid in hung.items()), 60, "both are started again")
        self.expect(shopper.order_until_final(key, key), 201)
        for name in HANGING:
            self.assertIn("event=transport_hangs", self.stack.log(name))
        check_sums(self, self.stack)


if __name__ == "__main__":
    main()
