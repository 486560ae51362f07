"""The TLS certificate."""

from __future__ import annotations

import os

from gsrt.doctor.addresses import interfaces, lan_addresses
from gsrt.doctor.clock import earliest
from gsrt.doctor.finding import Finding, fail, ok, warn
from gsrt.doctor.users import NAME, READ, service_user
from gsrt.transports.certificate import CertificateError, CertificateMaker, check_pair

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.doctor.surroundings import Surroundings

DAY = 86_400.0
SOON_DAYS = 14


def certificate(surroundings: Surroundings) -> Finding:
    """Whether it is there, can be used by every client, is valid now, and names this box."""
    settings = surroundings.settings
    own = settings.cert is not None and settings.key is not None
    if own:
        paths = str(settings.cert), str(settings.key)
    else:
        made = CertificateMaker(settings.state).existing() if settings.state else None
        if made is None:
            return _none(surroundings)
        paths = made
    try:
        check_pair(*paths)
    except CertificateError as error:
        return fail(str(error), "then restart the server")
    serving = service_user(surroundings)
    kept = [path for path in paths if serving is not None and not serving.may(path, READ)]
    if kept:
        return fail(
            f"the server's user, {NAME}, may not read {' and '.join(kept)}",
            f"sudo chgrp {NAME} {' '.join(kept)} && sudo chmod 0640 {' '.join(kept)}",
        )
    dates = validity(surroundings, paths[0])
    if dates is None:
        return warn(f"{paths[0]} is an RSA pair; cannot tell when it ends", "apt-get install openssl")
    begins, ends = dates
    now = surroundings.now()
    renew = "have it renewed, then restart the server"
    if not own:
        renew = f"sudo rm {paths[0]} {paths[1]} and restart the server, which makes a new one"
    if now < begins:
        if now < earliest(surroundings):
            return fail("is not valid yet by this box's clock, which is wrong", "see the line on the clock")
        return fail(f"{paths[0]} is not valid before {_day(begins)}: it was made while the clock was wrong", renew)
    if now >= ends:
        return fail(f"{paths[0]} has ended on {_day(ends)}: clients refuse it", renew)
    if ends - now < SOON_DAYS * DAY:
        return warn(f"{paths[0]} ends on {_day(ends)}", renew)
    missing = _not_named(surroundings, paths[0])
    if missing:
        return warn(
            f"valid until {_day(ends)}, but not for {missing}: clients that check names (browsers) refuse it there",
            renew if not own else "ask for one that names it, or have players use the name that it has",
        )
    return ok(f"RSA, valid until {_day(ends)}" + ("" if own else ", self-made: clients have to be told to trust it"))


def _none(surroundings: Surroundings) -> Finding:
    state = surroundings.settings.state
    there = os.path.join(state, "certificate.pem")
    is_closed = os.path.isdir(state) and not os.access(state, os.R_OK | os.X_OK)
    if is_closed or (os.path.exists(there) and not os.access(there, os.R_OK)):
        return warn(f"cannot tell: this user may not read what is in {state}", "sudo gsrt doctor")
    from shutil import which

    if surroundings.status() is not None:
        return warn(f"the running server's is not in {state}", "name its configuration with --config")
    if which("openssl", path=f"{os.environ.get('PATH', '')}:/usr/bin") is None:
        return fail("there is none, and no openssl program to make one: no TLS", "apt-get install openssl")
    return ok("none yet: the server makes one at its first start")


def validity(surroundings: Surroundings, path: str) -> tuple[float, float] | None:
    """When it begins and ends, in seconds of the wall clock, as openssl-x509(1) tells."""
    output = surroundings.run("openssl", "x509", "-in", path, "-noout", "-startdate", "-enddate")
    if output is None or output.status != 0:
        return None
    from ssl import cert_time_to_seconds

    found: dict[str, float] = {}
    for line in output.text.splitlines()[:10]:
        name, _, date = line.partition("=")
        try:
            found[name] = float(cert_time_to_seconds(date.strip()))
        except (ValueError, OverflowError):
            continue
    if "notBefore" not in found or "notAfter" not in found:
        return None
    return found["notBefore"], found["notAfter"]


def _not_named(surroundings: Surroundings, path: str) -> str:
    """The first IPv4 address of this box that the certificate does not name; "" where it names all, or a host's name
    with a dot besides localhost and .local ones: then it is for that name."""
    output = surroundings.run("openssl", "x509", "-in", path, "-noout", "-ext", "subjectAltName")
    if output is None or output.status != 0:
        return ""
    parts = [part.strip() for line in output.text.splitlines() for part in line.split(",")]
    names = {part.removeprefix("DNS:") for part in parts if part.startswith("DNS:")}
    named = {part.removeprefix("IP Address:") for part in parts if part.startswith("IP Address:")}
    if any("." in name and not name.endswith(".local") for name in names):
        return ""
    usable = lan_addresses(interfaces(surroundings) or [])
    return next((str(each) for _, each, _ in usable if each.version == 4 and str(each) not in named), "")


def _day(seconds: float) -> str:
    import time

    return time.strftime("%Y-%m-%d", time.gmtime(min(max(seconds, 0.0), 2**40)))
