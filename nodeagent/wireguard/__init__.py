"""WireGuard links to machines: the interface every engine offers, and the userspace engine."""
