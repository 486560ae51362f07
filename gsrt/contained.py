"""A server contains itself once everything is open: see gsrt.device.containment for what that means, and below for what
it keeps. Loaded only where it is asked for."""

from __future__ import annotations

import os

from gsrt.device.containment import Contained, contain, interpreter_files
from gsrt.device.linux import describe
from gsrt.profile import locate
from gsrt.scripts.helper import Helper

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.cli.serve import Options
    from gsrt.log import Log
    from gsrt.scripts.compiling import Compiler


def contain_server(options: Options, compiler: Compiler, log: Log, *, executes: bool) -> Contained:
    """Contains the process of the server that OPTIONS describe. With `executes` it may still execute its own
    interpreter in its own place, which is how it restarts itself; another process it may never start, so that the one
    that compiles scripts is started here, unless it was inherited, and given to `compiler`."""
    readable, writable = readable_places(options), writable_places(options)
    if compiler.helper is None:
        try:
            compiler.helper = Helper.start([*readable, *writable])
        except OSError as error:
            log.error("scripts cannot be compiled from now on", reason=error.strerror)
    outcomes = contain(readable, writable, interpreter_files() if executes else (), allow_exec=executes)
    log.info("contained", **describe(outcomes))
    return Contained(readable, writable, outcomes)


def readable_places(options: Options) -> list[str]:
    """Folders, not files, of what may be read anew: an editor puts another file in a file's place."""
    named = [options.script, options.cert, options.key, locate(options.profile)[0]]
    folders = [os.path.dirname(os.path.abspath(path)) for path in named if path is not None]
    folders += [os.path.dirname(os.path.realpath(path)) for path in named if path is not None]
    if options.game is not None:
        folders.append(options.game)
    return list(dict.fromkeys(folders))


def writable_places(options: Options) -> list[str]:
    """Where the server's own files are."""
    folders = [options.state_dir, os.path.dirname(os.path.abspath(options.control))]
    if options.game is not None:
        from gsrt.store.database import path_in

        folders.append(os.path.dirname(path_in(options.game)))
    return list(dict.fromkeys(folders))
