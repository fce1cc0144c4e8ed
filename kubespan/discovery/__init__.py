"""The discovery service: where nodes of a cluster leave how they can be found, and hear of the others."""
