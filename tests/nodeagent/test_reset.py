"""How connections are broken."""

import asyncio

from nodeagent.sockets import reset

MUCH = 8 * 1024 * 1024


async def test_a_connection_that_has_ended_is_left_alone() -> None:
    done = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(bytes(MUCH))
            writer.close()  # while there is something left to be sent
            await writer.wait_closed()
            done.set_result(reset(writer.transport))
        except Exception as error:
            done.set_exception(error)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        assert len(await reader.read()) == MUCH
        await done
        writer.close()
