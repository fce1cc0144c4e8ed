"""Our reverse tunnel: machines reached through an agent that dials out to us. Both ends."""
