import numpy as np
import pytest

from monitor.kernels.buffers import Prompts
from monitor.records.admission import READ, UNREAD
from monitor.records.harvest.frames import FIRST, FULL, HALF, SAMPLE, varying
from monitor.records.profile import RECORD
from monitor.requests.marks import FIRST_TURN, FOLLOW_UP, HAS_PROMPT
from monitor.requests.parts import Parts
from monitor.requests.turns import SYSTEM, USER, Part

BEGINS = HAS_PROMPT | FIRST_TURN
SEED = np.uint64(7)
POET = "You are a poet. Answer in verse, briefly."
NAMES = [f"{a} {b}" for a in ("Ada", "Bo", "Cy", "Dee", "Eli") for b in ("Finn", "Gray", "Hull")]


def cut(prompts, records=None, *, marks=BEGINS, admitted=READ, system="", judged=False):
    """What varies in the prompts of one key, by number of the request; and which have no frame."""
    n = len(prompts)
    records = np.zeros(1, RECORD) if records is None else records
    before = [Part(SYSTEM, system)] if system else []
    parts = Parts.of([[*before, Part(USER, prompt)] for prompt in prompts])
    marks = np.broadcast_to(np.array(marks, np.uint16), n)
    found = varying(
        *(records, np.zeros(n, np.int64), np.full(n, admitted, np.uint8), marks),
        *(parts, np.full(len(parts.kinds), judged), Prompts.of(prompts), SEED),
    )
    texts = [bytes(found.prompts.data[at:end]).decode() for at, end in found.prompts.places]
    return dict(zip(found.which.tolist(), texts, strict=True)), found.unframed


@pytest.mark.parametrize(
    ("frame", "item"),
    [
        ("Which team is this for?\nMessage: {}\n\nAnswer with one word.", "my card is lost, {}"),
        ("请概括下面的内容。只写一句话。\n{}", "{}昨天去了北京"),
        ("{}\nBe brief!", "Where does {} live"),
    ],
)
def test_frame_is_cut_and_item_is_left(frame, item):
    items = [item.format(name) for name in NAMES]
    texts, unframed = cut([frame.format(each) for each in items])
    assert {i: text.strip() for i, text in texts.items()} == {
        i: each for i, each in enumerate(items) if i >= FIRST
    }
    assert (unframed < 1).all()


def test_frame_longer_than_one_prompt_adds_is_learned():
    frame = "\n".join(f"Rule {i}: never mention topic {i * 37}." for i in range(9))
    texts, _ = cut([f"{frame}\nText: call {name}" for name in NAMES])
    assert texts[len(NAMES) - 1].strip() == f"call {NAMES[-1]}"


def test_two_frames_in_turn_are_both_learned():
    frames = ["Answer as a teacher would.\n{}", "{}\nKeep it short!"]
    texts, unframed = cut([frames[i % 2].format(f"Who is {n}") for i, n in enumerate(NAMES)])
    assert {i: text.strip() for i, text in texts.items()} == {
        i: f"Who is {name}" for i, name in enumerate(NAMES) if i >= FIRST
    }
    assert (unframed < 0.7).all()


def test_frame_with_a_changing_word_is_no_frame():
    _, unframed = cut([f"Please, {i}th time: answer. What is {i * 7919}?" for i in range(12)])
    assert (unframed > 0.5).all()


def test_prompts_without_common_sentences_have_no_frame():
    texts, unframed = cut([f"Write a poem about {name}." for name in NAMES])
    assert len(texts) == len(NAMES) - FIRST
    assert (unframed == 1).all()


def test_system_prompt_is_a_frame():
    _, unframed = cut(
        [f"Write a poem about {name}." for name in NAMES],
        system=POET,
    )
    assert not unframed.any()


def test_system_prompt_that_is_new_each_time_is_no_frame():
    _, unframed = cut([f"Write a poem about {name}." for name in NAMES], system=POET, judged=True)
    assert (unframed == 1).all()


def test_repeated_prompt_leaves_nothing():
    assert cut(["Is the service up?"] * 9)[0] == {}


@pytest.mark.parametrize("marks", [HAS_PROMPT, FIRST_TURN, HAS_PROMPT | FOLLOW_UP])
def test_only_prompts_known_to_begin_a_conversation_are_judged(marks):
    assert cut(NAMES, marks=marks)[0] == {}


def test_prompts_that_are_not_read_are_not_judged():
    assert cut(NAMES, admitted=UNREAD)[0] == {}


def test_key_that_follows_up_now_and_then_is_judged():
    turns = [BEGINS] * 4 + [HAS_PROMPT | FOLLOW_UP]
    assert len(cut([f"What is {i * 7919}?" for i in range(50)], marks=turns * 10)[0]) == 36


def test_key_that_follows_up_is_not_judged():
    turns = [BEGINS, HAS_PROMPT | FOLLOW_UP] * 20
    assert max(cut([f"What about {i}?" for i in range(40)], marks=turns)[0]) < 16


def test_later_prompts_are_sampled():
    n = 4 * FULL
    texts, _ = cut([f"Explain the number {i * 7919}." for i in range(n)])
    assert FULL - FIRST < len(texts) < FULL + 2 * (n - FULL) / SAMPLE


def test_long_text_keeps_both_ends_and_whole_characters():
    texts, _ = cut([f"{name} begins{'é' * 9000}{name} ends" for name in NAMES])
    text = texts[FIRST]
    assert text.startswith(f"{NAMES[FIRST]} begins")
    assert text.endswith(f"{NAMES[FIRST]} ends")
    assert len(text.encode()) <= 2 * HALF + 4


def test_batches_do_not_change_what_varies():
    prompts = [f"Translate this.\n{name} went home. It was late, {name}." for name in NAMES]
    whole = cut(prompts)[0]
    records = np.zeros(1, RECORD)
    first, rest = cut(prompts[:6], records)[0], cut(prompts[6:], records)[0]
    assert whole == first | {i + 6: text for i, text in rest.items()}


def test_empty_batch_is_accepted():
    assert cut([])[0] == {}
