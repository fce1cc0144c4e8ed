"""Talking to machines: both ends of every link. Asyncio, no Django."""
