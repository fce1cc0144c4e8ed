"""The wire with the other end written by somebody else: programs over Talos' Go libraries against this code."""
