"""Names and addresses of hosts, as people and browsers write them."""

import ipaddress
import re

ANY_HOST = "*"
_HOST = re.compile(r"(?:\[(?P<ipv6>[^\[\]@/]+)\]|(?P<name>[^\[\]@/:\s]+))(?::\d{1,5})?")


def host_name(header: str) -> str | None:
    """The name or address in a Host header, without its port; None where it is malformed."""
    match = _HOST.fullmatch(header.strip())
    return None if match is None else canonical_host(match["ipv6"] or match["name"])


def is_host(name: str) -> bool:
    """Whether this is a name or address alone, without scheme, port and path."""
    if ":" not in name:
        return host_name(name) is not None
    try:
        ipaddress.IPv6Address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def is_loopback(name: str) -> bool:
    """Whether only this machine reaches a server that listens there."""
    name = canonical_host(name)
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def canonical_host(name: str) -> str:
    """One spelling of a name or address."""
    name = name.strip("[]").partition("%")[0].lower()
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return name
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)
