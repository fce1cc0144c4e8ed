"""The composition of the product: settings, addresses, programs, the `omni` command."""

__version__ = "0.1.0"
