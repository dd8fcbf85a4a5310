import json

import pytest

from tests.support.otel import (
    ASKED,
    CHAT,
    MESSAGES,
    PARTS,
    QUESTION,
    event,
    log,
    span,
    spoken,
    the_call,
)


@pytest.mark.parametrize(
    "attributes",
    [
        CHAT | {"gen_ai.input.messages": PARTS},
        CHAT | {"gen_ai.input.messages": json.dumps(PARTS)},
        CHAT
        | {
            "gen_ai.system_instructions": [{"type": "text", "content": "Be brief."}],
            "gen_ai.input.messages": json.dumps(PARTS[1:]),
        },
        {
            "llm.request.type": "chat",
            "gen_ai.prompt.0.role": "system",
            "gen_ai.prompt.0.content": "Be brief.",
            "gen_ai.prompt.1.role": "user",
            "gen_ai.prompt.1.content": QUESTION,
        },
        {
            "llm.request.type": "chat",
            "gen_ai.prompt.1.role": "user",
            "gen_ai.prompt.1.content": json.dumps([{"type": "text", "text": QUESTION}]),
            "gen_ai.prompt.0.role": "system",
            "gen_ai.prompt.0.content": "Be brief.",
        },
        {
            "openinference.span.kind": "LLM",
            "llm.input_messages.0.message.role": "system",
            "llm.input_messages.0.message.content": "Be brief.",
            "llm.input_messages.1.message.role": "user",
            "llm.input_messages.1.message.contents.0.message_content.type": "text",
            "llm.input_messages.1.message.contents.0.message_content.text": QUESTION,
            "input.value": json.dumps({"model": "m", "messages": MESSAGES}),
        },
        {"openinference.span.kind": "LLM", "input.value": json.dumps({"messages": MESSAGES})},
        CHAT | {"gen_ai.prompt": json.dumps(MESSAGES)},
        CHAT | {"gen_ai.prompt": json.dumps({"system": "Be brief.", "prompt": QUESTION})},
        CHAT | {"gen_ai.prompt": json.dumps({"messages": MESSAGES})},
        {
            "ai.operationId": "ai.streamText.doStream",
            "ai.prompt.messages": json.dumps(
                [MESSAGES[0], {"role": "user", "content": [{"type": "text", "text": QUESTION}]}]
            ),
        },
        {
            "langfuse.observation.type": "generation",
            "langfuse.observation.input": json.dumps(MESSAGES),
        },
        {
            "llm.request.type": "chat",
            "traceloop.entity.input": json.dumps({"inputs": {"messages": [MESSAGES]}, "tags": []}),
        },
        {"gen_ai.request.model": "m", "request_data": json.dumps({"messages": MESSAGES})},
        CHAT
        | {
            "events": json.dumps(
                [
                    {"event.name": f"gen_ai.{role}.message", "role": role, "content": text}
                    for role, text in ASKED
                ]
                + [
                    {
                        "event.name": "gen_ai.choice",
                        "message": {"role": "assistant", "content": "A"},
                    }
                ]
            )
        },
        {
            "gen_ai.request.model": "m",
            "traceloop.entity.input": json.dumps(
                {
                    "kwargs": {
                        "messages": [
                            {
                                "lc": 1,
                                "id": ["langchain", name],
                                "kwargs": {"content": text, "type": kind},
                            }
                            for name, kind, text in [
                                ("SystemMessage", "system", "Be brief."),
                                ("HumanMessage", "user", QUESTION),
                            ]
                        ]
                    }
                }
            ),
        },
        {name.upper(): value for name, value in CHAT.items()}
        | {"GEN_AI.PROMPT.0.ROLE": "system", "GEN_AI.PROMPT.0.CONTENT": "Be brief."}
        | {"Gen_AI.Prompt.1.Role": "user", "Gen_AI.Prompt.1.Content": QUESTION},
        {"gen_ai": {"request": {"model": "m"}, "input": {"messages": PARTS}}},
    ],
)
def test_prompt_is_read_from_attributes(attributes):
    assert spoken(the_call(span(attributes))) == ASKED


@pytest.mark.parametrize(
    "events",
    [
        [event("gen_ai.content.prompt", {"gen_ai.prompt": json.dumps(MESSAGES)})],
        [
            event(f"gen_ai.{role}.message", {"gen_ai.event.content": json.dumps({"content": text})})
            for role, text in ASKED
        ],
        [event(f"gen_ai.{role}.message", {"content": text}) for role, text in ASKED],
        [
            event(f"gen_ai.{role}.message", {"content": json.dumps([{"text": text}]), "role": role})
            for role, text in ASKED
        ],
        [event("gen_ai.client.inference.operation.details", {"gen_ai.input.messages": PARTS})],
    ],
)
def test_prompt_is_read_from_span_events(events):
    answer = event("gen_ai.choice", {"content": "Loa"})
    assert spoken(the_call(span(CHAT, events=[*events, answer]))) == ASKED


@pytest.mark.parametrize(
    "bodies",
    [
        [{"content": text} for _, text in ASKED],
        [{"role": role, "content": text} for role, text in ASKED],
        [json.dumps({"role": role, "content": text}) for role, text in ASKED],
        [{"role": role, "content": [{"text": text}]} for role, text in ASKED],
        [text for _, text in ASKED],
    ],
)
def test_prompt_is_read_from_log_events(bodies):
    names = ["gen_ai.system.message", "gen_ai.user.message"]
    records = [
        log(name, {"api_key.id": "k"}, body) for name, body in zip(names, bodies, strict=True)
    ]
    call = the_call(logs=[*records, log("gen_ai.choice", {}, {"message": {"content": "Loa"}})])
    assert spoken(call) == ASKED
    assert call["attributes"]["api_key.id"] == "k"


@pytest.mark.parametrize(
    ("attributes", "body"),
    [
        ({"gen_ai.input.messages": PARTS}, ""),
        ({}, {"gen_ai.input.messages": PARTS}),
        ({}, json.dumps({"gen_ai.input.messages": PARTS})),
        ({}, {"input": {"messages": MESSAGES}, "output": {"messages": [{"content": "Loa"}]}}),
    ],
)
def test_prompt_is_read_from_operation_details(attributes, body):
    record = log("gen_ai.client.inference.operation.details", CHAT | attributes, body)
    assert spoken(the_call(logs=[record])) == ASKED


def test_event_name_may_be_an_attribute():
    record = log(
        "",
        {"event_name": "gen_ai.content.prompt", "gen_ai.prompt": QUESTION},
        {"role": "user", "content": QUESTION},
    )
    assert spoken(the_call(logs=[record])) == [("user", QUESTION)]


@pytest.mark.parametrize("limit", [90, 110, 140])
def test_cut_json_gives_the_text_before_the_cut(limit):
    cut = json.dumps([{"role": "user", "parts": [{"type": "text", "content": QUESTION * 9}]}])
    (message,) = spoken(the_call(span(CHAT | {"gen_ai.input.messages": cut[:limit]})))
    assert message[0] == "user"
    assert (QUESTION * 9).startswith(message[1])
    assert len(message[1]) > limit - 60


def test_all_places_are_read():
    attributes = CHAT | {
        "gen_ai.prompt.0.content": "Only a greeting, nothing else.",
        "gen_ai.input.messages": json.dumps(PARTS),
        "input.value": "And one more thing that differs.",
    }
    assert [text for _, text in spoken(the_call(span(attributes)))] == [
        *(text for _, text in ASKED),
        "Only a greeting, nothing else.",
        "And one more thing that differs.",
    ]


def test_text_that_looks_like_json_is_text():
    for text in ("[not JSON", "{curly}", '{"a": 1}', "[1, 2, 3]", "[]"):
        call = the_call(
            span(CHAT | {"gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": text})
        )
        assert spoken(call) == [("user", text)]
        assert spoken(the_call(span(CHAT | {"gen_ai.prompt": text}))) == [("user", text)]
