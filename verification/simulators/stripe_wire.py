"""The routes of Stripe's API that a webhook's fetch needs, as Stripe answers them.

Source: Stripe, API reference, "Retrieve a subscription", "List subscriptions", "Retrieve an
invoice", "Errors", "Versioning" (2026-10).
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

from verification.simulators.answer import JSON, Answer, HeaderValue
from verification.simulators.http_request import Request
from verification.simulators.peer import RefusedError, bearer, fresh_id, scripted, with_headers
from verification.simulators.reply import CHAT_ONLY, EXPECTED, Reply, ScriptError
from verification.simulators.stripe_versions import NEWEST, Json, is_version, shaped

INVALID: Final = "invalid_request_error"
DOCUMENTS: Final = "https://stripe.com/docs/error-codes/"
# Collection -> what Stripe calls one of it, and the parameter that a wrong id is blamed on.
KINDS: Final = {"subscriptions": ("subscription", "id"), "invoices": ("invoice", "invoice")}
LIST_MAX: Final = 100
LIST_USUAL: Final = 10
LIST_QUERY: Final = frozenset({"customer", "status", "limit", "starting_after", "price"})
ENDED: Final = frozenset({"canceled", "incomplete_expired"})
# Status -> type, code, message.
ERRORS: Final[dict[int, tuple[str, str | None, str]]] = {
    400: (INVALID, "parameter_invalid_empty", "The request is invalid."),
    401: (INVALID, None, "Invalid API Key provided: sk_test_****"),
    402: ("card_error", "card_declined", "Your card was declined."),
    403: (INVALID, None, "The provided key does not have the required permissions."),
    404: (INVALID, "resource_missing", "No such object."),
    409: ("idempotency_error", "idempotency_key_in_use", "Another request is in progress."),
    429: (INVALID, "rate_limit", "Request rate limit exceeded."),
}


class StripeWire:
    """Stripe."""

    name = "stripe"
    known_fields = frozenset(EXPECTED) - CHAT_ONLY

    def __init__(self) -> None:
        self._objects: dict[str, dict[str, Json]] = {kind: {} for kind in KINDS}

    def key(self, request: Request) -> str | None:
        """The bearer token, or the user of Basic."""
        scheme, _, told = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return bearer(request)
        try:
            return base64.b64decode(told, validate=True).decode().partition(":")[0] or None
        except (binascii.Error, UnicodeDecodeError):
            return None

    def read(self, request: Request, key: str | None) -> StripeQuestion:
        """Read a call. Raises RefusedError."""
        version = request.headers.get("stripe-version", NEWEST)
        if key is None:
            headers: dict[str, HeaderValue] = {"www-authenticate": 'Basic realm="Stripe"'}
            raise _no(401, "You did not provide an API key.", headers=headers)
        if not is_version(version):
            raise _no(400, f"Invalid Stripe API version: {version}")
        return StripeQuestion(self, request, key, version)

    def found(self, question: StripeQuestion) -> Json:
        """What the question asks for. Raises RefusedError."""
        request = question.request
        words = request.path.strip("/").split("/")
        if request.method == "GET" and words[0] == "v1" and len(words) > 1:
            kind, ids = words[1], words[2:]
            if kind in KINDS and len(ids) == 1:
                return self._one(kind, unquote(ids[0]), question)
            if kind == "subscriptions" and not ids:
                return self._listed(question)
        raise _no(404, f"Unrecognized request URL ({request.method}: {request.path}).")

    def _one(self, kind: str, object_id: str, question: StripeQuestion) -> Json:
        noun, parameter = KINDS[kind]
        told = self._objects[kind].get(object_id)
        if told is None:
            raise _missing(f"No such {noun}: '{object_id}'", parameter)
        if not question.sees(told):
            mode, other = ("test", "live") if question.is_live else ("live", "test")
            text = f"a similar object exists in {mode} mode, but a {other} mode key was used"
            raise _missing(
                f"No such {noun}: '{object_id}'; {text} to make this request.", parameter
            )
        return shaped(told, question.version)

    def _listed(self, question: StripeQuestion) -> Json:
        query = question.query
        for name in query:
            if name not in LIST_QUERY:
                raise _no(400, f"Received unknown parameter: {name}", "parameter_unknown", name)
        told = query.get("limit", str(LIST_USUAL))
        if not (told.isascii() and told.isdigit() and 1 <= int(told) <= LIST_MAX):
            raise _no(400, f"Invalid integer: {told}", "parameter_invalid_integer", "limit")
        every = [one for one in self._objects["subscriptions"].values() if question.sees(one)]
        every.sort(key=lambda one: (one.get("created", 0), str(one["id"])), reverse=True)
        ids = [one["id"] for one in every]
        after = query.get("starting_after")
        if after is not None and after not in ids:
            raise _missing(f"No such subscription: '{after}'", "starting_after")
        rest = every[ids.index(after) + 1 :] if after is not None else every
        matching = [one for one in rest if _is_asked_for(one, query)]
        page = [shaped(one, question.version) for one in matching[: int(told)]]
        more = len(matching) > len(page)
        return {"object": "list", "url": "/v1/subscriptions", "has_more": more, "data": page}

    # For control.

    def put(self, told: object) -> None:
        """Keep objects under their ids; null forgets one. Raises ScriptError."""
        for kind, object_id, one in list(_checked(told)):
            self._objects[kind].pop(object_id, None)
            if one is not None:
                self._objects[kind][object_id] = one

    def objects(self) -> Mapping[str, Any]:
        """The objects that are kept."""
        return self._objects

    def forget_objects(self) -> None:
        """Keep none any longer."""
        self._objects = {kind: {} for kind in KINDS}


@dataclass(frozen=True, slots=True)
class StripeQuestion:
    """A call with a key."""

    wire: StripeWire
    request: Request
    key: str
    version: str

    @property
    def texts(self) -> tuple[str, ...]:
        """The target, which has the ids, and the body."""
        return (unquote(self.request.target), self.request.body.decode("utf-8", "replace"))

    @property
    def query(self) -> dict[str, str]:
        """The parameters."""
        return dict(parse_qsl(self.request.target.partition("?")[2], keep_blank_values=True))

    @property
    def is_live(self) -> bool:
        """Whether the key is one of live mode."""
        return "_live_" in self.key

    def sees(self, told: Json) -> bool:
        """Whether the object is of the key's mode."""
        return bool(told.get("livemode", False)) == self.is_live

    def answer(self, reply: Reply) -> Answer:
        """Answer as Stripe would, with what the reply says instead."""
        headers = {**_headers(), "stripe-version": self.version}
        given = scripted(reply, headers)
        if given is not None:
            return given
        every = with_headers({"content-type": JSON, **headers}, reply.headers)
        if reply.status is not None and reply.status >= 400:  # noqa: PLR2004
            return Answer(reply.status, every, (_spelled(_error(reply.status)),))
        try:
            return Answer(reply.status or 200, every, (_spelled(self.wire.found(self)),))
        except RefusedError as refused:
            return refused.answer


def _is_asked_for(told: Json, query: Mapping[str, str]) -> bool:
    customer = told.get("customer")
    owner = customer.get("id") if isinstance(customer, dict) else customer
    if query.get("customer") not in (None, owner):
        return False
    prices = {item.get("price", {}).get("id") for item in told.get("items", {}).get("data", [])}
    if "price" in query and query["price"] not in prices:
        return False
    status = query.get("status")
    if status is None:
        return told.get("status") != "canceled"
    return status in {"all", told.get("status")} or (
        status == "ended" and told.get("status") in ENDED
    )


def _checked(told: object) -> Iterator[tuple[str, str, Json | None]]:
    """Kind, id and object of each that is to be kept. Raises ScriptError."""
    if not isinstance(told, dict):
        raise ScriptError(f"expected an object, got {told!r}")
    for kind, every in told.items():
        if kind not in KINDS:
            raise ScriptError(f"unknown kind {kind!r}, expected {', '.join(KINDS)}")
        if not isinstance(every, dict):
            raise ScriptError(f"{kind}: expected an object of objects by id, got {every!r}")
        for object_id, one in every.items():
            yield kind, object_id, _checked_object(kind, object_id, one)


def _checked_object(kind: str, object_id: str, one: object) -> Json | None:
    noun = KINDS[kind][0]
    if one is None:
        return None
    if not isinstance(one, dict) or one.get("id") != object_id or one.get("object") != noun:
        raise ScriptError(
            f"{kind}.{object_id}: expected null or an object with that id and "
            f'"object": "{noun}", got {one!r}'
        )
    return one


def _headers() -> dict[str, HeaderValue]:
    return {"request-id": fresh_id("req_"), "stripe-version": NEWEST}


def _spelled(value: object) -> bytes:
    """JSON as Stripe spells it."""
    return json.dumps(value, indent=2, ensure_ascii=False).encode()


def _error(status: int) -> Json:
    usual = ("api_error", None, "An unknown error occurred")
    kind, code, message = ERRORS.get(status, usual)
    return _error_body(kind, message, code)


def _error_body(kind: str, message: str, code: str | None, parameter: str | None = None) -> Json:
    error: Json = {"message": message, "type": kind}
    if code is not None:
        error |= {"code": code, "doc_url": DOCUMENTS + code.replace("_", "-")}
    if parameter is not None:
        error["param"] = parameter
    return {"error": error}


def _no(
    status: int,
    message: str,
    code: str | None = None,
    parameter: str | None = None,
    *,
    headers: Mapping[str, HeaderValue] | None = None,
) -> RefusedError:
    body = _spelled(_error_body(INVALID, message, code, parameter))
    every = {"content-type": JSON, **_headers(), **(headers or {})}
    return RefusedError(Answer(status, every, (body,)))


def _missing(message: str, parameter: str) -> RefusedError:
    return _no(404, message, "resource_missing", parameter)
