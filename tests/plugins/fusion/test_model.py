from dataclasses import replace

import pytest
import torch
from fusion_world import TINY, make_examples, tiny, write_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import BertConfig, BertModel, T5Config, T5ForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput

from openmofi.errors import OpenMofiError, UsageError
from openmofi.plugins.fusion.examples import NIL, LinkCandidate, LinkExample
from openmofi.plugins.fusion.linker import answers_of, packed_questions, scores_of
from openmofi.plugins.fusion.model import pack, segment_log_softmax
from openmofi.plugins.fusion.questions import LinkQuestion, probabilities
from openmofi.plugins.fusion.store import build_fusion, open_fusion, save_fusion
from openmofi.plugins.fusion.text import distinct_titles, title_scores, title_tokens
from studies.titles import TitleTrie, generate


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fusion")


def bert_folder(folder):
    write_tokenizer(folder)
    torch.manual_seed(3)
    config = BertConfig(
        vocab_size=60,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder)
    return folder


def t5_folder(folder):
    write_tokenizer(folder)
    torch.manual_seed(4)
    config = T5Config(
        vocab_size=60,
        d_model=32,
        d_kv=16,
        d_ff=64,
        num_layers=1,
        num_decoder_layers=2,
        num_heads=2,
        pad_token_id=0,
        decoder_start_token_id=0,
        eos_token_id=1,
    )
    T5ForConditionalGeneration(config).save_pretrained(folder)
    return folder


def fusion_of(kind, folder, **changes):
    if kind == "scratch":
        found = build_fusion(tiny(folder / "tokenizer", **changes), seed=5)
    else:
        place = {"bert": bert_folder, "t5": t5_folder}[kind](folder / kind)
        found = build_fusion(replace(TINY, base=f"hf:{place}", **changes), seed=5)
    # Of their own accord new keys are 0 and small: every part should have a say here.
    torch.manual_seed(6)
    for parameter in (found.model.nil_key, found.model.nil_memory, found.model.nil_score):
        parameter.data.normal_()
    found.model.eval()
    return replace(found, nil=True)


def questions(count=5, seed=0):
    return [LinkQuestion(one.text, one.start, one.end, one.candidates) for one in make_examples(count, seed)]


def alone(fusion, asked):
    """States of a mention's candidates, each encoded by itself, one after another, with NIL's memory at the end."""
    states = []
    for candidate in asked.candidates:
        tokens = [*fusion.tokens.context(asked.text, asked.start, asked.end), *fusion.tokens.candidate(candidate)]
        states.append(fusion.model.encoder(input_ids=torch.tensor([tokens])).last_hidden_state[0])
    return torch.cat([*states, fusion.model.nil_memory[None]]), [len(state) for state in states]


@pytest.mark.parametrize("kind", ["scratch", "bert", "t5"])
@torch.no_grad()
def test_fused_attention_is_that_of_the_candidates_encoded_one_by_one(folder, kind):
    fusion = fusion_of(kind, folder)
    asked = questions()
    packed = packed_questions(fusion, asked)
    scores = fusion.model(packed, 0)
    at = 0
    for number, one in enumerate(asked):
        memory, lengths = alone(fusion, one)
        query = fusion.model.decoder(
            input_ids=torch.zeros(1, 1, dtype=torch.long), encoder_hidden_states=memory[None]
        ).last_hidden_state[0, 0]
        start, index = 0, len(fusion.tokens.context(one.text, one.start, one.end))
        for length in lengths:
            expected = query @ fusion.model.key(memory[start + index]) / 32**0.5
            torch.testing.assert_close(scores[at], expected, atol=1e-5, rtol=1e-5)
            start, at = start + length, at + 1
        expected = fusion.model.nil_score + query @ fusion.model.nil_key / 32**0.5
        torch.testing.assert_close(scores[len(packed.mention) + number], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("changes", [{}, {"fusion": False}, {"similarity": True}, {"head": "generate"}])
def test_a_mention_is_answered_alike_alone_and_in_a_batch(folder, changes):
    fusion = fusion_of("scratch", folder, **changes)
    together = scores_of(fusion, questions(), at_once=8)
    for one, found in zip(questions(), together, strict=True):
        assert scores_of(fusion, [one])[0] == pytest.approx(found, abs=1e-5)


@settings(max_examples=15, deadline=None)
@given(order=st.permutations(range(4)), seed=st.integers(0, 5))
def test_scores_move_with_the_candidates(folder, order, seed):
    fusion = fusion_of("scratch", folder, similarity=True)
    one = next(asked for asked in questions(20, seed) if len(asked.candidates) == 4)
    moved = replace(one, candidates=tuple(one.candidates[place] for place in order))
    before, after = scores_of(fusion, [one, moved])
    assert after.tolist() == pytest.approx([*(before[place] for place in order), before[4]], abs=1e-5)


def test_without_fusion_other_candidates_do_not_matter(folder):
    fusion = fusion_of("scratch", folder, fusion=False)
    one = questions()[0]
    fewer = replace(one, candidates=one.candidates[:1])
    assert scores_of(fusion, [one])[0][0] == pytest.approx(scores_of(fusion, [fewer])[0][0], abs=1e-6)
    fused = fusion_of("scratch", folder)
    assert abs(scores_of(fused, [one])[0][0] - scores_of(fused, [fewer])[0][0]) > 1e-6


@pytest.mark.parametrize("kind", ["scratch", "t5"])
def test_generating_is_what_transformers_generates_under_the_same_trie(folder, kind):
    fusion = fusion_of(kind, folder, head="generate")
    whole = T5ForConditionalGeneration(T5Config(**{**fusion.configs["t5"], "eos_token_id": 1}))
    whole.encoder, whole.decoder = fusion.model.encoder, fusion.model.decoder
    whole.shared, whole.lm_head = fusion.model.embedding, fusion.model.output
    whole.eval()
    asked = questions(12)
    titles = [title_tokens(fusion.tokens, one.candidates) for one in asked]
    found = generate(fusion.model, packed_questions(fusion, asked), titles, 0)
    for one, listed, answer in zip(asked, titles, found, strict=True):
        trie = TitleTrie.of(listed)

        def allowed(_, written, trie=trie):
            node = trie
            for token in written.tolist()[1:]:
                node = node.next[token]
            return list(node.next) or [1]

        states, _ = alone(fusion, one)
        theirs = whole.generate(
            encoder_outputs=BaseModelOutput(states[None].detach()),
            num_beams=1,
            do_sample=False,
            max_new_tokens=12,
            prefix_allowed_tokens_fn=allowed,
            use_cache=False,
        )
        written = theirs[0].tolist()[1:]
        assert written[: len(listed[answer])] == listed[answer]


def test_scores_of_titles_are_those_of_teacher_forcing(folder):
    fusion = fusion_of("t5", folder, head="generate")
    asked = questions(3)
    titles = [title_tokens(fusion.tokens, one.candidates) for one in asked]
    found = title_scores(fusion.model, packed_questions(fusion, asked), titles, 0)
    for one, listed, scores in zip(asked, titles, found, strict=True):
        memory, _ = alone(fusion, one)
        for title, score in zip(listed, scores.tolist(), strict=True):
            states = fusion.model.decoder(
                input_ids=torch.tensor([[0, *title[:-1]]]), encoder_hidden_states=memory[None]
            ).last_hidden_state[0]
            logits = fusion.model.output(states * fusion.model.output_scale)
            expected = -torch.nn.functional.cross_entropy(logits, torch.tensor(title))
            assert score == pytest.approx(expected.item(), abs=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=5).map(tuple), min_size=1, max_size=8, unique=True),
    st.integers(0, 99),
)
def test_a_walk_in_the_trie_ends_at_a_listed_title(titles, seed):
    node, draw = TitleTrie.of(titles), torch.Generator().manual_seed(seed)
    walked = []
    while node.only() is None and not (node.answers and torch.rand((), generator=draw) < 0.5):
        token = list(node.next)[int(torch.randint(len(node.next), (), generator=draw))]
        walked.append(token)
        node = node.next[token]
    answer = node.only() if node.only() is not None else node.answers[0]
    assert titles[answer][: len(walked)] == tuple(walked)


def test_namesakes_have_titles_of_their_own(folder):
    same = [
        LinkCandidate("1", "crane", "a bird", "animal"),
        LinkCandidate("2", "crane", "a machine", "artifact"),
        LinkCandidate("3", "crane", "a writer", "person"),
        LinkCandidate("4", "crane", "a poet", "person"),
        LinkCandidate("5", "crane", "a poet", "person"),
        LinkCandidate("6", "stork"),
    ]
    assert distinct_titles(same) == [
        "crane (animal)",
        "crane (artifact)",
        "crane (person) (a writer)",
        "crane (person) (a poet)",
        "crane (person) (a poet) 2",
        "stork",
    ]
    tokens = title_tokens(fusion_of("scratch", folder).tokens, same)
    assert len({tuple(title) for title in tokens}) == 7


def test_softmax_of_segments_is_torchs():
    torch.manual_seed(0)
    sizes = [1, 4, 2, 7]
    flat = torch.randn(14) * 20
    segment = torch.repeat_interleave(torch.arange(4), torch.tensor(sizes))
    expected = torch.cat([piece.log_softmax(0) for piece in flat.split(sizes)])
    torch.testing.assert_close(segment_log_softmax(flat, segment, 4), expected)


def test_packing_has_no_row_but_the_candidates():
    packed = pack([[1, 2], [3]], [[[4], [5, 6]], [[7]]], pad=0)
    assert packed.tokens.tolist() == [[1, 2, 4, 0], [1, 2, 5, 6], [3, 7, 0, 0]]
    assert (packed.mention.tolist(), packed.context.tolist(), packed.lengths.tolist()) == (
        [0, 0, 1],
        [2, 2, 1],
        [3, 4, 2],
    )


@pytest.mark.parametrize("head", ["select", "generate"])
def test_no_candidates_is_nil_and_a_thousand_are_answered(folder, head):
    fusion = fusion_of("scratch", folder, head=head)
    count = 1000 if head == "select" else 60
    many = tuple(LinkCandidate(str(number), f"name{number % 6} {number}") for number in range(count))
    empty = LinkExample("the name0", 4, 9, (), NIL)
    crowded = LinkExample("the name0", 4, 9, many, "7")
    assert answers_of(fusion, [empty])[0] == NIL
    assert answers_of(fusion, [crowded, empty])[0] in {NIL, *(one.id for one in many)}
    (scores,) = scores_of(fusion, [LinkQuestion("the name0", 4, 9, many)])
    assert len(scores) == len(many) + 1
    assert probabilities(scores).sum() == pytest.approx(1.0)


def test_a_model_that_never_saw_nil_never_says_it(folder):
    fusion = replace(fusion_of("scratch", folder), nil=False)
    fusion.model.nil_score.data += 1000
    examples = make_examples(8)
    assert NIL not in answers_of(fusion, examples)


def test_the_context_keeps_the_mention_wherever_it_stands(folder):
    tokens = fusion_of("scratch", folder).tokens  # 12 tokens of context
    mark = tokens.markers
    long = "the " * 500
    for text, start in ((f"name1 {long}", 0), (f"{long}name1", len(long)), (f"{long}name1 {long}", len(long))):
        ids = tokens.context(text, start, start + 5)
        assert len(ids) == 12 + 2  # and two marks; the tiny tokenizer opens no sequence
        begin, end = ids.index(mark.begin), ids.index(mark.end)
        assert ids[begin + 1 : end] == tokens.plain("name1")
    assert tokens.context("name1", 0, 5) == [mark.begin, *tokens.plain("name1"), mark.end]
    endless = tokens.context(long, 0, len(long))
    assert endless.index(mark.end) - endless.index(mark.begin) == 7


def test_an_overlong_description_is_cut_and_the_type_stays(folder):
    tokens = fusion_of("scratch", folder, type=True).tokens
    ids = list(tokens.candidate(LinkCandidate("1", "name1", "wing nest feather " * 50, "bird")))
    mark = tokens.markers
    assert ids[0] == mark.index
    assert ids[-1:] == list(mark.last)
    assert ids[-2:-1] == tokens.plain("bird")
    assert len([one for one in ids if one not in (mark.index, mark.split, *mark.last)]) == 8


@pytest.mark.parametrize("kind", ["scratch", "bert", "t5"])
def test_a_kept_model_answers_alike(folder, tmp_path, kind):
    fusion = replace(fusion_of(kind, folder), temperature=1.7)
    save_fusion(tmp_path / "linker", fusion)
    first = {file.name: file.read_bytes() for file in (tmp_path / "linker").iterdir()}
    opened = open_fusion(tmp_path / "linker")
    assert (opened.temperature, opened.nil) == (1.7, True)
    for before, after in zip(scores_of(fusion, questions()), scores_of(opened, questions()), strict=True):
        assert before.tolist() == after.tolist()
    save_fusion(tmp_path / "again", opened)
    assert {file.name: file.read_bytes() for file in (tmp_path / "again").iterdir()} == first


def test_damage_is_told(folder, tmp_path):
    with pytest.raises(OpenMofiError, match="not a fusion decoder"):
        open_fusion(tmp_path)
    save_fusion(tmp_path, fusion_of("scratch", folder))
    (tmp_path / "model.safetensors").write_bytes(b"half")
    with pytest.raises(OpenMofiError, match="damaged"):
        open_fusion(tmp_path)
    with pytest.raises(UsageError, match="unknown value 'gpt' for base; use minilm, scratch or hf:FOLDER"):
        replace(TINY, base="gpt")
    with pytest.raises(OpenMofiError, match="The tokenizer of"):
        build_fusion(replace(TINY, base=f"hf:{tmp_path / 'nowhere'}"))
