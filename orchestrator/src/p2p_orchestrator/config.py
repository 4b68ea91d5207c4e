"""The settings: flags first, then the environment, then the fleet file of the checkout."""

import argparse
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from p2p_orchestrator import __version__
from p2p_orchestrator.errors import Exit, StartError

DEFAULT_PORT = 8770
DEFAULT_HEARTBEAT_PORT = 8771
DATA_DIR = "/var/lib/p2p_orchestrator"
FLEET_FILES = ("config/distributed_hosts.yaml", "ai-service/config/distributed_hosts.yaml")
NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")
MAX_PORT = 65_535


@dataclass(frozen=True)
class Seed:
    """Where a voter is."""

    scheme: str
    host: str
    port: int

    @property
    def url(self) -> str:
        """The voter's plain address."""
        return f"{self.scheme}://{_bracket(self.host)}:{self.port}"

    def heartbeat_url(self, scheme: str, port: int) -> str:
        """Return where the voter takes heartbeats: its host, the cluster's heartbeat port."""
        return f"{scheme}://{_bracket(self.host)}:{port}"


@dataclass(frozen=True)
class TlsFiles:
    """Paths of an authority's certificate, an own certificate and its key."""

    ca: Path
    cert: Path
    key: Path


@dataclass(frozen=True)
class Config:
    """All settings, checked."""

    node_id: str
    host: str
    port: int
    ringrift_path: Path
    cluster: str
    seeds: tuple[Seed, ...]
    voters: tuple[str, ...]
    advertise: Seed
    heartbeat_port: int
    tls: TlsFiles | None
    deny: Path | None
    etcd_endpoint: str | None
    etcd_tls: TlsFiles | None
    etcd_wait: float
    data_dir: Path
    socks_proxy: Seed | None = None
    settings_file: Path | None = None

    @property
    def alone(self) -> bool:
        """Whether this machine decides by itself: no server, quorum 1."""
        return self.etcd_endpoint is None and (
            self.voters == (self.node_id,) or not (self.voters or self.seeds)
        )

    @property
    def voter(self) -> bool:
        """Whether this node takes part in elections."""
        return self.alone or self.node_id in self.voters

    @property
    def listens(self) -> bool:
        """Whether this node takes heartbeats."""
        return self.voter and bool(self.voters)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise StartError(Exit.USAGE, f"{message}; see p2p_orchestrator --help")


def _bracket(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _bad(what: str, value: object, remedy: str) -> StartError:
    return StartError(Exit.USAGE, f"{what} is {value!r}: {remedy}")


def parse_seed(text: str, what: str = "--peers / P2P_SEEDS") -> Seed:
    """Return the address in `text`: a URL or a bare `host:port`.

    Raises:
        StartError: It is neither.
    """
    remedy = "give http://host:port or host:port"
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        port = parts.port if parts.port is not None else DEFAULT_PORT
    except ValueError as error:
        raise _bad(what, text, remedy) from error
    host = parts.hostname or ""
    if parts.scheme not in ("http", "https") or parts.path not in ("", "/") or not port:
        raise _bad(what, text, remedy)
    if not host or any(letter.isspace() for letter in text):
        raise _bad(what, text, remedy)
    return Seed(parts.scheme, host, port)


def _socks_proxy(text: str) -> Seed | None:
    if not text:
        return None
    remedy = "give socks5://host:port, without a password"
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise _bad("P2P_SOCKS_PROXY", text, remedy) from error
    # `socks5h` says that the proxy resolves names, which it does here in any case.
    if parts.scheme not in ("socks5", "socks5h") or not host or not port or "@" in parts.netloc:
        raise _bad("P2P_SOCKS_PROXY", text, remedy)
    return Seed("socks5", host, port)


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _port(what: str, text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= MAX_PORT:
        raise _bad(what, text, f"give a port from 1 to {MAX_PORT}")
    return int(text)


def _name(what: str, text: str) -> str:
    if not NAME.fullmatch(text):
        raise _bad(what, text, "use letters, digits, '.', '_' and '-', at most 253")
    return text


def _tls(env: Mapping[str, str], prefix: str) -> TlsFiles | None:
    names = [f"{prefix}_{part}" for part in ("CA", "CERT", "KEY")]
    given = [env.get(name, "") for name in names]
    if not any(given):
        return None
    if not all(given):
        missing = ", ".join(name for name, value in zip(names, given, strict=True) if not value)
        raise StartError(Exit.USAGE, f"{missing} not set: give all of {', '.join(names)} or none")
    return TlsFiles(*(Path(value) for value in given))


def _fleet(ringrift: Path) -> tuple[list[str], list[str]]:
    """Return the voters' addresses and names from the checkout's fleet file, two empty lists without one."""
    import yaml  # noqa: PLC0415  # only needed where no seeds are given

    path = next((ringrift / name for name in FLEET_FILES if (ringrift / name).is_file()), None)
    if path is None:
        return [], []
    try:
        data = yaml.safe_load(path.read_text())
        pairs: dict[str, str] = {}
        for name in data.get("p2p_voters") or []:
            host = data["hosts"][name]
            address = str(host.get("p2p_public_host") or host["ssh_host"])
            port = host.get("p2p_public_port") or host.get("p2p_port") or DEFAULT_PORT
            pairs.setdefault(address if "://" in address else f"http://{address}:{port}", name)
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        reason = (
            f"{path} cannot be used: {error!r}; correct it, or give the voters with --peers and P2P_VOTERS"
        )
        raise StartError(Exit.USAGE, " ".join(reason.split())) from error
    return list(pairs), list(pairs.values())


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    result = _Parser(prog="p2p_orchestrator", description="Membership and leader election for a fleet.")
    result.add_argument(
        "--node-id", metavar="ID", help="this node's name (NODE_ID; default: the host's name)"
    )
    host = "0.0.0.0"  # noqa: S104  # the fleet asks from outside
    result.add_argument("--host", default=host, help="address to listen on (default: %(default)s)")
    result.add_argument(
        "--port", metavar="PORT", help=f"port of the endpoints (P2P_PORT; default: {DEFAULT_PORT})"
    )
    result.add_argument("--peers", metavar="URLS", help="the voters' addresses, comma-separated (P2P_SEEDS)")
    result.add_argument(
        "--ringrift-path", metavar="PATH", help="the checkout (RINGRIFT_PATH; default: ~/ringrift)"
    )
    result.add_argument("--version", action="version", version=f"p2p_orchestrator {__version__}")
    return result


def load(argv: Sequence[str], env: Mapping[str, str]) -> Config:
    """Return the settings.

    Args:
        argv: The command line, without the program's name.
        env: The environment.

    Raises:
        StartError: A setting is wrong, or the settings contradict each other.
    """
    args = parser().parse_args(argv)
    node_id = _name("--node-id / NODE_ID", args.node_id or env.get("NODE_ID") or socket.gethostname())
    port = _port("--port / P2P_PORT", args.port or env.get("P2P_PORT") or str(DEFAULT_PORT))
    ringrift = Path(args.ringrift_path or env.get("RINGRIFT_PATH") or "~/ringrift")
    ringrift = ringrift.expanduser() if env.get("HOME") or not str(ringrift).startswith("~") else Path("/")
    addresses = _words(args.peers if args.peers is not None else env.get("P2P_SEEDS", ""))
    voters = _words(env.get("P2P_VOTERS", ""))
    if not addresses and not voters:
        addresses, voters = _fleet(ringrift)
    seeds = tuple(dict.fromkeys(parse_seed(address) for address in addresses))
    data_dir = env.get("P2P_DATA_DIR") or env.get("STATE_DIRECTORY", "").split(":")[0] or DATA_DIR
    wait = env.get("P2P_ETCD_WAIT") or "60"
    if not wait.isdecimal():
        raise _bad("P2P_ETCD_WAIT", wait, "give whole seconds; 0 waits for ever")
    advertise = env.get("P2P_ADVERTISE_URL")
    config = Config(
        node_id=node_id,
        host=args.host,
        port=port,
        ringrift_path=ringrift,
        cluster=_name("P2P_CLUSTER", env.get("P2P_CLUSTER") or "p2p"),
        seeds=seeds,
        voters=tuple(_name("P2P_VOTERS", voter) for voter in dict.fromkeys(voters)),
        advertise=parse_seed(advertise, "P2P_ADVERTISE_URL")
        if advertise
        else _advertise(node_id, voters, seeds, port),
        heartbeat_port=_port(
            "P2P_HEARTBEAT_PORT", env.get("P2P_HEARTBEAT_PORT") or str(DEFAULT_HEARTBEAT_PORT)
        ),
        tls=_tls(env, "P2P_TLS"),
        deny=Path(env["P2P_TLS_DENY"]) if env.get("P2P_TLS_DENY") else None,
        etcd_endpoint=env.get("P2P_ETCD_ENDPOINT") or None,
        etcd_tls=_tls(env, "P2P_ETCD"),
        etcd_wait=float(wait),
        data_dir=Path(data_dir),
        socks_proxy=_socks_proxy(env.get("P2P_SOCKS_PROXY", "")),
        settings_file=Path(env["P2P_SETTINGS_FILE"]) if env.get("P2P_SETTINGS_FILE") else None,
    )
    check(config)
    return config


def _advertise(node_id: str, voters: list[str], seeds: tuple[Seed, ...], port: int) -> Seed:
    if node_id in voters and len(voters) == len(seeds):
        return seeds[voters.index(node_id)]
    return Seed("http", socket.gethostname(), port)


def check(config: Config) -> None:
    """Raise StartError where settings contradict each other."""
    named = bool(config.voters) and (bool(config.seeds) or not config.alone)
    if named and len(config.voters) != len(config.seeds):
        raise StartError(
            Exit.USAGE,
            f"P2P_VOTERS has {len(config.voters)} names and P2P_SEEDS {len(config.seeds)} addresses: "
            "give one address for each voter, in the same order",
        )
    if config.node_id in config.voters and not config.alone and config.etcd_endpoint is None:
        raise StartError(
            Exit.USAGE,
            f"{config.node_id} is one of {len(config.voters)} voters and P2P_ETCD_ENDPOINT is not set: "
            "give the URL of this voter's own etcd member",
        )
    if config.etcd_endpoint is not None:
        parts = urlsplit(config.etcd_endpoint)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise _bad("P2P_ETCD_ENDPOINT", config.etcd_endpoint, "give http(s)://host:port")
        if (parts.scheme == "https") != (config.etcd_tls is not None):
            raise _bad(
                "P2P_ETCD_ENDPOINT",
                config.etcd_endpoint,
                "https needs P2P_ETCD_CA, _CERT and _KEY, http takes none",
            )
    if config.tls is not None and config.seeds and not config.voters:
        raise StartError(
            Exit.USAGE, "P2P_TLS_* needs P2P_VOTERS: a voter's certificate is checked by its name"
        )
    if config.listens and config.port == config.heartbeat_port:
        raise _bad(
            "P2P_HEARTBEAT_PORT", config.heartbeat_port, "it must differ from the port of the endpoints"
        )
