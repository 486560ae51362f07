"""The addresses at which players can reach this box, and the Wi-Fi in between."""

from __future__ import annotations

from gsrt.doctor.finding import Finding, fail, ok, warn
from gsrt.doctor.surroundings import whole_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

    from gsrt.doctor.surroundings import Surroundings

INTERFACES_MAX = 256
ANY_ADDRESS = ("0.0.0.0", "::", "")
WEAK_SIGNAL_DBM = -75  # below it most of a Wi-Fi's rates are out of reach


class Interface:
    """A network interface: its FLAGS as `ip` writes them, and (address, prefix length) pairs of it."""

    __slots__ = ("addresses", "flags", "name")

    def __init__(
        self, name: str, flags: frozenset[str], addresses: list[tuple[IPv4Address | IPv6Address, int]]
    ) -> None:
        self.name = name
        self.flags = flags
        self.addresses = addresses

    @property
    def is_up(self) -> bool:
        return "UP" in self.flags

    @property
    def is_loopback(self) -> bool:
        return "LOOPBACK" in self.flags


def interfaces(surroundings: Surroundings) -> list[Interface] | None:
    """All interfaces, as iproute2's `ip -json address` tells them; without that program, as psutil does; None: nobody
    tells."""
    found = surroundings.json("ip", "-json", "address", "show")
    if isinstance(found, list):
        return [one for entry in found[:INTERFACES_MAX] if (one := _interface(entry)) is not None]
    return _of_psutil() if surroundings.root == "/" else None


def _interface(entry: object) -> Interface | None:
    if not isinstance(entry, dict) or not isinstance(entry.get("ifname"), str):
        return None
    flags = entry.get("flags")
    infos = entry.get("addr_info")
    pairs = [
        (info.get("local"), info.get("prefixlen"))
        for info in (infos if isinstance(infos, list) else [])
        if isinstance(info, dict)
    ]
    return Interface(
        entry["ifname"],
        frozenset(str(flag) for flag in flags) if isinstance(flags, list) else frozenset(),
        [pair for local, length in pairs if (pair := _pair(local, length)) is not None],
    )


def _pair(local: object, length: object) -> tuple[IPv4Address | IPv6Address, int] | None:
    from ipaddress import ip_address

    if not isinstance(local, str) or not isinstance(length, int):
        return None
    try:
        address = ip_address(local)
    except ValueError:
        return None
    return (address, length) if 0 <= length <= address.max_prefixlen else None


def _of_psutil() -> list[Interface] | None:
    try:
        import psutil
    except ImportError:
        return None
    from ipaddress import ip_address

    try:
        states, entries_of = psutil.net_if_stats(), psutil.net_if_addrs()
    except OSError:  # a kernel, or what stands for one, without the calls for it
        return None
    found = []
    for name, entries in entries_of.items():
        flags = {flag.upper() for flag in states[name].flags.split(",")} if name in states else set()
        pairs = []
        for entry in entries:
            local = entry.address.partition("%")[0]
            try:
                length = int(ip_address(entry.netmask or "")).bit_count()
            except ValueError:
                length = 128 if ":" in local else 32
            if (pair := _pair(local, length)) is not None:
                pairs.append(pair)
        found.append(Interface(name, frozenset(flags), pairs))
    return found


def lan_addresses(found: list[Interface]) -> list[tuple[Interface, IPv4Address | IPv6Address, int]]:
    """(interface, address, prefix length) of each address that others can send to: none of loopback or link-local
    kind, IPv4 first."""
    usable = [
        (one, address, length)
        for one in found
        if one.is_up and not one.is_loopback
        for address, length in one.addresses
        if not (address.is_link_local or address.is_loopback)
    ]
    return sorted(usable, key=lambda each: each[1].version)


def addresses(surroundings: Surroundings) -> Finding:
    """What players can type."""
    found = interfaces(surroundings)
    if found is None:
        return warn("cannot tell the addresses", "apt-get install iproute2")
    host = surroundings.settings.host
    all_of_them = {str(address) for one in found for address, _ in one.addresses}
    if host not in ANY_ADDRESS and _is_address(host) and host not in all_of_them:
        return fail(
            f"the server is to listen at {host}, which is no address of this box", "take host = 0.0.0.0 for all"
        )
    if host.startswith("127.") or host in ("localhost", "::1"):
        return warn(
            f"the server is to listen at {host}: nobody on another machine can reach it", "take host = 0.0.0.0 for all"
        )
    usable = lan_addresses(found)
    text = ", ".join(f"{address} ({one.name})" for one, address, _ in usable)
    if not usable:
        return _no_address(found)
    versions = {address.version for _, address, _ in usable}
    if versions == {6}:
        return warn(f"only IPv6: {text}", "players' SDKs may know IPv4 only: give the box an IPv4 address")
    twice = _same_network_twice(usable)
    if twice:
        return warn(
            f"{text}; {twice} are in the same network, so answers may leave by the slower of them",
            "pull the cable or switch the Wi-Fi off (nmcli radio wifi off): one way in is enough",
        )
    return ok(text)


def _is_address(host: str) -> bool:
    from ipaddress import ip_address

    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _no_address(found: list[Interface]) -> Finding:
    local = [
        f"{address} ({one.name})"
        for one in found
        if one.is_up and not one.is_loopback
        for address, _ in one.addresses
        if address.version == 4 and address.is_link_local
    ]
    if local:
        return warn(
            f"only addresses that the box gave itself, no router answered: {', '.join(local)}",
            "players without a router have such addresses too and can play; else look at cable, switch and router",
        )
    down = [one.name for one in found if not one.is_up and not one.is_loopback]
    return fail(
        "no address but the loopback one: nobody on another machine can reach this box",
        "plug in the cable or join the Wi-Fi, and see `ip address`"
        + (f"; not switched on: {', '.join(down[:5])}" if down else ""),
    )


def _same_network_twice(usable: list[tuple[Interface, IPv4Address | IPv6Address, int]]) -> str:
    """Names of two interfaces in one IPv4 network; "" where there are none."""
    from ipaddress import ip_network

    seen: dict[object, str] = {}
    for one, address, length in usable:
        if address.version != 4 or length == 32:
            continue
        network = ip_network(f"{address}/{length}", strict=False)
        if seen.setdefault(network, one.name) != one.name:
            return f"{seen[network]} and {one.name}"
    return ""


def wifi(surroundings: Surroundings) -> Finding:
    """Wi-Fi power saving, the classic cause of lag on a Pi: the chip sleeps between beacons, and packets wait."""
    stations = [
        name
        for name in surroundings.names("/sys/class/net")
        if surroundings.there(f"/sys/class/net/{name}/wireless")
        or surroundings.there(f"/sys/class/net/{name}/phy80211")
    ]
    active = [name for name in stations if surroundings.word(f"/sys/class/net/{name}/operstate") != "down"]
    if not stations:
        return ok("no Wi-Fi in this box: packets come by cable")
    if not active:
        return ok(f"Wi-Fi ({', '.join(stations)}) is not in use")
    saving, unknown = [], []
    for name in active:
        output = surroundings.run("iw", "dev", name, "get", "power_save")
        said = "" if output is None or output.status != 0 else output.text.lower()
        if "power save: on" in said:
            saving.append(name)
        elif "power save: off" not in said:
            unknown.append(name)
    if saving:
        return warn(
            f"{', '.join(saving)} saves power: packets wait up to some hundred milliseconds while the chip sleeps",
            f"sudo iw dev {saving[0]} set power_save off; with NetworkManager also for the next start: "
            "nmcli connection modify NAME 802-11-wireless.powersave 2. A cable is better",
        )
    weak = [f"{name} {signal} dBm" for name in active if (signal := _signal(surroundings, name)) < WEAK_SIGNAL_DBM]
    if weak:
        return warn(f"weak signal: {', '.join(weak)}", "move box or access point closer, or take a cable")
    if unknown:
        return warn(
            f"plays over Wi-Fi ({', '.join(unknown)}); cannot tell whether it saves power",
            "apt-get install iw; or a cable",
        )
    return ok(f"Wi-Fi {', '.join(active)} without power saving; a cable is steadier still")


def _signal(surroundings: Surroundings, name: str) -> int:
    """The signal's strength in dBm from /proc/net/wireless (proc(5): name, status, link, level, ...); 0: not told."""
    for line in (surroundings.read("/proc/net/wireless") or "").splitlines():
        parts = line.split()
        if len(parts) > 3 and parts[0] == f"{name}:":
            return whole_number(parts[3].rstrip(".")) or 0
    return 0
