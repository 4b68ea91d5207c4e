"""The report as one HTML file that needs nothing else; without JavaScript it shows the same, unsorted."""

from __future__ import annotations

import secrets
from pathlib import Path

from ansible_collections.p2p.cluster.plugins.plugin_utils.output.escape import html as escape

from .model import STATES, Count, Node, Report
from .terminal import role

ASSETS = Path(__file__).parent / "page"
COLUMNS = ("Node", "Provider", "Role", "Leader", "Peers", "State")
_ICONS = {"healthy": "✓", "degraded": "!", "critical": "✕"}
# The page runs its own script and style, known by a word that nobody can know before, and asks for nothing.
POLICY = (
    "default-src 'none'; script-src 'nonce-{0}'; style-src 'nonce-{0}'; img-src data:;"
    " base-uri 'none'; form-action 'none'"
)


def html(report: Report) -> str:
    """Return the page."""
    nonce = secrets.token_urlsafe(18)
    cluster = report["cluster"]
    style = (ASSETS / "style.css").read_text(encoding="utf-8")
    script = (ASSETS / "script.js").read_text(encoding="utf-8")
    verdict = escape(cluster["verdict"])
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{POLICY.format(nonce)}">
<title>{verdict}: {escape(cluster["name"])} cluster</title>
<link rel="icon" href="data:,">
<style nonce="{nonce}">
{style}{_widths(report)}</style>
</head>
<body>
<header class="{verdict}">
<p class="verdict" role="status"><span aria-hidden="true">{_ICONS[cluster["verdict"]]}</span>
<strong id="verdict">{verdict}</strong></p>
<h1>{escape(cluster["name"])} cluster</h1>
<p class="summary">{escape(cluster["summary"])}</p>
<p class="when">as of <time>{escape(report["generated_at"])}</time>{_scope(report)}</p>
</header>
<main>
{_problems(report)}{_figures(report)}{_providers(report)}{_voters(report)}{_mesh(report)}{_changes(report)}{_nodes(report)}</main>
<script nonce="{nonce}">
{script}</script>
</body>
</html>
"""


def _scope(report: Report) -> str:
    scope = report["cluster"]["scope"]
    parts = []
    if scope["partial"]:
        parts.append(
            f" · <strong>a part: {escape(scope['asked'])} of {escape(scope['of'])} nodes were asked</strong>"
        )
    if scope["left_out"]:
        told = ", ".join(f"{escape(count)} {escape(why)}" for why, count in scope["left_out"].items())
        parts.append(f" · not asked, by the fleet file: {told}")
    return "".join(parts)


def _problems(report: Report) -> str:
    items = "".join(
        f'<li class="{escape(item["severity"])}"><strong>{escape(item["kind"].replace("_", " "))}</strong>: '
        f"{escape(item['evidence'])}{_command(item['remedy'])}</li>\n"
        for item in report["cluster"]["problems"]
    )
    return (
        f'<section class="problems" aria-label="Problems of the cluster"><ul>\n{items}</ul></section>\n'
        if items
        else ""
    )


def _figures(report: Report) -> str:
    cluster = report["cluster"]
    voters, coverage = cluster["voters"], cluster["coverage"]
    leader = cluster["leader_id"] or ("disputed" if len(cluster["leaders_reported"]) > 1 else "none")
    tolerates = f"{voters['tolerates']} more may fail" if voters["quorum_ok"] else "no quorum"
    term = f"term {cluster['term']}" if cluster["term"] is not None else "\N{NO-BREAK SPACE}"
    figures = (
        ("Leader", leader, term),
        (
            "Voters alive",
            f"{len(voters['alive'])} of {len(voters['configured'])}",
            f"quorum {voters['quorum']}, {tolerates}" if voters["configured"] else "the file names none",
        ),
        ("Nodes running", f"{coverage['running']} of {coverage['nodes']}", f"{coverage['percent']} %"),
        ("Broken", str(sum(node["state"] != "ok" for node in report["nodes"])), _states(report)),
    )
    cells = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd><dd class='note'>{escape(note)}</dd></div>\n"
        for name, value, note in figures
    )
    return f'<section aria-label="Figures"><dl class="figures">\n{cells}</dl></section>\n'


def _states(report: Report) -> str:
    states = report["cluster"]["by_state"]
    return (
        ", ".join(
            f"{states[state]} {state.replace('_', ' ')}"
            for state in STATES
            if state in states and state != "ok"
        )
        or "none"
    )


def _percent(count: Count) -> int:
    return round(100 * count["running"] / count["nodes"])


def _widths(report: Report) -> str:
    """Return the style of the providers' bars, since the policy lets no element have a style of its own."""
    percents = {_percent(count) for count in report["cluster"]["by_provider"].values()}
    return "".join(f".bar .part-{percent} {{ width: {percent}%; }}\n" for percent in sorted(percents))


def _providers(report: Report) -> str:
    rows = []
    for name, count in report["cluster"]["by_provider"].items():
        bar = f'<td class="bar"><span class="part-{_percent(count)}"></span></td>'
        figures = f"<td>{escape(count['running'])} of {escape(count['nodes'])}</td>"
        rows.append(f'<tr><th scope="row">{escape(name)}</th>{bar}{figures}</tr>\n')
    caption = '<caption class="hidden">Nodes that run, by provider</caption>'
    table = f'<table class="chart">{caption}\n{"".join(rows)}</table>'
    return f'<section class="card"><h2>Coverage by provider</h2>\n{table}</section>\n'


def _voters(report: Report) -> str:
    cluster = report["cluster"]
    known = {node["node_id"]: node for node in report["nodes"]}
    items = []
    for name in cluster["voters"]["configured"]:
        alive = name in cluster["voters"]["alive"]
        node = known.get(name)
        state = node["state"] if node else "not asked"
        what = "leads" if name == cluster["leader_id"] else "alive" if alive else "down"
        what += f" · {state.replace('_', ' ')}" if state != "ok" else ""
        items.append(
            f'<li class="{"up" if alive else "down"}"><span class="dot" aria-hidden="true"></span>'
            f"<span>{escape(name)}</span><span class='note'>{escape(what)}</span></li>\n"
        )
    voters = cluster["voters"]
    count = voters["tolerates"]
    told = "The quorum is lost." if voters["configured"] else "The fleet file names no voters."
    if voters["quorum_ok"]:
        told = f"The cluster keeps its quorum if {count} more {'fails' if count == 1 else 'fail'}."
    listed = f'<ul class="voters">\n{"".join(items)}</ul>\n<p class="note">{escape(told)}</p>'
    return f'<section class="card"><h2>Voters</h2>\n{listed}</section>\n'


def _mesh(report: Report) -> str:
    """Return who reaches whom as a matrix, if something is closed."""
    shut: dict[tuple[str, str], list[str]] = {}
    for way in report["cluster"]["mesh"]:
        found = shut.setdefault((way["source"], way["target"]), [])
        if way["outcome"] != "open":
            found.append(f"{way['service']} at {way['place']}: {way['why']}")
    if not any(shut.values()):
        return ""
    names = report["cluster"]["voters"]["configured"]
    heads = "".join(f'<th scope="col"><span>{escape(name)}</span></th>' for name in names)
    rows = []
    for source in names:
        cells = "".join(_way(shut.get((source, target))) for target in names)
        rows.append(f'<tr><th scope="row">{escape(source)}</th>{cells}</tr>\n')
    caption = '<caption class="note">From the voter of a row to that of a column</caption>'
    table = f'<table class="mesh">{caption}<thead><tr><td></td>{heads}</tr></thead>\n{"".join(rows)}</table>'
    return f'<section class="card"><h2>Who reaches whom</h2>\n<div class="scroll">{table}</div></section>\n'


def _way(shut: list[str] | None) -> str:
    """Return a cell: empty where nothing was tried, or what it leads to is stopped."""
    if not shut:
        return "<td></td>" if shut is None else '<td class="open">✓ <span class="hidden">open</span></td>'
    return f'<td class="shut">✕ {escape("; ".join(shut))}</td>'


def _changes(report: Report) -> str:
    changes = report["changes"]
    if changes is None:
        return ""
    told = []
    if changes["verdict"]:
        told.append(f"verdict {changes['verdict'][0]} → {changes['verdict'][1]}")
    if changes["leader"]:
        told.append(f"leader {changes['leader'][0] or 'none'} → {changes['leader'][1] or 'none'}")
    told += [
        f"{item['node_id']}: {item['before'] or 'new'} → {item['now'] or 'gone'}" for item in changes["nodes"]
    ]
    items = "".join(f"<li>{escape(text.replace('_', ' '))}</li>\n" for text in told) or "<li>nothing</li>\n"
    return (
        f'<section class="card"><h2>Changed since <time>{escape(changes["since"])}</time></h2>\n'
        f'<ul class="changes">\n{items}</ul></section>\n'
    )


def _nodes(report: Report) -> str:
    heads = "".join(f'<th scope="col" aria-sort="none">{escape(title)}</th>' for title in COLUMNS)
    rows = "".join(_row(node) for node in report["nodes"])
    states = [state for state in STATES if state in report["cluster"]["by_state"]]
    providers = list(report["cluster"]["by_provider"])
    return f"""<section class="nodes"><h2>Nodes</h2>
<form class="filters" role="search" hidden>
<label>Search <input type="search" id="search" autocomplete="off"></label>
<label>State <select id="state"><option value="">all</option><option value="!ok">broken</option>
{_options(states)}</select></label>
<label>Provider <select id="provider"><option value="">all</option>
{_options(providers)}</select></label>
<output id="count" aria-live="polite"></output>
</form>
<div class="scroll"><table id="nodes">
<caption class="hidden">Nodes, the worst first</caption>
<thead><tr>{heads}</tr></thead>
<tbody>
{rows}</tbody>
</table></div></section>
"""


def _options(values: list[str]) -> str:
    return "".join(
        f'<option value="{escape(value)}">{escape(value.replace("_", " "))}</option>' for value in values
    )


def _row(node: Node) -> str:
    peers = "-" if node["alive_peers"] is None else node["alive_peers"]
    told = f"<p>{escape(node['evidence'])}</p>{_command(node['remedy'])}" if node["evidence"] else ""
    for item in node["also"]:
        also = f"also {item['state'].replace('_', ' ')}: {item['evidence']}"
        told += f"<p>{escape(also)}</p>{_command(item['remedy'])}"
    kind = "ok" if node["state"] == "ok" else "soft" if node["state"] in ("starting", "drifted") else "bad"
    state = f'<span class="state {escape(kind)}">{escape(node["state"].replace("_", " "))}</span>'
    cells = (
        f'<th scope="row" data-label="Node">{escape(node["node_id"])}</th>'
        f'<td data-label="Provider">{escape(node["provider"])}</td>'
        f'<td data-label="Role">{escape(role(node))}</td>'
        f'<td data-label="Leader">{escape(node["leader_id"] or "-")}</td>'
        f'<td data-label="Peers" class="number">{escape(peers)}</td>'
        f'<td data-label="State" data-order="{escape(STATES.index(node["state"]))}">{state}{told}</td>'
    )
    return (
        f'<tr data-state="{escape(node["state"])}" data-provider="{escape(node["provider"])}">{cells}</tr>\n'
    )


def _command(remedy: str | None) -> str:
    if not remedy:
        return ""
    button = '<button type="button" class="copy" hidden>copy</button>'
    return f'<div class="command"><code>{escape(remedy)}</code>{button}</div>'
