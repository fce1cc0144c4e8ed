"""TCP by hand: one stack, and segments written one by one."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodeagent.wireguard.packet import ACK, FIN, RST, SYN, Route, Segment, answer_echo, decode_tcp, encode_tcp
from nodeagent.wireguard.stack import Limits, Stack
from nodeagent.wireguard.tcp.connection import Phase
from nodeagent.wireguard.tcp.receiver import MOST_RUNS, Receiver, WindowPool
from nodeagent.wireguard.tcp.settings import Settings
from nodeagent.wireguard.tcp.wire import SynOptions, decode_sack, decode_syn, encode_sack, unwrap

LOCAL, REMOTE = b"\xfd" + bytes(14) + b"\x01", b"\xfd" + bytes(14) + b"\x02"
PORT, THEIR_PORT, THEIR_SEQ = 80, 40000, 5000
SYN_OPTIONS = SynOptions(1220, 0, True).encode()


class Reader:
    """Reads everything unless told not to."""

    def __init__(self, connection):
        self.connection, self.data, self.reads = connection, b"", True
        connection.user = self

    def deliver(self, now):
        if self.reads and self.connection.receiver.unread:
            self.data += self.connection.read(now)

    def settle(self):
        pass


class Bench:
    """A stack that listens, and the other end under the test's control."""

    def __init__(self, settings=None, limits=None):
        self.now = 100.0
        self.sent = []
        self.opened = []
        self.stack = Stack(LOCAL, self._output, settings or Settings(), limits, rng=random.Random(1))
        self.stack.listen(PORT, lambda connection: self.opened.append(Reader(connection)))
        self.route = Route(REMOTE, LOCAL)
        self.their_seq, self.our_seq = THEIR_SEQ, 0

    def _output(self, remote, packet):
        assert remote == REMOTE
        self.sent.append(decode_tcp(packet))

    def put(self, flags, payload=b"", seq=0, ack=0, window=50000, options=b"", port=THEIR_PORT, to=PORT):
        """Send a segment; `seq` and `ack` are relative to what comes next. Returns what came back."""
        self.sent.clear()
        segment = Segment(
            port, to, (self.their_seq + seq) & 0xFFFFFFFF, (self.our_seq + ack) & 0xFFFFFFFF if flags & ACK else 0,
            flags, window, payload, options,
        )  # fmt: skip
        self.stack.receive(self.now, REMOTE, encode_tcp(self.route, segment))
        self.stack.flush(self.now)
        return self.take()

    def take(self):
        sent, self.sent = self.sent, []
        return sent

    def wait(self, seconds):
        end = self.now + seconds
        self.sent.clear()
        while (at := self.stack.deadlines.next()) <= end:
            self.now = max(self.now, at)
            self.stack.tick(self.now)
            self.stack.flush(self.now)
        self.now = end
        return self.take()

    def act(self, connection):
        """The user did something."""
        self.sent.clear()
        self.stack.touch(connection)
        self.stack.flush(self.now)
        return self.take()

    def open(self, options=SYN_OPTIONS, **arguments):
        (answer,) = self.put(SYN, options=options, **arguments)
        assert answer.flags == SYN | ACK
        self.their_seq += 1
        self.our_seq = answer.seq + 1
        assert self.put(ACK, **arguments) == []
        return self.opened[-1]


@pytest.fixture
def bench():
    return Bench()


def flags_of(segments):
    return [segment.flags for segment in segments]


# -- wire ------------------------------------------------------------------------------------------------------------


@given(st.integers(0, 1 << 40), st.integers(-(1 << 31) + 1, (1 << 31) - 1))
def test_unwrap_finds_the_nearest(near, distance):
    number = near + distance
    assert unwrap(number & 0xFFFFFFFF, near) == number


@given(st.binary(max_size=40))
def test_options_of_any_bytes(options):
    decode_syn(options)
    assert len(decode_sack(options)) <= 4


def test_options_round_trip():
    for options in (SynOptions(1220, 5, True), SynOptions(None, None, False), SynOptions(1, 14, False)):
        assert decode_syn(options.encode()) == options
        assert len(options.encode()) % 4 == 0
    assert decode_sack(encode_sack([(1, 2), (1 << 32, (1 << 32) + 9)])) == [(1, 2), (0, 9)]
    assert decode_syn(bytes((3, 3, 200))).scale == 14


@given(st.binary(max_size=70))
def test_segment_round_trip_and_checksum(payload):
    route = Route(LOCAL, REMOTE)
    packet = encode_tcp(route, Segment(1, 2, 3, 4, ACK, 5, payload, SYN_OPTIONS))
    segment = decode_tcp(packet)
    assert (segment.source, segment.destination, segment.seq, segment.ack) == (1, 2, 3, 4)
    assert (segment.flags, segment.window, segment.payload, segment.options) == (ACK, 5, payload, SYN_OPTIONS)
    pseudo = packet[8:40] + len(packet[40:]).to_bytes(4, "big") + bytes((0, 0, 0, 6)) + packet[40:]
    pseudo += bytes(len(pseudo) % 2)
    total = sum(int.from_bytes(pseudo[at : at + 2], "big") for at in range(0, len(pseudo), 2))
    assert total % 0xFFFF == 0


@given(st.binary(max_size=120))
def test_stack_takes_any_bytes(data):
    bench = Bench()
    header = b"\x60\0\0\0" + len(data).to_bytes(2, "big") + b"\x06\x40" + REMOTE + LOCAL
    bench.stack.receive(0.0, REMOTE, data)
    bench.stack.receive(0.0, REMOTE, header + data)
    bench.stack.receive(0.0, REMOTE, header.replace(b"\x06\x40", b"\x3a\x40") + data)
    bench.stack.flush(0.0)


def test_echo_reply():
    request = b"\x60\0\0\0\0\x0c\x3a\x40" + REMOTE + LOCAL + bytes((128, 0, 0, 0, 1, 2, 3, 4)) + b"ping"
    reply = answer_echo(request, Route(LOCAL, REMOTE))
    assert reply[8:40] == LOCAL + REMOTE
    assert reply[40] == 129
    assert reply[44:] == request[44:]
    assert answer_echo(request[:44], Route(LOCAL, REMOTE)) is None


# -- opening ---------------------------------------------------------------------------------------------------------


def test_open_and_read(bench):
    reader = bench.open()
    assert bench.put(ACK, b"hello") == []
    assert reader.data == b"hello"
    (ack,) = bench.wait(0.03)
    assert (ack.flags, ack.ack) == (ACK, bench.their_seq + 5)


def test_repeated_syn_is_answered_again(bench):
    (first,) = bench.put(SYN)
    (second,) = bench.put(SYN)
    assert (first.seq, first.flags) == (second.seq, second.flags)
    assert flags_of(bench.wait(0.9)) == []
    assert flags_of(bench.wait(5)) == [SYN | ACK] * 2


def test_stray_segments_are_reset_and_resets_are_not(bench):
    (answer,) = bench.put(SYN, to=81)
    assert (answer.flags, answer.ack) == (RST | ACK, THEIR_SEQ + 1)
    (answer,) = bench.put(ACK, ack=77)
    assert (answer.flags, answer.seq) == (RST, 77)
    assert bench.put(RST) == []


def test_wrong_acknowledgement_of_our_syn_is_reset(bench):
    (answer,) = bench.put(SYN)
    bench.their_seq += 1
    bench.our_seq = answer.seq + 1
    (reset,) = bench.put(ACK, ack=5)
    assert (reset.flags, reset.seq) == (RST, bench.our_seq + 5)
    assert bench.opened == []
    bench.put(ACK)
    assert len(bench.opened) == 1


def test_half_open_connections_are_limited_and_expire():
    bench = Bench(limits=Limits(half_open=3))
    for port in range(3):
        assert len(bench.put(SYN, port=1000 + port)) == 1
    assert bench.put(SYN, port=2000) == []
    bench.wait(11)
    assert bench.stack.connections == {}
    assert len(bench.put(SYN, port=2000)) == 1


def test_opened_connections_are_no_longer_half_open():
    bench = Bench(limits=Limits(half_open=1))
    for port in range(3):
        bench.their_seq = THEIR_SEQ
        bench.open(port=1000 + port)
    assert len(bench.opened) == 3


def test_reset_of_a_half_open_connection_frees_it(bench):
    bench.put(SYN)
    bench.their_seq += 1
    bench.put(RST)
    assert bench.stack.connections == {}
    assert bench.stack._usage == {}


# -- what must not be believed ---------------------------------------------------------------------------------------


def test_only_an_exact_reset_is_believed(bench):
    reader = bench.open()
    (challenge,) = bench.put(RST, seq=1)
    assert (challenge.flags, challenge.ack) == (ACK, bench.their_seq)
    assert bench.put(RST, seq=-1) == []
    assert bench.put(RST, seq=1 << 20) == []
    assert reader.connection.phase is Phase.OPEN
    bench.put(RST)
    assert reader.connection.phase is Phase.CLOSED
    assert isinstance(reader.connection.error, ConnectionResetError)


def test_syn_in_a_connection_is_challenged(bench):
    reader = bench.open()
    assert flags_of(bench.put(SYN, seq=10)) == [ACK]
    assert reader.connection.phase is Phase.OPEN


def test_challenges_are_limited(bench):
    bench.open()
    assert len(bench.put(RST, seq=1)) == 1
    assert bench.put(RST, seq=1) == []
    bench.now += 0.06
    assert len(bench.put(RST, seq=1)) == 1


def test_acknowledgement_of_the_future_is_not_processed(bench):
    reader = bench.open()
    assert flags_of(bench.put(ACK, b"evil", ack=1000)) == [ACK]
    assert reader.data == b""


def test_first_fin_counts(bench):
    reader = bench.open()
    bench.put(ACK | FIN, seq=10)
    bench.put(ACK | FIN, seq=5)
    bench.put(ACK, b"0123456789abc")
    assert reader.data == b"0123456789"
    assert reader.connection.at_eof
    (ack,) = bench.put(ACK, b"more", seq=11)
    assert ack.ack == bench.their_seq + 11


def test_fin_before_data_that_came_is_ignored(bench):
    reader = bench.open()
    bench.put(ACK, b"5678", seq=5)
    bench.put(ACK | FIN, seq=7)
    bench.put(ACK, b"01234")
    assert reader.data == b"012345678"
    assert not reader.connection.at_eof


# -- reassembly and window -------------------------------------------------------------------------------------------


@given(st.data())
def test_any_order_and_overlap_gives_the_stream(data):
    stream = bytes(range(200))
    receiver = Receiver(Settings(receive_window=300), WindowPool(0))
    receiver.start(1000, False)
    received = b""
    for _ in range(data.draw(st.integers(0, 40))):
        start = data.draw(st.integers(-20, 199))
        end = data.draw(st.integers(max(start, 0), 200))
        first = max(start, 0)
        receiver.accept(1000 + first, stream[first:end], False)
        assert receiver.held <= 300
        received += receiver.read(0.0, 0.0)
        assert stream.startswith(received)
    receiver.accept(1000, stream, True)
    assert received + receiver.read(0.0, 0.0) == stream
    assert receiver.finished
    assert not receiver.has_holes


def test_runs_beyond_holes_are_limited():
    receiver = Receiver(Settings(), WindowPool(0))
    receiver.start(0, True)
    for number in range(2 * MOST_RUNS):
        receiver.accept(1 + 2 * number, b"x", False)
    assert receiver.held == MOST_RUNS
    assert len(receiver.sack_blocks()) == 3


def test_sack_names_the_latest_first(bench):
    bench.open()
    bench.put(ACK, b"aa", seq=10)
    (ack,) = bench.put(ACK, b"bb", seq=20)
    at = bench.their_seq
    assert decode_sack(ack.options) == [(at + 20, at + 22), (at + 10, at + 12)]
    (ack,) = bench.put(ACK, b"cc", seq=12)
    assert decode_sack(ack.options) == [(at + 10, at + 14), (at + 20, at + 22)]
    (ack,) = bench.put(ACK, bytes(10))
    assert decode_sack(ack.options) == [(at + 20, at + 22)]


def test_paused_reader_closes_the_window_and_opens_it_again():
    bench = Bench(Settings(receive_window=4000))
    reader = bench.open()
    reader.reads = False
    (ack,) = bench.put(ACK, bytes(5000))
    assert ack.window == 0
    assert ack.ack == bench.their_seq + 4000
    assert reader.connection.receiver.unread == 4000
    (ack,) = bench.put(ACK, b"x", seq=4000)
    assert ack.ack == bench.their_seq + 4000
    reader.reads = True
    (update,) = bench.act(reader.connection)
    assert update.window << 5 == 4000
    assert len(reader.data) == 4000


def test_window_grows_with_a_fast_sender_from_the_pool_only():
    bench = Bench(Settings(receive_window=10_000, receive_window_limit=80_000), Limits(window_pool=30_000))
    reader = bench.open()
    usage = bench.stack._usage[REMOTE]
    at = 0
    for _ in range(100):
        bench.now += 0.011
        bench.put(ACK, bytes(9000), seq=at)
        at += 9000
    assert reader.connection.receiver.edge - reader.connection.receiver.next >= 15_000
    assert usage.pool.free == 20_000
    bench.put(RST, seq=at)
    assert usage.pool.free == 30_000


# -- sending ---------------------------------------------------------------------------------------------------------


def sent_data(segments):
    return [(segment.seq, len(segment.payload)) for segment in segments if segment.payload]


def test_first_flight_loss_found_by_sack_and_repeated(bench):
    connection = bench.open().connection
    connection.write(bytes(20 * 1220))
    flight = sent_data(bench.act(connection))
    at = bench.our_seq
    assert flight == [(at + 1220 * number, 1220) for number in range(10)]
    bench.now += 0.05
    repeated = bench.put(ACK, options=encode_sack([(at + 1220, at + 5 * 1220)]))
    assert sent_data(repeated)[0] == (at, 1220)
    assert connection.sender.retransmissions == 1


def test_two_later_segments_prove_no_loss(bench):
    connection = bench.open().connection
    connection.write(bytes(5 * 1220))
    bench.act(connection)
    at = bench.our_seq
    assert bench.put(ACK, options=encode_sack([(at + 1220, at + 3 * 1220)])) == []


def test_without_sack_three_duplicates_repeat_the_first_and_partial_acks_the_next(bench):
    connection = bench.open(options=b"").connection
    connection.write(bytes(8 * 1220))
    bench.act(connection)
    at = bench.our_seq
    assert bench.put(ACK) == []
    assert bench.put(ACK) == []
    assert sent_data(bench.put(ACK)) == [(at, 1220)]
    assert sent_data(bench.put(ACK, ack=2 * 1220)) == [(at + 2 * 1220, 1220)]


def test_timeout_repeats_with_growing_pauses_until_the_user_timeout(bench):
    connection = bench.open().connection
    bench.now += 5
    connection.write(b"lost")
    bench.act(connection)
    times = []
    while connection.phase is Phase.OPEN:
        before = bench.now
        if sent_data(bench.wait(0.05)):
            times.append(before)
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert 6 <= len(times) <= 12
    assert gaps[2:] == sorted(gaps[2:])
    assert isinstance(connection.error, TimeoutError)
    assert 60 <= bench.now - 105 <= 95
    assert connection.sender.is_idle


def test_acknowledgement_inside_a_segment(bench):
    connection = bench.open().connection
    connection.write(b"0123456789")
    bench.act(connection)
    bench.put(ACK, ack=4)
    (repeated, *_) = [segment for segment in bench.wait(2) if segment.payload]
    assert (repeated.seq, repeated.payload) == (bench.our_seq + 4, b"456789")


def test_peer_that_forgets_what_it_reported_gets_it_again(bench):
    connection = bench.open().connection
    connection.write(bytes(3 * 1220))
    bench.act(connection)
    at = bench.our_seq
    bench.put(ACK, options=encode_sack([(at + 1220, at + 3 * 1220)]))
    bench.put(ACK, ack=1220)  # the window moves, the reported data is not acknowledged
    assert (at + 1220, 1220) in sent_data(bench.wait(3))
    bench.put(ACK, ack=3 * 1220)
    assert connection.sender.is_idle
    assert connection.sender._pipe == connection.sender._lost == connection.sender._sacked == 0


def test_small_segments_of_a_small_peer(bench):
    connection = bench.open(options=SynOptions(100, None, False).encode()).connection
    connection.write(bytes(250))
    assert [size for _, size in sent_data(bench.act(connection))] == [100, 100, 50]


def test_closed_window_is_probed_and_an_answering_peer_is_waited_for(bench):
    connection = bench.open().connection
    bench.put(ACK, window=0)
    connection.write(b"wait")
    assert bench.act(connection) == []
    for _ in range(20):
        probes = bench.wait(35)
        assert probes
        assert all(probe.seq == bench.our_seq - 1 and not probe.payload for probe in probes)
        bench.put(ACK, window=0)
    assert connection.phase is Phase.OPEN
    assert sent_data(bench.put(ACK, window=100)) == [(bench.our_seq, 4)]


def test_closed_window_of_a_silent_peer_ends_in_a_timeout(bench):
    connection = bench.open().connection
    bench.put(ACK, window=0)
    connection.write(b"wait")
    bench.act(connection)
    bench.wait(120)
    assert isinstance(connection.error, TimeoutError)


def test_idle_peer_is_probed_and_given_up(bench):
    connection = bench.open().connection
    assert bench.wait(119) == []
    (probe,) = bench.wait(2)
    assert probe.seq == bench.our_seq - 1
    bench.put(ACK)
    assert bench.wait(119) == []
    assert flags_of(bench.wait(70)) == [ACK, ACK, ACK, ACK, RST | ACK]
    assert isinstance(connection.error, TimeoutError)


# -- closing ---------------------------------------------------------------------------------------------------------


def test_half_close(bench):
    reader = bench.open()
    connection = reader.connection
    connection.finish()
    assert flags_of(bench.act(connection)) == [FIN | ACK]
    bench.our_seq += 1
    bench.put(ACK)
    bench.put(ACK, b"still talking")
    assert reader.data == b"still talking"
    bench.their_seq += 13
    (ack,) = bench.put(ACK | FIN)
    assert ack.ack == bench.their_seq + 1
    assert connection.phase is Phase.TIME_WAIT
    bench.wait(11)
    assert bench.stack.connections == {}


def test_time_wait_answers_a_repeated_fin_and_starts_over(bench):
    connection = bench.open().connection
    connection.finish()
    bench.act(connection)
    bench.our_seq += 1
    bench.put(ACK | FIN)
    bench.wait(8)
    (ack,) = bench.put(ACK | FIN)
    assert ack.ack == bench.their_seq + 1
    bench.wait(8)
    assert connection.phase is Phase.TIME_WAIT
    assert bench.put(RST, seq=1) == []
    assert connection.phase is Phase.TIME_WAIT


def test_time_wait_gives_way_to_a_new_connection(bench):
    connection = bench.open().connection
    connection.finish()
    bench.act(connection)
    bench.our_seq += 1
    bench.put(ACK | FIN)
    assert flags_of(bench.put(SYN, seq=-5)) == [ACK]
    assert flags_of(bench.put(SYN, seq=1000)) == [SYN | ACK]
    assert connection.phase is Phase.CLOSED


def test_time_wait_gives_way_when_a_peer_reaches_its_limit():
    bench = Bench(limits=Limits(connections=2))
    for port in (1001, 1002):
        bench.their_seq = THEIR_SEQ
        connection = bench.open(port=port).connection
        connection.finish()
        bench.act(connection)
        bench.our_seq += 1
        bench.put(ACK | FIN, port=port)
    assert [connection.phase for connection in bench.stack.connections.values()] == [Phase.TIME_WAIT] * 2
    assert flags_of(bench.put(SYN, port=1003)) == [SYN | ACK]
    assert {key[1] for key in bench.stack.connections} == {1002, 1003}


def test_simultaneous_close_waits_on_both_sides(bench):
    connection = bench.open().connection
    connection.finish()
    bench.act(connection)
    bench.put(ACK | FIN)
    assert connection.phase is Phase.OPEN
    bench.their_seq += 1
    bench.put(ACK, ack=1)
    assert connection.phase is Phase.TIME_WAIT


def test_passive_close_needs_no_waiting(bench):
    connection = bench.open().connection
    bench.put(ACK | FIN)
    bench.their_seq += 1
    connection.finish()
    bench.act(connection)
    bench.put(ACK, ack=1)
    assert bench.stack.connections == {}
    assert connection.error is None


def test_closed_reader_lets_our_data_arrive_before_it_resets(bench):
    reader = bench.open()
    reader.reads, connection = False, reader.connection
    connection.write(b"last words")
    connection.close()
    assert flags_of(bench.act(connection))[-1] == FIN | ACK
    assert RST not in flags_of(bench.put(ACK, b"unwanted"))
    bench.their_seq += 8
    (reset,) = bench.put(ACK, ack=11)
    assert reset.flags & RST
    assert bench.stack.connections == {}


def test_closed_connection_does_not_wait_for_a_silent_peer_for_ever(bench):
    connection = bench.open().connection
    connection.close()
    bench.act(connection)
    bench.our_seq += 1
    bench.put(ACK)
    bench.wait(21)
    assert bench.stack.connections == {}


def test_unread_data_stays_readable_after_a_reset(bench):
    reader = bench.open()
    reader.reads = False
    bench.put(ACK, b"unread")
    bench.put(RST, seq=6)
    assert reader.connection.phase is Phase.CLOSED
    assert reader.connection.read(bench.now) == b"unread"
    assert bench.stack._usage[REMOTE].connections == {reader.connection}
    bench.stack.forget(reader.connection)
    assert bench.stack._usage == {}


# -- dialling --------------------------------------------------------------------------------------------------------


def test_dial(bench):
    connection = bench.stack.connect(bench.now, REMOTE, 50000)
    bench.stack.flush(bench.now)
    (syn,) = bench.take()
    assert syn.flags == SYN
    assert decode_syn(syn.options) == SynOptions(1220, 5, True)
    bench.our_seq = syn.seq + 1
    (reset,) = bench.put(ACK, ack=9, port=50000, to=syn.source)
    assert reset.flags == RST
    assert bench.put(SYN, port=50000, to=syn.source) == []
    (ack,) = bench.put(SYN | ACK, port=50000, to=syn.source, options=SYN_OPTIONS)
    assert (ack.flags, ack.ack) == (ACK, THEIR_SEQ + 1)
    assert connection.phase is Phase.OPEN


def test_dial_refused(bench):
    connection = bench.stack.connect(bench.now, REMOTE, 50000)
    bench.stack.flush(bench.now)
    (syn,) = bench.take()
    bench.our_seq = syn.seq
    bench.put(RST | ACK, ack=1, port=50000, to=syn.source)
    assert isinstance(connection.error, ConnectionRefusedError)
    assert bench.stack.connections == {}


def test_ports_run_out(monkeypatch):
    monkeypatch.setattr("nodeagent.wireguard.stack.LAST_EPHEMERAL", 49154)
    bench = Bench()
    ports = {bench.stack.connect(bench.now, REMOTE, 1).key[2] for _ in range(3)}
    assert ports == {49152, 49153, 49154}
    with pytest.raises(OSError, match="in use"):
        bench.stack.connect(bench.now, REMOTE, 1)
    bench.stack.connect(bench.now, REMOTE, 2)
