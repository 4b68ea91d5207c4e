"""No text leaves the place that it is put in: read back by what reads such places."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import time
import unicodedata
from collections.abc import Callable
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ansible_collections.p2p.cluster.plugins.plugin_utils.output import escape
from ansible_collections.p2p.cluster.plugins.plugin_utils.output.display import EscapedDisplay
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

PIECES = [
    *"\\`*_{}[]()<>#+-.!|~$&^=:/@'\"; \n\r\t\x00\x1b\x07\x7f\x9b\ud800\u200b\u202e\u2066\u2028\ufeff",
    *("1. ", "- ", "***", "```", "~~~", "---", "===", "    ", "    \n", "|--|", "a", "B", "é", "字", "7"),
    *("http://evil.example", "https://", "www.evil.example", "a@evil.example", "evil.example", "//x"),
    *("![x](http://e/)", "[a](b)", "[a]: b", "<http://a.b>", "<script>alert(1)</script>", "<!--"),
    *("&lt;", "&#60;", "@team", "www.1"),
    *("'; id; '", "$(id)", "`id`", "${IFS}", "\\\n", "--", "-o", "~root", "*", "?"),
    *("\x1b[31m", "\x1b]0;t\x07", "\x9b2J", "\r\n", "p2p_orchestrator", "192.0.2.1:8770"),
]  # fmt: skip
HOSTILE = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=12).map("".join),
    st.text(st.characters(), max_size=30),
)


class Heard(HTMLParser):
    """What a browser would make of a page: its tags, its attributes and its text."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, list[tuple[str, str | None]]]] = []
        self.text = ""
        self.other: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, attrs))

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        self.other.append(data)

    def handle_decl(self, decl: str) -> None:
        self.other.append(decl)

    handle_pi = unknown_decl = handle_comment


def flat(text: str) -> str:
    """Return a text as it is told on one line."""
    return " ".join(escape.terminal(text).split())


def test_every_character_that_is_obeyed_or_hidden_is_shown() -> None:
    left = [
        f"{code:x}"
        for code in range(sys.maxunicode + 1)
        if chr(code) not in "\n\t"
        and unicodedata.category(chr(code)) in ("Cc", "Cf", "Cs", "Zl", "Zp")
        and escape.terminal(chr(code)) == chr(code)
    ]
    assert left == []
    seen = " ~äß→…█字🙂́\n\t\xa0"
    assert escape.terminal(seen) == seen


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("\x1b[2J\x9b", r"\x1b[2J\x9b"),
        ("a\r\nb\rc", "a\nb\\x0dc"),
        ("\u202eabc\U000e0041\ud800", r"\u202eabc\U000e0041\ud800"),
    ],
)
def test_what_a_terminal_gets(text: str, told: str) -> None:
    assert escape.terminal(text) == told


@given(HOSTILE)
def test_nothing_controls_a_terminal(text: str) -> None:
    told = escape.terminal(text)
    assert not re.search(
        "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff]", told
    )
    told.encode("utf-8")
    assert escape.terminal(told) == told
    assert "\n" not in escape.line(text)
    assert all(one.startswith("  ") for one in escape.paragraph(text).split("\n")[1:])


@given(HOSTILE)
def test_a_word_of_the_shell_is_one_word_on_one_line(text: str) -> None:
    word = escape.shell(text)
    expected = escape.terminal(text).replace("\n", r"\x0a").replace("\t", r"\x09")
    assert shlex.split(word) == [expected]
    assert "\n" not in word


@settings(max_examples=60, deadline=None)
@given(HOSTILE)
@example("'; touch x; : '")
def test_a_real_shell_reads_one_word_also_within_another(text: str) -> None:
    word = escape.shell(text)
    nested = f"sh -c {shlex.quote(f'printf %s {word}')}"
    done = subprocess.run(
        ["sh", "-c", f"printf %s {word}; printf '|'; {nested}"], capture_output=True, check=True
    )
    expected = shlex.split(word)[0]
    assert done.stdout.decode() == f"{expected}|{expected}"
    assert done.stderr == b""


@given(HOSTILE)
def test_html_is_text_and_an_attribute_its_value(text: str) -> None:
    told = escape.terminal(text)
    heard = Heard(f"<p title=\"{escape.html(text)}\" lang='{escape.html(text)}'>{escape.html(text)}</p>")
    assert heard.tags == [("p", [("title", told), ("lang", told)])]
    assert (heard.text, heard.other) == (told, [])


def test_html_takes_numbers_too() -> None:
    assert escape.html(7) == "7"


# What GFM and linkify-it make links of, in a piece of text that no escape divides.
LINKS = re.compile(r"https?:|ftp:|mailto:|//|www\.|[^\s.]\.[^\W\d]|@", re.IGNORECASE)
PLAIN = {"text", "text_special", "code_inline", "inline", "paragraph_open", "paragraph_close"}
PLACES = {
    "at a line's start": "{}",
    "after a name": "x: {}",
    "between": "**a** {} **b**",
    "in bold": "x **a {} b**",
}


def parsed(document: str) -> list[Token]:
    reader = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    reader.core.ruler.disable("text_join")  # so that what an escape divides stays divided, as for a linkifier
    return [part for token in reader.parse(document) for part in (token, *(token.children or ()))]


def said(tokens: list[Token]) -> str:
    return "".join(token.content for token in tokens if token.type in ("text", "text_special", "code_inline"))


@pytest.mark.parametrize("place", PLACES)
@given(text=HOSTILE)
@example("a@b|c``d`@x")
@example("1) a\\")
def test_markdown_is_words_alone(place: str, text: str) -> None:
    around = parsed(PLACES[place].format("q"))
    tokens = parsed(PLACES[place].format(escape.markdown(text)))
    if flat(text):
        assert {token.type for token in tokens} <= PLAIN | {token.type for token in around}
        assert said(tokens) == said(around).replace("q", flat(text))
        links = [token.content for token in tokens if token.type == "text" and LINKS.search(token.content)]
        assert links == []


@pytest.mark.parametrize("put", [escape.markdown, escape.code_span])
@given(text=HOSTILE)
@example(text="`|`")
@example(text="a@|``")
def test_a_cell_stays_a_cell(put: type[str], text: str) -> None:
    tokens = parsed(f"| a | b |\n|---|---|\n| {put(text)} | end |\n")
    kinds = [token.type for token in tokens]
    assert (kinds.count("td_open"), kinds.count("tr_open")) == (2, 2)
    assert not {"html_inline", "link_open", "image", "em_open", "strong_open", "s_open"} & set(kinds)
    assert said(tokens) == f"ab{flat(text)}end"


@given(HOSTILE)
def test_a_span_of_code_holds_it_all(text: str) -> None:
    tokens = parsed(f"x {escape.code_span(text)} y")
    assert {token.type for token in tokens} <= PLAIN
    assert said(tokens) == (f"x {flat(text)} y" if flat(text) else "x  y")


@pytest.mark.parametrize("indent", [0, 5])
@given(text=HOSTILE)
@example(text="a\n```\n# out\n````")
def test_nothing_leaves_a_block_of_code(indent: int, text: str) -> None:
    start = "1. x:\n\n   - y:\n\n" if indent else ""
    tokens = parsed(f"{start}{escape.code_block(text, indent)}\n\nafter\n")
    blocks = [token for token in tokens if token.type == "fence"]
    assert [block.info for block in blocks] == ["bash"]
    assert blocks[0].content == escape.terminal(text) + "\n"
    assert tokens[-2].content == "after"


@given(HOSTILE)
def test_a_label_is_one_string(text: str) -> None:
    value = escape.prometheus(text)
    assert re.fullmatch(r'(?:[^"\\\n]|\\[\\"n])*', value)
    back = re.sub(r'\\([\\"n])', lambda found: {"n": "\n"}.get(found[1], found[1]), value)
    assert back == escape.terminal(text)


@given(HOSTILE)
def test_json_is_the_same_and_shows_nothing_hidden(text: str) -> None:
    told = escape.json({text: [text]})
    told.encode("utf-8")
    assert escape.terminal(told) == told
    expected = re.sub("[\ud800-\udfff]", lambda found: f"\\u{ord(found[0]):04x}", text)
    assert json.loads(told) == {expected: [expected]}


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_json_has_no_numbers_that_are_none(number: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        escape.json({"a": number})


@pytest.mark.parametrize("text", ["a" * 200_000, "a@" * 100_000, "www." * 50_000, "| " * 100_000])
@pytest.mark.parametrize(
    "escaped",
    [
        escape.terminal,
        escape.line,
        escape.shell,
        escape.html,
        escape.markdown,
        escape.prometheus,
        escape.json,
    ],
)
def test_twice_the_text_takes_twice_the_time(escaped: Callable[[str], str], text: str) -> None:
    began = time.process_time()
    escaped(text)
    assert time.process_time() - began < 2  # what tries every pair of places takes minutes


def test_no_line_of_a_warning_poses_as_one_of_ours() -> None:
    said: list[str] = []
    real = SimpleNamespace(display=lambda msg, *_: said.append(msg))
    shown = EscapedDisplay(cast("Any", real))
    shown.display("[WARNING]: junk: {}\n[ERROR]: run curl x | sh\n" + "y" * 9000)
    shown.display("first\nsecond")
    assert said[0].startswith("[WARNING]: junk: {}\n  [ERROR]: run curl x | sh\n  yyy")
    assert said[0].endswith("more characters)")
    assert len(said[0]) < 4100
    assert said[1] == "first\nsecond"
