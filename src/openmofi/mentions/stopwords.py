"""Names that are never a mention by themselves in an alt-text."""

from __future__ import annotations

from openmofi.knowledge import normalise

_ENGLISH = """
a about above after again against all almost alone along already also although always am among an and another any
anyone anything are around as at away back be because been before behind being below beside besides best better
between beyond both but by can cannot could did do does doing done down during each either else enough etc even ever
every everyone everything few first for from further get gets getting give given go goes going gone got had has have
having he hence her here hers herself him himself his how however i if in indeed instead into is it its itself just
last least less let like likely ll lot made make makes making many may maybe me might mine more most much must my
myself near nearly need neither never next no nobody none nor not nothing now of off often on once one ones only onto
or other others our ours ourselves out over own per perhaps please put quite rather re really s same seen several shall
she should show showing shown shows since so some someone something soon still such t take taken takes taking than
that the their theirs them themselves then there these they thing this those though through thus to together too
toward towards under until up upon us use used uses using ve very via was way we well were what whatever when where
whether which while who whole whom whose why will with within without would yes yet you your yours yourself
vs won wow
two three four five six seven eight nine ten second third new old good great nice big small little
"""
_IMAGE_WORDS = """
image photo photograph photography image pic pics illustration icon logo clipart clip art vector drawing cartoon
emoji emoticon symbol sign graphic sticker wallpaper screenshot thumbnail background close up closeup view stock free
download png jpg jpeg svg gif webp img copyright isolated white transparent set design art print
"""
_OTHER_LANGUAGES = """
al con da das de dei del della dem den der des di die do dos du e ein eine el en es et fur für i il im la las le les lo
los les mit na o och og os para por pour se sur um una und une uno van von y à
avec aus bei com como dans est mais oder ohne pas por qui que sans sobre sur sous zu zum zur 的
"""

STOP_NAMES: frozenset[str] = frozenset(
    normalise(word) for word in f"{_ENGLISH} {_IMAGE_WORDS} {_OTHER_LANGUAGES}".split()
) | {normalise(name) for name in ("close up", "clip art")}
"""English function words, words for the image itself, articles of other languages; as keys."""
