"""Files: at any moment they hold all that was acknowledged, and of damaged ones what is whole is used."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from kubespan.discovery import records, store
from kubespan.discovery.core import Discovery
from kubespan.discovery.records import Record
from kubespan.discovery.store import Store
from talos.gen.sidero import discovery_pb2 as pb
from talos.gen.sidero import discovery_snapshot_pb2 as snapshot_pb
from tests.kubespan.discovery.lab import Clock, known, update

Contents = dict[str, dict[str, tuple[bytes, list[bytes]]]]


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def contents(core: Discovery) -> Contents:
    found = {id: known(pb.ListResponse.FromString(core.state.listing(id))) for id in core.state.cluster_ids()}
    return {id: affiliates for id, affiliates in found.items() if affiliates}


async def started(folder: Path, clock: Callable[[], float] | None = None) -> tuple[Discovery, Store]:
    files = Store(folder / "state.binpb")
    core = Discovery(files, clock=clock or Clock())
    await core.start()
    return core, files


async def found(folder: Path) -> Contents:
    """What a service finds that starts after a crash at this moment."""
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name) / "copy"
        shutil.copytree(folder, copy)
        core, _ = await started(copy)
        here = contents(core)
        await core.close()
        return here


def put(core: Discovery, id: str, data: bytes = b"d", cluster: str = "c", **more: Any) -> None:
    core.update(update(id, data, cluster=cluster, **more))
    flush(core)


def delete(core: Discovery, id: str, cluster: str = "c") -> None:
    core.delete(pb.AffiliateDeleteRequest(cluster_id=cluster, affiliate_id=id))
    flush(core)


def flush(core: Discovery) -> None:
    """What happened is acknowledged."""
    assert isinstance(core._files, Store)
    core._files.flush()


async def test_a_gentle_end_leaves_one_file(folder: Path) -> None:
    core, _ = await started(folder / "made for it")
    put(core, "a", b"1", endpoints=[b"e1", b"e2"])
    put(core, "b", b"", cluster="another")
    await core.close()
    assert sorted(path.name for path in (folder / "made for it").iterdir()) == ["state.binpb", "state.binpb.lock"]
    again, _ = await started(folder / "made for it")
    assert contents(again) == {"c": {"a": (b"1", [b"e1", b"e2"])}, "another": {"b": (b"", [])}}
    await again.close()


async def test_time_does_not_pass_while_nobody_serves(folder: Path) -> None:
    clock = Clock()
    core, _ = await started(folder, clock)
    put(core, "a", ttl=60)
    clock.now += 20
    await core.close()
    clock.now = 5.0
    again, _ = await started(folder, clock)
    clock.now += 40
    await again.collect()
    assert contents(again) == {"c": {"a": (b"d", [])}}
    clock.now += 0.1
    await again.collect()
    assert contents(again) == {}
    await again.close()


async def test_the_file_is_in_the_documented_format(folder: Path) -> None:
    core, files = await started(folder)
    put(core, "a", b"1", endpoints=[b"e"], ttl=60)
    put(core, "b", b"2")
    await files.save(core.state, core.clock)
    snapshot = snapshot_pb.StateSnapshot.FromString((folder / "state.binpb").read_bytes())
    await core.close()
    (cluster,) = snapshot.clusters
    assert cluster.id == "c"
    assert [(one.id, one.data, one.ttl.seconds) for one in cluster.affiliates] == [("a", b"1", 60), ("b", b"2", 60)]
    assert [(one.data, one.ttl.seconds) for one in cluster.affiliates[0].endpoints] == [(b"e", 60)]


async def test_when_all_are_gone_they_do_not_come_back(folder: Path) -> None:
    core, _ = await started(folder)
    put(core, "a")
    await core.close()
    core, _ = await started(folder)
    delete(core, "a")
    assert await found(folder) == {}
    await core.close()
    assert await found(folder) == {}


async def test_what_expired_does_not_come_back(folder: Path) -> None:
    clock = Clock()
    core, _ = await started(folder, clock)
    put(core, "a", endpoints=[b"short"], ttl=10)
    put(core, "a", b"", endpoints=[b"long"], ttl=60)
    put(core, "b", ttl=10)
    clock.now += 11
    await core.collect()
    flush(core)
    assert await found(folder) == {"c": {"a": (b"d", [b"long"])}}
    await core.close()


async def test_an_answer_comes_when_the_change_is_kept(folder: Path) -> None:
    core, _ = await started(folder)

    async def write(id: str) -> None:
        await core.write(update(id, b"d", cluster="c"))
        assert id in (await found(folder))["c"]

    await asyncio.gather(*(write(str(number)) for number in range(5)))
    await core.close()


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(
            st.just("update"),
            st.sampled_from(["x", "y"]),
            st.sampled_from("abc"),
            st.sampled_from([b"", b"1", b"2"]),
            st.lists(st.sampled_from([b"e1", b"e2", b"e3"]), max_size=3),
            st.integers(1, 9),
        ),
        st.tuples(st.just("delete"), st.sampled_from(["x", "y"]), st.sampled_from("abc")),
        st.tuples(st.just("pass"), st.integers(1, 5)),
        st.tuples(st.just("save")),
        st.tuples(st.just("restart")),
        st.tuples(st.just("crash")),
    ),
    max_size=25,
)


@hypothesis_settings(max_examples=40)
@given(OPERATIONS)
def test_whatever_happens_the_files_hold_what_was_acknowledged(operations: list[tuple[Any, ...]]) -> None:
    async def run(folder: Path) -> None:
        clock = Clock()
        core, files = await started(folder / "0", clock)
        for number, (operation, *details) in enumerate(operations, 1):
            if operation == "update":
                cluster, id, data, endpoints, ttl = details
                core.update(update(id, data, endpoints, ttl, cluster))
            elif operation == "delete":
                delete(core, details[1], details[0])
            elif operation == "pass":
                clock.now += details[0]
                await core.collect()
            files.flush()
            if operation == "save":
                await files.save(core.state, core.clock)
            elif operation in ("restart", "crash"):
                before, here = contents(core), Path(files._path).parent
                if operation == "crash":
                    shutil.copytree(here, folder / str(number))
                    here = folder / str(number)
                await core.close()
                core, files = await started(here, clock)
                assert contents(core) == before
            assert await found(Path(files._path).parent) == contents(core)
        await core.close()

    with tempfile.TemporaryDirectory() as name:
        asyncio.run(run(Path(name)))


async def test_a_crash_at_any_step_of_a_snapshot_loses_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    core, files = await started(folder)
    for number in range(40):
        put(core, f"old-{number}", os.urandom(2000), cluster=str(number % 4))
    await files.save(core.state, core.clock)
    monkeypatch.setattr(store, "_CHUNK", 10_000)
    in_thread, copies = asyncio.to_thread, list[tuple[Path, Contents]]()

    def crash() -> None:
        copy = folder.with_name(f"{folder.name}-{len(copies)}")
        shutil.copytree(folder, copy)
        copies.append((copy, contents(core)))

    async def stepwise(function: Callable[..., object], *arguments: object) -> object:
        crash()
        step = len(copies)
        put(core, f"new-{step}", b"n", cluster=str(step % 4))
        put(core, f"old-{step}", b"changed", cluster=str(step % 4))
        delete(core, f"old-{step + 20}", str((step + 20) % 4))
        crash()
        result = await in_thread(function, *arguments)
        crash()
        return result

    for number in range(40):
        put(core, f"old-{number}", os.urandom(2000), cluster=str(number % 4))
    with monkeypatch.context() as slow:
        slow.setattr(asyncio, "to_thread", stepwise)
        await files.save(core.state, core.clock)
    crash()
    assert len(copies) > 20
    for copy, there in copies:
        assert await found(copy) == there
        shutil.rmtree(copy)
    await core.close()


async def test_changes_while_a_snapshot_is_written_survive_it(folder: Path) -> None:
    core, files = await started(folder)
    for number in range(3000):
        put(core, str(number % 1000), os.urandom(100), cluster=str(number // 1000))
    turns = 0

    async def write() -> None:
        nonlocal turns
        while True:
            put(core, str(turns % 1000), b"%d" % turns, cluster=str(turns % 3))
            delete(core, str((turns + 500) % 1000), str(turns % 3))
            turns += 1
            await asyncio.sleep(0)

    writing = asyncio.create_task(write())
    for _ in range(3):
        await files.save(core.state, core.clock)
    writing.cancel()
    assert turns > 10, "others have their turn while a snapshot is written"
    assert await found(folder) == contents(core)
    await core.close()


# Damage.


def written(folder: Path, clusters: dict[str, list[str]]) -> list[int]:
    """A snapshot; where each cluster ends in it."""
    ends, stream = [], b""
    for cluster, ids in clusters.items():
        stream += records.cluster(cluster, [records.affiliate(id, b"d", [(b"e", 60.0)], 60.0) for id in ids])
        ends.append(len(stream))
    (folder / "state.binpb").write_bytes(stream)
    return ends


async def test_of_a_snapshot_cut_in_half_what_is_whole_is_served(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = folder / "state.binpb"
    ends = written(folder, {"one": ["a", "b"], "two": ["c"], "three": ["d"]})
    half = path.read_bytes()[: ends[1] + 5]
    path.write_bytes(half)
    (folder / "state.binpb.journal.7").write_bytes(records.encode(Record("three", "d", b"new", (), 60.0)))
    core, _ = await started(folder)
    whole = {"a": (b"d", [b"e"]), "b": (b"d", [b"e"])}
    assert contents(core) == {"one": whole, "two": {"c": (b"d", [b"e"])}, "three": {"d": (b"new", [])}}
    assert "state.binpb is damaged" in caplog.text
    assert f"after {ends[1]} bytes that are whole" in caplog.text
    await core.close()
    assert (folder / "state.binpb.damaged").read_bytes() == half
    again, _ = await started(folder)
    assert set(contents(again)) == {"one", "two", "three"}
    await again.close()


async def test_a_journal_that_was_cut_off_is_used_up_to_there(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    core, _ = await started(folder)
    put(core, "a")
    put(core, "b")
    copy = folder / "copy"
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("copy"))
    await core.close()
    journal = copy / "state.binpb.journal.1"
    cut = journal.read_bytes()[:-1]
    journal.write_bytes(cut)
    (copy / "state.binpb.journal.2").write_bytes(records.encode(Record("c", "later", b"d", (), 60.0)))
    again, _ = await started(copy)
    assert set(contents(again)["c"]) == {"a", "later"}
    assert "journal.1 is damaged" in caplog.text
    await again.close()
    assert (copy / "state.binpb.journal.damaged").read_bytes() == cut


@hypothesis_settings(max_examples=80)
@given(st.data())
def test_no_damage_keeps_a_service_from_starting(data: st.DataObject) -> None:
    async def run(folder: Path) -> None:
        written(folder, {"one": ["a", "b"], "two": ["c"]})
        journal = folder / "state.binpb.journal.1"
        journal.write_bytes(records.encode(Record("one", "d", b"d", (), 60.0)) * 3)
        for path in (folder / "state.binpb", journal):
            stream = bytearray(path.read_bytes())
            for _ in range(data.draw(st.integers(0, 3))):
                at = data.draw(st.integers(0, len(stream) - 1))
                stream[at : at + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=9))
                stream = stream or bytearray(b"x")
            path.write_bytes(stream)
        core, _ = await started(folder)
        here = contents(core)
        await core.close()
        assert await found(folder) == here

    with tempfile.TemporaryDirectory() as name:
        asyncio.run(run(Path(name)))


async def test_one_message_that_is_none_leaves_the_others(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    good = records.encode(Record("c", "a", b"d", (), 60.0))
    (folder / "state.binpb").write_bytes(good + b"\x0a\x03\xff\xff\xff" + good.replace(b"a", b"b"))
    core, _ = await started(folder)
    assert set(contents(core)["c"]) == {"a", "b"}
    assert "1 of its parts cannot be read" in caplog.text
    await core.close()
    assert (folder / "state.binpb.damaged").exists()


# Files that cannot be used.


async def test_two_services_never_share_files(folder: Path) -> None:
    core, _ = await started(folder)
    with pytest.raises(OSError, match="another discovery service uses this file"):
        await started(folder)
    put(core, "a")
    assert await found(folder) == {"c": {"a": (b"d", [])}}
    await core.close()
    again, _ = await started(folder)
    await again.close()


async def test_a_service_that_never_loaded_its_files_writes_none(folder: Path) -> None:
    core, _ = await started(folder)
    put(core, "a")
    other = Discovery(Store(folder / "state.binpb"))
    with pytest.raises(OSError, match="another discovery service"):
        await other.start()
    await core.close()
    before = (folder / "state.binpb").read_bytes()
    await other.drain()
    await other.close()
    assert (folder / "state.binpb").read_bytes() == before
    never = Discovery(Store(folder / "state.binpb"))
    await never.close()
    assert await found(folder) == {"c": {"a": (b"d", [])}}


class Reluctant:
    """Orders nothing, and only starts when asked twice."""

    def __init__(self) -> None:
        self.asked = 0

    async def start(self) -> None:
        self.asked += 1
        if self.asked == 1:
            raise ConnectionError("not yet")

    async def update(self, request: pb.AffiliateUpdateRequest) -> None:
        raise AssertionError

    async def delete(self, request: pb.AffiliateDeleteRequest) -> None:
        raise AssertionError

    async def stop(self) -> None:
        pass


async def test_a_start_that_failed_may_be_tried_again(folder: Path) -> None:
    first, _ = await started(folder)
    put(first, "a")
    await first.close()
    core = Discovery(Store(folder / "state.binpb"))
    core.orderer = Reluctant()
    with pytest.raises(ConnectionError):
        await core.start()
    assert not core.ready
    await core.start()
    put(core, "b")
    assert set((await found(folder))["c"]) == {"a", "b"}
    await core.close()
    assert set((await found(folder))["c"]) == {"a", "b"}


async def test_a_file_that_cannot_be_read_is_no_empty_one(folder: Path) -> None:
    (folder / "state.binpb").mkdir()
    with pytest.raises(IsADirectoryError):
        await started(folder)
    (folder / "state.binpb").rmdir()
    core, _ = await started(folder)
    await core.close()


@pytest.mark.parametrize("half", [False, True])
async def test_a_full_disk_stops_nobody_and_leaves_no_half_record(
    folder: Path, half: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    core, _ = await started(folder)
    put(core, "before")
    write = os.write

    def full(descriptor: int, data: bytes) -> int:
        if half:
            return write(descriptor, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(os, "write", full)
        for number in range(5):
            put(core, f"during-{number}")
    assert caplog.text.count("until it can, a crash loses changes") == 1
    assert await found(folder) == {"c": {"before": (b"d", [])}}
    assert len(contents(core)["c"]) == 6
    async with asyncio.timeout(10):  # a snapshot is taken at once
        while await found(folder) != contents(core):
            await asyncio.sleep(0.01)
    put(core, "after")
    assert await found(folder) == contents(core)
    await core.close()


async def test_a_snapshot_that_fails_leaves_all_as_it_was(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    core, files = await started(folder)
    put(core, "a")
    await files.save(core.state, core.clock)
    put(core, "b")

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(store, "_sync", fail)
        for number in range(3):
            with pytest.raises(OSError, match="No space"):
                await files.save(core.state, core.clock)
            put(core, f"c-{number}")
            assert set((await found(folder))["c"]) == set(contents(core)["c"])
    assert files.operations == {("load", "success"): 1, ("save", "success"): 1, ("save", "error"): 3}
    await files.save(core.state, core.clock)
    assert await found(folder) == contents(core)
    assert len(list(folder.glob("*.journal.*"))) == 1
    await core.close()


async def test_a_long_journal_brings_the_next_snapshot_forward(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "JOURNAL_BYTES", 10_000)
    core, files = await started(folder)
    for _ in range(20):
        put(core, "a", os.urandom(1000))
    async with asyncio.timeout(10):
        while ("save", "success") not in files.operations:
            await asyncio.sleep(0.01)
    assert sum(path.stat().st_size for path in folder.iterdir()) < 10_000
    await core.close()


async def test_what_was_loaded_and_saved_is_counted(folder: Path) -> None:
    written(folder, {"one": ["a", "b"], "two": ["c"]})
    core, files = await started(folder)
    loaded = files.done["load"]
    assert (loaded.clusters, loaded.affiliates, loaded.endpoints) == (2, 3, 3)
    assert loaded.size == (folder / "state.binpb").stat().st_size
    await core.close()
    saved = files.done["save"]
    assert (saved.clusters, saved.affiliates, saved.endpoints) == (2, 3, 3)
    assert saved.size == (folder / "state.binpb").stat().st_size
