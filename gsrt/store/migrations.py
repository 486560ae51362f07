"""The database's layout, as the steps that lead to it. Step k brings version k - 1 to version k; the version stands in
the file (`PRAGMA user_version`). A step that was released is never changed: what comes later is a new step.

Times are wall-clock seconds since 1970. Columns called body, segments, script_data, attributes, data, config and
participant_data hold JSON.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

PLAYERS = (
    """CREATE TABLE players(
        id TEXT NOT NULL PRIMARY KEY,
        display_name TEXT,
        user_name TEXT UNIQUE COLLATE NOCASE,
        password TEXT,
        language TEXT,
        created REAL,
        seen REAL,
        failures INTEGER NOT NULL DEFAULT 0,
        locked_until REAL NOT NULL DEFAULT 0,
        segments TEXT NOT NULL DEFAULT '{}',
        script_data TEXT NOT NULL DEFAULT '{}'
    )""",
    """CREATE TABLE devices(
        device_id TEXT NOT NULL,
        device_os TEXT NOT NULL,
        player TEXT NOT NULL REFERENCES players(id) ON DELETE CASCADE,
        created REAL,
        PRIMARY KEY(device_id, device_os)
    ) WITHOUT ROWID""",
    "CREATE INDEX devices_by_player ON devices(player)",
    # `secret` is the SHA-256 of what the client keeps: a copy of the database lets nobody in.
    """CREATE TABLE auth_tokens(
        name TEXT NOT NULL PRIMARY KEY,
        secret BLOB NOT NULL,
        player TEXT NOT NULL REFERENCES players(id) ON DELETE CASCADE,
        created REAL,
        used REAL
    ) WITHOUT ROWID""",
    "CREATE INDEX auth_tokens_by_player ON auth_tokens(player)",
)

POSSESSIONS = (
    """CREATE TABLE balances(
        player TEXT NOT NULL REFERENCES players(id) ON DELETE CASCADE,
        currency TEXT NOT NULL,
        amount INTEGER NOT NULL CHECK(amount >= 0),
        PRIMARY KEY(player, currency)
    ) WITHOUT ROWID""",
    """CREATE TABLE goods(
        player TEXT NOT NULL REFERENCES players(id) ON DELETE CASCADE,
        good TEXT NOT NULL,
        quantity INTEGER NOT NULL CHECK(quantity > 0),
        PRIMARY KEY(player, good)
    ) WITHOUT ROWID""",
    # Every change of a balance (kind "currency") or of a quantity ("good"): their sum is what there is.
    """CREATE TABLE ledger(
        id INTEGER PRIMARY KEY,
        player TEXT NOT NULL REFERENCES players(id) ON DELETE CASCADE,
        kind TEXT NOT NULL,
        code TEXT NOT NULL,
        delta INTEGER NOT NULL,
        balance INTEGER NOT NULL,
        reason TEXT,
        at REAL
    )""",
    "CREATE INDEX ledger_by_player ON ledger(player, kind, code, id)",
    # `owner` is a player's id, or '' for the game: so no foreign key.
    """CREATE TABLE documents(
        owner TEXT NOT NULL,
        collection TEXT NOT NULL,
        id TEXT NOT NULL,
        body TEXT NOT NULL,
        version INTEGER NOT NULL,
        changed REAL,
        PRIMARY KEY(owner, collection, id)
    ) WITHOUT ROWID""",
    """CREATE TRIGGER players_documents AFTER DELETE ON players
    BEGIN DELETE FROM documents WHERE owner = old.id; END""",
)


def _block_of(row: str) -> str:
    """The condition for the block that a row of scores ("new", "old": a trigger's) lies in."""
    return f"""leaderboard = {row}.leaderboard AND part = {row}.part AND (score, number) = (
            SELECT score, number FROM score_blocks AS block
            WHERE block.leaderboard = {row}.leaderboard AND block.part = {row}.part
            AND (block.score, block.number) <= ({row}.score, {row}.number)
            ORDER BY block.score DESC, block.number DESC LIMIT 1)"""


SUCCESSES = (
    # `number` is the place among equal scores: of two, who was there first has the lower one where low scores are the
    # better, the higher one where high scores are.
    """CREATE TABLE scores(
        leaderboard TEXT NOT NULL,
        part TEXT NOT NULL DEFAULT '',
        player TEXT NOT NULL REFERENCES players(id) ON DELETE CASCADE,
        score REAL NOT NULL,
        attributes TEXT,
        at REAL,
        number INTEGER NOT NULL,
        PRIMARY KEY(leaderboard, part, player)
    ) WITHOUT ROWID""",
    "CREATE INDEX scores_by_rank ON scores(leaderboard, part, score, number)",
    "CREATE INDEX scores_by_player ON scores(player, leaderboard)",
    # To count those in front of a score without reading them all: the scores of a leaderboard's part, in the order of
    # (score, number), are cut into blocks, each of which is named by where it begins and knows how many players are in
    # it. The first one begins before all scores. gsrt.backend.leaderboards splits blocks; the triggers keep count, also
    # when a deleted player's scores go.
    """CREATE TABLE score_blocks(
        leaderboard TEXT NOT NULL,
        part TEXT NOT NULL,
        score REAL NOT NULL,
        number INTEGER NOT NULL,
        players INTEGER NOT NULL,
        PRIMARY KEY(leaderboard, part, score, number)
    ) WITHOUT ROWID""",
    f"""CREATE TRIGGER scores_come AFTER INSERT ON scores
    BEGIN
        INSERT OR IGNORE INTO score_blocks VALUES (new.leaderboard, new.part, -1e16, 0, 0);
        UPDATE score_blocks SET players = players + 1 WHERE {_block_of("new")};
    END""",
    f"""CREATE TRIGGER scores_change AFTER UPDATE OF score, number ON scores
    BEGIN
        UPDATE score_blocks SET players = players - 1 WHERE {_block_of("old")};
        DELETE FROM score_blocks WHERE players = 0 AND score > -1e16 AND {_block_of("old")};
        UPDATE score_blocks SET players = players + 1 WHERE {_block_of("new")};
    END""",
    f"""CREATE TRIGGER scores_go AFTER DELETE ON scores
    BEGIN
        UPDATE score_blocks SET players = players - 1 WHERE {_block_of("old")};
        DELETE FROM score_blocks WHERE players = 0 AND score > -1e16 AND {_block_of("old")};
    END""",
    """CREATE TABLE achievements(
        player TEXT NOT NULL REFERENCES players(id) ON DELETE CASCADE,
        code TEXT NOT NULL,
        at REAL,
        PRIMARY KEY(player, code)
    ) WITHOUT ROWID""",
    """CREATE TABLE messages(
        id TEXT NOT NULL PRIMARY KEY,
        player TEXT NOT NULL REFERENCES players(id) ON DELETE CASCADE,
        class TEXT NOT NULL,
        body TEXT NOT NULL,
        at REAL,
        number INTEGER NOT NULL,
        keep INTEGER NOT NULL DEFAULT 1,
        seen INTEGER NOT NULL DEFAULT 0
    )""",
    "CREATE INDEX messages_by_player ON messages(player, number)",
)

MATCHES = (
    # `id` is the session's too; `config` is what the match began with, whatever has become of the game's files since.
    """CREATE TABLE matches(
        id TEXT NOT NULL PRIMARY KEY,
        short_code TEXT NOT NULL,
        match_group TEXT,
        skill REAL,
        data TEXT,
        script TEXT,
        config TEXT,
        created REAL,
        open_until REAL,
        ended REAL
    )""",
    "CREATE INDEX matches_not_ended ON matches(created) WHERE ended IS NULL",
    """CREATE TABLE match_players(
        match TEXT NOT NULL REFERENCES matches(id) ON DELETE CASCADE,
        player TEXT NOT NULL REFERENCES players(id) ON DELETE CASCADE,
        peer_id INTEGER,
        access_token TEXT,
        reconnect_token TEXT,
        skill REAL,
        threshold INTEGER NOT NULL DEFAULT 0,
        participant_data TEXT,
        "left" REAL,
        PRIMARY KEY(match, player)
    ) WITHOUT ROWID""",
    "CREATE INDEX match_players_by_player ON match_players(player)",
    """CREATE TABLE tickets(
        player TEXT NOT NULL REFERENCES players(id) ON DELETE CASCADE,
        short_code TEXT NOT NULL,
        match_group TEXT,
        body TEXT NOT NULL,
        since REAL,
        PRIMARY KEY(player, short_code)
    ) WITHOUT ROWID""",
    # What scripts have logged (realtime.log): a bounded ring.
    """CREATE TABLE log(
        id INTEGER PRIMARY KEY,
        at REAL,
        session TEXT,
        script TEXT,
        level TEXT,
        text TEXT,
        suppressed INTEGER
    )""",
)

STEPS: Sequence[Sequence[str]] = (PLAYERS, POSSESSIONS, SUCCESSES, MATCHES)


def migrate(connection: sqlite3.Connection, version: int, steps: Sequence[Sequence[str]] = STEPS) -> None:
    """Brings a database of VERSION to the newest one, each step whole or not at all.

    CONNECTION is in autocommit mode and has foreign keys off, for a step may put a table in another's place."""
    for number in range(version + 1, len(steps) + 1):
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in steps[number - 1]:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
