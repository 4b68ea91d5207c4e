"""The page in a real browser: verdicts, sorting, filtering, both colour schemes, a phone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from roles.p2p_health.report.build import report
from roles.p2p_health.report.html import html
from roles.p2p_health.report.model import Fleet
from roles.p2p_health.report.write import write
from tests.integration.health.browser import Page, browser
from tests.unit.health.fleet_of_five import (
    LEADER,
    OTHERS,
    VOTERS,
    answering,
    answers,
    down,
    fleet,
    probe,
    status,
)
from tests.unit.health.fleet_of_five import unreachable as dead
from tests.unit.health.hostile import WORST, everywhere

NAMES = (
    "[...document.querySelectorAll('#nodes tbody tr')].filter(row => !row.hidden)"
    ".map(row => row.cells[0].textContent)"
)


@pytest_asyncio.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    async with browser(tmp_path / "profile") as opened:
        yield opened


def _made(folder: Path, given: dict[str, Any], about: Fleet | None = None) -> Path:
    write(report(given, about or fleet()), about or fleet(), folder, 3)
    return folder / "health.html"


def _degraded() -> dict[str, Any]:
    return answers() | {OTHERS[0]: dead(), VOTERS[0]: down(VOTERS[0])}


def _critical() -> dict[str, Any]:
    nobody = {"leader_id": None, "effective_leader_id": None, "role": "follower"}
    return {name: probe(name, http=answering(status(name, **nobody))) for name in fleet().hosts}


async def _contrast(page: Page, selector: str) -> float:
    """Return the contrast of an element's text with what is behind it, as WCAG 2.1 defines it."""
    script = """(selector => {
      const parts = c => c.match(/[\\d.]+/g).map(Number);
      const light = c => parts(c).slice(0, 3).map(v => v / 255)
        .map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
      const element = document.querySelector(selector);
      let behind = element;
      while (/rgba\\(.*, 0\\)/.test(getComputedStyle(behind).backgroundColor)) behind = behind.parentElement;
      const [a, b] = [getComputedStyle(element).color, getComputedStyle(behind).backgroundColor].map(light);
      return (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    })"""
    value: float = await page.run(f"{script}({selector!r})")
    return value


@pytest.mark.parametrize(
    ("given", "verdict"),
    [(answers(), "healthy"), (_degraded(), "degraded"), (_critical(), "critical")],
    ids=["healthy", "degraded", "critical"],
)
async def test_the_page_shows_the_verdict(
    page: Page, tmp_path: Path, given: dict[str, Any], verdict: str
) -> None:
    await page.open(_made(tmp_path, given))
    assert await page.run("document.getElementById('verdict').textContent") == verdict
    assert await page.run("document.title") == f"{verdict}: p2p cluster"
    assert await page.run("document.querySelector('header').className") == verdict
    leader = await page.run("document.querySelector('.figures dd').textContent")
    assert leader == ("none" if verdict == "critical" else LEADER)
    assert await page.run("document.querySelectorAll('.problems li.critical').length") == (
        verdict == "critical"
    )


async def test_columns_sort_both_ways(page: Page, tmp_path: Path) -> None:
    await page.open(_made(tmp_path, _degraded()))
    assert (await page.run(NAMES))[:2] == [OTHERS[0], VOTERS[0]]
    button = "document.querySelectorAll('#nodes thead button')[0]"
    await page.run(f"{button}.click()")
    names = await page.run(NAMES)
    assert names == sorted(fleet().hosts)
    assert await page.run(f"{button}.parentElement.getAttribute('aria-sort')") == "ascending"
    await page.run(f"{button}.click()")
    assert await page.run(NAMES) == names[::-1]
    await page.run("document.querySelectorAll('#nodes thead button')[5].click()")
    assert (await page.run(NAMES))[:2] == [OTHERS[0], VOTERS[0]]


async def test_filters_narrow_the_rows_and_say_so(page: Page, tmp_path: Path) -> None:
    await page.open(_made(tmp_path, _degraded()))

    async def choose(control: str, value: str) -> list[str]:
        field = f"document.getElementById('{control}')"
        await page.run(f"{field}.value = {value!r}; {field}.dispatchEvent(new Event('input'))")
        names: list[str] = await page.run(NAMES)
        return names

    assert await choose("state", "!ok") == [OTHERS[0], VOTERS[0]]
    assert await page.run("document.getElementById('count').textContent") == "2 of 7 nodes"
    assert await choose("state", "stopped") == [VOTERS[0]]
    await choose("state", "")
    assert await choose("provider", "hetzner") == [LEADER, "hetzner-cpu2"]
    await choose("provider", "")
    assert await choose("search", "timed OUT") == [OTHERS[0]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_text_is_readable_in_both_schemes(page: Page, tmp_path: Path, scheme: str) -> None:
    await page.open(_made(tmp_path, _degraded()), scheme=scheme)
    for selector in (
        "body",
        ".verdict",
        ".summary",
        ".when",
        ".note",
        ".state.ok",
        ".state.bad",
        "code",
        "#nodes p",
    ):
        assert await _contrast(page, selector) >= 4.5, selector


async def test_the_schemes_differ(page: Page, tmp_path: Path) -> None:
    path = _made(tmp_path, answers())
    colours = []
    for scheme in ("light", "dark"):
        await page.open(path, scheme=scheme)
        colours.append(await page.run("getComputedStyle(document.body).backgroundColor"))
    assert colours[0] != colours[1]


@pytest.mark.parametrize("width", [360, 768, 1200])
async def test_nothing_overflows_a_window(page: Page, tmp_path: Path, width: int) -> None:
    await page.open(_made(tmp_path, _degraded()), width=width)
    assert await page.run("document.documentElement.scrollWidth") <= width


async def test_everything_has_a_name_for_those_who_listen(page: Page, tmp_path: Path) -> None:
    await page.open(_made(tmp_path, _degraded()))
    tree = (await page.call("Accessibility.getFullAXTree"))["nodes"]
    named = {"button", "combobox", "searchbox", "table", "columnheader", "rowheader", "heading"}
    found = set()
    for node in tree:
        kind = node.get("role", {}).get("value")
        if kind in named and not node.get("ignored"):
            found.add(kind)
            assert node.get("name", {}).get("value"), node
    assert named <= found


async def test_the_page_asks_nobody_for_anything(page: Page, tmp_path: Path) -> None:
    await page.open(_made(tmp_path, _degraded()))
    assert await page.run("performance.getEntriesByType('resource').length") == 0


async def _events(page: Page, path: Path) -> tuple[list[str], list[str]]:
    """Open a page and return what the console says, and what is fetched besides the page itself."""
    for domain in ("Log", "Network", "Runtime"):
        await page.call(f"{domain}.enable")
    page.events.clear()
    await page.open(path)
    await page.run("new Promise(done => setTimeout(done, 300))")
    by_kind: dict[str, list[dict[str, Any]]] = {}
    for event in page.events:
        by_kind.setdefault(event["method"], []).append(event["params"])
    held = {
        one["requestId"]
        for one in by_kind.get("Network.loadingFailed", ())
        if one.get("blockedReason") == "csp"
    }
    asked = {one["requestId"]: one["request"]["url"] for one in by_kind.get("Network.requestWillBeSent", ())}
    said = [*by_kind.get("Log.entryAdded", ()), *by_kind.get("Runtime.consoleAPICalled", ())]
    fetched = [
        url for key, url in asked.items() if key not in held and url not in (f"file://{path}", "data:,")
    ]
    return [str(one) for one in said], fetched


async def test_what_nodes_say_runs_nothing_and_asks_for_nothing(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "health.html"
    path.write_text(html(everywhere(WORST)), encoding="utf-8")
    assert await _events(page, path) == ([], [])
    assert await page.run("typeof window.obeyed") == "undefined"
    assert (
        await page.run("document.querySelectorAll('img, a, iframe, [onclick], [onerror], [style]').length")
        == 0
    )
    # The page's own script ran.
    assert await page.run("document.querySelectorAll('#nodes thead button').length") == 6
    assert "obeyed" in await page.run("document.querySelector('#nodes tbody').textContent")


async def test_the_policy_holds_what_came_in_all_the_same(page: Page, tmp_path: Path) -> None:
    for number, markup in enumerate(
        (
            "<script>window.obeyed = 1</script>",
            "<img src='http://127.0.0.1:9/x' onerror='window.obeyed = 1'>",
            "<p style='color: red'>x</p>",
            "<form id='f' action='http://127.0.0.1:9/'></form><button form='f' id='b'></button>",
        )
    ):
        path = tmp_path / f"health{number}.html"
        path.write_text(html(everywhere("text")).replace("<main>", f"<main>{markup}"), encoding="utf-8")
        said, fetched = await _events(page, path)
        assert fetched == []
        if "form" not in markup:
            assert "Content Security Policy" in "".join(said), markup
        assert await page.run("typeof window.obeyed") == "undefined"
    await page.run("document.getElementById('b').click()")
    await page.run("new Promise(done => setTimeout(done, 300))")
    assert await page.run("location.protocol") == "file:"


async def test_a_providers_bar_is_as_long_as_its_part(page: Page, tmp_path: Path) -> None:
    await page.open(_made(tmp_path, _degraded()))
    widths = await page.run(
        "[...document.querySelectorAll('.chart tr')].map(row => [row.cells[0].textContent, Math.round(100 *"
        " row.querySelector('.bar span').offsetWidth / row.querySelector('.bar').offsetWidth)])"
    )
    assert dict(widths) == {"hetzner": 100, "nebius": 50, "runpod": 100, "vast": 0, "vultr": 100}
