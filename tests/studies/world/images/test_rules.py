"""Well-known cases of the mapping, from the real packages; none of these expectations is computed by the rules."""

import pytest

from studies.world.images.brands import key_of
from studies.world.images.emoji import fold, plain_code
from studies.world.images.entities import CORRECTIONS, read_corrections
from studies.world.images.flags import iso_code
from studies.world.images.icons import EMOJI_SETS

CASES = [
    # icon, words that the definition of its WordNet noun has
    ("noto:red-apple", "fruit with red or yellow or green skin"),
    ("noto:green-apple", "fruit with red or yellow or green skin"),
    ("noto:bat", "nocturnal mouselike mammal"),
    ("noto:mouse-face", "small rodents"),
    ("noto:mouse", "small rodents"),
    ("noto:computer-mouse", "hand-operated electronic device"),
    ("noto:turkey", "large gallinaceous bird"),
    ("noto:dog-face", "genus Canis"),
    ("noto:dragon", "Teutonic mythology"),
    ("noto:dolphin", "toothed whales"),
    ("noto:seal", "marine mammals"),
    ("noto:bank", "building in which the business of banking"),
    ("noto:hammer", "hand tool with a heavy rigid head"),
    ("noto:keyboard", "keyboard that is a data input device"),
    ("noto:toilet", "plumbing fixture"),
    ("noto:baseball", "ball used in playing baseball"),
    ("noto:chess-pawn", "least powerful piece"),
    ("noto:man", "adult person who is male"),
    ("noto:firefighter", "fire department"),
    ("noto:man-firefighter", "fire department"),
    ("noto:oncoming-taxi", "car driven by a person whose job"),
    ("noto:lobster", "edible marine crustaceans"),
    ("noto:ring", "jewelry"),
    ("noto:aries", "first sign of the zodiac"),
    # namesakes: nouns outside the files that the subgroup prefers
    ("noto:family-man-woman-boy", "social unit living together"),
    ("noto:hole", "opening into or through something"),
    ("noto:skull", "bony skeleton of the head"),
    ("noto:compass", "navigational instrument"),
    ("noto:bouquet", "arrangement of flowers"),
    ("noto:skier", "someone who skis"),
    ("noto:video-game", "game played against a computer"),
    ("noto:bus-stop", "place on a bus route"),
    ("noto:pirate-flag", "indicates a pirate ship"),
    # namesakes whose commonest sense is not the one drawn
    ("noto:fleur-de-lis", "(heraldry) charge"),
    ("noto:sunset", "atmospheric phenomena"),
    ("noto:plus", "sign indicating the operation of addition"),
]


@pytest.fixture(scope="session")
def entity_of(whole):
    return {artwork.id: entity for entity in whole.depicted for artwork in entity.artworks}


@pytest.mark.parametrize(("icon", "words"), CASES)
def test_emoji_become_the_right_noun(entity_of, icon, words):
    entity = entity_of[icon]
    assert entity.id.startswith("wn:")
    assert words in entity.description


@pytest.mark.parametrize(
    ("icon", "expected"),
    [
        ("noto:face-with-tears-of-joy", "emoji:1F602"),
        ("twemoji:flag-france", "country:FR"),
        ("flagpack:fr", "country:FR"),
        ("flag:tr-4x3", "country:TR"),
        ("logos:apple", "brand:apple"),
        ("skill-icons:python-dark", "brand:python"),
        ("devicon:vuejs", "brand:vuejs"),
        ("logos:vue", "brand:vuejs"),
        ("devicon:cplusplus", "brand:c++"),
    ],
)
def test_flags_brands_and_faces(entity_of, icon, expected):
    assert entity_of[icon].id == expected


@pytest.mark.parametrize(
    ("icon", "expected"),
    [
        ("noto:purple-heart", "emoji:1F49C"),
        ("noto:black-heart", "emoji:1F5A4"),
        ("noto:honey-pot", "emoji:1F36F"),
        ("noto:collision", "emoji:1F4A5"),
        ("noto:divide", "emoji:2797"),
        ("noto:black-flag", "emoji:1F3F4"),
    ],
)
def test_an_emoji_is_not_the_noun_that_only_shares_its_name(entity_of, icon, expected):
    assert entity_of[icon].id == expected


@pytest.mark.parametrize(
    ("country", "words"),
    [
        ("country:GE", "Asia Minor"),
        ("country:TR", "Eurasian republic"),
        ("country:US", "50 states"),
        ("country:EE", "Baltic"),
        ("country:JO", "Arab kingdom"),
    ],
)
def test_a_country_is_its_synset(whole, country, words):
    synset = next(name for name, same in whole.same.items() if same == country)
    assert words in next(one.definition for one in whole.synsets if one.id == synset)


def test_variants_are_one_entity(entity_of):
    assert entity_of["noto:woman-firefighter"] is entity_of["noto:firefighter"]
    assert entity_of["twemoji:one-oclock"] is entity_of["twemoji:twelve-thirty"]


@pytest.mark.parametrize(
    ("code", "label", "expected"),
    [
        ("1f468-200d-1f692", "man firefighter", "1f9d1-200d-1f692"),
        ("1f3c3-200d-2642", "man running", "1f3c3"),
        ("1f44d-1f3fb", "thumbs up: light skin tone", "1f44d"),
        ("1f468", "man", "1f468"),
        ("1f468-200d-1f469-200d-1f466", "family: man, woman, boy", "1f46a"),
        ("1f34e", "red apple", "1f34e"),
    ],
)
def test_fold(code, label, expected):
    assert fold(code, label) == expected


def test_codes():
    assert plain_code("1F441-FE0F-200D-1F5E8-FE0F") == "1f441-200d-1f5e8"
    assert iso_code("1f1eb-1f1f7") == "FR"
    assert iso_code("1f3f4-e0067-e0062-e0065-e006e-e0067-e007f") == "GB-ENG"
    assert iso_code("1f34e") is None


@pytest.mark.parametrize(
    ("slug", "expected"),
    [
        ("active-campaign-icon", "activecampaign"),
        ("adonisjs-wordmark", "adonisjs"),
        ("text", "text"),
        ("ableton-dark", "ableton"),
    ],
)
def test_brand_keys(slug, expected):
    assert key_of(slug) == expected


def test_every_correction_has_its_place(sources, whole):
    icons = {f"{name}:{icon}" for name, one in whole.icons.items() for icon in one.icons}
    synsets = {synset.id for synset in whole.synsets}
    for key, target in read_corrections().items():
        kind, _, rest = key.partition(":")
        assert not rest or kind in ("country", "brand") or key in icons, key
        assert target in ("own", "drop") or target in synsets or target.startswith("brand:"), key
    assert len(CORRECTIONS.read_text().splitlines()) == len(read_corrections()) + 1


def test_enough_sets_show_each_entity(whole):
    emoji = [entity for entity in whole.depicted if entity.id.startswith("emoji:")]
    assert min(len({p.set for p in entity.artworks} & set(EMOJI_SETS)) for entity in emoji) >= 4
    assert len(whole.depicted) > 2000
    assert sum(len(entity.artworks) for entity in whole.depicted) > 14_000
