"""small_disk.py - a stack on a small file system of its own, which can be filled.

    stack = SmallDisk(size="320m").start()
    stack.fill()    # not a byte is left
    stack.free()

It takes the right to mount one: may_mount() tells.
"""
import os
import shutil
import subprocess
import uuid

from chaos import ChaosStack


class SmallDisk(ChaosStack):
    """A stack whose state folder is a file system of that size.

    320 MB hold the cluster as made, and some of its log."""
    torn_lines = True

    def __init__(self, size="320m", **options):
        super().__init__(**options)
        self.state.mkdir(mode=0o711)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0711", "checkout-test",
                        str(self.state)], check=True)

    def stop(self):
        keep, self.owns_base = self.owns_base, False
        try:
            super().stop()
        finally:
            subprocess.run(["umount", "-l", str(self.state)], check=False)
            if keep:
                shutil.rmtree(self.base, ignore_errors=True)

    def log(self, name):
        """PostgreSQL panics when its log has no space, and recovers; that is expected."""
        return "\n".join(line for line in super().log(name).splitlines()
                         if "PANIC" not in line or "No space left" not in line)

    def faults(self):
        said = self.output() if self.out.exists() else ""
        self.kills += sum("postgres ended (" in line for line in said.splitlines())
        return [line for line in super().faults()
                if not line.startswith("postgres.log:") or "No space left" not in line]

    @property
    def filler(self):
        return self.state / "filler"

    def fill(self):
        """Fills the last block; services cannot write their logs either."""
        with open(self.filler, "ab", buffering=0) as file:
            size = 1 << 40
            while (disk := os.statvfs(self.state)).f_bavail > 0 and size > 0:
                size = min(size, disk.f_bavail * disk.f_frsize)
                try:
                    os.posix_fallocate(file.fileno(), file.tell(), size)
                    file.seek(0, os.SEEK_END)
                except OSError:  # somebody was faster
                    size //= 2

    def free(self):
        self.filler.unlink(missing_ok=True)


def may_mount():
    if os.geteuid() != 0:
        return False
    folder = f"/tmp/checkout-mount-{uuid.uuid4()}"
    os.mkdir(folder)
    try:
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder],
                                 capture_output=True).returncode == 0
        return mounted and subprocess.run(["umount", folder]).returncode == 0
    finally:
        os.rmdir(folder)
