"""The second time codec, plain seconds, all the way: trained on, saved, loaded, asked, read."""

import torch

import litakit
from litakit.assistant import Assistant
from litakit.messages import Message
from litakit.spans import Span
from litakit.video import decode_frames
from tests._small_lita import LONGER, QUESTION, SHORT, ask, small_lita


def test_a_model_that_learned_plain_seconds_answers_in_spans(tmp_path):
    model, processor = small_lita(time_codec="seconds", num_time_tokens=0)
    answer = processor.time_codec.render("<2.04> <9.5> because he runs.", 12.0)
    assert answer == "2.0 s 9.5 s because he runs."
    messages = [Message("user", QUESTION, video=True), Message("assistant", answer)]
    ids, labels = processor.encode_sample(messages)
    frames = decode_frames(LONGER, 8, transform=processor.frame_transform)
    learn(model, torch.tensor([ids]), torch.tensor([labels]), processor.pixel_values(frames))
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)

    assistant = litakit.load(tmp_path, cache=False)
    said = ask(assistant.open(LONGER), max_new_tokens=40)
    assert (said.text, said.spans) == ("2.0s 9.5s because he runs.", (Span(2.0, 9.5),))
    assert (said.confidence, said.boundaries, said.resolution_seconds) == ((None,), (), 0.1)
    stream = assistant.open(LONGER).stream(QUESTION, max_new_tokens=40)
    assert "".join(stream) == said.text
    assert stream.answer.spans == said.spans
    part = ask(assistant.open(LONGER, start=2.0), max_new_tokens=40)
    assert part.spans == (Span(4.0, 11.5),)  # told in seconds of the part, shown in those of the whole


def learn(model, ids, labels, pixels):
    """Learn one answer by heart."""
    language_model = model.language_model
    with torch.no_grad():
        for name, parameter in language_model.named_parameters():
            parameter.fill_(1.0) if "norm" in name else parameter.mul_(0.3)
    optimizer = torch.optim.Adam(language_model.parameters(), 3e-3)
    for _ in range(60):
        loss = model(input_ids=ids, labels=labels, pixel_values_videos=pixels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def test_time_tokens_are_no_boundaries_where_times_are_seconds():
    model, processor = small_lita(time_codec="seconds")  # its vocabulary has time tokens, and it says them
    answer = ask(Assistant(model, processor).open(SHORT))
    assert "<t" in answer.raw_text
    assert answer.boundaries == ()
    assert answer.spans == ()
