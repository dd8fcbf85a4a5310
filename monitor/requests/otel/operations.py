"""Operations: whether a span or log record is a model call, by the labels that it carries.

Most conventions label every record with the kind of its operation, and the first label found
decides. A record without one is a model call if it has an attribute that only model calls have.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any


class Operation(Enum):
    """What a record is: a model call, another operation, or without a sign of either."""

    CALL = "call"
    OTHER = "other"
    UNKNOWN = "unknown"


# Attributes that name the kind of an operation, the values of model calls, and those of others.
# "*" stands for all other values.
_LABELS: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("logfire.span_type", (), ("pending_span",)),  # sent again when it ends
    ("openinference.span.kind", ("llm", "embedding", "completion"), ("*",)),
    (
        "gen_ai.operation.name",
        (
            *("chat", "text_completion", "completion", "generate_content", "generate"),
            *("embeddings", "embedding", "embed", "responses", "response", "messages"),
            *("text_embedding", "image_generation", "rerank", "transcription", "batch"),
        ),
        (
            *("execute_tool", "create_agent", "invoke_agent", "invoke_workflow", "plan", "handoff"),
            *("execute_task", "run_tool", "retrieval", "create_thread", "create_message"),
            *("start_thread_run", "process_thread_run", "submit_tool_outputs", "list_messages"),
            *("search_memory", "evaluation", "guardrail", "mcp", "create_memory", "update_memory"),
        ),
    ),
    (
        "langfuse.observation.type",
        ("generation", "embedding"),
        (
            *("agent", "tool", "chain", "retriever", "evaluator", "guardrail", "event"),
            *("retrieval", "workflow"),
        ),
    ),
    ("llm.request.type", ("chat", "completion", "embedding", "rerank", "text_completion"), ()),
    ("mlflow.spantype", ("llm", "chat_model", "embedding"), ("*",)),
    ("lmnr.span.type", ("llm",), ("*",)),
    ("genkit:metadata:subtype", ("model", "embedder"), ("*",)),
    (
        "traceloop.span.kind",
        ("llm", "generation"),
        ("workflow", "task", "agent", "tool", "chain", "retriever"),
    ),
)
_CALL_ATTRIBUTES = (
    *("gen_ai.request.", "gen_ai.response.", "gen_ai.usage.", "gen_ai.prompt", "gen_ai.completion"),
    *("gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.system", "gen_ai.provider.name"),
    *("gen_ai.content.prompt", "llm.model_name", "llm.input_messages.", "llm.prompts."),
    *("llm.token_count.", "llm.usage.", "llm.output_messages.", "ai.prompt.messages"),
    *("langfuse.observation.model.", "langfuse.observation.usage_details"),
)
DETAILS = "gen_ai.client.inference.operation.details"  # the event that has all of a call
_TOOL = ("gen_ai.tool.name", "gen_ai.tool.call.id")


def operation_of(attributes: Mapping[str, Any], name: str, event: str) -> Operation:
    """What a record is.

    Args:
        attributes: its own, with lower-case names.
        name: of the span, empty for a log record.
        event: name of the log record's event, in lower case, empty for a span.
    """
    step = _vercel_step(attributes, name)
    if step is not None:
        return Operation.CALL if step else Operation.OTHER
    for label, calls, others in _LABELS:
        value = attributes.get(label)
        if type(value) is not str or not value:
            continue
        kind = value.strip().lower()
        if kind in calls:
            return Operation.CALL
        if kind in others or "*" in others:
            return Operation.OTHER
    if event.startswith("gen_ai."):
        return Operation.CALL if event == DETAILS else Operation.OTHER
    called = any(each.startswith(_CALL_ATTRIBUTES) for each in attributes)
    is_tool = any(label in attributes for label in _TOOL)
    if called and not (is_tool and "gen_ai.request.model" not in attributes):
        return Operation.CALL
    return Operation.UNKNOWN


def _vercel_step(attributes: Mapping[str, Any], name: str) -> bool | None:
    """Whether a span of the Vercel AI SDK calls a model itself; `None` for any other span.

    `ai.generateText` holds one `ai.generateText.doGenerate` per call of the model.
    """
    for operation in (attributes.get("ai.operationid"), attributes.get("operation.name"), name):
        if type(operation) is str and operation.startswith("ai."):
            step = operation.split(" ")[0].rpartition(".")[2]
            return step.startswith("do") and step[2:3].isupper()
    return None
