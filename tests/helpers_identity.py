"""What the probe's report says of identity, in numbers."""

NUMBERS = {
    "CAP_CHOWN": 0, "CAP_KILL": 5, "CAP_SETGID": 6, "CAP_SETUID": 7, "CAP_NET_BIND_SERVICE": 10, "CAP_SYS_ADMIN": 21,
    "CAP_AUDIT_WRITE": 29,
}  # fmt: skip


def status_of(report):
    """The report's /proc/self/status as a dict."""
    return dict(line.split(":\t", 1) for line in report["status"].splitlines() if ":\t" in line)


def capability_sets(report):
    """The five sets as integers."""
    status = status_of(report)
    return {name: int(status[f"Cap{name}"], 16) for name in ("Inh", "Prm", "Eff", "Bnd", "Amb")}


def bits(*names):
    """A mask of capabilities."""
    return sum(1 << NUMBERS[name] for name in names)
