"""Measurements of the whole product: `make bench`, or `make bench ONLY=name`. Each file is one of them."""
