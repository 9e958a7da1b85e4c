"""What a mention detector is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from openmofi.schema import Mention


class MentionDetector(Protocol):
    """Finds the spans of texts that name something; decides nothing about which entity is meant."""

    name: str

    def detect(self, texts: Sequence[str]) -> list[list[Mention]]:
        """For each text its mentions, sorted by start, none overlapping another; empty texts give none."""
