"""The report on a terminal: a table and a verdict line within 100 columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ansible_collections.p2p.cluster.plugins.plugin_utils.output.escape import line as escape
from ansible_collections.p2p.cluster.plugins.plugin_utils.output.escape import terminal

from .command import pieces
from .model import Node, Report

WIDTH = 100
BAR = 20
COLOURS = {"healthy": "green", "degraded": "yellow", "critical": "red"}
_TITLES = ("NODE", "PROVIDER", "ROLE", "LEADER", "PEERS", "STATE")
_NUMBER = 4  # the column of the peers
_LIMITS = (26, 9, 6, 26, 5, 20)

# Puts a text in a colour, by its name; a terminal without colours gives the text back.
Paint = Callable[[str, str], str]


def table(report: Report, paint: Paint = lambda text, _: text) -> list[str]:
    """Return the report's lines, none longer than WIDTH columns.

    Args:
        report: The report.
        paint: Colours a text; colour codes do not count as columns.
    """
    cluster = report["cluster"]
    rows = [_cells(node) for node in report["nodes"]]
    widths = [min(limit, max(len(row[at]) for row in [_TITLES, *rows])) for at, limit in enumerate(_LIMITS)]
    lines = [paint(_row(_TITLES, widths).rstrip(), "bright gray")]
    for node, cells in zip(report["nodes"], rows, strict=True):
        line = _row(cells, widths)
        at = len(line) - widths[-1]
        lines.append(line[:at] + paint(line[at:].rstrip(), _colour(node["state"])))
        lines += _detail(node["evidence"], node["remedy"], paint)
        for item in node["also"]:
            lines += _detail(f"also {item['state']}: {item['evidence']}", item["remedy"], paint)
    lines += ["", *_providers(report, paint)]
    for problem in cluster["problems"]:
        colour = COLOURS[problem["severity"]]
        lines += [
            "",
            *(paint(text, colour) for text in wrapped(f"{problem['kind']}: {problem['evidence']}", 0)),
        ]
        lines += _detail("", problem["remedy"], paint)
    lines += ["", *_mesh(report), *_scope(report), *_changes(report)]
    lines += [
        paint(text, COLOURS[cluster["verdict"]])
        for text in wrapped(f"{cluster['verdict'].upper()}: {cluster['summary']}", 0)
    ]
    return lines


def role(node: Node) -> str:
    """Return what a node is to the cluster: `leader`, `voter` or `node`."""
    if node["leader_id"] == node["node_id"] and node["running"]:
        return "leader"
    return "voter" if node["voter"] else "node"


def wrapped(text: str, indent: int) -> list[str]:
    """Return a text of any origin in lines that fit WIDTH, broken at spaces."""
    return _packed(escape(text).split(), indent)


def pasted(command: str, indent: int) -> list[str]:
    """Return a command in lines that fit WIDTH where the shell allows it, and that paste as one command."""
    return _packed(pieces(terminal(command).replace("\n", " ")), indent, " \\")


def _packed(words: Sequence[str], indent: int, tail: str = "") -> list[str]:
    lines: list[str] = []
    line = ""
    room = WIDTH - indent - len(tail)
    for word in words:
        if line and len(line) + 1 + len(word) > room:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
        while len(line) > room and not tail:
            lines.append(line[:room])
            line = line[room:]
    lines.append(line)
    return [" " * indent + part + tail for part in lines[:-1]] + [" " * indent + lines[-1]]


def _cells(node: Node) -> tuple[str, ...]:
    peers = "-" if node["alive_peers"] is None else str(node["alive_peers"])
    cells = (node["node_id"], node["provider"], role(node), node["leader_id"] or "-", peers, node["state"])
    return tuple(map(escape, cells))


def _row(cells: tuple[str, ...], widths: list[int]) -> str:
    cut = [
        text if len(text) <= width else text[: width - 1] + "…"
        for text, width in zip(cells, widths, strict=True)
    ]
    padded = [
        text.rjust(width) if at == _NUMBER else text.ljust(width)
        for at, (text, width) in enumerate(zip(cut, widths, strict=True))
    ]  # peers are a number
    return "  ".join(padded)


def _colour(state: str) -> str:
    return {"ok": "green", "starting": "yellow", "drifted": "yellow"}.get(state, "red")


def _detail(evidence: str, remedy: str | None, paint: Paint) -> list[str]:
    lines = wrapped(evidence, 4) if evidence else []
    if remedy:
        # A broken command still pastes as one.
        first, *rest = pasted(remedy, 6)
        lines += [paint(text, "cyan") for text in ("    $ " + first.strip(), *rest)]
    return lines


def _providers(report: Report, paint: Paint) -> list[str]:
    providers = {escape(name): count for name, count in report["cluster"]["by_provider"].items()}
    width = max((len(name) for name in providers), default=0)
    lines = []
    for name, count in providers.items():
        filled = round(BAR * count["running"] / count["nodes"])
        bar = paint("█" * filled, "green") + "░" * (BAR - filled)
        lines.append(f"{name.ljust(width)}  {bar}  {count['running']} of {count['nodes']} run")
    return lines


def _mesh(report: Report) -> list[str]:
    return [
        line
        for way in report["cluster"]["mesh"]
        if way["outcome"] != "open"
        for line in wrapped(
            f"closed: {way['source']} → {way['target']} at {way['place']} ({way['service']}): {way['why']}", 0
        )
    ]


def _scope(report: Report) -> list[str]:
    scope = report["cluster"]["scope"]
    lines = []
    if scope["partial"]:
        lines += wrapped(
            f"--limit: this is a part, {scope['asked']} of the fleet's {scope['of']} nodes were asked", 0
        )
    if scope["left_out"]:
        told = ", ".join(f"{count} {why}" for why, count in scope["left_out"].items())
        lines += wrapped(f"not asked, because the fleet file says so: {told}", 0)
    return lines


def _changes(report: Report) -> list[str]:
    changes = report["changes"]
    if changes is None:
        return []
    told = []
    if changes["verdict"]:
        told.append(f"verdict {changes['verdict'][0]} → {changes['verdict'][1]}")
    if changes["leader"]:
        before, now = (name or "none" for name in changes["leader"])
        told.append(f"leader {before} → {now}")
    told += [
        f"{item['node_id']} {item['before'] or 'new'} → {item['now'] or 'gone'}"
        for item in changes["nodes"][:8]
    ]
    if len(changes["nodes"]) > 8:  # noqa: PLR2004  # as many as one likes to read
        told.append(f"{len(changes['nodes']) - 8} more")
    return wrapped(f"since {changes['since']}: {'; '.join(told) or 'no change'}", 0)
