"""TCP as pure state: segments and the time go in, segments come out. No I/O, no clock of its own."""
