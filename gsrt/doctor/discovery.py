"""Whether players find the server by themselves: broadcasts and multicast need a network that carries them."""

from __future__ import annotations

from gsrt.doctor.addresses import ANY_ADDRESS, Interface, interfaces, lan_addresses
from gsrt.doctor.finding import Finding, ok, warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gsrt.doctor.surroundings import Surroundings

BY_HAND = "players then type the address: gsrt join ADDRESS PORT TOKEN"


def discovery(surroundings: Surroundings) -> Finding:
    """Whether there is a network over which a server can be found: the beacon is broadcast, mDNS is multicast."""
    found = interfaces(surroundings)
    if found is None:
        return warn("cannot tell what the networks carry", "apt-get install iproute2")
    usable: dict[str, Interface] = {one.name: one for one, address, _ in lan_addresses(found) if address.version == 4}
    if not usable:
        return warn("no network to be found in", f"see the line on addresses; {BY_HAND}")
    status = surroundings.status()
    if (
        status is not None
        and status.get("host") in ANY_ADDRESS
        and not surroundings.is_found(surroundings.server_port())
    ):
        return warn(
            f"a search over {', '.join(usable)} does not find the running server",
            f"see the line on the firewall; {BY_HAND}",
        )
    broadcast = [name for name, one in usable.items() if "BROADCAST" in one.flags]
    multicast = [name for name, one in usable.items() if "MULTICAST" in one.flags]
    if not broadcast:
        return warn(f"{', '.join(usable)}: no network that carries broadcasts (a tunnel?)", BY_HAND)
    if not multicast:
        return warn(
            f"{', '.join(broadcast)}: broadcasts, but no multicast (mDNS)",
            f"sudo ip link set {broadcast[0]} multicast on",
        )
    isolated = [name for name in broadcast if surroundings.there(f"/sys/class/net/{name}/wireless")]
    if isolated and len(isolated) == len(broadcast):
        return ok(
            f"broadcasts and multicast over {', '.join(broadcast)}",
            "if nobody finds the server, the access point keeps its guests apart (client isolation): switch that off",
        )
    return ok(f"broadcasts and multicast over {', '.join(broadcast)}")
