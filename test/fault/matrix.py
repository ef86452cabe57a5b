#!/usr/bin/env python3
"""matrix.py - every failpoint x every fault x every scenario, against real processes.

    matrix.py                 the part that fits into a few minutes
    matrix.py --full          every cell, and the table of them
    matrix.py --only REGEX    the cells SCENARIO:FAILPOINT:FAULT that match
    matrix.py --cell CELL     this one, SCENARIO:FAILPOINT:FAULT; any number of them
    matrix.py --list          the cells, without running them

Several worlds (world.py) run side by side, one a worker process, each with a failpoints
folder of its own.  A tracing run learns which failpoints each scenario passes; the cells
are those times the faults each failpoint knows (seams.py).  A cell arms one fault, runs its
scenario (scenarios.py) and ends with the end check.

The programs are those of CHECKOUT_BUILD, built with CHECKOUT_FAILPOINTS.  Exit status 0:
every cell held and none is missing.
"""
import argparse
import collections
import ctypes
import multiprocessing
import os
import queue
import random
import re
import signal
import sys
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))
from seams import FAULTS, NOT_CELLS, faults_of, must_be_seen  # noqa: E402
from scenarios import BY_NAME, LIST, Fault  # noqa: E402
from stack import BUILD, _on_signal  # noqa: E402
from world import World  # noqa: E402

WORKERS = 3
SAMPLE = 40  # cells of the part that are drawn beside the chosen ones

Cell = collections.namedtuple("Cell", "scenario point fault")
Result = collections.namedtuple("Result", "cell trouble seconds evidence")


# ---- a worker -------------------------------------------------------------------------


class Worker:
    """Runs in a process of its own; starts its world afresh after a cell that failed."""

    def __init__(self, number, jobs, results):
        self.number, self.jobs, self.results = number, jobs, results
        self.world = None

    def main(self):
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # when the matrix dies, we do
        signal.signal(signal.SIGTERM, _on_signal)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            while (job := self.jobs.get()) is not None:
                self.results.put(self.do(job))
        except BaseException:
            self.results.put(("broken", traceback.format_exc()))
        finally:
            self.results.put(("ended", self.number, self.end()))

    def do(self, job):
        if self.world is None:
            self.world = World().start()
        if job == "trace":
            return ("traced", self.trace())
        return ("cell", self.run(job))

    def trace(self):
        """scenario name -> the failpoints it passes."""
        passed = {}
        for scenario in LIST:
            self.world.seen(forget=True)
            try:
                scenario.run(self.world, None)
            except AssertionError as trouble:
                raise AssertionError(f"without any fault, {scenario.name}: {trouble}\n"
                                     f"{self.world.evidence()}") from trouble
            passed[scenario.name] = self.world.seen()
            print(f"traced {scenario.name}: {len(passed[scenario.name])} failpoints", flush=True)
            if not passed[scenario.name]:
                raise AssertionError(f"{BUILD} was not built with CHECKOUT_FAILPOINTS")
        return passed

    def run(self, cell):
        began = time.monotonic()
        trouble, evidence = None, ""
        try:
            BY_NAME[cell.scenario].run(self.world, Fault(cell.point, cell.fault))
            # What a scenario armed to bring itself about may be left: a race went around it.
            if cell.point in self.world.disarm():
                trouble = "the failpoint was not passed"
            self.world.check_audit()
        except Exception as error:
            trouble = f"{type(error).__name__}: {error}"
        if trouble is not None:
            evidence = self.world.evidence()
            self.afresh()
        return Result(cell, trouble, time.monotonic() - began, evidence)

    def afresh(self):
        seen = self.world.seen_ever | self.world.seen()
        try:
            self.world.disarm()
            self.world.stop()
        except Exception:
            pass  # it is broken, that is why
        self.world = World().start()
        self.world.seen_ever |= seen

    def end(self):
        """What was seen, and the trouble the whole run ended with."""
        if self.world is None:
            return (set(), None)
        trouble = None
        try:
            self.world.check_end()
            self.world.check_audit()
        except Exception as error:
            trouble = f"at the end: {error}"
        try:
            self.world.stop()
        except Exception as error:
            trouble = trouble or f"at the stop: {error}"
        return (self.world.seen_ever, trouble)


# ---- the cells ------------------------------------------------------------------------


def all_cells(passed):
    cells = []
    for scenario in LIST:
        if scenario.cells:
            cells += [Cell(scenario.name, *cell) for cell in scenario.cells]
            continue
        for point in scenario.points(passed[scenario.name]):
            cells += [Cell(scenario.name, point, fault) for fault in faults_of(point)]
    return cells


def part_of(cells):
    """
    The same every time: of each failpoint a crash and one more fault, which takes turns,
    in the longest way that passes it; the scripts; and a sample of the rest.
    """
    by_point = collections.defaultdict(list)
    for cell in cells:
        by_point[cell.point].append(cell)
    ways = ("expired", "approved", "declined")
    chosen = [cell for cell in cells if BY_NAME[cell.scenario].cells]
    for turn, point in enumerate(sorted(by_point)):
        names = [cell.scenario for cell in by_point[point]]
        way = next((name for name in ways if name in names), names[0])
        if BY_NAME[way].mark == "r" and turn % 3:
            continue  # reads change nothing: a third of their failpoints will do
        others = [fault for fault in faults_of(point) if fault != "crash"]
        wanted = {"crash", others[turn % len(others)]}
        chosen += [cell for cell in by_point[point]
                   if cell.scenario == way and cell.fault in wanted]
    rest = sorted(set(cells) - set(chosen))
    return chosen + random.Random(3).sample(rest, min(SAMPLE, len(rest)))


def in_turns(cells):
    """Crashes of one program far from each other: ./up starts it again later each time."""
    groups = collections.defaultdict(list)
    for cell in cells:
        program = cell.point.split(".")[0] if cell.fault == "crash" else ""
        groups[cell.fault, program].append(cell)
    placed = [((i + 0.5) / len(group), cell)
              for group in groups.values() for i, cell in enumerate(group)]
    return [cell for _, cell in sorted(placed)]


# ---- the whole ------------------------------------------------------------------------


class Matrix:
    def __init__(self, workers):
        self.context = multiprocessing.get_context("fork")
        self.jobs, self.results = self.context.Queue(), self.context.Queue()
        self.outcomes, self.troubles, self.seen = [], [], set()
        self.workers = [self.context.Process(target=Worker(n, self.jobs, self.results).main)
                        for n in range(workers)]

    def start(self, trace):
        """The tracing run, by the first worker, which goes on with cells after it."""
        self.workers[0].start()
        if not trace:
            return {}
        self.jobs.put("trace")
        kind, *rest = self.results.get()
        if kind != "traced":
            self.jobs.put(None)
            self.workers[0].join()
            sys.exit(f"the tracing run failed:\n{rest[0]}")
        return rest[0]

    def run(self, cells):
        for cell in cells:
            self.jobs.put(cell)
        for worker in self.workers[1:]:
            worker.start()
        for _ in self.workers:
            self.jobs.put(None)
        ended = 0
        while ended < len(self.workers):
            try:
                kind, *rest = self.results.get(timeout=600)
            except queue.Empty:
                self.troubles.append("a worker has said nothing for 10 minutes")
                break
            if kind == "cell":
                self.note(rest[0], len(cells))
            elif kind == "broken":
                self.troubles.append(rest[0])
            elif kind == "ended":
                ended += 1
                seen, trouble = rest[1]
                self.seen |= seen
                if trouble:
                    self.troubles.append(f"worker {rest[0]}: {trouble}")
        for worker in self.workers:
            worker.join(30)

    def note(self, result, total):
        self.outcomes.append(result)
        word = "ok" if result.trouble is None else "FAILED"
        print(f"{len(self.outcomes)}/{total} {word} {':'.join(result.cell)} "
              f"{result.seconds:.1f} s", flush=True)
        if result.trouble is not None:
            print(f"  {result.trouble}\n{result.evidence}", flush=True)


def missing(cells, seen):
    """Failpoints that exist, and no cell hurts."""
    hurt = {cell.point for cell in cells}
    passed = {point for point in seen
              if not any(re.search(pattern, point) for pattern in NOT_CELLS)}
    lines = [f"{point} was passed, but no cell hurts it" for point in sorted(passed - hurt)]
    lines += [f"{point} exists in the sources, but no scenario passes it"
              for point in sorted(must_be_seen() - seen)]
    return lines


def print_table(cells, outcomes):
    """Failpoints down, faults across; a letter a scenario, '!' before one that failed."""
    done = {result.cell: result.trouble is None for result in outcomes}
    marks = collections.defaultdict(str)
    for cell in cells:
        if cell in done:
            letter = BY_NAME[cell.scenario].mark
            marks[cell.point, cell.fault] += letter if done[cell] else "!" + letter
    names = collections.defaultdict(list)
    for scenario in LIST:
        names[scenario.mark].append(scenario.name)
    print("\n" + "; ".join(f"{mark} {', '.join(of)}" for mark, of in names.items()))
    print("'.': not run, '-': the seam does not know the fault\n")
    width = max(len(cell.point) for cell in cells)
    print(" " * width, *(f"{fault:<8}" for fault in FAULTS))
    for point in sorted({cell.point for cell in cells}):
        row = [marks[point, fault] or ("." if fault in faults_of(point) else "-")
               for fault in FAULTS]
        print(f"{point:<{width}}", *(f"{mark:<8}" for mark in row))
    print()


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="every cell")
    parser.add_argument("--only", metavar="REGEX", help="the cells that match, of all")
    parser.add_argument("--cell", action="append", help="this one")
    parser.add_argument("--list", action="store_true", help="print the cells, run none")
    parser.add_argument("--workers", type=int, default=WORKERS, help="worlds side by side")
    return parser.parse_args()


def choose(asked, passed):
    """All the cells there are, and those to run."""
    if asked.cell:
        cells = [Cell(*name.split(":")) for name in asked.cell]
        return cells, cells
    every = all_cells(passed)
    if asked.only:
        return every, [cell for cell in every if re.search(asked.only, ":".join(cell))]
    return every, every if asked.full else part_of(every)


def report(matrix, every, cells, lost):
    failed = [result for result in matrix.outcomes if result.trouble is not None]
    print_table(cells, matrix.outcomes)
    for line in matrix.troubles + lost:
        print(line)
    for result in failed:
        print(f"FAILED {':'.join(result.cell)}: {result.trouble.splitlines()[0]}")
    points = {cell.point for cell in every}
    unknown = sum(len(FAULTS) - len(faults_of(point)) for point in points)
    print(f"{len(matrix.outcomes)} of {len(every)} cells run, {len(failed)} failed; "
          f"{len(points)} failpoints, {unknown} of their faults are unknown to the seam")
    return not (failed or matrix.troubles or lost or len(matrix.outcomes) < len(cells))


def main():
    asked = arguments()
    if not (BUILD / "bin" / "gateway").exists():
        sys.exit(f"there is no build in {BUILD}; set CHECKOUT_BUILD")
    began = time.monotonic()
    matrix = Matrix(asked.workers)
    passed = matrix.start(trace=not asked.cell)
    every, cells = choose(asked, passed)
    if asked.list:
        print(*(":".join(cell) for cell in sorted(cells)), sep="\n")
        cells = []
    matrix.run(in_turns(cells))
    whole = not asked.cell and not asked.list
    lost = missing(every, matrix.seen.union(*passed.values())) if whole else []
    good = report(matrix, every, cells, lost) if cells else not matrix.troubles
    print(f"{time.monotonic() - began:.0f} s")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
