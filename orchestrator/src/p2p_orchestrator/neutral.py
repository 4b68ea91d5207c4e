"""The contract's fields that this program has no value for: it runs no jobs, no gossip and no relays.

Readers of the original program's answers find every field, with its type, and nothing in it.
"""

from collections.abc import Mapping
from typing import Any

NODE: Mapping[str, Any] = {
    "gpu_percent": 0.0,
    "gpu_memory_percent": 0.0,
    "selfplay_jobs": 0,
    "training_jobs": 0,
    "capabilities": [],
    "consecutive_failures": 0,
    "last_failure_time": 0.0,
    "oom_events": 0,
    "last_oom_time": 0.0,
    "nat_blocked": False,
    "nat_blocked_since": 0.0,
    "last_nat_probe": 0.0,
    "relay_via": "",
    "retired": False,
    "retired_at": 0.0,
    "cmaes_running": False,
    "gauntlet_running": False,
    "tournament_running": False,
    "data_merge_running": False,
    "nfs_accessible": False,
    "code_version": "unknown",
    "errors_last_hour": 0,
    "active_job_count": 0,
    "gpu_power_score": 0,
    "has_external_work": False,
    "is_misrouted": False,
}
"""Fields of a node."""

STATUS: Mapping[str, Any] = {
    "local_jobs": {},
    "improvement_cycle_manager": None,
    "diversity_metrics": {
        "games_by_engine_mode": {},
        "games_by_board_config": {},
        "games_by_difficulty": {},
        "asymmetric_games": 0,
        "symmetric_games": 0,
        "asymmetric_ratio": 0.0,
        "engine_mode_distribution": {},
        "uptime_seconds": 0.0,
    },
    "gossip_metrics": {
        "message_sent": 0,
        "message_received": 0,
        "state_updates": 0,
        "anti_entropy_repairs": 0,
        "stale_states_detected": 0,
        "avg_latency_ms": 0.0,
        "compression_ratio": 0.0,
        "bytes_saved_kb": 0.0,
        "messages_compressed": 0,
    },
    "p2p_sync_metrics": {},
    "distributed_training": {"active_configs": [], "total_training_jobs": 0, "configs_by_node_count": {}},
    "cluster_elo": {"top_models": [], "total_unique_models": 0},
    "node_recovery": {"total_attempts": 0, "successes": 0, "failures": 0, "nodes_in_cooldown": 0},
    "peer_reputation": {"most_reliable": [], "peers_tracked": 0},
    "sync_intervals": {
        "data_interval": 0,
        "model_interval": 0,
        "training_db_interval": 0,
        "activity_factor": 0.0,
        "data_streak": {"success": 0, "failure": 0},
        "model_streak": {"success": 0, "failure": 0},
    },
    "tournament_scheduling": {
        "pending_proposals": 0,
        "approved_proposals": 0,
        "active_tournaments": 0,
        "enabled": False,
    },
    "data_dedup": {
        "files_skipped": 0,
        "games_skipped": 0,
        "bytes_saved_mb": 0.0,
        "known_file_hashes": 0,
        "known_game_ids": 0,
    },
    "swim_raft": {
        "membership_mode": "http",
        "consensus_mode": "lease",
        "swim": {
            "enabled": False,
            "available": False,
            "started": False,
            "alive_count": 0,
            "suspected_count": 0,
            "failed_count": 0,
        },
        "raft": {
            "enabled": False,
            "available": False,
            "initialized": False,
            "is_leader": False,
            "leader_address": "",
            "should_use_raft": False,
        },
        "hybrid_status": {"swim_fallback_active": False, "raft_fallback_active": False},
    },
    "event_subscriptions": {
        "daemon_events": False,
        "feedback_signals": False,
        "manager_events": False,
        "all_healthy": True,
        "timestamp": 0.0,
    },
}
"""Sections of `/status`."""
