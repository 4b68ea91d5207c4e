"""Names of releases, digests of configurations, and the small form of specifications."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from hypothesis import given
from hypothesis import strategies as st

from filter_plugins.p2p_digest import FilterModule
from module_utils.p2p_digest import (
    config_digest,
    normal_mode,
    release_digest,
    release_name,
    release_wanted,
    render_unit,
    service_wanted,
    sha256_text,
)

SPEC: dict[str, Any] = {
    "root": "/opt/p2p/",
    "lock": "idna==3.7 \\\n    --hash=sha256:aa\n    # via x\n"
    "async-timeout==5.0.1 ; python_full_version < '3.11' --hash=sha256:bb\n",
    "wheel": {"filename": "x-1-py3-none-any.whl", "sha256": "f" * 64, "content": "aGk="},
    "files": [{"path": "b", "content": "1"}, {"path": "a", "content": "2", "mode": "640"}],
}


@pytest.mark.parametrize(
    ("given_mode", "mode"),
    [("644", "0644"), ("0644", "0644"), (0o640, "0640"), ("4755", "4755"), (None, "0644"), ("0o600", "0600")],
)
def test_modes_in_every_spelling(given_mode: str | int | None, mode: str) -> None:
    assert normal_mode(given_mode) == mode


@pytest.mark.parametrize("given_mode", ["u=rw", "0888", 99999, "77777"])
def test_modes_that_are_none(given_mode: str | int) -> None:
    with pytest.raises(ValueError, match="mode"):
        normal_mode(given_mode)


def test_a_release_is_named_after_its_content() -> None:
    name = release_name(SPEC, "1.0.0")
    assert name == f"1.0.0-{release_digest(SPEC)[:12]}"
    same = {**SPEC, "files": list(reversed(SPEC["files"])), "root": "/elsewhere"}
    assert release_name(same, "1.0.0") == name
    changes: list[dict[str, Any]] = [
        {"lock": "idna==3.8"},
        {"lock": f"{SPEC['lock']}# another comment\n"},
        {"wheel": {**SPEC["wheel"], "sha256": "e" * 64}},
        {"files": [{"path": "b", "content": "1"}, {"path": "a", "content": "2", "mode": "600"}]},
        {"files": []},
    ]
    for change in changes:
        assert release_name({**SPEC, **change}, "1.0.0") != name


@pytest.mark.parametrize("version", ["../1", "", "1 0", "-1"])
def test_a_version_that_is_no_part_of_a_name(version: str) -> None:
    with pytest.raises(ValueError, match="version"):
        release_name(SPEC, version)


def test_what_is_wanted_holds_no_content() -> None:
    wanted = release_wanted({**SPEC, "name": "n"})
    assert wanted["root"] == "/opt/p2p"
    assert [item["path"] for item in wanted["files"]] == ["a", "b"]
    assert wanted["files"][0] == {
        "path": "a",
        "sha256": sha256_text("2"),
        "mode": "0640",
        "owner": None,
        "group": None,
    }
    assert wanted.keys() == {"root", "name", "artifacts", "files", "python"}
    assert release_wanted({**SPEC, "name": "n", "root": None})["root"] is None


def test_the_artefacts_that_are_known_are_part_of_what_is_wanted() -> None:
    known = {"linux-x86_64-musl/3.12": "a" * 64}
    assert release_wanted({**SPEC, "name": "n", "artifacts": known})["artifacts"] == known
    assert release_wanted({**SPEC, "name": "n"})["artifacts"] == {}
    assert release_name({**SPEC, "artifacts": known}, "1") == release_name(SPEC, "1")


def test_a_unit_carries_the_digest_of_its_configuration() -> None:
    unit = "[Service]\nEnvironment=P2P_CONFIG_DIGEST=@config_digest@\n"
    files = [{"path": "/etc/a", "content": "1"}]
    digest = config_digest(unit, files)
    wanted = service_wanted({"name": "x", "unit": unit, "files": files})
    assert wanted["config_digest"] == digest
    assert wanted["unit_sha256"] == sha256_text(unit.replace("@config_digest@", digest))
    assert render_unit(unit, digest).endswith(digest + "\n")
    assert config_digest(unit, [{"path": "/etc/a", "content": "2"}]) != digest
    assert config_digest(unit + "#", files) != digest
    # The mode of a file is mended without a restart.
    assert config_digest(unit, [{"path": "/etc/a", "content": "1", "mode": "0600"}]) == digest


def test_lines_that_are_taken_up_live_are_not_part_of_what_a_process_was_started_with() -> None:
    def file(text: str, *names: str) -> list[dict[str, Any]]:
        return [{"path": "/etc/a", "content": text, "live_lines": list(names)}]

    digest = config_digest("u", file("A=1\nB=1\n# B\n", "B"))
    assert config_digest("u", file("A=1\nB=2\n# B\n", "B")) == digest
    assert config_digest("u", file("A=1\n# B\n", "B")) == digest
    assert config_digest("u", file("A=2\nB=1\n# B\n", "B")) != digest
    assert config_digest("u", file("A=1\nBB=1\n# B\n", "B")) != digest
    assert config_digest("u", file("A=1\nB=1\n# B\n")) != digest
    wanted = service_wanted({"name": "x", "files": file("A=1\nB=1\n", "B")})["files"]
    assert wanted[0]["sha256"] == sha256_text("A=1\nB=1\n")
    assert wanted[0]["start_sha256"] == sha256_text("A=1\n")
    # What was reduced already stays what it is.
    assert service_wanted({"name": "x", "files": wanted})["files"] == wanted


def test_a_secret_travels_apart_and_counts_like_any_other_file() -> None:
    unit = "[Service]\nEnvironment=P2P_CONFIG_DIGEST=@config_digest@\n"
    plain = {"path": "/etc/a", "content": "1"}
    key = {"path": "/etc/key", "mode": "0600"}
    apart = {"files": [plain, {**key, "secret": True}], "secrets": {"/etc/key": "k" * 40}}
    inside = {"files": [plain, {**key, "content": "k" * 40}]}
    wanted = service_wanted({"name": "x", "unit": unit, **apart})
    assert wanted == service_wanted({"name": "x", "unit": unit, **inside})
    assert "k" * 40 not in str(wanted)


@pytest.mark.parametrize(
    ("file", "secrets", "refusal"),
    [
        ({"secret": True, "content": "k"}, {}, "/k: .*journal: give it in `secrets`"),
        ({"secret": True, "content": "k"}, {"/k": "k"}, "/k: .*journal: give it in `secrets`"),
        ({"secret": True, "content": ""}, {}, "/k: .*journal: give it in `secrets`"),
        ({"secret": True}, {}, "/k: a secret file without a content in `secrets`"),
        ({"secret": True}, {"/k": None}, "/k: content must be text"),
        ({"content": "1"}, {"/k": "1"}, "/k: in `secrets`, but no secret file of `files`"),
        ({"secret": True}, {"/k": "k", "/other": "k"}, "/other: in `secrets`, but no secret file"),
    ],
)
def test_a_secret_that_is_not_where_it_belongs(
    file: dict[str, Any], secrets: dict[str, Any], refusal: str
) -> None:
    with pytest.raises(ValueError, match=refusal) as refused:
        service_wanted({"name": "x", "files": [{"path": "/k", **file}], "secrets": secrets})
    assert "'k'" not in str(refused.value)


def test_a_unit_without_placeholder_makes_no_claim() -> None:
    assert service_wanted({"name": "x", "unit": "[Service]\n"})["config_digest"] is None
    assert service_wanted({"name": "x"})["unit_sha256"] is None


@given(st.lists(st.tuples(st.text(min_size=1), st.text()), unique_by=lambda item: item[0]))
def test_the_order_of_files_does_not_matter(items: list[tuple[str, str]]) -> None:
    files = [{"path": path, "content": content} for path, content in items]
    assert config_digest("u", files) == config_digest("u", list(reversed(files)))


def test_filters_name_what_is_wrong() -> None:
    filters = FilterModule().filters()
    assert filters["p2p_release_name"](SPEC, "1.0.0") == release_name(SPEC, "1.0.0")
    for name, spec, words in (
        ("p2p_release_wanted", {}, "no 'name'"),
        ("p2p_service_wanted", {"name": "x", "files": [{"content": "1"}]}, "without a path"),
        ("p2p_service_wanted", {"name": "x", "files": [{"path": "/a", "content": 1}]}, "must be text"),
    ):
        with pytest.raises(AnsibleFilterError, match=words):
            filters[name](spec)
