"""What a chat request and its answer look like on the wire, checked and documented by one model.

Requests are checked from bytes; what is wrong is told by the field's name and the rule, and
never by what was sent. Source: DESIGN.md, section 3.1.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from llmhive.app.errors import CallerError
from llmhive.app.orchestration.model import ChatRequest, FinishReason

# A book chapter; more than the smallest token budget admits, so that the budget is what counts.
MESSAGE_LENGTH_MAX: Final = 120_000
# Room for two UUIDs with a prefix.
CONVERSATION_ID_LENGTH_MAX: Final = 100


class ChatBody(BaseModel):
    """The body of `POST /api/chat`; other fields are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    message: Annotated[str, Field(min_length=1, max_length=MESSAGE_LENGTH_MAX)]
    conversation_id: Annotated[
        str | None, Field(min_length=1, max_length=CONVERSATION_ID_LENGTH_MAX)
    ] = None
    stream: bool = False
    model: str | None = Field(None, description="The provider of this model is asked first.")


class UsageReply(BaseModel):
    """Tokens of one answer."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChatReply(BaseModel):
    """The answer, and without `reply` the data of a stream's `done` event."""

    id: str
    reply: str
    provider: str
    model: str
    usage: UsageReply
    iterations: int
    partial: bool = Field(description="The answer is not at its end; see finish_reason.")
    finish_reason: FinishReason
    request_id: str
    conversation_id: str | None = None


class ProblemReply(BaseModel):
    """Any error, as application/problem+json (RFC 9457)."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    request_id: str


class InvalidRequestError(CallerError):
    """The body is JSON that breaks a rule."""

    code = "invalid_request"
    http_status = 422
    title = "The request breaks a rule."


def read_request(body: bytes, models: Collection[str]) -> ChatRequest:
    """Check a body.

    Takes: models, the configured ones.
    Raises: CallerError malformed_json (400), InvalidRequestError (422); both definite.
    """
    try:
        checked = ChatBody.model_validate_json(body)
    except ValidationError as error:
        raise _refusal(error) from None  # the cause quotes what was sent
    if checked.model is not None and checked.model not in models:
        raise InvalidRequestError("model: none of the configured ones.")
    return ChatRequest(checked.message, checked.conversation_id, checked.stream, checked.model)


def _refusal(error: ValidationError) -> CallerError:
    found = error.errors(include_input=False, include_url=False, include_context=False)
    if any(each["type"] == "json_invalid" for each in found):
        return CallerError("The body is no JSON.", code="malformed_json")
    told = sorted({_told(each["loc"], each["type"]) for each in found})
    return InvalidRequestError(" ".join(told))


def _told(place: tuple[int | str, ...], rule: str) -> str:
    if place and place[0] in ChatBody.model_fields:
        return f"{place[0]}: {rule}."
    return "An unknown field." if place else f"The body: {rule}."


def operation() -> dict[str, Any]:
    """The OpenAPI operation of the route."""
    problem = {"application/problem+json": {"schema": _ref(ProblemReply)}}
    refusals = {
        "400": "Not JSON",
        "401": "No key, or not a valid one",
        "408": "The body did not come in time",
        "413": "The body is too large",
        "415": "A form with parts",
        "422": "The body breaks a rule",
        "429": "A limit is used up; see Retry-After",
        "503": "No provider answers now; see Retry-After",
        "504": "Out of time",
    }
    return {
        "summary": "Ask, and get an answer at once or as a stream of events",
        "operationId": "chat",
        "tags": ["chat"],
        "security": [{"bearer": []}],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _ref(ChatBody)}},
        },
        "responses": {
            "200": {
                "description": "The answer; with `stream`, `token` events, then one `done` or "
                "`error` event",
                "content": {
                    "application/json": {"schema": _ref(ChatReply)},
                    "text/event-stream": {"schema": {"type": "string"}},
                },
            },
            **{
                status: {"description": text, "content": problem}
                for status, text in refusals.items()
            },
        },
    }


def schemas() -> dict[str, Any]:
    """The schemas that `operation` names, for the document's components."""
    found: dict[str, Any] = {}
    for model in (ChatBody, ChatReply, ProblemReply):
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        found |= schema.pop("$defs", {})
        found[model.__name__] = schema
    return found


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}
