"""What each key of a firmware profile means: for `gsrt profile`, docs/PROFILES.md, and whoever writes a profile.

The ranges are in gsrt.profile, which is all that a server loads."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class Key:
    """One key: the UNIT of its value ("" where it has none), the GROUP it is shown in, and a TEXT, whose first sentence
    says what it bounds; the others say what happens at the limit and why `generic` has the value it has."""

    __slots__ = ("group", "text", "unit")

    def __init__(self, group: str, unit: str, text: str) -> None:
        self.group = group
        self.unit = unit
        self.text = text

    @property
    def summary(self) -> str:
        """The first sentence."""
        return self.text.partition(". ")[0].removesuffix(".") + "."


MANY, RATE, LARGE, LONG = "How many", "How much one player may send", "How large", "How long"
LOOP, SCRIPTS, PLATFORM, OPERATOR, BOX = (
    "How the loop works",
    "Scripts",
    "Players, matches, backend",
    "The operator's side",
    "The box",
)

# group -> what holds for all of its keys; in the order they are shown
GROUPS: Mapping[str, str] = {
    MANY: "",
    RATE: (
        "Buckets that fill at the rate and hold the burst. A stream over its rate is not read for a while (nothing is "
        "lost, TCP slows the sender down); datagrams over the rate are dropped and counted. Far above what a game "
        "sends (60 a second, 100 bytes each): they are there to stop a flood, not a player."
    ),
    LARGE: "",
    LONG: "",
    LOOP: "",
    SCRIPTS: "Budgets of one callback first: over any of them it is stopped, which is a strike.",
    PLATFORM: "Only where a game is served.",
    OPERATOR: "",
    BOX: (
        "What the governor watches. Past a mark called slow the server does less at a time (see slow_tick_ms and "
        "those after it), past one called refuse it also takes no new sessions; whoever is in stays. It goes back "
        "when the figure has been well below the mark for a while. `gsrt status` and the log tell."
    ),
}

KEYS: Mapping[str, Key] = {
    "sessions_max": Key(
        MANY,
        "sessions",
        "Sessions open at the same time. Beyond, `gsrt session create` is refused. A session costs some 15 kB, with a "
        "script up to script_memory_bytes more; the processor is used up long before the memory.",
    ),
    "players_per_session_max": Key(
        MANY,
        "players",
        "Players one session expects (hard limit 255). Beyond, `gsrt session create` is refused. Everyone's packets "
        "to everyone grow with the square of this.",
    ),
    "players_max": Key(
        MANY,
        "players",
        "Players of all sessions together, connected or not. It bounds the table of access tokens; beyond, `gsrt "
        "session create` is refused.",
    ),
    "connections_max": Key(
        MANY,
        "connections",
        "Connections of every kind: TCP, and links. Each costs one file descriptor if it is TCP, and a few kB, under "
        "TLS some 20 more. Beyond, the oldest without a login gives way, or the new one is refused.",
    ),
    "pending_connections_max": Key(
        MANY,
        "connections",
        "Connections that have not logged in yet. Over it the oldest of them gives way, so that a new player still "
        "gets in.",
    ),
    "pending_per_address_max": Key(
        MANY,
        "connections",
        "Connections from one address that have not logged in yet. Over it the oldest of them gives way. One machine "
        "cannot take every place, yet a school behind one router gets in.",
    ),
    "packets_per_second": Key(RATE, "packets a second", "Packets one player may send in a second, on average."),
    "packets_burst": Key(
        RATE,
        "packets",
        "Packets one player may send at once. A tenth of a second's, for all of it is relayed in one turn of the loop "
        "while the others wait.",
    ),
    "bytes_per_second": Key(RATE, "bytes a second", "Bytes one player may send in a second, on average."),
    "bytes_burst": Key(RATE, "bytes", "Bytes one player may send at once."),
    "packet_bytes_max": Key(
        LARGE,
        "bytes",
        "Bytes of one packet (hard limit 16300). A longer one is dropped and counted. It must fit into one TLS record "
        "of 16384 bytes: a C++ client loses its connection when a payload is cut by the end of a record.",
    ),
    "datagram_bytes_max": Key(
        LARGE,
        "bytes",
        "Bytes of one datagram the server sends to other clients than those on links (hard limit 1400). Larger "
        "unreliable packets go by TCP. C++ clients receive into 1024 bytes and lose what is longer.",
    ),
    "frame_skip_bytes_max": Key(
        LARGE,
        "bytes",
        "Bytes of a frame too large to be a packet that are read and thrown away, so that the connection survives it. "
        "A frame that claims to be larger still ends the connection.",
    ),
    "login_bytes_max": Key(
        LARGE,
        "bytes",
        "Bytes of the first packet of a connection, the login. A longer one ends the connection. A token of up to "
        "1024 bytes and a few fields.",
    ),
    "held_bytes_max": Key(
        LARGE,
        "bytes",
        "Bytes kept for a player who is not ready yet or is away for a moment. Over it, what comes is dropped and "
        "counted, and who is away has left.",
    ),
    "stream_out_soft_bytes": Key(
        LARGE,
        "bytes",
        "Bytes waiting to be written to one TCP connection beyond which unreliable packets are dropped. The player "
        "reads too slowly, and old positions are worth nothing.",
    ),
    "stream_out_hard_bytes": Key(
        LARGE,
        "bytes",
        "Bytes waiting to be written to one TCP connection beyond which it is cut. What would have to be kept for it "
        "takes memory from everybody else.",
    ),
    "link_message_bytes_max": Key(
        LARGE,
        "bytes",
        "Bytes of one packet over a link, to players on links. More than packet_bytes_max never goes to other players.",
    ),
    "link_out_bytes": Key(
        LARGE,
        "bytes",
        "Bytes of reliable packets that wait to be sent over one link, or to be acknowledged. Over it the player is "
        "cut, as one who does not read is.",
    ),
    "link_receive_bytes": Key(
        LARGE,
        "bytes",
        "Bytes kept of what one link's player has sent before what is missing has come. Over it, what comes is not "
        "acknowledged, and comes again.",
    ),
    "link_receive_bytes_all": Key(
        LARGE,
        "bytes",
        "Bytes kept for all links together of what has come before what is missing. Over it, what comes is not "
        "acknowledged, and comes again. Players with bad connections, or bad intentions, take no more of the memory.",
    ),
    "link_logins_per_turn": Key(
        LARGE,
        "logins",
        "Logins by a link that are looked at in one turn of the loop. The rest is dropped; clients repeat. Each takes "
        "some tenths of a millisecond of key agreement.",
    ),
    "login_seconds": Key(
        LONG,
        "seconds",
        "Time a connection has to log in, TLS handshake and HTTP upgrade included. Then it is closed. Real clients "
        "give up after 5 or so.",
    ),
    "grace_seconds": Key(
        LONG,
        "seconds",
        "Time after a lost connection during which the others are not told, for the player may come back. Then the "
        "player has left.",
    ),
    "session_linger_seconds": Key(
        LONG,
        "seconds",
        "Time a session lives on after its last player has left. Then it ends.",
    ),
    "session_unused_seconds": Key(LONG, "seconds", "Time a session waits for its first player. Then it ends."),
    "udp_hello_interval_seconds": Key(
        LONG,
        "seconds",
        "Time between two greetings (opCode -5) to a player whose way for datagrams is not confirmed. One is lost now "
        "and then; C# clients wait 1.8 s in all.",
    ),
    "udp_hello_attempts": Key(
        LONG,
        "greetings",
        "Greetings sent before the server gives up and stays with TCP for that player.",
    ),
    "keepalive_idle_seconds": Key(
        LONG,
        "seconds",
        "Silence before the kernel looks whether the other end of a TCP connection is still there. Clients do not "
        "ping; only this finds a dead phone.",
    ),
    "keepalive_interval_seconds": Key(
        LONG,
        "seconds",
        "Time between two looks whether a silent TCP connection is still there.",
    ),
    "keepalive_probes": Key(LONG, "looks", "Looks without an answer before a TCP connection counts as lost."),
    "user_timeout_seconds": Key(
        LONG,
        "seconds",
        "Time that bytes sent may stay unacknowledged before a TCP connection counts as lost (TCP_USER_TIMEOUT).",
    ),
    "udp_receive_buffer_bytes": Key(
        LOOP,
        "bytes",
        "Bytes the kernel may keep of datagrams not read yet, for all players together. Beyond, it drops them. It "
        "grants twice net.core.rmem_max at most. This is the box's memory, yet not the server's own.",
    ),
    "udp_send_buffer_bytes": Key(
        LOOP,
        "bytes",
        "Bytes the kernel may keep of datagrams not sent yet, for all players together. Beyond, they are dropped and "
        "counted.",
    ),
    "tcp_receive_buffer_bytes": Key(
        LOOP,
        "bytes",
        "Bytes the kernel may keep of what one TCP connection has sent and the server has not read yet. It takes twice "
        "as many, its own work on them included. 0 leaves it to the kernel, which gives up to some megabytes to who "
        "sends much; after another number that counts from the next start, not from a hand-over.",
    ),
    "tcp_send_buffer_bytes": Key(
        LOOP,
        "bytes",
        "Bytes the kernel may keep of what one TCP connection has not taken yet. They are besides those that the "
        "server keeps; the kernel takes twice as many, and with 0 up to some megabytes, as above.",
    ),
    "datagram_batches_max": Key(
        LOOP,
        "batches",
        "Batches of 64 datagrams taken in one tick. The rest waits for the next one, so that connections and timers "
        "get their turn under a flood.",
    ),
    "tick_ms": Key(
        LOOP,
        "milliseconds",
        "Time a tick lasts at least. 0 sends on as soon as everything that has come is read; 2 to 10 gathers more "
        "into one datagram, which costs less processor and adds that much delay. `gsrt serve --tick` goes before "
        "this.",
    ),
    "malloc_arenas": Key(
        LOOP,
        "pools",
        "Pools that the C library's allocator keeps for all threads of a server that serves a game. 0: its own number, "
        "which is one for nearly every thread. With 1 it takes about 1 MB less; where nothing else needs the library "
        "that this is done with (contain, lock_memory), that takes 0.5 MB of it.",
    ),
    "timer_slack_us": Key(
        LOOP,
        "microseconds",
        "Time by which the kernel may wake the server later than it asked for, to wake the processor less often. 0: "
        "the kernel's own, 50. What scripts do by timers comes so much later, and so do packets where there is a "
        "tick_ms; 4000 halved the wake-ups of a server with eighteen timers, and spared one hundredth of a PC's core. "
        "After another number, 0 counts from the next start, not from a hand-over.",
    ),
    "script_gas": Key(
        SCRIPTS,
        "gas",
        "Gas of one callback: a loop's turn, a function's call and 16 elements that a built-in function goes through "
        "cost one each. A handler that answers a packet uses some tens; 200000 takes some 5 ms on a PC, 100 ms on a "
        "Pi Zero.",
    ),
    "script_cpu_ms": Key(
        SCRIPTS,
        "milliseconds",
        "Processor time of one callback, looked at every 5 ms. Everybody else waits as long as one callback takes: "
        "with 30, a session beside one whose script loops and hoards in every packet still gets 99 of 100 packets "
        "within 60 ms.",
    ),
    "script_memory_bytes": Key(
        SCRIPTS,
        "bytes",
        "Bytes that a session's script may hold, and that one callback may take meanwhile. No single object may have "
        "more than an eighth of it: with 8 MiB a list of 130,000 elements, a text of a million letters, a dict of "
        "21,000 pairs.",
    ),
    "script_source_bytes": Key(SCRIPTS, "bytes", "Bytes of a script's source. A longer one is refused."),
    "script_strikes": Key(
        SCRIPTS,
        "strikes",
        "Strikes after which a script is switched off. Its session goes on as a plain relay.",
    ),
    "script_turn_ms": Key(
        SCRIPTS,
        "milliseconds",
        "Time of one turn of the loop that one session's script may use in all its callbacks. Beyond, its streams are "
        "not read until the next turn, and datagrams for its session are dropped: nobody else waits for it.",
    ),
    "script_turn_all_ms": Key(
        SCRIPTS,
        "milliseconds",
        "Time of one turn of the loop that all scripts together may use. Beyond, it is as with script_turn_ms.",
    ),
    "script_watchdog_seconds": Key(
        SCRIPTS,
        "seconds",
        "Processor time after which a callback that nothing can interrupt makes the server start anew, without that "
        "script. Players come back with their tokens.",
    ),
    "script_timers_max": Key(SCRIPTS, "timers", "Timers one script may have at a time. Beyond, it gets a QuotaError."),
    "script_timer_ms_min": Key(
        SCRIPTS,
        "milliseconds",
        "Time between two runs of an interval at the least. A shorter one is taken as this.",
    ),
    "script_packet_bytes_max": Key(
        SCRIPTS,
        "bytes",
        "Bytes of one packet that a script's handler is called for, if that is more than packet_bytes_max. Links "
        "carry longer ones; where a handler is in the way, they are dropped: a script that keeps or reads every "
        "letter of what a player may send would be at the end of its memory or its gas.",
    ),
    "script_sends_max": Key(SCRIPTS, "packets", "Packets one callback may send. Beyond, it gets a QuotaError."),
    "script_send_bytes_max": Key(
        SCRIPTS,
        "bytes",
        "Bytes one callback may send, counted for each receiver. Beyond, it gets a QuotaError.",
    ),
    "script_requests_max": Key(
        SCRIPTS,
        "requests",
        "Requests to the backend of one script that may be waiting for their answer. Beyond, it gets a QuotaError.",
    ),
    "script_off_op_code": Key(
        SCRIPTS,
        "",
        "The opCode of the reliable packet from peer 0 that tells the players that their script was switched off, "
        "with the reason as string 1. 0: they are not told, only the log says it.",
    ),
    "script_reload_seconds": Key(
        SCRIPTS,
        "seconds",
        "Time between two looks whether a script's file has changed. 0: it is never read again.",
    ),
    "script_trial_packets": Key(
        SCRIPTS,
        "packets",
        "Packets of a session kept to try a changed script on, before it takes over. 0: it is not tried.",
    ),
    "script_log_lines_per_second": Key(
        SCRIPTS,
        "lines a second",
        "Lines one script may log, on average, and at once ten times as many. The rest is left out and counted.",
    ),
    "script_log_characters_max": Key(
        SCRIPTS,
        "characters",
        "Characters of one line that a script logs. The rest is cut off.",
    ),
    "script_log_ring_lines": Key(
        SCRIPTS,
        "lines",
        "Lines of all scripts that the server keeps for `gsrt logs`. The oldest goes.",
    ),
    "platform_message_bytes_max": Key(
        PLATFORM,
        "bytes",
        "Bytes of one message of a player's client. A longer one ends the connection. A request with much scriptData "
        "has some thousand.",
    ),
    "platform_messages_per_second": Key(
        PLATFORM,
        "messages a second",
        "Messages one connection may send, on average. Over it, it is not read for a while.",
    ),
    "platform_messages_burst": Key(PLATFORM, "messages", "Messages one connection may send at once."),
    "platform_silence_seconds": Key(
        PLATFORM,
        "seconds",
        "Time after which a client that says nothing is taken for gone. The slowest of the official clients says "
        "something every 60.",
    ),
    "platform_devices_max": Key(
        PLATFORM,
        "connections",
        "Connections one player may have at once. The oldest gives way.",
    ),
    "requests_waiting_max": Key(
        PLATFORM,
        "requests",
        "Requests of one player that may wait for those before them. Beyond, the answer is an error, `TOO_MANY`.",
    ),
    "away_seconds": Key(
        PLATFORM,
        "seconds",
        "Time without any connection after which a player does not look for a match any more.",
    ),
    "password_memory_kb": Key(
        PLATFORM,
        "KiB",
        "Memory that hashing a password takes (scrypt). It is what makes guessing expensive. A power of two, or it is "
        "rounded down to one.",
    ),
    "password_passes": Key(
        PLATFORM,
        "passes",
        "How often hashing goes through the memory of password_memory_kb. Time on the worker, which nobody else waits "
        "for.",
    ),
    "new_players_per_address": Key(
        PLATFORM,
        "players",
        "New players that may be made from one address at once, by registering or by a device that is not known yet. "
        "Beyond, they are refused. A school or an internet café may be behind a single one. The machine itself may "
        "make any number.",
    ),
    "new_players_per_address_per_hour": Key(
        PLATFORM,
        "players an hour",
        "New players that may be made from one address in an hour, after those at once.",
    ),
    "login_failures_max": Key(
        PLATFORM,
        "logins",
        "Wrong passwords in a row after which an account is locked for a while.",
    ),
    "login_lock_seconds": Key(PLATFORM, "seconds", "Time that an account stays locked."),
    "auth_tokens_per_player_max": Key(
        PLATFORM,
        "tokens",
        "Tokens a player's devices may keep for signing in again. The one not used for longest goes.",
    ),
    "store_batch_ms": Key(
        PLATFORM,
        "milliseconds",
        "Time after which what was changed is written to disk, all in one transaction. Answers wait for it; more of "
        "it wears an SD card less.",
    ),
    "store_batch_writes": Key(
        PLATFORM,
        "changes",
        "Changes after which all of them are written at once, whatever store_batch_ms says.",
    ),
    "store_waiting_max": Key(
        PLATFORM,
        "operations",
        "Operations that may wait for the disk. Beyond, requests are refused.",
    ),
    "tickets_max": Key(
        PLATFORM,
        "players",
        "Players that may look for a match at once. Beyond, the answer is an error, `TOO_MANY`.",
    ),
    "document_bytes_max": Key(
        PLATFORM,
        "bytes",
        "Bytes of one document that a script keeps, as JSON. A longer one is refused.",
    ),
    "documents_per_owner_max": Key(
        PLATFORM,
        "documents",
        "Documents of one player, and a hundred times as many of the game. Beyond, they are refused.",
    ),
    "messages_per_player_max": Key(PLATFORM, "messages", "Messages kept for a player. The oldest goes."),
    "leaderboard_page_max": Key(
        PLATFORM,
        "entries",
        "Entries of a leaderboard that one request is given. It gets so many and no more.",
    ),
    "log_rows_max": Key(PLATFORM, "lines", "Lines of realtime.log that are kept on disk. The oldest go."),
    "game_reload_seconds": Key(
        PLATFORM,
        "seconds",
        "Time between two looks whether the game's folder has changed. 0: it is never read again.",
    ),
    "www_downloads_max": Key(
        PLATFORM,
        "files",
        "Files of www/ that are on their way at once, at up to 64 KB of memory each. One that the kernel has taken "
        "whole does not count any more, so that only slow readers of large files do. Beyond, the answer is 503.",
    ),
    "www_downloads_per_address_max": Key(
        PLATFORM,
        "files",
        "Files of www/ on their way to one address at once. Beyond, the answer is 503. A browser has 6 connections; "
        "behind one address there may be several.",
    ),
    "www_stall_seconds": Key(
        PLATFORM,
        "seconds",
        "Time in which a reader has to take the next 64 KB. Then it is disconnected.",
    ),
    "control_clients_max": Key(
        OPERATOR,
        "connections",
        "Connections to the control socket at once. Beyond, they are refused; a `gsrt session create` is one for some "
        "milliseconds.",
    ),
    "control_line_bytes_max": Key(
        OPERATOR,
        "bytes",
        "Bytes of one request at the control socket. A longer one is refused. Room for a session of 255 players with "
        "long names.",
    ),
    "control_idle_seconds": Key(OPERATOR, "seconds", "Time a control connection may do nothing. Then it is closed."),
    "log_lines_per_second": Key(
        OPERATOR,
        "lines a second",
        "Lines of the server's own log, on average. The rest is counted, and the next line that is written is "
        "preceded by one that says how many there were. A journal on an SD card is worn by every line.",
    ),
    "log_lines_burst": Key(
        OPERATOR,
        "lines",
        "Lines of the server's own log at once. The last tenth is kept for errors.",
    ),
    "worker_waiting_max": Key(
        OPERATOR,
        "jobs",
        "Jobs that may wait for the worker thread, which compiles scripts and hashes passwords. Beyond, what needs it "
        "is refused and may be tried again.",
    ),
    "beacon_seconds": Key(
        OPERATOR,
        "seconds",
        "Time between two beacons that tell the local network where this server is. 0: none, only questions are "
        "answered.",
    ),
    "memory_bytes_max": Key(
        BOX,
        "bytes",
        "Memory (RSS) the server never takes more of. Its promise to everything else on the box: new sessions are "
        "refused before it is broken.",
    ),
    "memory_slow_percent": Key(BOX, "percent", "Share of that promise from which the server is slowed."),
    "memory_refuse_percent": Key(
        BOX,
        "percent",
        "Share of that promise from which new sessions are refused. What is left is for who is in.",
    ),
    "free_memory_bytes_min": Key(
        BOX,
        "bytes",
        "Memory the box has left for all programs (MemAvailable) under which new sessions are refused. 0: any amount "
        "will do.",
    ),
    "temperature_slow_celsius": Key(
        BOX,
        "degrees Celsius",
        "Temperature of the processor from which the server is slowed. Boards slow themselves down at 80 to 85, and "
        "then everybody waits.",
    ),
    "temperature_refuse_celsius": Key(
        BOX,
        "degrees Celsius",
        "Temperature of the processor from which new sessions are refused.",
    ),
    "loop_lag_slow_ms": Key(
        BOX,
        "milliseconds",
        "How late the loop's turns may be before the server is slowed. A single hold-up does not count.",
    ),
    "loop_lag_refuse_ms": Key(
        BOX,
        "milliseconds",
        "How late the loop's turns may be before new sessions are refused. Who is in waits so long for every packet.",
    ),
    "cpu_slow_percent": Key(
        BOX,
        "percent",
        "Processor time the server may take, on average, before it is slowed. 100 is one core; its worker thread may "
        "take another.",
    ),
    "disk_free_bytes_min": Key(
        BOX,
        "bytes",
        "Space that must be free on the disk. Under it nothing is written that can be done without, and new sessions "
        "are refused. 0: any amount will do.",
    ),
    "disk_bytes_per_hour": Key(
        BOX,
        "bytes an hour",
        "What may be written to disk before the store gathers changes for longer (slow_store_factor). 0: any amount. "
        "An SD card of 16 GB bears some hundred times its size: 64 MiB an hour is once in ten days.",
    ),
    "slow_tick_ms": Key(
        BOX,
        "milliseconds",
        "Time a tick lasts at least while the server is slowed. More is gathered into one datagram, and all of it "
        "comes so much later.",
    ),
    "slow_script_percent": Key(
        BOX,
        "percent",
        "Share of their time in a turn (script_turn_ms, script_turn_all_ms) that scripts have while slowed.",
    ),
    "slow_store_factor": Key(
        BOX,
        "times",
        "How many times as long as store_batch_ms the store gathers changes while the server is slowed, or has "
        "written more than disk_bytes_per_hour.",
    ),
    "governor_seconds": Key(
        BOX,
        "seconds",
        "Time between two looks at memory, heat, disk, lag and processor. 0: nobody looks, and no promise is kept.",
    ),
}
