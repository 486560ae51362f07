"""The firmware profile: which one, and whether this box can keep what it promises."""

from __future__ import annotations

from gsrt.doctor.finding import Finding, fail, ok, warn
from gsrt.doctor.memory import of_meminfo
from gsrt.doctor.surroundings import megabytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.doctor.surroundings import Surroundings

SYSTEM_BYTES = 96 << 20  # what Raspberry Pi OS Lite itself keeps, of all that there is


def choice(surroundings: Surroundings) -> Finding:
    """What `auto` would choose here, against what is chosen."""
    from gsrt.device.model import choose, memory_bytes, model_text

    named = surroundings.settings.profile
    profile = surroundings.profile()
    if profile is None:
        return fail(surroundings.profile_error(), "gsrt profile list shows those there are")
    root = surroundings.root
    fitting, why = choose(model_text(root), memory_bytes(root), surroundings.machine())
    if profile.name == fitting or named == "auto":
        return ok(f"{profile.name}: {why}")
    if is_own(profile.name):
        return ok(f"{profile.name}, your own; auto would choose {fitting}: {why}")
    return ok(f"{profile.name}; auto would choose {fitting}: {why}", f'profile = "{fitting}" in the configuration')


def is_own(name: str) -> bool:
    """Whether a profile of that name is none of those that come with gsrt."""
    from gsrt.profile import available

    return name not in available()


def promise(surroundings: Surroundings) -> Finding:
    """Whether the memory that the profile promises to stay within is there."""
    profile = surroundings.profile()
    if profile is None:
        return warn("cannot tell without a profile", "see the line on the profile")
    total, available = of_meminfo(surroundings, "MemTotal"), of_meminfo(surroundings, "MemAvailable")
    if total is None or available is None:
        return warn("cannot tell how much memory there is", "free -m")
    wanted = profile.memory_bytes_max
    text = f"{profile.name} promises to stay within {megabytes(wanted)}"
    if wanted + SYSTEM_BYTES > total:
        return fail(
            f"{text}, but this box has {megabytes(total)} for everything", "choose a smaller one: gsrt profile list"
        )
    needed = 0 if surroundings.status() is not None else wanted  # a running server has its part already
    if available < needed + profile.free_memory_bytes_min:
        return warn(
            f"{text}; {megabytes(available)} are available now, and with less than "
            f"{megabytes(profile.free_memory_bytes_min)} no sessions are taken",
            "end what else runs (a desktop takes most): ps -eo rss,comm --sort=-rss | head",
        )
    return ok(f"{text}; {megabytes(available)} are available")
