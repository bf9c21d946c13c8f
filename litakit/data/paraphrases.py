"""How the question of each task may be put, in six ways each, and the conversation that comes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from litakit.data.manifests import AnswerStyle, Task
from litakit.messages import Message

PARAPHRASES: Mapping[Task, tuple[str, ...]] = MappingProxyType(
    {
        "dvc": (
            "Tell what happens in this video from beginning to end, each sentence after its two times.",
            "Give a full account of the clip, and put a start time and an end time before every statement.",
            "What happens in the video, one after another? Write when it begins and ends, and what it is.",
            "Write down every event of this video: its two times first, then a sentence about it.",
            "Describe the video event by event, each with its start and end time ahead of the words.",
            "Take this video apart: every event gets its first moment, its last moment and a description.",
        ),
        "event_loc": (
            'When does "{}" happen in the video? Give its start and its end time, nothing else.',
            'Find the part of the video that shows "{}". Answer with its start and end time only.',
            'From when to when does the video show "{}"? Reply with the two times alone.',
            'At which time does "{}" begin, and at which does it end? Only the times, please.',
            'Give nothing but the start and end time of this event: "{}".',
            'Locate "{}" in the video. Your answer is its first and its last moment, without further words.',
        ),
        "vidqa": (
            "{}",
            "{} Watch the whole video before you answer.",
            "Here is a question about the video. {}",
            "Answer from what the video shows: {}",
            "Look at the video. {}",
            "{} Go by the video.",
        ),
        "imgqa": (
            "{}",
            "Look at the picture. {}",
            "{} Go by the picture.",
            "Here is a question about the picture. {}",
            "Answer from what the picture shows: {}",
            "{} Look closely before you answer.",
        ),
        "rtl": (
            "{} Answer with the start time and the end time, and then say why.",
            "{} Give the two times of that part of the video first, then your reasons.",
            "{} First its beginning and its end in the video, then an explanation.",
            "Think about what the video shows. {} Start with two times, from when to when, and explain.",
            "{} Say from when to when, and how you can tell.",
            "{} Begin with the start and end time; then give the reason in a sentence.",
        ),
    }
)
"""Ways to put each task's question; `{}` is the event or the question of the annotation."""

SHORT_ANSWERS: Mapping[AnswerStyle, tuple[str, ...]] = MappingProxyType(
    {
        "word": (
            "One word or one phrase is enough.",
            "Answer with a single word or phrase.",
            "Reply in one word or a phrase.",
            "Keep it to a word or a phrase.",
            "Use just a word or a phrase.",
            "Your answer is a single word or a phrase.",
        ),
        "phrase": (
            "A short phrase is enough.",
            "Answer with a short phrase.",
            "Reply in a few words.",
            "Keep it to a short phrase.",
            "Use just a few words.",
            "Your answer is a short phrase.",
        ),
        "free": ("",) * 6,
    }
)
"""What is asked for where a data set's answers are short: a model shall be short only when asked to."""

NUM_PARAPHRASES = 6


def conversation(
    task: Task,
    style: AnswerStyle,
    subjects: Sequence[str],
    answers: Sequence[str],
    way: int,
    has_video: bool,
) -> tuple[Message, ...]:
    """Return questions and answers in turn, the first question put in one of the task's ways.

    The others go on with the conversation, so they are put as they are; so is one without a video.

    Args:
        task: whose ways.
        style: how long answers are asked to be.
        subjects: what each question is about.
        answers: what is said to it.
        way: any integer, counted round.
        has_video: whether a video (or image) stands in the first question.
    """
    said: list[Message] = []
    short = SHORT_ANSWERS[style][way % NUM_PARAPHRASES]
    for turn, (subject, answer) in enumerate(zip(subjects, answers, strict=True)):
        ways = PARAPHRASES[task] if has_video and turn == 0 else PARAPHRASES[task][:1]
        words = ways[way % len(ways)].replace("{}", subject)
        said.append(Message("user", f"{words} {short}".rstrip(), video=has_video and turn == 0))
        said.append(Message("assistant", answer))
    return tuple(said)
