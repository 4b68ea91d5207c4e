"""Settings: where they come from, and one clear line for each that is wrong."""

from pathlib import Path

import pytest

from p2p_orchestrator.config import Config, Seed, load, parse_seed
from p2p_orchestrator.errors import Exit, StartError

VOTERS = {"P2P_SEEDS": "http://192.0.2.1:8770,192.0.2.2:8770,192.0.2.3", "P2P_VOTERS": "a,b,c"}


def config(*argv: str, **env: str) -> Config:
    return load(argv, {"RINGRIFT_PATH": "/nowhere", **env})


def test_flags_win_over_the_environment() -> None:
    env = {**VOTERS, "NODE_ID": "env", "P2P_PORT": "1"}
    result = config("--node-id", "flag", "--port", "2", "--peers", "h:3,h:4,h:5", **env)
    assert (result.node_id, result.port, result.seeds[0]) == ("flag", 2, Seed("http", "h", 3))


def test_bare_addresses_get_scheme_and_port() -> None:
    result = config(NODE_ID="n", **VOTERS)
    assert [seed.url for seed in result.seeds] == [f"http://192.0.2.{i}:8770" for i in (1, 2, 3)]
    assert result.seeds[2].heartbeat_url("https", 8771) == "https://192.0.2.3:8771"
    with pytest.raises(StartError, match="foo bar"):
        parse_seed("foo bar")
    assert parse_seed("[2001:db8::1]:9").url == "http://[2001:db8::1]:9"


def test_a_node_is_a_voter_by_its_name() -> None:
    voter = config(NODE_ID="b", P2P_ETCD_ENDPOINT="http://127.0.0.1:2379", **VOTERS)
    other = config(NODE_ID="n", **VOTERS)
    assert voter.voter
    assert voter.listens
    assert voter.advertise.host == "192.0.2.2"
    assert not other.voter


def test_a_proxy_is_an_address_and_none_by_default() -> None:
    assert config(NODE_ID="n").socks_proxy is None
    found = config(NODE_ID="n", P2P_SOCKS_PROXY="socks5h://127.0.0.1:1055").socks_proxy
    assert found == Seed("socks5", "127.0.0.1", 1055)


@pytest.mark.parametrize("env", [{}, {"P2P_VOTERS": "n", "P2P_SEEDS": "http://192.0.2.1:8770"}])
def test_one_voter_or_none_needs_no_engine(env: dict[str, str]) -> None:
    result = config(NODE_ID="n", **env)
    assert result.alone
    assert result.voter
    assert result.listens == bool(env)


def test_the_data_directory_follows_systemd_unless_set() -> None:
    assert config(NODE_ID="n").data_dir == Path("/var/lib/p2p_orchestrator")
    assert config(NODE_ID="n", STATE_DIRECTORY="/s:/t").data_dir == Path("/s")
    assert config(NODE_ID="n", STATE_DIRECTORY="/s", P2P_DATA_DIR="/d").data_dir == Path("/d")


def test_the_checkouts_fleet_file_gives_seeds_where_none_are_set(tmp_path: Path) -> None:
    file = tmp_path / "config" / "distributed_hosts.yaml"
    file.parent.mkdir()
    file.write_text(
        "hosts:\n  a: {ssh_host: 192.0.2.1}\n  b: {ssh_host: x, p2p_public_host: 192.0.2.2, p2p_port: 9}\n"
        "p2p_voters: [a, b]\n"
    )
    result = config(NODE_ID="n", RINGRIFT_PATH=str(tmp_path))
    assert [seed.url for seed in result.seeds] == ["http://192.0.2.1:8770", "http://192.0.2.2:9"]
    assert result.voters == ("a", "b")
    file.write_text("hosts: {}\np2p_voters: [a]\n")
    with pytest.raises(StartError, match=r"distributed_hosts\.yaml cannot be used.*--peers"):
        config(NODE_ID="n", RINGRIFT_PATH=str(tmp_path))


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"P2P_PORT": "x"}, "P2P_PORT is 'x'"),
        ({"P2P_PORT": "65536"}, "1 to 65535"),
        ({"P2P_SEEDS": "ftp://h:1"}, r"P2P_SEEDS is 'ftp://h:1'"),
        ({"P2P_SEEDS": "http://h:port"}, "http://host:port"),
        ({"P2P_SEEDS": "http://h:1/path"}, "http://host:port"),
        ({"NODE_ID": "a b"}, "NODE_ID is 'a b'"),
        ({"P2P_CLUSTER": "a/b"}, "P2P_CLUSTER is 'a/b'"),
        ({"P2P_VOTERS": "a,b", "P2P_SEEDS": "h:1"}, "2 names and P2P_SEEDS 1 address"),
        ({"P2P_VOTERS": "n", "NODE_ID": "n", "P2P_SEEDS": "h:1,h:2"}, "1 names and P2P_SEEDS 2 addresses"),
        ({**VOTERS, "NODE_ID": "a"}, "P2P_ETCD_ENDPOINT is not set"),
        ({"P2P_TLS_CA": "/x"}, "P2P_TLS_CERT, P2P_TLS_KEY not set"),
        ({"P2P_ETCD_ENDPOINT": "https://127.0.0.1:1"}, "https needs P2P_ETCD_CA"),
        ({"P2P_ETCD_ENDPOINT": "127.0.0.1:2379"}, "http\\(s\\)://host:port"),
        ({"P2P_SOCKS_PROXY": "http://127.0.0.1:1"}, "socks5://host:port, without a password"),
        ({"P2P_SOCKS_PROXY": "socks5://a:b@127.0.0.1:1"}, "without a password"),
        ({"P2P_SOCKS_PROXY": "socks5://127.0.0.1"}, "P2P_SOCKS_PROXY is"),
        ({"P2P_ETCD_WAIT": "soon"}, "P2P_ETCD_WAIT is 'soon'"),
        ({"P2P_HEARTBEAT_PORT": "8770", "P2P_VOTERS": "n", "P2P_SEEDS": "h:1"}, "must differ"),
        (
            {"P2P_SEEDS": "h:1", "P2P_TLS_CA": "/x", "P2P_TLS_CERT": "/x", "P2P_TLS_KEY": "/x"},
            "needs P2P_VOTERS",
        ),
    ],
)
def test_a_wrong_setting_is_named_with_its_value(env: dict[str, str], message: str) -> None:
    with pytest.raises(StartError, match=message) as error:
        config(**{"NODE_ID": "n", **env})
    assert error.value.code == Exit.USAGE
    assert "\n" not in str(error.value)


def test_an_unknown_flag_is_one_line() -> None:
    with pytest.raises(StartError, match="unrecognized arguments: --nope; see") as error:
        config("--nope")
    assert error.value.code == Exit.USAGE
