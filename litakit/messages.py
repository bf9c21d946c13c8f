"""Conversations with a video, and the chat templates that write them as a prompt: data, none global.

The video is data too: a placeholder of its own type stands where the visual tokens go, so that a user who
writes `<image>` has written seven letters and nothing else.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Final, Literal, NamedTuple


class VideoPlaceholder(Enum):
    """The place of the visual tokens in a prompt; it has one member, `VIDEO`."""

    VIDEO = "<image>"


VIDEO: Final = VideoPlaceholder.VIDEO


@dataclass(frozen=True)
class Message:
    """One turn of a conversation.

    Attributes:
        role: "user" or "assistant".
        content: the words; None for an answer that is still to be given.
        video: whether the video stands at the head of this turn, which then must be the user's.

    Raises:
        ValueError: an unknown role, a user's turn without words, or a video in an assistant's turn.

    >>> Message("user", "When does he run?", video=True).role
    'user'
    """

    role: Literal["user", "assistant"]
    content: str | None
    video: bool = False

    def __post_init__(self) -> None:
        if self.role not in ("user", "assistant"):
            raise ValueError(f"expected role 'user' or 'assistant', got {self.role!r}")
        if self.role == "user" and self.content is None:
            raise ValueError("expected words in a user's message, got None")
        if self.role == "assistant" and self.video:
            raise ValueError("a video belongs to a user's message, got one in an assistant's")


@dataclass(frozen=True)
class ChatTemplate:
    """How a conversation is written as a prompt.

    Attributes:
        name: key in `TEMPLATES`.
        system: the system's words, as they stand in `opening` or `first_user_head`.
        opening: before everything, also of an empty conversation.
        first_user_head: before the first question.
        user_head: before every further question.
        user_end: after every question.
        answer_head: before every answer, and the end of a prompt that waits for one.
        answer_lead: between the head and the words of an answer; learned with them.
        answer_end: after every answer; learned too, for generation stops there.
    """

    name: str
    system: str
    opening: str
    first_user_head: str
    user_head: str
    user_end: str
    answer_head: str
    answer_lead: str
    answer_end: str


class Segment(NamedTuple):
    """A piece of a prompt: words or the video, and whether it is the assistant's, that is, to be learned."""

    content: str | VideoPlaceholder
    is_answer: bool


def _vicuna(name: str, person: str) -> ChatTemplate:
    system = (
        f"A chat between a curious {person} and an artificial intelligence assistant. "
        f"The assistant gives helpful, detailed, and polite answers to the {person}'s questions."
    )
    return ChatTemplate(
        name=name,
        system=system,
        opening=f"{system} ",
        first_user_head="USER: ",
        user_head="USER: ",
        user_end=" ",
        answer_head="ASSISTANT:",
        answer_lead=" ",
        answer_end="</s>",
    )


def _llama_2(name: str, system: str) -> ChatTemplate:
    return ChatTemplate(
        name=name,
        system=system,
        opening="",
        first_user_head=f"[INST] <<SYS>>\n{system}\n<</SYS>>\n\n",
        # The tokenizer puts the first <s> itself.
        user_head="<s>[INST] ",
        user_end=" [/INST]",
        answer_head="",
        answer_lead=" ",
        answer_end=" </s>",
    )


_VICUNA_V1 = _vicuna("v1", "user")

TEMPLATES: Final[Mapping[str, ChatTemplate]] = MappingProxyType(
    {
        "v1": _VICUNA_V1,
        "vicuna_v1": _VICUNA_V1,
        "llava_v1": _vicuna("llava_v1", "human"),
        "llama_2": _llama_2(
            "llama_2",
            "You are a helpful, respectful and honest assistant. Always answer as helpfully as possible, "
            "while being safe.  Your answers should not include any harmful, unethical, racist, sexist, "
            "toxic, dangerous, or illegal content. Please ensure that your responses are socially unbiased "
            "and positive in nature.\n\nIf a question does not make any sense, or is not factually "
            "coherent, explain why instead of answering something not correct. If you don't know the "
            "answer to a question, please don't share false information.",
        ),
        "llava_llama_2": _llama_2(
            "llava_llama_2",
            "You are a helpful language and vision assistant. You are able to understand the visual content "
            "that the user provides, and assist the user with a variety of tasks using natural language.",
        ),
    }
)
"""Published LITA was trained with "v1" and is evaluated with "llava_v1"; two are for the Llama-2 base."""


def get_template(name: str) -> ChatTemplate:
    """Return the chat template of a name.

    Raises:
        ValueError: there is none of that name.

    >>> get_template("vicuna_v1").name
    'v1'
    """
    if name not in TEMPLATES:
        raise ValueError(f"expected a chat template out of {tuple(TEMPLATES)}, got {name!r}")
    return TEMPLATES[name]


def render_turns(messages: Sequence[Message], template: ChatTemplate) -> Iterator[Segment]:
    """Yield a conversation piece by piece, each piece marked as the assistant's or not.

    Joined, the pieces are the prompt. An answer's piece holds the blank before it and the end token after it.
    For label masks as published, tokenise all words on one side of the video as one string and take the ids
    whose characters lie in answers: pieces tokenised one by one would come out differently.

    A conversation that ends with a question, with an answer of None, or with an empty one waits for its
    answer.

    Args:
        messages: user and assistant in turn, the user first; the video stands in one of them at most.
        template: how to write them.

    Raises:
        ValueError: the roles do not alternate from the user on, more than one message has a video, or an
            answer is missing in the middle.
    """
    _check_conversation(messages)
    if template.opening:
        yield Segment(template.opening, False)
    for index, message in enumerate(messages):
        if message.role == "user":
            yield Segment(template.user_head if index else template.first_user_head, False)
            if message.video:
                yield Segment(VIDEO, False)
                yield Segment("\n", False)
            yield Segment(f"{message.content}{template.user_end}{template.answer_head}", False)
        elif message.content:
            yield Segment(f"{template.answer_lead}{message.content}{template.answer_end}", True)


def render_prompt(messages: Sequence[Message], template: ChatTemplate) -> list[str | VideoPlaceholder]:
    """Return a conversation as the strings around its video, in order; errors as `render_turns`.

    >>> question = Message("user", "When?", video=True)
    >>> [piece if piece is VIDEO else piece[-9:] for piece in render_prompt([question], TEMPLATES["v1"])]
    ['s. USER: ', <VideoPlaceholder.VIDEO: '<image>'>, 'SSISTANT:']
    """
    pieces: list[str | VideoPlaceholder] = []
    for content, _ in render_turns(messages, template):
        if pieces and isinstance(content, str) and isinstance(pieces[-1], str):
            pieces[-1] += content
        else:
            pieces.append(content)
    return pieces


def prompt_text(messages: Sequence[Message], template: ChatTemplate) -> str:
    """Return a conversation as one string to read, with `<image>` for the video; errors as `render_turns`.

    >>> print(prompt_text([Message("user", "When?", video=True)], TEMPLATES["llava_llama_2"])[-21:])
    <image>
    When? [/INST]
    """
    pieces = render_prompt(messages, template)
    return "".join(piece if isinstance(piece, str) else piece.value for piece in pieces)


def from_conversation(turns: Sequence[tuple[str, str]]) -> tuple[Message, ...]:
    """Return the messages of a conversation in LLaVA's format, whose texts hold `<image>` for the video.

    As published: the placeholder goes to the head of its turn, wherever it stood and however often, and that
    turn is stripped; an answer before the first question is dropped. In answers `<image>` stays words.

    Args:
        turns: pairs of ("human" or "gpt", words).

    Raises:
        ValueError: another speaker than these two.

    >>> from_conversation([("human", "Look at this <image>"), ("gpt", "ok")])[0]
    Message(role='user', content='Look at this', video=True)
    """
    messages = []
    for speaker, words in turns:
        match speaker:
            case "human":
                video = VIDEO.value in words
                content = words.replace(VIDEO.value, "").strip() if video else words
                messages.append(Message("user", content, video))
            case "gpt":
                messages.append(Message("assistant", words))
            case _:
                raise ValueError(f"expected a speaker out of ('human', 'gpt'), got {speaker!r}")
    return tuple(messages[1:] if messages and messages[0].role == "assistant" else messages)


def _check_conversation(messages: Sequence[Message]) -> None:
    """Raise where a conversation has no prompt."""
    for index, message in enumerate(messages):
        expected = "assistant" if index % 2 else "user"
        if message.role != expected:
            raise ValueError(f"expected message {index} to be the {expected}'s, got the {message.role}'s")
        if message.role == "assistant" and not message.content and index < len(messages) - 1:
            raise ValueError(
                f"expected words in answer {index}, got {message.content!r}: only the last may be open"
            )
    videos = sum(message.video for message in messages)
    if videos > 1:
        raise ValueError(f"expected at most one message with the video, got {videos}")
