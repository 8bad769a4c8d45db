"""When a client asks for another token, and when it logs in with the password by itself: pure, with `now` (monotonic seconds) handed in.

What is asked and answered is the courier's and the journey's; here is only how often, and what a failure means.
"""

from __future__ import annotations

from myim_client.errors import LoginRefused, NotConnected, RequestRefused
from myim_wire.errors import ErrorCode

RENEWAL_SECONDS = 3600.0
RETRY_SECONDS = 30.0
LOGIN_SECONDS = 60.0


class Renewal:
    """Renewing the token at a center [P-7.12]."""

    def __init__(self) -> None:
        self._not_before = 0.0

    def is_due(self, renew_at: int, now_us: int, now: float) -> bool:
        """Whether to ask now; then not again for an hour, unless `failed` says so. `renew_at`, `now_us`: microseconds since 1970."""
        if now_us < renew_at or now < self._not_before:
            return False
        self._not_before = now + RENEWAL_SECONDS
        return True

    def failed(self, error: Exception, now: float) -> str:
        """Why only the password helps, "" if asking again will."""
        if isinstance(error, RequestRefused):
            if error.code == ErrorCode.RENEWAL_REFUSED:
                return f"the token was not renewed: {error}"
            self._not_before = now + max(RETRY_SECONDS, error.retry_ms / 1000)
        elif isinstance(error, NotConnected):
            self._not_before = 0.0
        return ""


class PasswordLogins:
    """Logging in with a password the application gives, nobody watching. `is_over`: the password is wrong, asking for it is no use."""

    def __init__(self) -> None:
        self.is_over = False
        self._not_before = 0.0

    def may_begin(self, now: float) -> bool:
        """Whether to try now; once a minute at most."""
        if self.is_over or now < self._not_before:
            return False
        self._not_before = now + LOGIN_SECONDS
        return True

    def failed(self, error: Exception, now: float) -> None:
        """A wrong password stays wrong, and counts against the account; a login center that says when to come again is obeyed."""
        if isinstance(error, LoginRefused):
            self.is_over = error.code == ErrorCode.LOGIN_FAILED
            self._not_before = max(self._not_before, now + error.retry_ms / 1000)
