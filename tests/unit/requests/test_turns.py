"""Every way in which a request's texts are written gives the same parts."""

import base64
import json

import pytest
from hypothesis import given

from monitor.requests.turns import ASSISTANT, DOCUMENT, SYSTEM, TOOL, USER, read_turns, text_of
from tests.unit.requests.test_decoder_fuzz import json_values

QUESTION = "Where do the terns of this coast go in winter?"
ENCODED = base64.b64encode(QUESTION.encode()).decode()
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(range(128, 256))).decode()


def texts(messages):
    return [(part.kind, part.text) for part in read_turns(messages).parts]


def one(kind, text=QUESTION):
    return [(kind, text)]


@pytest.mark.parametrize(
    ("role", "kind"),
    [
        *[(role, USER) for role in ("user", "User", "HUMAN", "human", "HumanMessage", " user ")],
        *[(role, SYSTEM) for role in ("system", "developer", "SYSTEM", "SystemMessage")],
        *[(role, TOOL) for role in ("tool", "function", "ipython", "ToolMessage")],
        *[(role, ASSISTANT) for role in ("assistant", "model", "ai", "AIMessage", "CHATBOT")],
        ("critic", USER),
        (5, USER),
    ],
)
def test_role_is_read_in_every_spelling(role, kind):
    assert texts([{"role": role, "content": QUESTION}]) == one(kind)


@pytest.mark.parametrize(
    "message",
    [
        QUESTION,
        {"content": QUESTION},
        {"role": "user", "parts": [{"text": QUESTION}]},
        {"role": "user", "parts": [{"type": "text", "content": QUESTION}]},
        {"type": "human", "data": {"content": QUESTION}},
        {
            "lc": 1,
            "type": "constructor",
            "id": ["langchain", "schema", "messages", "HumanMessage"],
            "kwargs": {"content": QUESTION, "type": "human"},
        },
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": QUESTION}]},
        {"message": {"role": "user", "content": QUESTION}},
        {"message.role": "user", "message.content": QUESTION},
        {"from": "human", "value": QUESTION},
        {"role": "USER", "message": QUESTION},
        {"role": "user", "content": {"type": "new form", "text": QUESTION}},
        {"role": "user", "content": {"type": "new form", "ask": {"now": [QUESTION]}}},
        {"role": "user", "content": json.dumps({"prompt": QUESTION, "model": "m"})},
    ],
)  # fmt: skip
def test_user_text_is_read_in_every_form(message):
    assert texts([message]) == one(USER)
    turns = read_turns([message])
    assert (turns.prompt, turns.number) == (QUESTION, 1)


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        ({"type": "document", "source": {"type": "text", "data": QUESTION}}, DOCUMENT),
        ({"type": "document", "source": {"type": "base64", "data": ENCODED}}, DOCUMENT),
        (
            {"type": "document", "source": {"content": [{"type": "text", "text": QUESTION}]}},
            DOCUMENT,
        ),
        ({"type": "file", "file": {"file_data": f"data:text/plain;base64,{ENCODED}"}}, DOCUMENT),
        ({"type": "input_file", "file_data": f"data:text/plain,{QUESTION}"}, DOCUMENT),
        ({"document": {"format": "txt", "source": {"bytes": ENCODED}}}, DOCUMENT),
        ({"type": "search_result", "content": [{"type": "text", "text": QUESTION}]}, DOCUMENT),
        ({"type": "tool_result", "content": QUESTION}, TOOL),
        ({"type": "tool_result", "content": [{"type": "text", "text": QUESTION}]}, TOOL),
        ({"toolResult": {"content": [{"json": {"answer": QUESTION}}]}}, TOOL),
        ({"functionResponse": {"response": {"rows": [{"note": QUESTION}]}}}, TOOL),
        ({"type": "tool_call_response", "id": "t", "response": QUESTION}, TOOL),
        ({"type": "blob", "mime_type": "text/plain", "content": ENCODED}, USER),
        ({"inlineData": {"mimeType": "text/plain", "data": ENCODED}}, USER),
        ({"type": "refusal", "refusal": QUESTION}, USER),
        ({"type": "tool_use", "id": "t", "name": "ask", "input": {"q": QUESTION}}, ASSISTANT),
    ],
)
def test_part_of_a_message_has_its_kind(part, kind):
    assert texts([{"role": "user", "content": [part]}]) == one(kind)


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
        {"inlineData": {"mimeType": "image/png", "data": PNG}},
        {"document": {"format": "pdf", "source": {"bytes": PNG}}},
        {"cachePoint": {"type": "default"}},
        {"type": "item_reference", "id": "msg_1"},
    ],
)
def test_part_without_text_is_skipped(part):
    assert texts([{"role": "user", "content": [part]}]) == []


@pytest.mark.parametrize("text", [f"data: {QUESTION}", f"data:{QUESTION}, please", "data:,,"])
def test_text_that_begins_like_a_data_url_is_read(text):
    assert texts([{"role": "user", "content": text}])[0][1].endswith(text[6:])


@pytest.mark.parametrize("field", ["format", "media_type", "mimeType", "modality"])
def test_text_that_is_called_an_image_is_read(field):
    assert texts([{"role": "user", "content": QUESTION, field: "image/png"}]) == one(USER)


def test_text_beside_encoded_data_is_read():
    text = f"data:{QUESTION};base64,{PNG}"
    assert texts([{"role": "user", "content": text}]) == [(USER, text)]


def test_responses_items_are_turns_without_roles():
    items = [
        {"role": "user", "content": "Next."},
        {"type": "function_call", "name": "next", "arguments": '{"a": 1}'},
        {"type": "function_call_output", "call_id": "c", "output": QUESTION},
    ]
    turns = read_turns(items)
    assert texts(items) == [(USER, "Next."), (ASSISTANT, '{"a": 1}'), (TOOL, QUESTION)]
    assert len({part.turn for part in turns.parts}) == 3
    assert (turns.prompt, turns.number) == ("Next.", 1)


def test_request_body_is_read_with_its_system_prompt():
    body = {"contents": [{"role": "user", "parts": [{"text": QUESTION}]}]}
    body["systemInstruction"] = {"parts": [{"text": "Be brief."}]}
    assert texts(body) == [(USER, QUESTION), (SYSTEM, "Be brief.")]
    assert texts(json.dumps(body)) == texts(body)


def test_batch_of_texts_is_one_turn():
    turns = read_turns(["One?", "Two?", "Three?"])
    assert [part.text for part in turns.parts] == ["One?", "Two?", "Three?"]
    assert turns.number == 1


def test_nested_batch_of_conversations_is_read():
    assert texts([[{"role": "user", "content": "A"}], [{"role": "user", "content": "B"}]]) == [
        (USER, "A"),
        (USER, "B"),
    ]


def test_text_beside_a_made_up_body_is_read():
    text = json.dumps({"messages": [{"role": "user", "content": "Hi"}], "task": QUESTION})
    assert texts([{"role": "user", "content": text}]) == one(USER, text)


CUT = json.dumps(
    [
        {"role": "system", "parts": [{"type": "text", "content": "Be brief."}]},
        {"role": "user", "parts": [{"type": "text", "content": f'"Terns" \\ é 🙂: {QUESTION}'}]},
    ]
)


@pytest.mark.parametrize("end", range(CUT.index("Be brief") + 1, len(CUT) + 1))
def test_truncated_messages_are_read_without_their_json(end):
    found = texts(CUT[:end])
    assert found[0][0] == SYSTEM
    assert "Be brief.".startswith(found[0][1])
    whole = texts(CUT)[1][1]
    assert all(whole.startswith(text) for kind, text in found if kind == USER)


@pytest.mark.parametrize("text", ["[1, 2", '{"a": "b', "[see above] go on", "{", "[", '["x", "y"]'])
def test_text_that_is_no_message_is_read_as_it_is(text):
    assert texts(text) == one(USER, text)


def test_encoded_words_are_not_taken_for_data():
    text = "Extract_every_line_of_this_book_and_show_all_of_them-please"
    assert texts([{"role": "user", "content": [{"type": "x", "data": text}]}]) == one(USER, text)


@pytest.mark.parametrize("depth", [30, 900])
def test_deeply_nested_text_is_read(depth):
    content = QUESTION
    for _ in range(depth):
        content = {"content": [content]}
    assert texts([content]) == one(USER)


def test_parts_beyond_the_limit_are_read_together():
    parts = [{"type": "text", "text": f"word{i}"} for i in range(1_000)]
    turns = read_turns([{"role": "user", "content": parts}])
    assert len(turns.parts) < 1_000
    assert turns.prompt.split() == [part["text"] for part in parts]


def test_text_of_an_object_is_its_text():
    assert text_of({"id": "pmpt_1", "version": "2", "variables": {"topic": "bees"}}) == "bees"
    assert text_of([{"text": "A"}, "B"]) == "A\nB"
    assert text_of(5) is text_of([]) is text_of("") is None


@given(json_values)
def test_any_json_is_read_without_an_error(value):
    assert all(part.text for part in read_turns(value).parts)
