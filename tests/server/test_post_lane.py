"""One session's posts to one group keep their order (docs/groups.md, G-11)."""

from __future__ import annotations

from myim_server.chat.post_lane import PostLane, Taken


def post(time: int, body: bytes = b"x") -> Taken:
    return Taken(time, body, time, time, 0.0)


def test_the_first_post_of_a_session_says_that_it_is_the_first() -> None:
    lane = PostLane(1, 7)
    assert not lane.take(post(1), False)
    assert lane.take(post(1), True) and lane.take(post(2), False)


def test_refusing_one_refuses_all_behind_it_until_one_is_flagged_first() -> None:
    lane = PostLane(1, 7)
    taken = [post(time) for time in (1, 2, 3)]
    for number, one in enumerate(taken):
        assert lane.take(one, number == 0)
    assert lane.refused(taken[1]) == [2, 3]
    assert [lane.is_due(one) for one in taken] == [True, False, False]
    assert not lane.take(post(4), False)
    assert lane.take(post(2), True)


def test_what_was_refused_and_came_again_is_another_post_on_its_way() -> None:
    lane = PostLane(1, 7)
    old, new = post(1), post(1)
    lane.take(old, True)
    lane.refused(old)
    lane.take(new, True)
    assert not lane.answered(old) and lane.refused(old) == []
    assert lane.answered(new) and not lane.answered(new)


def test_a_repeat_of_what_is_on_its_way_is_known_by_its_content() -> None:
    lane = PostLane(1, 7)
    lane.take(post(1, b"a"), True)
    assert (lane.repeats(1, b"a"), lane.repeats(1, b"b"), lane.repeats(2, b"a")) == (True, False, None)


def test_its_size_is_that_of_what_is_owned() -> None:
    lane = PostLane(1, 7)
    one, two = post(1, b"abc"), post(2, b"defg")
    lane.take(one, True)
    lane.take(two, False)
    assert lane.size == 7
    lane.answered(one)
    assert lane.size == 4
    lane.refused(two)
    assert lane.size == 0
