"""machine.py - what processes cost: CPU, system calls, memory; and what machine this is.

All from the kernel's own books of exactly the processes named, never of the machine.
"""
import contextlib
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def children(pid):
    with contextlib.suppress(OSError):
        return [int(word) for task in Path(f"/proc/{pid}/task").iterdir()
                for word in (task / "children").read_text().split()]
    return []


def cpu_s(pids):
    """Seconds of CPU, user and system, that the processes have used so far.

    By the clock that clock_getcpuclockid(3) names: /proc counts in ticks of 10 ms."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += time.clock_gettime(~pid << 3 | 2)
    return total


def own_threads_cpu_s(pid):
    """The same of a process's threads but nng's: those that serve HTTP, in a gateway."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            if not (task / "comm").read_text().startswith("nng:"):
                total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def dead_children_cpu_s(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[13:15])) * TICK_S


class Postgres:
    """A cluster's processes: the postmaster and its children."""

    def __init__(self, postmaster):
        self.postmaster = postmaster

    def pids(self):
        return [self.postmaster, *children(self.postmaster)]

    def cpu_s(self):
        return cpu_s(self.pids()) + dead_children_cpu_s(self.postmaster)


def pss_mb(pids):
    """Memory in RAM, what is shared counted in parts: MB."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += int(re.search(r"(?m)^Pss:\s+(\d+)", text)[1])
    return total / 1024


class Watch:
    """The most memory the processes hold at any time while it runs."""

    def __init__(self, pids):
        self.pids, self.most_mb = pids, 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        while not self.ended.wait(0.25):
            self.most_mb = max(self.most_mb, pss_mb(self.pids))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()


class SystemCalls:
    """Counts the system calls of running processes, from inside the kernel if it can.

    `groups` is name -> a function that gives the pids."""

    def __init__(self, groups, folder):
        self.folder, self.groups = Path(folder), groups
        self.counters = {name: self._attach(name) for name in groups}

    def _attach(self, name):
        """A process may end while it is listed (a vacuum worker): then once more."""
        for _ in range(5):
            pids = self.groups[name]()
            out = self.folder / f"calls-{name}"
            if by_perf():
                command = ["perf", "stat", "-x,", "-o", str(out), "-e",
                           "raw_syscalls:sys_enter", "-p", ",".join(map(str, pids))]
            else:
                command = ["strace", "-f", "-c", "-o", str(out),
                           *[word for pid in pids for word in ("-p", str(pid))]]
            counter = subprocess.Popen(command, stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                counter.wait(0.4)  # it stays when it could attach
                continue
            return out, counter
        raise AssertionError(f"the system calls of {name} cannot be counted")

    def end(self):
        """name -> calls so far."""
        for _, process in self.counters.values():
            process.send_signal(signal.SIGINT)
        counts = {}
        for name, (out, process) in self.counters.items():
            process.wait(60)
            text = out.read_text()
            found = (re.search(r"(?m)^(\d+),,raw_syscalls", text)
                     or re.search(r"(?m)^\s*100\.00\s+\S+\s+\S*\s+(\d+).* total$", text))
            counts[name] = int(found[1]) if found else 0
        return counts


def by_perf():
    return shutil.which("perf") is not None and subprocess.run(
        ["perf", "stat", "-e", "raw_syscalls:sys_enter", "-p", str(os.getpid()), "true"],
        capture_output=True).returncode == 0


def describe():
    """The machine in a few words, without its name."""
    cpu = re.search(r"(?m)^model name\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"(?m)^MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    return {
        "cpu": cpu[1] if cpu else os.uname().machine,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(int(memory[1]) / 1024 / 1024, 1),
        "kernel": re.match(r"\d+\.\d+", os.uname().release)[0],
        "sync_us": sync_us(),
    }


def sync_us(folder="/tmp", count=200):
    """What one small write costs until it is on the disk: median, microseconds."""
    path, took = Path(folder) / f"bench-sync-{os.getpid()}", []
    fd = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        os.pwrite(fd, b"\0" * 8192 * 64, 0)
        os.fsync(fd)
        for n in range(count):
            os.pwrite(fd, b"\1" * 8192, n % 64 * 8192)
            started = time.monotonic()
            os.fdatasync(fd)
            took.append(time.monotonic() - started)
    finally:
        os.close(fd)
        path.unlink()
    return round(sorted(took)[count // 2] * 1e6)
