"""table.py - the measurements as a table for people, or as Markdown."""
import statistics

from rows import AGAINST, ROWS


def middle(values):
    return statistics.median(values)


def spread(values):
    return f"{min(values):.3g} to {max(values):.3g}"


def lines(raw, grown):
    """Rows: what, measured, over the rounds, to reach, whether it does."""
    for name, what, sign, goal in ROWS:
        if name not in raw:
            continue
        value = middle(raw[name])
        good = value >= goal if sign == ">=" else value <= goal
        yield (what.format(grown=grown), name, f"{value:.3g}", spread(raw[name]),
               f"{sign} {goal:g}", "yes" if good else "no")


HEAD = ("what", "name", "median", "over the rounds", "to reach", "reached")


def against_lines(raw, against):
    """Rows: what, measured of this and of the other commit, the ratio, over the rounds."""
    for name, what in AGAINST:
        if ratios := against["ratios"].get(name):
            yield (what, name, f"{middle(raw[name]):.4g}",
                   f"{middle(against['raw'][name]):.4g}", f"{middle(ratios):.3g}",
                   spread(ratios))


def tables(result):
    """(head, rows) of each table of a result of bench/run."""
    yield HEAD, list(lines(result["raw"], result["grown"]))
    if against := result.get("against"):
        head = ("what", "name", "this", against["commit"], "ratio", "over the rounds")
        yield head, list(against_lines(result["raw"], against))


def plain(head, rows):
    rows = [head, *rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
                     for row in rows)


def markdown(head, rows):
    rows = [head, ("---",) * len(head),
            *((what, f"`{name}`", *rest) for what, name, *rest in rows)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def numbers(raw):
    """Every other number that was taken: median and spread."""
    ratios = {name for name, *_ in ROWS}
    width = max(len(name) for name in raw)
    return "\n".join(f"{name.ljust(width)}  {middle(values):10.4g}  ({spread(values)})"
                     for name, values in raw.items() if name not in ratios)
