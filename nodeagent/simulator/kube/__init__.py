"""A Kubernetes API of simulated clusters, as far as kubectl and client-go need it."""
