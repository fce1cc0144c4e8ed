"""What is true of Talos whoever runs it: configuration, keys, versions, wire formats. Plain Python without I/O."""
