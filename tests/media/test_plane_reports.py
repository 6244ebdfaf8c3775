"""RTCP: what we tell peers, what we believe of theirs."""

from __future__ import annotations

import pytest

from media.protocol import Connect, ReleaseStream, StreamClosed
from media.wire import rtcp

A, B = ("10.0.0.1", 4000), ("10.0.0.2", 6000)


@pytest.fixture
def call(world, make_talker):
    world.open(1, A)
    world.open(2, B, port_id=2)
    world.do(Connect(1, 2))
    return world, make_talker(A, ssrc=1), make_talker(B, ssrc=2)


def talk(world, a, b, duration_s):
    for _ in range(round(duration_s / 0.02)):
        world.hear(a)
        world.hear(b, port_id=2)
        world.now_s += 0.02


def reports(world):
    """(port, remote, packet) of the RTCP that was sent; RTP is left out."""
    found = []
    for datagram in world.io.take_sent():
        if datagram.port_id % 2:
            found += [
                (datagram.port_id, datagram.remote, packet) for packet in rtcp.parse(datagram.data)
            ]
    return found


def test_reports_go_to_the_next_port_about_every_five_seconds(call):
    world, a, b = call
    talk(world, a, b, 30.0)
    sent = [
        (port, remote, packet)
        for port, remote, packet in reports(world)
        if isinstance(packet, rtcp.SenderReport)
    ]
    assert {(port, remote) for port, remote, _ in sent} == {
        (1, (A[0], A[1] + 1)),
        (3, (B[0], B[1] + 1)),
    }
    assert 8 <= len(sent) <= 24
    last = next(packet for port, _, packet in reversed(sent) if port == 3)
    assert last.reports[0].ssrc == 2
    assert last.reports[0].cumulative_lost == 0
    assert last.packets > 1000
    assert last.octets == 160 * last.packets


def test_sender_report_lies_on_the_time_scale_of_the_packets(call):
    world, a, b = call
    talk(world, a, b, 12.0)
    packets = {}
    for datagram in world.io.take_sent():
        if datagram.port_id == 2:
            packets["rtp"] = int.from_bytes(datagram.data[4:8], "big")
        elif datagram.port_id == 3:
            report = rtcp.parse(datagram.data)[0]
            assert abs(report.rtp_timestamp - packets["rtp"]) <= 320
            packets["seen"] = True
    assert packets["seen"]


def test_nothing_is_reported_to_an_unlocked_source(world):
    world.open(1, A)
    world.run(20.0, step_s=0.1)
    assert reports(world) == []


def test_loss_is_reported_and_the_peers_reports_are_in_the_account(call):
    world, a, b = call
    talk(world, a, b, 1.0)
    for _ in range(800):
        a.packet()
        world.hear(a)
        world.hear(b, port_id=2)
        world.now_s += 0.02
    sent = reports(world)
    own = [packet for port, _, packet in sent if port == 1 and hasattr(packet, "reports")]
    assert own[-1].reports[0].cumulative_lost > 200
    assert 100 <= own[-1].reports[0].fraction_lost <= 130
    block = rtcp.ReportBlock(own[-1].ssrc, 10, 33, 5000, 80, rtcp.compact_ntp(own[-1].ntp), 6553)
    data = rtcp.build_report(rtcp.ReceiverReport(1, (block,)), "peer")
    world.io.deliver(1, (A[0], A[1] + 1), data)
    world.io.deliver(1, ("10.6.6.6", 4001), data)
    world.engine.poll(world.now_s)
    world.do(ReleaseStream(1))
    stats = world.events_of(StreamClosed)[0].stats
    assert stats.remote_lost == 33
    assert stats.remote_jitter_ms == 10.0
    assert stats.round_trip_ms is not None
    assert 1.0 <= stats.mos < 3.0
    assert stats.mos < stats.remote_mos < 4.4, "33 of the packets that we sent were lost"
    world.do(ReleaseStream(2))
    assert world.events_of(StreamClosed)[1].stats.remote_mos is None, "no reports of its own"


def test_reports_and_byes_of_strangers_change_nothing(call):
    world, a, b = call
    talk(world, a, b, 1.0)
    bye = rtcp.build_bye([1], "x", "bye")
    for source in (("10.0.0.66", 4001), (A[0], 4999)):
        world.io.deliver(1, source, bye)
    world.io.deliver(1, (A[0], A[1] + 1), bye)
    world.engine.poll(world.now_s)
    world.sent()
    said = world.hear(a)
    assert [packet.payload for packet in world.sent()] == [said]


def test_mux_keeps_rtcp_on_the_media_port(world, make_talker):
    world.open(1, A, rtcp_mux=True)
    world.open(2, B, port_id=2, rtcp_mux=True)
    world.do(Connect(1, 2))
    a = make_talker(A)
    world.run(1.0, a)
    world.sent()
    block = rtcp.ReportBlock(1, 0, 0, 0, 0, 0, 0)
    world.io.deliver(0, A, rtcp.build_report(rtcp.ReceiverReport(1, (block,)), "peer"))
    world.run(8.0, a)
    own = [
        datagram
        for datagram in world.io.take_sent()
        if datagram.remote == A and datagram.data[0] == 0x81
    ]
    assert own
    assert all(packet.port_id == 0 for packet in own)


def test_a_port_that_sdp_names_gets_the_reports_and_is_believed(world, make_talker):
    """RFC 3605: and the next port is nobody then."""
    world.open(1, A, rtcp_port=4444)
    world.open(2, B, port_id=2)
    world.do(Connect(1, 2))
    a, b = make_talker(A, ssrc=1), make_talker(B, ssrc=2)
    talk(world, a, b, 12.0)
    sent = [(remote, packet) for port, remote, packet in reports(world) if port == 1]
    assert {remote for remote, _ in sent} == {(A[0], 4444)}
    own = next(packet.ssrc for _, packet in sent if isinstance(packet, rtcp.SenderReport))
    for port, lost in ((4444, 7), (A[1] + 1, 99)):
        data = rtcp.build_report(
            rtcp.ReceiverReport(1, (rtcp.ReportBlock(own, 0, lost, 5000, 0, 0, 0),)), "peer"
        )
        world.io.deliver(1, (A[0], port), data)
        world.engine.poll(world.now_s)
    assert world.engine.stats(1).remote_lost == 7


def test_a_named_port_behind_a_translator_is_not_written_to(world, make_talker):
    """What SDP names there is a port inside; nobody knows what is outside at that number."""
    inside, outside = ("192.168.0.5", 4000), ("203.0.113.7", 40_000)
    world.open(1, inside, rtcp_port=4444, nat=True, signalled_host=outside[0])
    world.open(2, B, port_id=2)
    world.do(Connect(1, 2))
    talk(world, make_talker(outside, ssrc=1), make_talker(B, ssrc=2), 12.0)
    assert {remote for port, remote, _ in reports(world) if port == 1} == {(outside[0], 40_001)}


def test_another_port_for_reports_takes_effect_in_mid_call(call):
    world, a, b = call
    talk(world, a, b, 6.0)
    reports(world)
    world.configure(1, A, rtcp_port=5006)
    talk(world, a, b, 12.0)
    assert {remote for port, remote, _ in reports(world) if port == 1} == {(A[0], 5006)}
    world.do(ReleaseStream(1))
    world.do(ReleaseStream(2))
    assert world.engine.snapshot()["claims"] == 0


def test_the_end_of_a_stream_is_said_where_it_was_heard(call):
    world, a, b = call
    talk(world, a, b, 1.0)
    reports(world)
    world.do(ReleaseStream(1))
    said = [(port, remote, packet) for port, remote, packet in reports(world)]
    (bye,) = [packet for _, _, packet in said if isinstance(packet, rtcp.Bye)]
    assert {(port, remote) for port, remote, _ in said} == {(1, (A[0], A[1] + 1))}
    assert len(bye.ssrcs) == 1
    world.open(9, ("10.0.0.9", 4000), port_id=4)
    world.do(ReleaseStream(9))
    assert reports(world) == [], "who was never heard is told nothing"


def test_reports_of_many_are_sent_a_few_at_a_time(make_world, make_talker):
    world = make_world(streams_max=512)
    talkers = [make_talker((f"10.0.1.{number}", 4000), ssrc=number + 1) for number in range(200)]
    for number, talker in enumerate(talkers):
        world.open(number, talker.address)
        for _ in range(4):
            world.io.deliver(0, talker.address, talker.packet())
    world.engine.poll(world.now_s)
    world.now_s += 4.0  # all of them are due by now
    lots = []
    for _ in range(40):
        world.engine.poll(world.now_s)
        lots.append(sum(hasattr(packet, "reports") for _, _, packet in reports(world)))
        world.now_s += 0.005
    reported = [lot for lot in lots if lot]
    assert max(reported) == 32
    assert sum(reported) >= 200
    assert len(reported) >= 7
