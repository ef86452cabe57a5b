"""./up's supervisor starts again what dies, whenever it dies."""
import os
import subprocess
import tempfile
import threading
import unittest

from chaos import HERE
from stack import BUILD, main, wait_until

STARTS = 150
SECONDS = 120


class Supervise(unittest.TestCase):
    def test_what_ends_while_bash_is_about_to_wait_is_started_again(self):
        """bash is slowed down where it takes note of its children (slow_signals.c)."""
        with tempfile.TemporaryDirectory() as state:
            process = subprocess.Popen(
                ["bash", HERE / "supervisor.sh", state],
                env={**os.environ, "LD_PRELOAD": str(BUILD / "lib" / "libslow_signals.so")},
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
            try:
                starts = []
                reader = threading.Thread(target=lambda: starts.extend(process.stdout))
                reader.start()
                wait_until(lambda: len(starts) >= STARTS, SECONDS, "it was started again")
                process.terminate()
                self.assertEqual(process.wait(30), 0)
            finally:
                process.kill()
                process.wait()
                reader.join()
                process.stdout.close()


if __name__ == "__main__":
    main()
