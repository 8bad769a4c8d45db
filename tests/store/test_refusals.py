"""What a refusal carries, and what of it is told."""

from myim_server.refusals import RequestRefused, SessionRefused, StoreRefused, StoreUnavailable
from myim_wire.errors import ErrorCode


def test_a_refused_request_carries_all_that_is_told_to_the_terminal() -> None:
    refused = RequestRefused(ErrorCode.SLOW_DOWN, "too much", retry_ms=500, field="target")
    assert (refused.code, refused.text, refused.retry_ms, refused.field) == (ErrorCode.SLOW_DOWN, "too much", 500, "target")
    assert str(refused) == "SLOW_DOWN: too much"
    assert str(RequestRefused(ErrorCode.BUSY)) == "BUSY"


def test_a_refused_session_carries_its_code() -> None:
    assert str(SessionRefused(ErrorCode.DRAINING, "bye")) == "DRAINING: bye"


def test_an_unavailable_store_invites_a_retry_and_keeps_its_cause_to_itself() -> None:
    refused = StoreUnavailable("(2003, \"Can't connect to 10.0.0.5\")")
    assert isinstance(refused, RequestRefused)
    assert refused.code is ErrorCode.STORE_UNAVAILABLE
    assert refused.retry_ms
    assert "10.0.0.5" not in refused.text
    assert "10.0.0.5" in str(refused)


def test_a_refused_store_says_why() -> None:
    assert StoreRefused("not flushed").reason == str(StoreRefused("not flushed")) == "not flushed"
