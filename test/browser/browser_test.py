"""The shop page in a real Chromium against a real stack: runs shop_test.mjs.

What drives the browser is JavaScript (Playwright); the stack, its end and the sums are those
of the other integration tests.
"""
import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "integration"))

from stack import CTL, REPO, StackTest, check_sums, main, wait_until  # noqa: E402

SECONDS = 540  # for all of shop_test.mjs; alone on the machine it needs a fraction of it


def install_modules():
    """Brings node_modules (git-ignored) to what package-lock.json says, when it is not."""
    modules, lock = HERE / "node_modules", HERE / "package-lock.json"
    stamp = modules / ".installed"
    with open(HERE / "package.json", encoding="utf-8") as one_at_a_time:
        fcntl.flock(one_at_a_time, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_bytes() == lock.read_bytes():
            return
        done = subprocess.run(
            ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=HERE,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
        if done.returncode != 0:
            raise AssertionError(f"npm ci failed in {HERE}: {done.stderr[-2000:]}")
        shutil.copy(lock, stamp)


class Browser(StackTest):
    # How long until an outcome is "not known yet", and until an order is given up: well
    # above the two seconds of a late card, on a busy machine too.
    environment = {"CHECKOUT_GATEWAY_PLACE_TIMEOUT_MS": "3000",
                   "CHECKOUT_ORCHESTRATOR_GIVE_UP_MS": "8000"}

    @classmethod
    def setUpClass(cls):
        install_modules()
        super().setUpClass()
        cls.stack.product("scarce", 3, price_cents=2500)
        cls.stack.product("moody", 100, price_cents=1000)
        cls.stack.product("drifting", 100, price_cents=1000)
        cls.stack.product("fickle", 100, price_cents=5900)

    def test_the_shop_page_in_chromium(self):
        """Its own tests are named in its output."""
        self.stack.kills += 1  # one of them kills the gateway
        scratch = self.stack.base / "browser"  # profiles, caches, pictures of failures
        scratch.mkdir()
        environment = {
            **os.environ, "SHOP": f"http://127.0.0.1:{self.stack.port}",
            "STATE": str(self.stack.state), "DATABASE": self.stack.database(), "CTL": str(CTL),
            "REPO": str(REPO), "TMPDIR": str(scratch), "HOME": str(scratch)}
        done = subprocess.run(
            ["setpriv", "--pdeathsig", "TERM", "node", "--test-reporter=spec",
             str(HERE / "shop_test.mjs")], env=environment, stdin=subprocess.DEVNULL,
            timeout=SECONDS)
        self.assertEqual(done.returncode, 0, "a test in Chromium failed; see above")

    def test_zz_the_sums_come_out(self):
        wait_until(lambda: self.stack.unfinished() == 0, 60, "every checkout is finished")
        wait_until(lambda: self.stack.number(
            "SELECT count(*) FROM inventory.reservations WHERE state = 'held'") == 0,
            60, "nothing is held")
        self.assertGreater(check_sums(self, self.stack), 8)


if __name__ == "__main__":
    main()
