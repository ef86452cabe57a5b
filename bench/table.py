"""table.py - the measurements as a table for people, or as Markdown."""
import statistics

from rows import ROWS


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


def plain(raw, grown):
    rows = [HEAD, *lines(raw, grown)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEAD))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
                     for row in rows)


def markdown(raw, grown):
    rows = [HEAD, ("---",) * len(HEAD),
            *((what, f"`{name}`", *rest) for what, name, *rest in lines(raw, grown))]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def numbers(raw):
    """Every other number that was taken: median and spread."""
    ratios = {name for name, *_ in ROWS}
    width = max(len(name) for name in raw)
    return "\n".join(f"{name.ljust(width)}  {middle(values):10.4g}  ({spread(values)})"
                     for name, values in raw.items() if name not in ratios)
