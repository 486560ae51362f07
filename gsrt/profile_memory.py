"""How much memory a server takes where everything that its profile limits is at its limit, for `gsrt profile`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

KIB = 1 << 10
MIB = 1 << 20

# Measured on a 64-bit Debian 12, whose objects are larger than those of a 32-bit one.
SERVER_BYTES = 51 * MIB // 2  # with a game, scripts, TLS, links and passwords all in use, before anyone plays
TLS_BYTES = 21 * KIB  # OpenSSL's part of one connection
SESSION_BYTES = 16 * KIB  # a session and its script, before that keeps anything
PLAYER_BYTES = 6 * KIB  # a player's token, places in tables, state of a link
CHARACTER_BYTES = 4  # a letter takes so many where a line has rare ones
DOWNLOAD_BYTES = 64 * KIB  # of a file of www/ on its way, besides what waits to be sent


class Part:
    """One item of the sum: BYTES for WHAT."""

    __slots__ = ("bytes", "what")

    def __init__(self, what: str, amount: int) -> None:
        self.what = what
        self.bytes = amount


def worst_memory(values: Mapping[str, float]) -> list[Part]:
    """What everything takes at the worst, under the limits VALUES (every key of a profile).

    Where one thing excludes another only the larger counts: what waits for a connection and what is held for a player
    without one; a stream and a link. The kernel's buffers (udp_receive_buffer_bytes, udp_send_buffer_bytes,
    tcp_receive_buffer_bytes, tcp_send_buffer_bytes) are not in a process's RSS, and not in here."""
    value = {key: int(each) for key, each in values.items()}
    sessions, connections = value["sessions_max"], value["connections_max"]
    out = _doubled(max(value["stream_out_hard_bytes"], value["link_out_bytes"], value["held_bytes_max"]))
    unfinished = _doubled(max(value["packet_bytes_max"], value["platform_message_bytes_max"]))
    return [
        Part("the server with every part loaded", SERVER_BYTES),
        Part(
            f"{sessions} sessions with full scripts, and one callback at its limit",
            sessions * (SESSION_BYTES + value["script_memory_bytes"]) + value["script_memory_bytes"],
        ),
        Part(
            f"{sessions} sessions' packets kept to try scripts on",
            sessions * value["script_trial_packets"] * value["packet_bytes_max"],
        ),
        Part(f"{value['players_max']} players", value["players_max"] * PLAYER_BYTES),
        Part(f"{connections} connections with TLS", connections * TLS_BYTES),
        Part(f"what waits to be sent over {connections} connections", connections * out),
        Part("a packet or message of each of them that is not whole yet", connections * unfinished),
        Part("what links keep of messages that are not whole yet", value["link_receive_bytes_all"]),
        Part("one password being hashed", value["password_memory_kb"] * KIB),
        Part(f"{value['www_downloads_max']} files of www/ on their way", value["www_downloads_max"] * DOWNLOAD_BYTES),
        Part(
            f"{value['control_clients_max']} requests of the operator",
            value["control_clients_max"] * value["control_line_bytes_max"],
        ),
        Part(
            "the newest lines of scripts",
            value["script_log_ring_lines"] * value["script_log_characters_max"] * CHARACTER_BYTES,
        ),
    ]


def _doubled(amount: int) -> int:
    """What a buffer of AMOUNT bytes takes, which grows by doubling."""
    return 1 << (amount - 1).bit_length()
