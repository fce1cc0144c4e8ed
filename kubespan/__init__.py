"""Machines finding each other: discovery, affiliates, the mesh."""
