"""The `gsrt` command. Each subcommand is a module with `add_arguments(parser)` and `run(arguments) -> exit status`,
imported only when it is asked for: what a client needs must not cost the server memory, nor the other way round."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

HELP_WIDTH = 100  # columns

# subcommand -> (its module, what it does)
COMMANDS = {
    "new": ("gsrt.cli.new", "make a game: a folder that runs at once"),
    "check": ("gsrt.cli.check", "say everything that is wrong with a game's folder"),
    "serve": ("gsrt.cli.serve", "run the server"),
    "session create": ("gsrt.cli.session_create", "open a session and get an access token for each player"),
    "session list": ("gsrt.cli.session_list", "show the open sessions and who is in"),
    "session end": ("gsrt.cli.session_end", "end a session and disconnect its players"),
    "player list": ("gsrt.cli.player_list", "show the players of a game"),
    "player show": ("gsrt.cli.player_show", "show one player's account, and what the player has"),
    "player reset": ("gsrt.cli.player_reset", "unlock a player's account and give it a new password"),
    "player delete": ("gsrt.cli.player_delete", "remove a player and everything that is known of that player"),
    "player export": ("gsrt.cli.player_export", "print everything that is known of a player, as JSON"),
    "player kick": ("gsrt.cli.player_kick", "put a player out of a session and revoke the token"),
    "player netsim": ("gsrt.cli.player_netsim", "put a bad network before one player of a running session"),
    "script check": ("gsrt.cli.script_check", "say whether scripts would be taken, and what to write where not"),
    "script run": ("gsrt.cli.script_run", "feed a script a recorded session and print what it does"),
    "profile list": (
        "gsrt.cli.profile_list",
        "show the limits there are for each kind of box, and which suit this one",
    ),
    "profile show": ("gsrt.cli.profile_show", "show every limit of a profile, and what it means"),
    "profile diff": ("gsrt.cli.profile_diff", "show where two profiles differ"),
    "profile check": ("gsrt.cli.profile_check", "say everything that is wrong with a profile"),
    "config check": ("gsrt.cli.config_check", "say by what a configuration would keep a server from starting"),
    "restart": ("gsrt.cli.restart", "have a new version take the server's place; players stay"),
    "backup": ("gsrt.cli.backup", "copy what the running server remembers into a file"),
    "restore": ("gsrt.cli.restore", "put a backup in the place of what a game remembers"),
    "logs": ("gsrt.cli.logs", "show what scripts have logged"),
    "status": ("gsrt.cli.status", "show how the server is doing, with every counter"),
    "top": ("gsrt.cli.top", "watch the server at work"),
    "doctor": ("gsrt.cli.doctor", "say what is wrong with this box, its network and its server, and what to do"),
    "join": ("gsrt.cli.join", "take part in a session from this terminal"),
    "discover": ("gsrt.cli.discover", "show the servers on this network"),
    "netsim": ("gsrt.cli.netsim", "put a bad network between a game and a server, to try how it does"),
}


class CommandError(Exception):
    """A command could not do what was asked; the message is one line that says what to do, STATUS the exit status."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


def main(words: Sequence[str] | None = None) -> int:
    """Runs `gsrt WORDS` (default: this process's arguments) and returns the exit status: 0 done, 1 it could not be
    done, 2 the arguments are wrong (where argparse finds so, as SystemExit), 130 interrupted."""
    words = sys.argv[1:] if words is None else words
    try:
        for length in (2, 1):
            name = " ".join(words[:length])
            if name in COMMANDS:
                return _run(name, words[length:])
        return _top_level(words)
    except CommandError as error:
        print(f"gsrt: {error}", file=sys.stderr)
        return error.status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read the output has gone. So that the interpreter does not complain at exit too:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def command_name() -> str:
    """What to type for this command so that the shell finds it: `gsrt`, or the path it was started by."""
    program = sys.argv[0]
    found = os.path.dirname(os.path.abspath(program)) in os.environ.get("PATH", "").split(os.pathsep)
    return program if os.path.basename(program) == "gsrt" and not found else "gsrt"


def _run(name: str, words: Sequence[str]) -> int:
    import argparse
    from importlib import import_module

    module_name, summary = COMMANDS[name]
    module = import_module(module_name)
    parser = argparse.ArgumentParser(
        prog=f"gsrt {name}",
        description=summary[0].upper() + summary[1:] + ".",
        # With a width argparse need not ask shutil for one, which would bring three compression libraries along.
        formatter_class=lambda prog: argparse.HelpFormatter(prog, width=HELP_WIDTH),
    )
    module.add_arguments(parser)
    status: int = module.run(parser.parse_args(words))
    sys.stdout.flush()
    return status


def _top_level(words: Sequence[str]) -> int:
    """What is no subcommand: the version, help, or a mistake."""
    if words and words[0] == "--version":
        from gsrt import __version__

        print(f"gsrt {__version__}")
        return 0
    group = words[0] + " " if words and any(name.startswith(words[0] + " ") for name in COMMANDS) else ""
    rest = words[1:] if group else words
    if rest and rest[0] in ("-h", "--help", "help"):
        print(_help(group))
        return 0
    if rest:
        print(f"gsrt: there is no command {' '.join(words)!r}", file=sys.stderr)
    print(_help(group), file=sys.stderr)
    return 2


def _help(group: str) -> str:
    names = [name for name in COMMANDS if name.startswith(group)]
    width = max(len(name) for name in names)
    lines = "\n".join(f"  gsrt {name:{width}}  {COMMANDS[name][1]}" for name in names)
    usage = f"usage: gsrt {group or '[--version] '}COMMAND ..."
    return f"{usage}\n\n{lines}\n\n`gsrt COMMAND --help` tells more about each."
