"""Our own protobuf sources of the interfaces that Talos machines and clients speak; `generate` compiles them."""
