"""Django's database from asyncio programs: in a few threads that give their connection back after each call."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

from django.db import connections

T = TypeVar("T")

_threads = ThreadPoolExecutor(max_workers=8, thread_name_prefix="database")


async def in_thread(work: Callable[[], T]) -> T:
    """Run synchronous database work in a thread, outside any tenant's scope; the work opens its own."""

    def run() -> T:
        try:
            return work()
        finally:
            connections.close_all()  # back to the pool

    return await asyncio.get_running_loop().run_in_executor(_threads, copy_context().run, run)
