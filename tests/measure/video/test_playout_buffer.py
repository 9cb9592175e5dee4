"""The player that shows nothing: when it starts, when it stands still, which rung it takes."""

from __future__ import annotations

from itertools import pairwise

from sigprobe.measure.video.playout_buffer import Player, choose, rate_bps


def test_it_starts_when_enough_lies_ahead() -> None:
    """Not with the first segment, but with the one that fills the buffer; the delay counts from the very start."""
    player = Player(4.0, begun_s=100.0)
    player.arrived(101.0, 2.0)
    assert not player.started
    player.arrived(103.5, 2.0)
    assert player.start_delay_s == 3.5
    player.end(107.5)
    assert (player.stalls, player.stalled_s) == (0, 0.0), "what lay ahead has just been played"


def test_it_stands_still_from_the_last_frame_until_the_buffer_is_full_again() -> None:
    """Four seconds from 10 last until 14; the next four are there at 17: one stall of three seconds."""
    player = Player(4.0, begun_s=0.0)
    player.arrived(10.0, 4.0)
    player.arrived(16.0, 2.0)
    player.arrived(17.0, 2.0)
    player.arrived(20.0, 4.0)
    player.end(24.0)
    assert (player.stalls, player.stalled_s) == (1, 3.0)


def test_a_stall_that_never_ends_counts_until_the_end() -> None:
    """The viewer waits until the check gives up."""
    player = Player(2.0, begun_s=0.0)
    player.arrived(1.0, 2.0)
    player.end(9.0)
    assert (player.stalls, player.stalled_s) == (1, 6.0)


def test_all_media_there_is_no_stall_any_more() -> None:
    """A short video plays although it never fills the buffer, and its end is no stall."""
    player = Player(30.0, begun_s=0.0)
    player.arrived(1.0, 2.0)
    player.complete(1.5)
    assert player.start_delay_s == 1.5
    player.end(60.0)
    assert player.stalls == 0


def test_nothing_came_so_nothing_started() -> None:
    """Without media there is no delay to state."""
    player = Player(2.0, begun_s=0.0)
    player.complete(5.0)
    player.end(9.0)
    assert player.start_delay_s is None


def test_stalls_and_playing_account_for_all_time() -> None:
    """Whatever comes when, from the start on every moment is played or stalled, or its media still lies ahead."""
    arrivals = [3.0, 4.1, 9.7, 9.8, 20.0, 20.1, 31.4, 31.5]
    assert all(a < b for a, b in pairwise(arrivals))
    player = Player(2.0, begun_s=0.0)
    for at_s in arrivals:
        player.arrived(at_s, 2.0)
    player.end(60.0)
    played = 2.0 * len(arrivals)
    assert player.start_delay_s is not None
    assert abs(player.start_delay_s + played + player.stalled_s - 60.0) < 1e-9


def test_the_rung_follows_the_rate_of_the_last_segments() -> None:
    """The lowest at first; then the highest within four fifths of the rate; the lowest when none fits."""
    rungs = [200_000, 1_000_000, 3_000_000]
    assert choose(rungs, None) == 0
    assert choose(rungs, 1_250_000) == 1
    assert choose(rungs, 1_240_000) == 0
    assert choose(rungs, 100_000) == 0
    assert choose(rungs, 1e9) == 2
    assert choose([None], 1e9) == 0
    assert rate_bps([]) is None
    assert rate_bps([(1, 0.001), (1000, 1.0), (1000, 1.0), (2000, 2.0)]) == 8000.0
