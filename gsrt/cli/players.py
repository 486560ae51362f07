"""What the commands about a game's players share: whom they ask, the running server or the game's database."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace

from gsrt.cli import CommandError
from gsrt.cli.arguments import add_control
from gsrt.cli.asking import Unserved, ask

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from gsrt.backend.call import Stored, Worked
    from gsrt.profile import Profile
    from gsrt.store.store import Store

WAIT_SECONDS = 60.0  # for one operation of the database


def add_player(parser: ArgumentParser) -> None:
    """PLAYER: `arguments.player`."""
    parser.add_argument(
        "player", metavar="PLAYER", help="the player's id, as `gsrt player list` shows it, or user name"
    )


def add_place(parser: ArgumentParser) -> None:
    """--control and --game: where the players are."""
    parser.add_argument(
        "--game", metavar="FOLDER", help="the game's folder, while no server has it open (default: ask the server)"
    )
    add_control(parser)


def whole_number(text: str) -> int:
    """A number from 1 on."""
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)


def date(seconds: float) -> str:
    """SECONDS since 1970 as this machine's clock shows them."""
    import time

    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


class Players:
    """The players of a game, asked as `arguments` say: a context manager, with `ask`."""

    def __init__(self, arguments: Namespace) -> None:
        self._control: str | None = arguments.control
        self._folder: str | None = arguments.game
        self._database: Database | None = None

    def __enter__(self) -> Players:
        if self._folder is not None:
            self._database = Database(self._folder)
        return self

    def __exit__(self, *error: object) -> None:
        if self._database is not None:
            self._database.close()

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to a request of gsrt.backend.operator. Raises CommandError."""
        if self._database is not None:
            return self._database.ask(request)
        try:
            return ask(self._control, request)
        except Unserved as error:
            raise CommandError(f"{error}; or name the game's folder with --game") from None


class Nobody:
    """Who is connected where no server runs."""

    def online(self, player_id: str) -> bool:
        return False

    def disconnect(self, player_id: str, reason: str) -> None:
        pass

    def deleted(self, player_id: str) -> None:
        pass


class Database:
    """A game's database, opened for one command."""

    profile: Profile
    presence = Nobody()

    def __init__(self, folder: str) -> None:
        """Raises CommandError where there is none, or a server has it open."""
        import os
        import sys
        import time

        from gsrt.log import Log
        from gsrt.profile import Profile
        from gsrt.store.database import path_in
        from gsrt.store.errors import InUse
        from gsrt.store.store import Store, StoreError

        path = path_in(folder)
        if not os.path.exists(path):
            raise CommandError(f"{path}: there is no such file; it is made when the game is first served")
        self.profile = Profile.load("generic")  # hashes made at other costs than the server's are replaced there
        try:
            self._store: Store = Store(
                path,
                wall=time.time,
                entropy=os.urandom,
                log=Log(sys.stderr, time.monotonic),
                batch_seconds=0.0,
                batch_writes=1,
                waiting_max=1,
            )
        except InUse as error:
            raise CommandError(f"{error} (without --game, the server is asked)") from None
        except StoreError as error:
            raise CommandError(str(error)) from None

    def close(self) -> None:
        self._store.close()

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a request of gsrt.backend.operator. Raises CommandError."""
        from gsrt.backend.call import Failure
        from gsrt.backend.operator import steps
        from gsrt.store.store import StoreError

        doing = steps(self, request)
        try:
            step = next(doing)
            while True:
                step = doing.send(self._take(step))  # type: ignore[arg-type]  # there is nothing to await here
        except StopIteration as end:
            found: dict[str, Any] = end.value
            return found
        except Failure as failure:
            raise CommandError("; ".join(f"{field}: {text}" for field, text in failure.errors.items())) from None
        except StoreError as error:
            raise CommandError(str(error)) from None

    def _take(self, step: Stored | Worked) -> object:
        from select import select

        from gsrt.backend.call import Worked

        if isinstance(step, Worked):
            return step.function(*step.arguments)
        came: list[tuple[object, BaseException | None]] = []
        self._store.submit(step.operation, step.arguments, lambda *both: came.append(both))
        while not came:
            if not select([self._store], [], [], WAIT_SECONDS)[0]:
                raise CommandError(f"the database did not answer within {WAIT_SECONDS:g} seconds")
            self._store.deliver()
        result, error = came[0]
        if error is not None:
            raise error
        return result
