"""Talos machines made of software: the demo's and the load test's, and the other end of many tests.

A simulated machine speaks the wire of a real one (SideroLink, the machine API, COSI, events, kernel log, trustd, a
small Kubernetes API) and behaves as the Talos version it claims to be. Nothing runs inside: images are names, disks
are numbers, etcd is a list of members. `python -m nodeagent.simulator --help` starts some.
"""
