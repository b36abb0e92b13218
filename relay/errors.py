"""The relay's own failures, each with its status, outcome and public message.

The one to blame decides the class; everything an agent is ever told stands in this file.
Messages are fixed texts, but for a limit's figures: nothing of hosts, ports, exceptions or
credentials goes in.
"""

from __future__ import annotations

import json
from typing import ClassVar, Final, Literal

Api = Literal["anthropic", "openai"]
PassCause = Literal["none", "wrong", "unknown", "no id", "over"]
"""Why a request at the return address is refused: it has no pass, a wrong one, names a relay or
hop that is not configured, has a right pass but no call id, or the id of no call in flight."""
Headers = tuple[tuple[bytes, bytes], ...]


class RelayError(Exception):
    """A call that ends with an answer of the relay's own.

    Each class fixes the HTTP status, the ``outcome`` label, the ``error.type`` of the
    body and the message.
    """

    status: ClassVar[int] = 500
    outcome: ClassVar[str] = "internal_error"
    error_type: ClassVar[str] = "api_error"
    message: ClassVar[str] = "The relay failed."
    rejection: ClassVar[str | None] = None
    """``reason`` label of ``relay_rejections_total``, for calls that were refused."""
    closes: ClassVar[bool] = False
    """Whether the agent's connection ends with this answer."""
    headers: ClassVar[Headers] = ()
    """Headers the answer carries beside the usual ones."""
    word: ClassVar[str | None] = None
    """What ``x-relay-error`` says, where that is not the outcome."""

    def __init__(self, upstream_status: int | None = None) -> None:
        super().__init__()
        self.upstream_status = upstream_status
        """The status of an upstream's answer that could not be passed on."""

    @property
    def name(self) -> str:
        """What ``x-relay-error`` says."""
        return self.word or self.outcome

    @property
    def text(self) -> str:
        """The message in the answer's body."""
        return self.message

    def body(self, api: Api) -> bytes:
        """Return the JSON body in the shape of the API that is behind the relay.

        Source: https://docs.anthropic.com/en/api/errors,
        https://platform.openai.com/docs/guides/error-codes
        """
        error: dict[str, str | None] = {"type": self.error_type, "message": self.text}
        if api == "openai":
            return json.dumps({"error": error | {"param": None, "code": None}}).encode()
        return json.dumps({"type": "error", "error": error}).encode()


# Claude Code retries even a 401 ten times unless the answer says not to.
_NO_RETRY: Final[Headers] = ((b"x-should-retry", b"false"),)


class ClientError(RelayError):
    """The agent's request is not one that the relay passes on."""

    status = 400
    outcome = "rejected"
    error_type = "invalid_request_error"
    message = "The relay refused this request."
    rejection = "framing"
    headers: ClassVar[Headers] = _NO_RETRY


class MalformedRequest(ClientError):
    """The bytes are not a well-formed HTTP/1.1 request (RFC 9112)."""

    message = "The request is malformed."
    closes = True


class BadTarget(ClientError):
    """The request target is not a clean origin-form path (RFC 9112 §3.2.1)."""

    message = "The request target is not a plain path."
    rejection = "target"
    closes = True


class MethodRefused(ClientError):
    """CONNECT would open a tunnel; TRACE would show the credential to the agent."""

    status = 405
    message = "This method is not relayed."
    rejection = "target"
    closes = True


class BadHost(ClientError):
    """The Host header is missing, doubled or malformed (RFC 9112 §3.2)."""

    message = "The request needs exactly one valid Host header."
    rejection = "host"
    closes = True


class VersionNotSupported(ClientError):
    """The HTTP version is neither 1.0 nor 1.1."""

    status = 505
    message = "Only HTTP/1.1 and HTTP/1.0 are spoken here."
    closes = True


class TargetTooLong(ClientError):
    """The request line is over its limit."""

    status = 414
    message = "The request line is too long."
    closes = True


class HeadersTooLarge(ClientError):
    """A header, all of them together, or their number is over its limit."""

    status = 431
    message = "The request headers are too large."
    closes = True


class RequestStalled(ClientError):
    """The agent began a request and then fell silent."""

    status = 408
    error_type = "timeout_error"
    message = "The request did not arrive in time."
    closes = True
    headers = ()


class BodyTooLarge(ClientError):
    """The body is over the relay's configured ``max_body``."""

    status = 413
    error_type = "request_too_large"
    message = "The request body is larger than this relay allows."
    rejection = "too_large"
    closes = True


class ForeignHost(ClientError):
    """The Host is neither loopback nor a listen address: DNS rebinding, perhaps."""

    status = 421
    message = "This host name is not served here."
    rejection = "host"


class OriginRefused(ClientError):
    """A web page is calling; none may spend the credential."""

    status = 403
    error_type = "permission_error"
    message = "Calls from web pages are not relayed."
    rejection = "origin"


class UnknownRelay(ClientError):
    """The path names no relay."""

    status = 404
    error_type = "not_found_error"
    message = "No relay has this path. Paths look like /relay/<name>/v1/messages."
    rejection = "relay"


class UpgradeRefused(ClientError):
    """WebSockets are not relayed; Codex falls back to HTTP on this status."""

    status = 426
    message = "WebSockets are not relayed. Use plain HTTP."
    rejection = "target"
    # RFC 9110 §15.5.22: a 426 names the protocol to use instead.
    headers = (*_NO_RETRY, (b"upgrade", b"HTTP/1.1"), (b"connection", b"upgrade"))


class TokenRefused(ClientError):
    """No client token, or a wrong one.

    The wording avoids "invalid x-api-key": Claude Code would ask its user to log in.
    """

    status = 401
    error_type = "authentication_error"
    message = (
        "The relay did not accept this client's token. "
        "Give the agent the token that `relay env` shows."
    )
    rejection = "token"


class PathRefused(ClientError):
    """The path is outside the relay's ``allow`` prefixes."""

    status = 403
    error_type = "permission_error"
    message = "This path is not allowed for this relay. Check the agent's base URL."
    rejection = "path"


class PassRefused(ClientError):
    """A request at the return address belongs to no call in flight; ``cause`` is for the log."""

    status = 401
    error_type = "authentication_error"
    message = (
        "The relay knows of no call that this belongs to. Its log says what to set for this hop."
    )
    rejection = "pass"

    def __init__(self, cause: PassCause = "wrong") -> None:
        super().__init__()
        self.cause: PassCause = cause


class LegRefused(ClientError):
    """A hop sends on what its call may not ask for, or too many requests for one call."""

    status = 403
    error_type = "permission_error"
    message = "This is more than the call that it belongs to may ask for."
    rejection = "leg"


class LimitReached(ClientError):
    """The client, its session, or all clients together have spent what their limit allows.

    Never a 429: Codex sleeps on its ``retry-after``, opencode retries, and neither shows why.
    """

    status = 402
    error_type = "billing_error"
    message = "A limit on what may be spent is reached."
    rejection = "limit"
    word = "limit"

    def __init__(self, text: str = message) -> None:
        super().__init__()
        self._text = text

    @property
    def text(self) -> str:
        """The message: which limit it is, in figures, and when it ends."""
        return self._text


class OpenAiLimitReached(LimitReached):
    """The same for the OpenAI API, whose clients show a 400 at once."""

    status = 400


class TooManyAtOnce(ClientError):
    """A limit on calls in flight (``at_once``) is reached; agents try again by themselves."""

    status = 429
    error_type = "rate_limit_error"
    message = "As many calls are running as may run at once. Try again in a moment."
    rejection = "limit"
    word = "limit"
    headers = ((b"retry-after", b"1"),)


class BatchRefused(ClientError):
    """A client under a limit creates a batch, whose cost is not in the answer."""

    status = 403
    error_type = "permission_error"
    message = "Clients under a limit may not create batches, for no limit sees what those cost."
    rejection = "limit"
    word = "limit"


class Draining(ClientError):
    """The relay is stopping and takes no further calls."""

    status = 503
    error_type = "overloaded_error"
    message = "The relay is restarting. Try again in a moment."
    rejection = "draining"
    closes = True
    headers = ((b"retry-after", b"1"),)


class CredentialMissing(RelayError):
    """The grant of this relay has no value yet."""

    status = 503
    outcome = "no_credential"
    message = (
        "The relay has no credential for this API yet. "
        "Its log and its readiness page say which one is missing."
    )
    headers = _NO_RETRY


class UpstreamError(RelayError):
    """The upstream cannot be reached or understood."""

    status = 502
    outcome = "upstream_error"
    message = "The relay got no valid answer from its upstream."


class UpstreamUnreachable(UpstreamError):
    """Name resolution, connecting or the TLS handshake failed."""

    outcome = "connect_error"
    message = (
        "The relay cannot reach its upstream. "
        "Check that the LLM proxy or API that it calls can be reached: `relay doctor` says why not."
    )


class EgressFailed(UpstreamUnreachable):
    """The proxy named by ``egress`` opened no tunnel to the upstream."""

    message = (
        "The relay cannot reach its upstream through the proxy on its way out. "
        "Its log says what is wrong."
    )


class EgressRefused(EgressFailed):
    """The proxy refused the tunnel, or the proxy's credential; a retry would not help."""

    message = (
        "The proxy on the relay's way out refuses to let it reach its upstream. "
        "The relay's log says what is wrong."
    )
    headers = _NO_RETRY


class UpstreamTimeout(UpstreamError):
    """No response head within the limit."""

    status = 504
    outcome = "timeout"
    error_type = "timeout_error"
    message = "The upstream did not answer in time."


class UpstreamConnectTimeout(UpstreamTimeout):
    """No connection within the limit."""


class HopBypassed(UpstreamError):
    """A hop answered 401 and sent nothing on to the relay; it may have called an API itself."""

    outcome = "hop_bypass"
    message = (
        "The LLM proxy on the way answered 401 without coming back to the relay: it went past the "
        "relay, or wants a key of its own. The relay's log says what to set."
    )
    headers = _NO_RETRY


class UpstreamMalformed(UpstreamError):
    """The answer is not a well-formed HTTP/1.1 response, or there was none."""


class UpstreamRedirected(UpstreamError):
    """The upstream redirects. An agent would follow that, body and all, and bypass the relay."""

    message = "The upstream answered with a redirect, which is not relayed."


class UpstreamUpgraded(UpstreamError):
    """The upstream answered 101 (Switching Protocols), which nobody asked for."""

    message = "The upstream tried to switch protocols, which is not relayed."


class UpstreamTruncated(UpstreamError):
    """The answer broke off after its head had been passed on."""

    outcome = "truncated"


class UpstreamStalled(UpstreamError):
    """The answer fell silent for longer than the ``idle`` limit."""

    outcome = "timeout"


class RelayFault(RelayError):
    """A fault of the relay itself; the log has the details."""

    message = "The relay failed on this call."
