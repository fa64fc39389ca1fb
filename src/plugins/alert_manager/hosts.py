"""Which hosts are this machine: only to it may anything be sent, or shown, unprotected."""

from __future__ import annotations

import ipaddress


def is_loopback(host: str) -> bool:
    """Says whether `host` names this machine: 127.0.0.0/8, ::1 (also in brackets) or localhost."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
