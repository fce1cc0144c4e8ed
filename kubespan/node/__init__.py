"""A node of a KubeSpan mesh, as Talos is one: what it publishes, whom it calls where, what goes through the tunnel."""
