"""Deterministic simulation of the link's TCP: virtual time, a seeded network, seeded programs at both ends.

One number decides everything, so a failure repeats from its seed:

    python -m tests.nodeagent.simulation --seed 4711
    python -m tests.nodeagent.simulation --forever
"""
