"""The directory over the life of a cluster: renewals, passphrase, removal, rotation, take-over, refusals."""
# ruff: noqa: S105, S106 - these passphrases protect nothing but directories of the tests

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import ssl
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from module_utils.p2p_certificate_make import issued_by
from module_utils.p2p_certificate_names import CertificateError
from module_utils.p2p_certificate_pem import blocks

from .conftest import NOW
from .controller import Controller, fleet


def without_keys(result: dict[str, Any]) -> str:
    text = json.dumps(result)
    assert "PRIVATE KEY" not in text
    return text


def serials(result: dict[str, Any]) -> dict[str, str]:
    return {name: entry["serial"] for name, entry in result["nodes"].items()}


def leaf_of(result: dict[str, Any], node_id: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(Path(result["nodes"][node_id]["file"]).read_bytes())


def bundle_of(result: dict[str, Any]) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(result["ca_bundle"].encode())


# --- preview


def test_preview_on_a_blank_controller_tells_the_truth_and_writes_nothing(controller: Controller) -> None:
    preview = controller.run(check_mode=True)
    assert not controller.root.parent.parent.exists()
    real = controller.run()
    assert preview["changed"]
    assert preview["diff"] == real["diff"]
    assert preview["issued"] == real["issued"] == [n["node_id"] for n in fleet()]
    assert all(e["pending"] and e["file"] is None and e["serial"] is None for e in preview["nodes"].values())
    assert not any(e["pending"] for e in real["nodes"].values())
    assert preview["ca_bundle"] != real["ca_bundle"]
    assert preview == controller_twin(controller).run(check_mode=True) | {"diff": preview["diff"]}
    without_keys(preview)
    without_keys(real)


def controller_twin(controller: Controller) -> Controller:
    return Controller(controller.root.parent / "twin", now=NOW)


def test_second_run_changes_nothing(controller: Controller) -> None:
    first = controller.run()
    before = controller.files()
    second = controller.run()
    assert not second["changed"]
    assert second["diff"]["before"] == second["diff"]["after"] == ""
    assert second["issued"] == []
    assert controller.files() == before
    assert serials(second) == serials(first)
    assert controller.run(check_mode=True) == second


@pytest.mark.parametrize(
    "drift",
    ["renewal", "address", "new node", "damaged leaf", "lost leaf", "start", "switch", "finish", "removal"],
)
def test_preview_equals_the_run_that_follows(controller: Controller, drift: str) -> None:
    controller.run()
    changes: dict[str, Any] = {}
    if drift == "renewal":
        controller.later(61)
    elif drift == "address":
        changes["nodes"] = fleet()
        changes["nodes"][0]["addresses"] = ["192.0.2.77"]
    elif drift == "new node":
        changes["nodes"] = [{"node_id": "vast-2", "addresses": [], "server": False}]
    elif drift == "damaged leaf":
        (controller.root / "leaves" / "hetzner-cpu1.pem").write_bytes(b"\x00" * 300)
    elif drift == "lost leaf":
        (controller.root / "leaves" / "hetzner-cpu1.pem").unlink()
    elif drift == "removal":
        changes = {"nodes": fleet()[:3], "removed": ["vast-28918742"]}
    else:
        for stage in ("start", "switch", "finish"):
            changes["rotate"] = stage
            if stage == drift:
                break
            controller.run(**changes)
    before = controller.files()
    preview = controller.run(check_mode=True, **changes)
    assert controller.files() == before
    real = controller.run(**changes)
    assert controller.files() != before
    assert preview["changed"]
    for key in ("changed", "issued", "diff", "stage", "revoked", "denied"):
        assert preview[key] == real[key], key
    # A node's file changes exactly if the preview has a placeholder in its place.
    for name, entry in preview["nodes"].items():
        old = before.get(f"leaves/{name}.pem")
        assert entry["pending"] == (old is None or old[0] != Path(real["nodes"][name]["file"]).read_bytes())
    old_bundle = (preview["ca_bundle"] == real["ca_bundle"], preview["ca_bundle_changed"])
    assert old_bundle in ((True, real["ca_bundle_changed"]), (False, True))
    assert not controller.run(**changes)["changed"]


# --- what is on disk


def test_everything_is_for_the_owner_alone(controller: Controller) -> None:
    old = os.umask(0)
    try:
        controller.run()
    finally:
        os.umask(old)
    for path in [controller.root, *controller.root.rglob("*")]:
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def test_leaf_file_holds_a_pair_that_tls_accepts(controller: Controller) -> None:
    result = controller.run()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(result["nodes"]["hetzner-cpu1"]["file"])
    context.load_verify_locations(cadata=result["ca_bundle"])
    names = result["nodes"]["hetzner-cpu1"]["names"]
    assert names[:2] == ["hetzner-cpu1.lab.p2p", "etcd.voters.lab.p2p"]
    assert result["nodes"]["vast-28918742"]["names"] == ["vast-28918742.lab.p2p"]


def test_limit_touches_the_named_nodes_alone(controller: Controller) -> None:
    controller.run()
    controller.later(61)
    before = controller.files()
    controller.run(nodes=fleet()[3:])
    changed = {name for name, content in controller.files().items() if before.get(name) != content}
    assert changed == {"issued", "unlogged", "leaves/vast-28918742.pem"}


def test_a_thousand_nodes_take_no_minutes(controller: Controller) -> None:
    nodes = [{"node_id": f"vast-{n}", "addresses": [], "server": False} for n in range(1000)]
    began = time.monotonic()
    controller.run(nodes=nodes)
    assert time.monotonic() - began < 120
    assert controller.run(nodes=nodes)["issued"] == []


@pytest.mark.parametrize(
    "victim", ["ca.pem", "issued", "unlogged", "leaves/hetzner-cpu2.pem", "crl.pem", "bundles"]
)
def test_run_that_dies_while_writing_is_finished_by_the_next(
    controller: Controller, victim: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.replace

    def dies(self: Path, target: Path) -> Path:
        if target == controller.root / victim:
            raise KeyboardInterrupt
        return real(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", dies)
        with pytest.raises(KeyboardInterrupt):
            controller.run()
    assert not (controller.root / victim).exists()
    result = controller.run()
    leaves = {f"leaves/{node['node_id']}.pem" for node in fleet()}
    assert set(controller.files()) == {"bundles", "ca.pem", "crl.pem", "issued", "unlogged"} | leaves
    assert not controller.run()["changed"]
    ca = bundle_of(result)[0]
    for name in serials(result):
        leaf_of(result, name).verify_directly_issued_by(ca)


def test_second_run_waits_for_the_first(controller: Controller) -> None:
    controller.run()
    handle = os.open(controller.root, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        for check_mode in (False, True):
            with pytest.raises(CertificateError, match="another run has held it for 0 s"):
                controller.run(check_mode=check_mode)
    finally:
        os.close(handle)
    controller.run()


def test_previews_share_the_directory_and_a_run_waits_for_them(controller: Controller) -> None:
    controller.run()
    handle = os.open(controller.root, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH)
        assert not controller.run(check_mode=True)["changed"]
        with pytest.raises(CertificateError, match="another run has held it for 0 s"):
            controller.run()
    finally:
        os.close(handle)


# --- refusals


def refused(controller: Controller, match: str, **changes: Any) -> None:
    """Expect the same refusal from a preview and from a run, with nothing written."""
    before = controller.files()
    messages = set()
    for check_mode in (True, False):
        with pytest.raises(CertificateError, match=match) as caught:
            controller.run(check_mode=check_mode, **changes)
        messages.add(str(caught.value))
    assert len(messages) == 1
    assert controller.files() == before


def test_directory_that_others_can_enter_is_refused(controller: Controller) -> None:
    controller.run()
    controller.root.chmod(0o755)
    refused(controller, rf"{controller.root} has mode 0755: others can enter it\. Run: chmod 700")


def test_file_that_others_can_read_is_refused(controller: Controller) -> None:
    controller.run()
    path = controller.root / "leaves" / "hetzner-cpu1.pem"
    path.chmod(0o640)
    refused(controller, rf"{path}: others can read this file\. Run: chmod 600 {path}")


def test_directory_that_is_a_file_is_refused(controller: Controller) -> None:
    controller.root.parent.mkdir(parents=True)
    controller.root.write_text("")
    with pytest.raises(CertificateError, match="set P2P_STATE_DIR elsewhere"):
        controller.run()


def test_directory_of_another_cluster_is_refused(controller: Controller) -> None:
    controller.run()
    refused(controller, "belongs to cluster lab, not prod", cluster="prod")


def test_lost_ca_is_refused_while_certificates_exist(controller: Controller) -> None:
    controller.run()
    (controller.root / "ca.pem").unlink()
    refused(controller, r"ca\.pem is missing, though .* Restore it from the backup")


def test_lost_ca_key_is_refused_only_when_something_has_to_be_signed(controller: Controller) -> None:
    controller.run()
    path = controller.root / "ca.pem"
    path.write_bytes(blocks(path.read_bytes())[0][0])
    assert not controller.run()["changed"]
    controller.later(61)
    refused(
        controller, r"ca\.pem holds the CA's certificate but not its key.*Restore the file from the backup"
    )


def test_damaged_ca_is_refused(controller: Controller) -> None:
    controller.run()
    (controller.root / "ca.pem").write_bytes(
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    )
    refused(controller, r"ca\.pem cannot be read: .* Restore it from the backup")


def test_expired_ca_is_refused_and_can_be_rotated(controller: Controller) -> None:
    controller.run()
    controller.later(3651)
    refused(controller, r"the CA ran out on .*p2p_identity_rotate=true replaces it")
    controller.run(rotate="start")
    result = controller.run(rotate="switch")
    assert len(result["issued"]) == 4


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"leaf_days": 30}, "renew_below_days"),
        ({"cluster": "a.b"}, "Cluster name 'a.b'"),
        ({"nodes": [{"node_id": "../x", "addresses": [], "server": False}]}, "Node name '../x'"),
        ({"nodes": [{"node_id": "x", "addresses": ["a b"], "server": True}]}, "Node 'x': 'a b' is neither"),
        ({"removed": ["hetzner-cpu1"]}, "hetzner-cpu1: to be removed and to be kept"),
        ({"removed": ["../ca"], "known": ["../ca"]}, "Node name '../ca'"),
        ({"rotate": "switch"}, "no rotation under way"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    controller: Controller, changes: dict[str, Any], match: str
) -> None:
    controller.run()
    refused(controller, match, **changes)


# --- passphrase


def test_passphrase_protects_the_key_and_is_asked_for_only_to_sign(controller: Controller) -> None:
    controller.run(passphrase="correct horse")
    key = blocks((controller.root / "ca.pem").read_bytes())[1]
    assert key is not None
    assert b"BEGIN ENCRYPTED PRIVATE KEY" in key
    with pytest.raises(ValueError, match="Incorrect password"):
        serialization.load_pem_private_key(key, b"wrong")
    assert not controller.run()["changed"]
    controller.later(61)
    refused(controller, "is encrypted and something has to be signed. Give p2p_identity_passphrase")
    refused(controller, "p2p_identity_passphrase does not open the CA's key", passphrase="wrong")
    result = controller.run(passphrase="correct horse")
    assert len(result["issued"]) == 4
    assert "correct horse" not in without_keys(result)


def test_who_only_looks_needs_no_passphrase(controller: Controller) -> None:
    controller.run(passphrase="correct horse")
    controller.later(61)
    before = controller.files()
    looked = controller.run(check_mode=True, only_look=True)
    assert len(looked["issued"]) == 4
    assert looked["nodes"] == controller.run(check_mode=True, passphrase="correct horse")["nodes"]
    refused(controller, "p2p_identity_passphrase does not open", only_look=True, passphrase="wrong")
    with pytest.raises(CertificateError, match="something has to be signed"):
        controller.run(only_look=True)
    assert controller.files() == before


def test_passphrase_given_later_encrypts_the_key(controller: Controller) -> None:
    first = controller.run()
    preview = controller.run(check_mode=True, passphrase="later")
    second = controller.run(passphrase="later")
    assert preview["diff"] == second["diff"]
    assert second["changed"]
    assert second["issued"] == []
    # A deploy with nothing else to do goes by this.
    assert (first["encrypts"], preview["encrypts"], second["encrypts"]) == (False, True, True)
    assert b"BEGIN PRIVATE KEY" not in (controller.root / "ca.pem").read_bytes()
    assert second["ca_bundle"] == first["ca_bundle"]
    again = controller.run(passphrase="later")
    assert (again["changed"], again["encrypts"]) == (False, False)


# --- keys that an earlier version had written to the nodes' journals


def test_what_an_earlier_version_issued_is_issued_anew_once(controller: Controller) -> None:
    old = controller.run()
    # An earlier version knows no such file.
    (controller.root / "unlogged").unlink()
    before = controller.files()
    preview = controller.run(check_mode=True)
    assert controller.files() == before
    real = controller.run()
    assert preview["diff"] == real["diff"]
    assert preview["issued"] == real["issued"] == [node["node_id"] for node in fleet()]
    assert {entry["reason"] for entry in real["nodes"].values()} == {
        "its key may stand in the node's journal, where an earlier version had it written"
    }
    assert set(serials(old).values()).isdisjoint(serials(real).values())
    # A node that this run does not reach goes on with what it has.
    assert (real["revoked"], real["denied"]) == ([], "")
    assert not controller.run()["changed"]
    assert controller.run(check_mode=True)["issued"] == []


def test_only_nodes_of_the_run_are_issued_anew(controller: Controller) -> None:
    controller.run()
    (controller.root / "unlogged").unlink()
    assert controller.run(nodes=fleet()[:1])["issued"] == ["hetzner-cpu1"]
    assert controller.run()["issued"] == [node["node_id"] for node in fleet()[1:]]
    assert not controller.run()["changed"]


def test_what_an_earlier_version_issues_in_between_counts_as_logged(controller: Controller) -> None:
    controller.run()
    marks = (controller.root / "unlogged").read_bytes()
    controller.later(61)
    controller.run()
    (controller.root / "unlogged").write_bytes(marks)
    assert controller.run()["issued"] == [node["node_id"] for node in fleet()]
    assert not controller.run()["changed"]


def test_an_earlier_version_reads_the_logs(controller: Controller) -> None:
    controller.run()
    lines = (controller.root / "issued").read_text().splitlines()
    assert all(re.fullmatch(r"[0-9a-f]+ [a-z0-9-]+ [0-9T:-]+Z( voter)?", line) for line in lines)
    assert (controller.root / "unlogged").read_text().splitlines() == lines


def test_marks_of_what_ran_out_are_dropped(controller: Controller) -> None:
    controller.run()
    controller.later(91)
    controller.run()
    assert len((controller.root / "unlogged").read_text().splitlines()) == len(fleet())


# --- removal


def test_removed_node_is_denied_with_every_certificate_still_valid(controller: Controller) -> None:
    first = controller.run()
    controller.later(61)
    second = controller.run()
    gone: dict[str, Any] = {"nodes": fleet()[:3], "removed": ["vast-28918742"]}
    result = controller.run(**gone)
    both = {first["nodes"]["vast-28918742"]["serial"], second["nodes"]["vast-28918742"]["serial"]}
    assert set(result["revoked"]) == both
    assert result["denied"] == "".join(f"{s}  # vast-28918742\n" for s in sorted(both))
    crl = x509.load_pem_x509_crl(result["crl"].encode())
    assert {f"{r.serial_number:x}" for r in crl} == both
    assert crl.is_signature_valid(bundle_of(result)[0].public_key())  # type: ignore[arg-type]  # always a P-256 key
    assert not (controller.root / "leaves" / "vast-28918742.pem").exists()
    assert not controller.run(**gone)["changed"]
    assert controller.run(nodes=fleet()[:3])["denied"] == result["denied"]


def test_removed_node_can_come_back_with_a_new_certificate(controller: Controller) -> None:
    controller.run()
    controller.run(nodes=fleet()[:3], removed=["vast-28918742"])
    back = controller.run()
    assert back["issued"] == ["vast-28918742"]
    assert back["nodes"]["vast-28918742"]["serial"] not in back["denied"]


def test_former_voter_is_denied_what_it_got_as_a_voter(controller: Controller) -> None:
    voted = controller.run()["nodes"]["hetzner-cpu3"]["serial"]
    nodes = [*fleet()[:2], {**fleet()[2], "server": False}, {**fleet()[3], "server": True}]
    now = controller.run(nodes=nodes)
    # It still votes until the change is over.
    assert now["revoked"] == []
    over: dict[str, Any] = {"nodes": [], "voters": [node["node_id"] for node in nodes if node["server"]]}
    preview, real = controller.run(**over, check_mode=True), controller.run(**over)
    assert preview["revoked"] == real["revoked"] == [voted]
    assert preview["diff"] == real["diff"]
    assert real["denied"] == f"{voted}  # hetzner-cpu3\n"
    assert not controller.run(**over)["changed"]
    again = controller.run()
    assert again["nodes"]["hetzner-cpu3"]["serial"] not in again["denied"]


def test_interrupted_removal_still_reaches_the_revocation_list(controller: Controller) -> None:
    controller.run()
    old_crl = (controller.root / "crl.pem").read_bytes()
    gone: dict[str, Any] = {"nodes": fleet()[:3], "removed": ["vast-28918742"]}
    controller.run(**gone)
    (controller.root / "crl.pem").write_bytes(old_crl)
    result = controller.run(**gone)
    assert len(x509.load_pem_x509_crl(result["crl"].encode())) == 1


# --- rotation and a second controller


def trusts(bundle: list[x509.Certificate], certificate: x509.Certificate) -> bool:
    return any(issued_by(certificate, ca) for ca in bundle)


def test_every_stage_of_a_rotation_works_with_the_stage_before_and_after(controller: Controller) -> None:
    stages = [controller.run()]
    leaves = [leaf_of(stages[0], "hetzner-cpu1")]
    for rotate in ("start", "switch", "finish"):
        controller.later(1)
        stages.append(controller.run(rotate=rotate))
        leaves.append(leaf_of(stages[-1], "hetzner-cpu1"))
        assert not controller.run(rotate=rotate)["changed"]
        assert not controller.run()["changed"], "a run without rotate leaves the stage as it is"
    assert [s["stage"] for s in stages] == ["steady", "trust", "overlap", "steady"]
    assert [len(bundle_of(s)) for s in stages] == [1, 2, 2, 1]
    assert bundle_of(stages[1]) == bundle_of(stages[0]) + bundle_of(stages[3]), "the oldest first"
    # A fleet half of which is one stage behind: each side accepts the other.
    for number in range(3):
        assert trusts(bundle_of(stages[number]), leaves[number + 1])
        assert trusts(bundle_of(stages[number + 1]), leaves[number])
    assert not trusts(bundle_of(stages[3]), leaves[0])
    assert not trusts(bundle_of(stages[0]), leaves[3])
    assert stages[1]["ca_bundle"] == stages[2]["ca_bundle"], (
        "switching the issuer restarts no server for its CA"
    )
    assert stages[1]["issued"] == stages[3]["issued"] == []
    assert len(stages[2]["issued"]) == 4


def test_stages_out_of_order_are_refused(controller: Controller) -> None:
    controller.run()
    refused(controller, "no rotation under way", rotate="switch")
    assert not controller.run(rotate="finish")["changed"]
    controller.run(rotate="start")
    refused(controller, "The next CA is not in use yet", rotate="finish")


def test_rotation_with_a_passphrase(controller: Controller) -> None:
    controller.defaults["passphrase"] = "correct horse"
    controller.run()
    controller.run(rotate="start")
    refused(controller, "is encrypted and something has to be signed", rotate="switch", passphrase="")
    controller.run(rotate="switch")
    controller.run(rotate="finish")
    assert b"BEGIN PRIVATE KEY" not in (controller.root / "ca.pem").read_bytes()


def test_second_controller_is_refused_before_anything_is_written(controller: Controller) -> None:
    first = controller.run()
    second = Controller(controller.root.parent / "second", now=NOW)
    seen = {"hetzner-cpu1": first["ca_bundle_sha256"], "vast-1": None}
    for check_mode in (True, False):
        with pytest.raises(
            CertificateError, match=r"this controller has none.*Copy that directory"
        ) as caught:
            second.run(check_mode=check_mode, seen=seen)
        assert "hetzner-cpu1" in str(caught.value)
        assert "vast-1" not in str(caught.value)
        assert "p2p_identity_rotate=true" in str(caught.value)
    assert second.files() == {}
    assert not controller.run(seen=seen)["changed"]


def test_nodes_one_stage_behind_are_not_strangers(controller: Controller) -> None:
    digests = [controller.run()["ca_bundle_sha256"]]
    digests += [controller.run(rotate=r)["ca_bundle_sha256"] for r in ("start", "switch", "finish")]
    seen = {f"n{i}": digest for i, digest in enumerate(digests)}
    assert not controller.run(seen=seen)["changed"]
    refused(controller, "^other: already under another CA", seen=seen | {"other": "f" * 64})


def test_second_controller_takes_the_cluster_over_through_an_overlap(controller: Controller) -> None:
    first = controller.run()
    old_leaf = leaf_of(first, "hetzner-cpu1")
    second = Controller(controller.root.parent / "second", now=NOW)
    seen = {"hetzner-cpu1": first["ca_bundle_sha256"]}
    taken = {"seen": seen, "adopt": first["ca_bundle"], "adopt_sha256": first["ca_bundle_sha256"]}
    preview = second.run(check_mode=True, rotate="start", **taken)
    start = second.run(rotate="start", **taken)
    assert preview["diff"] == start["diff"]
    assert start["stage"] == preview["stage"] == "trust"
    assert trusts(bundle_of(start), old_leaf)
    assert start["issued"] == preview["issued"] == []
    assert all(e["file"] is None and not e["pending"] for e in start["nodes"].values()), (
        "nodes keep what they have"
    )
    assert not second.run(rotate="start", **taken)["changed"]
    assert not second.run(seen=seen)["changed"], "nodes not reached yet are no strangers any more"
    refused(second, "hetzner-cpu1: does not trust the next CA yet", rotate="switch", seen=seen)
    seen = {"hetzner-cpu1": start["ca_bundle_sha256"], "vast-28918742": first["ca_bundle_sha256"]}
    switch = second.run(rotate="switch", seen=seen)
    assert len(switch["issued"]) == 4
    assert trusts(bundle_of(switch), old_leaf)
    assert trusts(bundle_of(start), leaf_of(switch, "hetzner-cpu1"))
    finish = second.run(rotate="finish", seen=seen)
    assert not trusts(bundle_of(finish), old_leaf)


def test_a_ca_that_is_lost_alone_is_replaced_though_its_certificates_are_there(
    controller: Controller,
) -> None:
    first = controller.run()
    (controller.root / "ca.pem").unlink()
    seen = {"hetzner-cpu1": first["ca_bundle_sha256"]}
    missing = r"ca\.pem is missing, though .* while most voters are in reach: -e p2p_identity_rotate=true"
    refused(controller, missing)
    refused(controller, missing, rotate="start", seen=seen)
    # What the nodes carry is read once they were asked.
    assert controller.run(check_mode=True, rotate="start", adopt_follows=True)["held_ca"] is False
    with pytest.raises(CertificateError, match=missing):
        controller.run(rotate="start", adopt_follows=True)
    taken = {"seen": seen, "adopt": first["ca_bundle"], "adopt_sha256": first["ca_bundle_sha256"]}
    start = controller.run(rotate="start", **taken)
    assert (start["stage"], start["issued"], serials(start)) == ("trust", [], serials(first))
    assert trusts(bundle_of(start), leaf_of(first, "hetzner-cpu1"))


def test_controller_with_a_ca_of_its_own_does_not_mix_it_in(controller: Controller) -> None:
    first = controller.run()
    second = Controller(controller.root.parent / "second", now=NOW)
    second.run()
    seen = {"hetzner-cpu1": first["ca_bundle_sha256"]}
    refused(
        second,
        r"has a CA already.*move that directory away",
        rotate="start",
        seen=seen,
        adopt=first["ca_bundle"],
        adopt_sha256=first["ca_bundle_sha256"],
    )


def test_bundle_of_another_cluster_is_not_adopted(controller: Controller) -> None:
    other = Controller(controller.root.parent / "other", now=NOW, defaults={"cluster": "prod"}).run()
    controller.root.mkdir(mode=0o700, parents=True)
    refused(
        controller,
        "belongs to cluster prod, not lab",
        rotate="start",
        adopt=other["ca_bundle"],
        adopt_sha256=other["ca_bundle_sha256"],
        seen={"n": other["ca_bundle_sha256"]},
    )


def test_what_one_node_gives_and_none_tells_of_is_neither_adopted_nor_in_the_way(
    controller: Controller,
) -> None:
    other = Controller(controller.root.parent / "other", now=NOW).run()
    second = Controller(controller.root.parent / "second", now=NOW)
    given = {"rotate": "start", "adopt": other["ca_bundle"], "adopt_sha256": "1" * 64}
    # A node that does not vote may tell of it.
    seen = {"n": "1" * 64, "x": other["ca_bundle_sha256"]}
    told = "is not the one that most of them had told of"
    refused(second, told, **given, seen=seen)
    refused(second, told, **given | {"adopt": ""}, seen=seen)
    refused(second, told, **given | {"adopt_sha256": ""}, seen=seen)
    ours = controller.run()
    started = controller.run(**given, seen={"n": ours["ca_bundle_sha256"]})
    assert started["stage"] == "trust"
    assert other["ca_bundle"] not in started["ca_bundle"]


HOSTILE_BUNDLES = {
    "begins without end": "-----BEGIN A-----\n" * 8000,
    "one begin and many ends": "-----BEGIN A-----\n" + "-----END B-----\n" * 9000,
    "a name without end": "-----BEGIN " + "A" * 144000,
    "larger than a bundle is": "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n" * 80000,
}


@pytest.mark.parametrize("text", HOSTILE_BUNDLES.values(), ids=HOSTILE_BUNDLES)
@pytest.mark.parametrize("told", [False, True])
def test_no_bundle_of_a_node_takes_long(controller: Controller, text: str, told: bool) -> None:
    controller.root.mkdir(mode=0o700, parents=True)
    digest = hashlib.sha256(text.encode()).hexdigest() if told else "1" * 64
    began = time.monotonic()
    if not told:
        match = "is not the one that most of them had told of"
    elif len(text) > 256 << 10:
        match = f"The CA bundle on the nodes has {len(text)} bytes, and a bundle has at most 262144"
    else:
        match = "holds no certificate"
    refused(controller, match, rotate="start", adopt=text, adopt_sha256=digest, seen={"n": digest})
    assert time.monotonic() - began < 3  # a square of its length takes seven


def test_every_bundle_that_was_ever_given_is_told(controller: Controller) -> None:
    assert controller.run(check_mode=True)["bundles"] == []
    digests = {controller.run(rotate=r)["ca_bundle_sha256"] for r in ("none", "start", "switch", "finish")}
    assert controller.run(check_mode=True)["bundles"] == sorted(digests)
