import json
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
import pytest
from kb_tables import write_source
from word_mentions import link, spans

from openmofi.errors import OpenMofiError, UsageError
from openmofi.knowledge import KnowledgeBase, build_table
from openmofi.linking import CoherenceLinker, PriorLinker
from openmofi.plugins import json_server
from openmofi.plugins.fusion.questions import LinkQuestion
from openmofi.plugins.reranker.commands import rerank
from openmofi.plugins.reranker.examples import HELD_OUT, TRAIN, SureSettings, sure_examples
from openmofi.plugins.reranker.linker import (
    FORMAT_VERSION,
    SPEC_FILE,
    RerankerLinker,
    open_reranker,
    reranker_fingerprint,
    save_reranker,
)
from openmofi.plugins.reranker.minilm import WEIGHTS
from openmofi.plugins.reranker.scorer import Reranker, accuracy, candidate_text, fitted

BIRDS, TOOLS = [f"bird{n}" for n in range(12)], [f"tool{n}" for n in range(12)]
NAMES = [
    *(("crane", one, 1.0 + (one == "tool0")) for one in ("bird0", "tool0")),
    *((f"word{n}", one, 2.0 - (one == f"bird{n}")) for n in range(12) for one in (f"bird{n}", f"tool{n}")),
    *((f"{one}x", one, 1.0) for one in (*BIRDS, *TOOLS)),
]
TEXTS = [
    text
    for number in range(12)
    for place in ("one", "two", "three", "four")
    for text in (
        f"a bird{number}x sings in tree {place}",
        f"a tool{number}x lies in workshop {place}",
        f"word{number} {place}",
    )
]


@pytest.fixture(scope="module")
def kb(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reranker-kb")
    build_table(
        write_source(folder / "s", ids=[*BIRDS, *TOOLS], names=NAMES, relations=[], surfaces=[("crane", 0.5)]),
        folder / "kb",
    )
    return KnowledgeBase.open(folder / "kb")


class Words:
    """Detects every word."""

    def detect(self, texts):
        return [spans(text) for text in texts]


class TreesAndWorkshops:
    """Knows where birds and tools are."""

    fingerprint = "trees"

    def relevance(self, questions):
        return [
            np.array([4.0 if ("bird" in one.id) == ("tree" in question.text) else 0.0 for one in question.candidates])
            for question in questions
        ]


def examples(kb, **settings):
    return sure_examples(TEXTS, kb, Words(), SureSettings(**{"least": 10, **settings}))


def test_a_mention_of_one_meaning_is_an_example_under_an_ambiguous_name(kb):
    found = examples(kb)
    renamed = [one for one in found if one.group]
    assert len(renamed) == 24 * 4
    for one in renamed:
        assert one.mention == one.group
        assert len(one.candidates) == 2
        assert one.gold.removeprefix("bird").removeprefix("tool") == one.group.removeprefix("word") or (
            one.group == "crane"
        )
        assert ("tree" in one.text) == one.gold.startswith("bird")
    assert len([one for one in examples(kb, renamed=3) if one.group]) == 24 * 3


def test_entities_are_held_out_from_all_that_is_trained_on(kb):
    found = examples(kb)
    held_out = {one.gold for one in found if one.split == HELD_OUT}
    trained = {one.gold for one in found if one.split == TRAIN}
    assert held_out
    assert trained
    assert not held_out & trained
    contrasted = [one for one in found if not one.group]
    assert contrasted
    assert not held_out & {candidate.id for one in contrasted for candidate in one.candidates}
    assert all(sum(candidate.prior for candidate in one.candidates) == pytest.approx(1) for one in contrasted)


def test_the_order_of_texts_changes_no_example(kb):
    again = sure_examples([*reversed(TEXTS), *TEXTS], kb, Words(), SureSettings(least=10))
    assert again == examples(kb)


def test_too_few_mentions_of_known_meaning_is_one_sentence(kb):
    with pytest.raises(OpenMofiError, match="100 are needed") as caught:
        sure_examples(TEXTS[:9], kb, Words())
    assert "more texts" in caught.value.hint


def test_relevance_is_mixed_with_the_prior_and_nil_keeps_its_share(kb):
    linker = RerankerLinker(kb, Reranker(TreesAndWorkshops(), temperature=2.0, prior_weight=0.5))
    (found,) = link(linker, "crane tree")
    weights = np.array([np.exp(4 / 2) * (1 / 3) ** 0.5, (2 / 3) ** 0.5])
    scores = {one.entity: one.link_score for one in found}
    assert scores == pytest.approx(dict(zip(("bird0", "tool0"), 0.5 * weights / weights.sum(), strict=True)), abs=1e-4)
    assert found[0].entity == "bird0"
    assert link(PriorLinker(kb), "crane tree")[0][0].entity == "tool0"


KIN = {"crane-bird": "bird", "stork": "bird", "bat-animal": "bird", "hammer": "tool", "bat-club": "tool", "saw": "tool"}
KIN_NAMES = [
    *((name, name, 1.0) for name in KIN),
    ("crane", "crane-bird", 1.0),
    ("crane", "saw", 1.2),
    ("bat", "bat-animal", 1.0),
    ("bat", "bat-club", 1.1),
]


@pytest.fixture(scope="module")
def kin(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kin")
    relations = [(child, "hypernym", parent) for child, parent in KIN.items()]
    build_table(
        write_source(folder / "s", ids=[*KIN, "bird", "tool"], names=KIN_NAMES, relations=relations), folder / "kb"
    )
    return KnowledgeBase.open(folder / "kb")


class SaysOf:
    """Gives the candidates of each word a relevance by their identifiers."""

    fingerprint = "says"

    def __init__(self, **relevance):
        self.by_word = {
            word: {one.replace("_", "-"): value for one, value in of.items()} for word, of in relevance.items()
        }

    def relevance(self, questions):
        words = [question.text[question.start : question.end] for question in questions]
        return [
            np.array([self.by_word.get(word, {}).get(one.id, 0.0) for one in question.candidates])
            for word, question in zip(words, questions, strict=True)
        ]


@pytest.mark.parametrize("text", ["crane", "crane stork", "crane bat", "bat crane hammer", "stork hammer"])
def test_a_reranker_that_says_nothing_links_as_coherence_does(kin, text):
    found, expected = link(RerankerLinker(kin, Reranker(SaysOf())), text), link(CoherenceLinker(kin), text)
    assert [(one.mention, one.entity) for one in found[0]] == [(one.mention, one.entity) for one in expected[0]]
    assert [one.link_score for one in found[0]] == pytest.approx([one.link_score for one in expected[0]], abs=1e-3)


def test_what_is_known_of_one_name_speaks_for_its_kin_in_the_text(kin):
    def meant(**says):
        (links,) = link(RerankerLinker(kin, Reranker(SaysOf(**says))), "crane bat")
        return {one.mention: one.entity for one in reversed(links)}

    assert meant() == {0: "saw", 1: "bat-club"}
    assert meant(crane={"crane_bird": 4.0}) == {0: "crane-bird", 1: "bat-animal"}
    assert meant(bat={"bat_animal": 4.0}) == {0: "crane-bird", 1: "bat-animal"}


class SaysByPlace(SaysOf):
    """Knows the first crane of a text for a bird, and any other for a saw."""

    def relevance(self, questions):
        first = [question.start == question.text.index("crane") for question in questions]
        return [
            np.array([4.0 if (one.id == "crane-bird") == known else 0.0 for one in question.candidates])
            for question, known in zip(questions, first, strict=True)
        ]


@pytest.mark.parametrize("text", ["crane crane", "crane crane stork", "crane stork crane"])
def test_a_name_has_one_meaning_in_a_text(kin, text):
    (links,) = link(RerankerLinker(kin, Reranker(SaysByPlace())), text)
    by_mention: dict[int, dict[str, float]] = {}
    for one in links:
        by_mention.setdefault(one.mention, {})[one.entity] = one.link_score
    first, second = (scores for scores in by_mention.values() if "saw" in scores)
    assert first == second
    assert min(first.values()) > 0
    meant = max(first, key=first.__getitem__)
    assert meant == ("crane-bird" if "stork" in text else meant)


def test_what_cannot_be_is_still_possible_to_the_rest_of_the_text(kin):
    sure = Reranker(SaysOf(crane={"saw": 12.0}))
    (links,) = link(RerankerLinker(kin, sure), "crane stork")
    assert all(one.link_score > 0 for one in links)


def test_the_mix_is_fitted_on_held_out_entities(kb):
    found = examples(kb)
    made = fitted(TreesAndWorkshops(), found)
    held_out = [one for one in found if one.split == HELD_OUT]
    assert made.temperature < 1
    assert accuracy(made, held_out) == 1
    assert accuracy(Reranker(TreesAndWorkshops(), 1e6, 1.0), held_out) < 1


@pytest.mark.slow
def test_the_small_model_learns_what_goes_with_what(kb, tmp_path):
    from openmofi.plugins.reranker.minilm import train

    made, weights = train(found := examples(kb))
    held_out = [one for one in found if one.split == HELD_OUT]
    prior = sum(one.candidates[0].id == one.gold for one in held_out) / len(held_out)
    assert accuracy(made, held_out) > prior
    save_reranker(tmp_path / "kept", made, weights)
    opened = open_reranker(str(tmp_path / "kept"))
    question = LinkQuestion("a crane sings", 2, 7, held_out[0].candidates)
    assert opened.scores([question])[0].tolist() == made.scores([question])[0].tolist()
    (alone,), (together, _) = made.scores([question]), made.scores([question, question])
    assert alone[:-1] == pytest.approx(together[:-1], abs=1e-4)
    first = reranker_fingerprint(str(tmp_path / "kept"))
    save_reranker(tmp_path / "other", made, weights + 1)
    assert reranker_fingerprint(str(tmp_path / "other")) != first


def test_a_folder_without_a_reranker_and_a_damaged_one_are_one_sentence(tmp_path):
    with pytest.raises(OpenMofiError, match="is not a reranker"):
        open_reranker(str(tmp_path))
    (tmp_path / SPEC_FILE).write_text('{"format_version": 9}')
    with pytest.raises(OpenMofiError, match="does not read"):
        open_reranker(str(tmp_path))
    (tmp_path / SPEC_FILE).write_text('{"format_version": 1, "weights": [1.0], "temperature": 1, "prior_weight": 1}')
    with pytest.raises(OpenMofiError, match="is damaged: a reranker has 769"):
        open_reranker(str(tmp_path))


@dataclass
class Stub:
    """A server that finds birds relevant."""

    url: str = ""
    tei: bool = False
    status: int = 200
    score: tuple[float, float] = (0.9, 0.1)
    asked: list[dict] = field(default_factory=list)
    tokens: set[str | None] = field(default_factory=set)

    def reply(self, path, body):
        if self.status != 200:
            return self.status, {"error": "no"}
        if not path.endswith("/rerank") or ("texts" if self.tei else "documents") not in body:
            return 422, {"error": "missing field"}
        texts = body["texts" if self.tei else "documents"]
        order = sorted(enumerate(texts), key=lambda one: "Bird" not in one[1])
        scores = [(index, self.score["Bird" not in text]) for index, text in order]
        if self.tei:
            return 200, [{"index": index, "score": score} for index, score in scores]
        return 200, {"results": [{"index": index, "relevance_score": score} for index, score in scores]}


@contextmanager
def rerank_server(**of_stub):
    stub = Stub(**of_stub)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            stub.asked.append(body)
            stub.tokens.add(self.headers["Authorization"])
            status, value = stub.reply(self.path, body)
            content = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    stub.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(autouse=True)
def _hurried(monkeypatch):
    monkeypatch.setattr(json_server, "WAIT", 0.0)


def question(kb, text="a crane in a tree"):
    from openmofi.linking import LinkSettings
    from openmofi.linking.candidates import CandidateLookup
    from openmofi.plugins.reranker.examples import candidates_of

    ((name,),) = CandidateLookup(kb, LinkSettings()).of_texts([text], [[spans(text)[1]]])
    return LinkQuestion(text, 2, 7, candidates_of(kb, name))


@pytest.mark.parametrize("tei", [False, True])
def test_a_server_is_asked_in_its_format(kb, tei, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    asked = question(kb)
    with rerank_server(tei=tei) as stub:
        reranker = open_reranker(f"{stub.url}/rerank?model=small")
        first, second = reranker.scores([asked, asked])
    assert stub.tokens == {"Bearer sk-secret"}
    assert [one.id for one in asked.candidates] == ["tool0", "bird0"]
    odds = np.log(0.9 / 0.1)
    assert first.tolist() == pytest.approx([np.log(2 / 3) - odds, np.log(1 / 3) + odds, -np.inf])
    assert first.tolist() == second.tolist()
    assert len(stub.asked) == (3 if tei else 2)
    assert stub.asked[-1] == {
        "query": "crane: a crane in a tree",
        "model": "small",
        "texts" if tei else "documents": [candidate_text(one) for one in asked.candidates],
    }
    assert "secret" not in repr(reranker)


def test_logits_have_to_be_called_so(kb):
    with rerank_server(score=(3.0, -2.0)) as stub:
        with pytest.raises(OpenMofiError, match="outside 0 to 1") as caught:
            open_reranker(stub.url).scores([question(kb)])
        assert "scores=logit" in caught.value.hint
        (scores,) = open_reranker(f"{stub.url}?scores=logit&prior_weight=0&temperature=2").scores([question(kb)])
    assert scores.tolist() == [-1.0, 1.5, -np.inf]


def test_a_server_that_refuses_or_is_not_there_is_one_sentence(kb):
    with rerank_server(status=403) as stub:
        with pytest.raises(OpenMofiError, match=r"The reranker .* refuses with status 403"):
            open_reranker(stub.url).scores([question(kb)])
        stub.status = 503
        stub.asked.clear()
        with pytest.raises(OpenMofiError, match="refuses with status 503"):
            open_reranker(stub.url).scores([question(kb)])
        assert len(stub.asked) == json_server.TRIES
    with pytest.raises(OpenMofiError, match="does not answer"):
        open_reranker(stub.url).scores([question(kb)])


def test_an_answer_without_a_score_a_document_is_no_answer(kb):
    with rerank_server() as stub:
        stub.reply = lambda path, body: (200, {"results": [{"index": 0, "relevance_score": 0.5}]})
        with pytest.raises(OpenMofiError, match="refuses with status 200"):
            open_reranker(stub.url).scores([question(kb)])


@pytest.mark.parametrize(
    "options", ["?temperature=0", "?temperature=warm", "?prior_weight=-1", "?other=1", "?scores=odd", "?x"]
)
def test_a_wrong_option_is_a_wrong_use(options):
    with pytest.raises(UsageError):
        open_reranker(f"http://127.0.0.1:9/v1{options}")


def test_a_server_is_known_by_its_address_its_model_and_its_mix():
    address = "http://127.0.0.1:9/v1"
    specs = [address, f"{address}?model=a", f"{address}?temperature=2", f"{address}x"]
    assert len({reranker_fingerprint(spec) for spec in specs}) == len(specs)
    assert reranker_fingerprint(f"{address}/rerank") == reranker_fingerprint(address)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    folder = tmp_path_factory.mktemp("cross-encoder")
    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ":", "(", ")", "##0"]
    words = [*marks, "a", "bird", "tool", "crane", "in", "tree", "the", "thing"]
    (folder / "vocab.txt").write_text("\n".join(words))
    tokenizer = BertTokenizerFast(str(folder / "vocab.txt"))
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    torch.manual_seed(0)
    for labels in (1, 2):
        config = BertConfig(vocab_size=len(words), num_labels=labels, initializer_range=1.0, **sizes)
        BertForSequenceClassification(config).save_pretrained(folder / str(labels))
        tokenizer.save_pretrained(folder / str(labels))
    return folder


@pytest.mark.slow
def test_a_cross_encoder_scores_as_sentence_transformers_does(kb, checkpoint):
    import torch

    library = pytest.importorskip("sentence_transformers")
    asked = [question(kb), question(kb, "a crane")]
    made = open_reranker(f"st:{checkpoint / '1'}?prior_weight=0").scores(asked)
    expected = library.CrossEncoder(str(checkpoint / "1"), device="cpu").predict(
        [(f"crane: {one.text}", candidate_text(candidate)) for one in asked for candidate in one.candidates],
        activation_fn=torch.nn.Identity(),
    )
    assert np.concatenate([scores[:-1] for scores in made]) == pytest.approx(expected, abs=1e-5)
    assert len(set(expected.tolist())) == len(expected)


@pytest.mark.slow
@pytest.mark.parametrize("lacks", ["head", "vocabulary"])
def test_a_checkpoint_that_lacks_something_is_refused(checkpoint, tmp_path, lacks):
    from safetensors.numpy import load_file, save_file

    folder = shutil.copytree(checkpoint / "1", tmp_path / "copy")
    if lacks == "head":
        weights = {
            name: value for name, value in load_file(folder / "model.safetensors").items() if "class" not in name
        }
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
    else:
        for path in (*folder.glob("vocab*"), *folder.glob("tokenizer*")):
            path.unlink()
    says = {"head": "lacks 2 of the model's weights", "vocabulary": "has no tokenizer files"}
    with pytest.raises(OpenMofiError, match=says[lacks]):
        open_reranker(f"st:{folder}")


@pytest.mark.slow
def test_weights_that_are_no_numbers_give_no_probabilities(kb, checkpoint, tmp_path):
    from safetensors.numpy import load_file, save_file

    folder = shutil.copytree(checkpoint / "1", tmp_path / "copy")
    weights = {name: np.full_like(value, np.nan) for name, value in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(OpenMofiError, match="gives no number"):
        open_reranker(f"st:{folder}").scores([question(kb)])


@pytest.mark.parametrize(
    "mix", [{"temperature": 0}, {"temperature": float("nan")}, {"prior_weight": -5}, {"prior_weight": 10**400}]
)
def test_a_mix_that_no_training_gives_is_damage(tmp_path, mix):
    whole = {"format_version": FORMAT_VERSION, "temperature": 1, "prior_weight": 1, "weights": [0.0] * WEIGHTS}
    (tmp_path / SPEC_FILE).write_text(json.dumps(whole | mix))
    with pytest.raises(OpenMofiError, match="is damaged"):
        open_reranker(str(tmp_path))


def test_a_relevance_beyond_all_bounds_is_as_sure_as_can_be(kb):
    with rerank_server(score=(1e308, -1e308)) as stub:
        (scores,) = open_reranker(f"{stub.url}?scores=logit&temperature=0.5").scores([question(kb)])
    assert np.isfinite(scores[:-1]).all()
    assert scores[1] > scores[0]


@pytest.mark.slow
def test_a_classifier_is_no_reranker(checkpoint, tmp_path):
    with pytest.raises(OpenMofiError, match="has 2 labels"):
        open_reranker(f"st:{checkpoint / '2'}")
    with pytest.raises(OpenMofiError, match="has no weights"):
        open_reranker(f"st:{tmp_path}")


@pytest.mark.parametrize(("right", "said"), [(0.9, ""), (0.0, "It is no better than the prior")])
def test_a_reranker_that_is_no_better_than_the_prior_is_said_to_be(kb, tmp_path, monkeypatch, capsys, right, said):
    made = fitted(TreesAndWorkshops(), found := examples(kb))
    monkeypatch.setattr("openmofi.plugins.reranker.examples.sure_examples", lambda *_: found)
    monkeypatch.setattr("openmofi.plugins.reranker.minilm.train", lambda *_: (made, np.zeros(WEIGHTS)))
    monkeypatch.setattr("openmofi.plugins.reranker.scorer.accuracy", lambda *_: right)
    monkeypatch.setattr("openmofi.knowledge.KnowledgeBase.open", lambda _: kb)
    rerank([], "kb", out=tmp_path / "out")
    captured = capsys.readouterr()
    assert f"{right:.3f} are right" in captured.out
    assert captured.err.startswith(said) if said else not captured.err
