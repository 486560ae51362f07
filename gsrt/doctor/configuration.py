"""The configuration file."""

from __future__ import annotations

from gsrt.doctor.finding import Finding, fail, ok

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.doctor.surroundings import Surroundings


def configuration(surroundings: Surroundings) -> Finding:
    """Whether the configuration file can be used."""
    settings = surroundings.settings
    if settings.config_error:
        return fail(settings.config_error, "put it right; until then what follows is of a server without it")
    if settings.config is None:
        return ok("no configuration file: a server has what stands on its command line")
    return ok(f"{settings.config} is in order")
