"""`/metrics`, in Prometheus' text format."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from p2p_orchestrator import __version__
from p2p_orchestrator.clock import boottime
from p2p_orchestrator.documents import health
from p2p_orchestrator.membership import ALIVE
from p2p_orchestrator.node import Node
from p2p_orchestrator.refusals import Reason


class _NodeCollector(Collector):
    def __init__(self, node: Node) -> None:
        self._node = node

    def collect(self) -> Iterator[Metric]:
        node, now = self._node, boottime()
        state = health(node, now)
        alive, known = node.counts(now)
        age = node.quorum_age(now)
        gauges = {
            "healthy": ("1 if there is a leader and a majority of the voters", float(state["healthy"])),
            "leader": ("1 if this node leads", float(node.leads(now))),
            "has_leader": ("1 if this node knows a leader", float(state["leader_id"] is not None)),
            "term": ("The term as last seen", float(state["term"])),
            "voter": ("1 if this node takes part in elections", float(node.config.voter)),
            "voter_quorum": ("Voters that make a majority", float(node.quorum_size())),
            "voters_alive": (
                "Voters that are alive",
                float(sum(value == ALIVE for value in node.voter_states(now).values())),
            ),
            "peers_alive": ("Other nodes that are alive", float(alive)),
            "peers_known": ("Other nodes that are known", float(known)),
            "quorum_age_seconds": (
                "Seconds since a majority last proved to be there",
                age if age is not None else float("inf"),
            ),
            "rumours": ("Names that one other voter alone tells of", float(len(node.members.rumours(now)))),
            "uptime_seconds": ("Seconds since the start", now - node.started),
            "disk_percent": ("Use of the disk", state["disk_percent"]),
            "memory_percent": ("Use of the memory", state["memory_percent"]),
        }
        for name, (text, value) in gauges.items():
            yield GaugeMetricFamily(f"p2p_{name}", text, value=value)
        info = GaugeMetricFamily("p2p_info", "Always 1", labels=["node", "cluster", "version"])
        info.add_metric([node.config.node_id, node.config.cluster, __version__], 1.0)
        yield info
        if node.elector is not None:
            yield GaugeMetricFamily(
                "p2p_store_ok", "1 if the store answered last", value=float(node.elector.store_error is None)
            )
            yield CounterMetricFamily(
                "p2p_terms_won", "Terms that this process led", value=node.elector.terms_won
            )
        yield _counter("p2p_heartbeats", "Heartbeats", "kind", node.heartbeats)
        yield _counter("p2p_heartbeats_refused", "Heartbeats refused", "reason", node.refused)
        refusals = {reason.value: node.refusals.counts[reason] for reason in Reason}
        yield _counter(
            "p2p_refused", "Connections, and requests to the endpoints, refused", "reason", refusals
        )
        yield _counter("p2p_unfit", "What else was read and did not fit", "place", node.unfit.counts)


def _counter(name: str, text: str, label: str, values: dict[str, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    for key, value in sorted(values.items()):
        family.add_metric([key], value)
    return family


class MetricsPage:
    """The figures of one node."""

    def __init__(self, node: Node) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_NodeCollector(node))

    def encode(self) -> bytes:
        """Return the page as of now."""
        return generate_latest(self._registry)
