"""The user that the packaged server runs as, and which files that user may read and write. Rights are judged by modes;
access lists are not looked at."""

from __future__ import annotations

import os
import stat

from gsrt.doctor.surroundings import PACKAGED_CONFIG, whole_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.doctor.surroundings import Surroundings

NAME = "gsrt"
LINES_MAX = 10_000
READ, WRITE, SEARCH = 4, 2, 1  # of one who owns a file: shifted by 6; of its group: by 3


class User:
    """A user's number and those of the groups."""

    __slots__ = ("groups", "number")

    def __init__(self, number: int, groups: frozenset[int]) -> None:
        self.number = number
        self.groups = groups

    def may(self, path: str, rights: int) -> bool:
        """Whether the user has RIGHTS (READ, WRITE, SEARCH together) to a file and can reach it. Raises OSError where
        that cannot be looked at."""
        where = os.path.dirname(os.path.realpath(path))
        while True:
            if not self._has(os.stat(where), SEARCH):
                return False
            if where == "/":
                break
            where = os.path.dirname(where)
        return self._has(os.stat(path), rights)

    def _has(self, found: os.stat_result, rights: int) -> bool:
        mode = stat.S_IMODE(found.st_mode)
        if self.number in (0, found.st_uid):
            mode >>= 6
        elif found.st_gid in self.groups:
            mode >>= 3
        return self.number == 0 or mode & rights == rights


def name_of(surroundings: Surroundings, number: int) -> str:
    """What a user is called in /etc/passwd (passwd(5)); the number where it is not there."""
    for parts in _lines(surroundings, "/etc/passwd"):
        if len(parts) > 3 and parts[2] == str(number):
            return parts[0]
    return str(number)


def service_user(surroundings: Surroundings) -> User | None:
    """The user of the packaged server, where it is its configuration that is looked at; else None."""
    if surroundings.settings.config != PACKAGED_CONFIG:
        return None
    for parts in _lines(surroundings, "/etc/passwd"):
        if len(parts) > 3 and parts[0] == NAME:
            number, group = whole_number(parts[2]), whole_number(parts[3])
            if number is not None and group is not None:
                return User(number, frozenset((group, *_groups(surroundings))))
    return None


def _groups(surroundings: Surroundings) -> list[int]:
    """Those that have the service's user among their members: group(5)."""
    return [
        number
        for parts in _lines(surroundings, "/etc/group")
        if len(parts) > 3 and NAME in parts[3].split(",") and (number := whole_number(parts[2])) is not None
    ]


def _lines(surroundings: Surroundings, path: str) -> list[list[str]]:
    return [line.split(":") for line in (surroundings.read(path) or "").splitlines()[:LINES_MAX]]
