"""The folders of the server: its state, and its game."""

from __future__ import annotations

import os
import stat

from gsrt.cli.text import count
from gsrt.doctor.finding import Finding, fail, ok, warn
from gsrt.doctor.users import NAME, READ, SEARCH, WRITE, service_user

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.doctor.surroundings import Surroundings

OTHERS = stat.S_IRWXG | stat.S_IRWXO


def state(surroundings: Surroundings) -> Finding:
    """Whether the folder for what outlives the server is there, private, and its user's."""
    where = surroundings.settings.state
    try:
        found = os.stat(where)
    except FileNotFoundError:
        return ok(f"{where} is not there yet: the server makes it")
    except OSError as error:
        return warn(f"{where}: {error.strerror}", "sudo gsrt doctor")
    if not stat.S_ISDIR(found.st_mode):
        return fail(f"{where} is no folder", "move it away: the server makes a folder of that name")
    holds_key = os.path.exists(os.path.join(where, "key.pem"))
    wide = found.st_mode & stat.S_IWOTH or (holds_key and _others_read(os.path.join(where, "key.pem")))
    if wide:
        return warn(f"others may write to {where}, or read the key in it", f"sudo chmod go-rwx {where} {where}/key.pem")
    serving = _server_user(surroundings)
    if serving is not None and found.st_uid not in (serving, 0) and serving != 0:
        return fail(
            f"{where} belongs to user {found.st_uid}, but the server runs as user {serving}",
            f"sudo chown -R {serving} {where}",
        )
    packaged = service_user(surroundings)
    is_services = packaged is not None and packaged.number == found.st_uid
    if surroundings.user not in (0, found.st_uid) and serving is None and not is_services:
        return warn(
            f"{where} belongs to user {found.st_uid}, you are user {surroundings.user}",
            "if you serve as yourself, name another folder with state =; else run this with sudo",
        )
    return ok(f"{where} belongs to user {found.st_uid}, mode {stat.S_IMODE(found.st_mode):o}")


def _others_read(path: str) -> bool:
    try:
        return bool(stat.S_IMODE(os.stat(path).st_mode) & OTHERS)
    except OSError:
        return False


def _server_user(surroundings: Surroundings) -> int | None:
    """The user of the running server; None where none runs."""
    status = surroundings.status()
    if status is None:
        return None
    try:
        return os.stat(surroundings.path(f"/proc/{int(status.get('pid', 0))}")).st_uid
    except (OSError, TypeError, ValueError):
        return None


def game(surroundings: Surroundings) -> Finding:
    """Whether `gsrt check` is content with the game."""
    where = surroundings.settings.game
    if where is None:
        return ok("none is served: sessions are made by hand (gsrt session create)")
    profile = surroundings.profile()
    if profile is None:
        return warn("cannot tell without a profile", "see the line on the profile")
    try:
        os.stat(where)
    except FileNotFoundError:
        return fail(f"{where} is not there", "name the game's folder in the configuration")
    except OSError as error:
        return warn(f"{where}: {error.strerror}", "sudo gsrt doctor")
    if not os.access(where, os.R_OK | os.X_OK):
        return warn(f"{where} is not for this user to read", "sudo gsrt doctor")
    serving = service_user(surroundings)
    if serving is not None and not serving.may(where, READ | WRITE | SEARCH):
        return fail(f"the server's user, {NAME}, may not write to {where}", f"sudo chown -R {NAME}: {where}")
    from gsrt.game.model import GameError
    from gsrt.game.reading import read_game

    try:
        read_game(where, profile)
    except GameError as error:
        mistakes = count(len(error.mistakes), "mistake")
        return fail(f"{mistakes} in {where}, the first: {error.mistakes[0]}", f"gsrt check {where}")
    return ok(f"{where} is in order")


def script(surroundings: Surroundings) -> Finding:
    """Whether the script of all sessions can be read; its mistakes are for `gsrt script check`."""
    where = surroundings.settings.script
    if where is None:
        return ok("none for all sessions")
    try:
        os.stat(where)
    except FileNotFoundError:
        return fail(f"{where} is not there", "name the script's file in the configuration")
    except OSError as error:
        return warn(f"{where}: {error.strerror}", "sudo gsrt doctor")
    serving = service_user(surroundings)
    if serving is not None and not serving.may(where, READ):
        return fail(f"the server's user, {NAME}, may not read {where}", f"sudo chmod a+r {where}")
    return ok(f"{where} is there", f"gsrt script check {where} tells its mistakes")
