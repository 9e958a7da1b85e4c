"""`openmofi encoder list`, `encoder bench` and `encoder compare`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from openmofi.cli.command import Device, print_json
from openmofi.cli.options import TEXT, Call, Json, made_of
from openmofi.plugins.encoders.comparison import compare_encoders

if TYPE_CHECKING:
    from openmofi.plugins.encoders.comparison import EncoderComparison
    from openmofi.plugins.encoders.speed import EncoderSpeed, Rate


def list_command(as_json: Json = False) -> None:
    """List recommended encoders by need, and the kinds of specs that are installed; nothing is fetched."""
    from openmofi.cli.tables import print_table
    from openmofi.errors import install_command
    from openmofi.plugins.encoders.catalogue import encoder_kinds, list_encoders

    encoders, kinds = list_encoders(), encoder_kinds()
    if as_json:
        print_json({"encoders": list(map(asdict, encoders)), "kinds": kinds})
        return
    for each in encoders:
        facts = [f"{each.dim} dimensions", f"{each.parameters:,} M parameters", f"{each.image_size} px"]
        facts += [each.languages or "no texts", f"licence {each.licence}"]
        facts += [f"extra {each.extra}{'' if each.installed else ' (missing)'}"] if each.extra else []
        print(f"{each.need}\n  {each.spec}\n  {', '.join(facts)}{', fetched' if each.fetched else ''}")
    print()
    print_table(("kind", "opens"), [(f"{kind}:", what) for kind, what in kinds.items()], numbers=(), whole=(0,))
    for extra in sorted({each.extra for each in encoders if not each.installed}):
        print(f"missing: {install_command(extra)}")
    print("Which suits your pairs: openmofi encoder compare A B --pairs SHARDS --kb KB")


def bench_command(
    specs: Annotated[list[str], typer.Argument(metavar="SPEC...", help="Encoders, as openmofi encoder list.")],
    pairs: Annotated[
        list[str] | None,
        typer.Option(metavar="SHARDS", help="Pairs or a folder of images to measure with; generated where not given."),
    ] = None,
    count: Annotated[int, typer.Option(help="Images and texts a repeat.")] = 64,
    repeats: Annotated[int, typer.Option(help="Timed repeats, after one that warms up.")] = 5,
    batch_size: Annotated[int, typer.Option(help="Images a batch.")] = 32,
    device: Device = "auto",
    precision: Annotated[str, typer.Option(help="Of the encoder's towers: fp32, bf16 or fp16.")] = "fp32",
    as_json: Json = False,
) -> None:
    """Measure images and texts a second on this machine, and the memory; each encoder in a process of its own."""
    from openmofi.plugins.encoders.speed import bench_encoders

    speeds = bench_encoders(
        specs,
        pairs=pairs or (),
        count=count,
        repeats=repeats,
        batch_size=batch_size,
        device=device,
        precision=precision,
        progress=not as_json,
    )
    if as_json:
        print_json(list(map(asdict, speeds)))
    else:
        _print_speeds(speeds)


def _print_speeds(speeds: list[EncoderSpeed]) -> None:
    from openmofi.cli.tables import print_table

    def cells(rate: Rate | None) -> tuple[str, str]:
        return ("–", "") if rate is None else (f"{rate.median:,.1f}", f"{rate.least:,.1f}–{rate.most:,.1f}")

    print_table(
        ("encoder", "images/s", "least–most", "texts/s", "least–most", "memory", "opens in"),
        [
            (
                each.spec,
                *cells(each.images),
                *cells(each.texts),
                f"{each.memory_mib:,.0f} MiB"
                + ("" if each.device_memory_mib is None else f" + {each.device_memory_mib:,.0f} on the GPU"),
                f"{each.open_seconds:.1f} s",
            )
            for each in speeds
        ],
        whole=(0,),
    )
    first = speeds[0]
    print(
        f"median of {first.repeats} repeats of {first.source}, batches of {first.batch_size}; {first.hardware}, "
        f"{first.device}, {first.precision}, {first.threads} threads"
    )


@made_of(
    compare_encoders,
    first=("pairs", "kb", "target_precision", "cache"),
    groups=True,
    encoders=Annotated[list[str], typer.Argument(metavar="ENCODERS...")],
    pairs=Annotated[list[str], typer.Option(metavar="SHARDS")],
    kb=TEXT,
)
def compare_command(call: Call, as_json: Json = False) -> None:
    """Compare encoders on your own pairs by decoys alone, without a label or a truth; say which to take."""
    compared = call(progress=not as_json)
    if as_json:
        differences = {spec: each.as_dict() for spec, each in compared.differences.items()}
        print_json({**asdict(compared), "differences": differences})
    else:
        _print_comparison(compared)


def _print_comparison(compared: EncoderComparison) -> None:
    from openmofi.cli.tables import print_table

    print_table(
        ("encoder", "separation", "information", "labels", "expected precision", "right per 100 pairs", "95 %"),
        [
            (
                each.spec,
                f"{each.separation:.1f} SD",
                f"{each.information:.1f} nats",
                "blind" if each.blind else f"{each.labels:,}",
                "–" if each.expected_precision is None else f"{each.expected_precision:.3f}",
                f"{each.right:.1f}",
                "{:.1f}–{:.1f}".format(*each.right_interval),
            )
            for each in compared.encoders
        ],
        title=f"{compared.pairs:,} pairs that name an entity, {compared.candidates:,} candidates; labels at an "
        f"expected precision of {compared.target_precision:.2f}",
        whole=(0,),
    )
    print(compared.verdict)
    print("All of this is estimated without a truth; openmofi label audit has people judge.")
