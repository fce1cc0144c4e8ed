"""Several processes that serve the same clusters, as if they were one."""
