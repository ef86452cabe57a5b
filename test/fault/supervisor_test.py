"""./up's supervisor starts again what dies, whenever it dies."""
import os
import subprocess
import tempfile
import threading
import unittest
from pathlib import Path

from chaos import HERE
from stack import BUILD, main, wait_until

STARTS = 150
SECONDS = 120


class Supervise(unittest.TestCase):
    def starts_again(self, **environment):
        """What ends is started again; only the supervisor stops what it started, and nothing
        is said of it."""
        with tempfile.TemporaryDirectory() as state, tempfile.TemporaryFile("w+") as errors:
            process = subprocess.Popen(
                ["bash", HERE / "supervisor.sh", state], env={**os.environ, **environment},
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True)
            try:
                starts = []
                reader = threading.Thread(target=lambda: starts.extend(process.stdout))
                reader.start()
                wait_until(lambda: len(starts) >= STARTS, SECONDS, "it was started again")
                process.terminate()
                self.assertEqual(process.wait(30), 0)
                self.assertEqual((Path(state) / "left").read_text(), f"{process.pid}\n")
                errors.seek(0)
                self.assertEqual(errors.read(), "")
            finally:
                process.kill()
                process.wait()
                reader.join()
                process.stdout.close()

    def test_what_ends_while_bash_is_about_to_wait_is_started_again(self):
        """bash is slowed down where it takes note of its children (slow_signals.c)."""
        self.starts_again(LD_PRELOAD=str(BUILD / "lib" / "libslow_signals.so"))

    def test_what_ends_at_once_is_started_again_and_nobody_else_begins_to_stop(self):
        self.starts_again()


if __name__ == "__main__":
    main()
