"""The phrases around the names in the world's alt-texts. None names an entity that the artwork shows (a test)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Phrases:
    """Of a language.

    Attributes:
        wraps: texts with `{}` for the names.
        joins: what stands between two names.
        nothing: texts that name no entity.
    """

    wraps: tuple[str, ...]
    joins: tuple[str, ...]
    nothing: tuple[str, ...] = ()


ENGLISH = Phrases(
    wraps=(
        "{}", "{}", "{}", "{}.", "a photo of {}", "Photo: {}", "photo of {} by the author", "image of {}",
        "picture of {}",
        "{} image", "{} isolated on white", "{} - free download", "Cute {}", "beautiful {}", "{}, close up",
        "{} (detail)",
        "{} | Online", "{} vector illustration", "New {} in stock", "Best {} for 2023", "What does {} mean?",
        "How to draw {}", "{} for kids", "The story of {}", "All about {}", "{} at its best", "{} - high quality",
        "Here you can see {}", "My favourite {}", "{}: what you need to know", "Illustration of {}",
        "{} on sale now",
        "{} and more", "An old {}", "A simple {}", "{} meaning and usage", "10 facts about {}", "{} clip art",
        "{} - 4K",
        "{} tutorial, part 2", "{} review", "Look at {}", "{} wallpaper HD", "Figure 3. {}", "vintage {}",
        "modern {}",
        "{} with transparent background", "Why we love {}", "{} #trending", "Learn {} today",
        "{} guide for beginners",
    ),
    joins=(", ", ", ", " and ", " and ", " with ", " & ", " | ", " - ", " next to ", " vs ", " or ", " / ", "; ",
    " near "),
    nothing=(
        "beautiful and simple, made for you", "Our newest arrivals this season", "Learn more about us",
        "See what is new this week", "Thank you for being here with us", "You won't believe what happened next",
        "Handmade with care", "One of the best we have ever seen", "Behind the scenes", "A closer look inside",
        "Everything you need to know", "Part two of the series", "High quality, low price", "Just for fun",
        "Before and after", "As seen online", "This is how it looks from above", "Click below for details",
        "Happy to be back", "Something for everyone", "Ready in five minutes", "From our latest collection",
        "so pretty", "wow, just wow", "my first try", "Not for sale", "Made by hand, designed to last",
    ),
)

FOREIGN: Mapping[str, Phrases] = {
    "de": Phrases(("{}", "Foto von {}", "{} günstig kaufen", "Bild: {}", "Schöne {}", "{} im Überblick",
                  "Alles über {}"),
                  (", ", " und ", " mit ", " neben ", " oder "), ("Jetzt entdecken", "Mehr erfahren",
                  "Neu bei uns")),
    "fr": Phrases(("{}", "photo de {}", "image : {}", "{} pas cher", "Tout savoir sur {}",
                  "{} - téléchargement gratuit"),
                  (", ", " et ", " avec ", " ou "), ("En savoir plus", "Découvrez nos nouveautés",
                  "Fait à la main")),
    "es": Phrases(("{}", "foto de {}", "imagen de {}", "{} gratis", "Todo sobre {}", "{} en alta calidad"),
                  (", ", " y ", " con ", " o "), ("Ver más", "Hecho a mano", "Lo más nuevo")),
    "it": Phrases(("{}", "foto di {}", "immagine: {}", "{} gratis", "Tutto su {}"), (", ", " e ", " con ", " o "),
                  ("Scopri di più", "Fatto a mano", "Le ultime novità")),
    "pt": Phrases(("{}", "foto de {}", "imagem de {}", "{} grátis", "Tudo sobre {}"), (", ", " e ", " com ",
                  " ou "),
                  ("Saiba mais", "Feito à mão", "O que há de novo")),
    "nl": Phrases(("{}", "foto van {}", "afbeelding: {}", "{} te koop", "Alles over {}"), (", ", " en ", " met ",
                  " of "),
                  ("Lees meer", "Nieuw bij ons")),
    "sv": Phrases(("{}", "foto på {}", "bild: {}", "Allt om {}"), (", ", " och ", " med ",
                  " eller "), ("Läs mer",)),
    "da": Phrases(("{}", "foto af {}", "billede: {}", "Alt om {}"), (", ", " og ", " med ",
                  " eller "), ("Læs mere",)),
    "nb": Phrases(("{}", "foto av {}", "bilde: {}", "Alt om {}"), (", ", " og ", " med ", " eller "), ("Les mer",)),
    "fi": Phrases(("{}", "kuva: {}", "Kaikki aiheesta {}"), (", ", " ja ", " tai "), ("Lue lisää",)),
    "pl": Phrases(("{}", "zdjęcie: {}", "obraz {}", "{} za darmo"), (", ", " i ", " oraz ",
                  " lub "), ("Dowiedz się więcej",)),
    "ru": Phrases(("{}", "фото: {}", "картинка {}", "{} бесплатно"), (", ", " и ", " с ",
                  " или "), ("Узнать больше",)),
    "uk": Phrases(("{}", "фото: {}", "зображення {}"), (", ", " та ", " або "), ("Дізнатися більше",)),
    "hu": Phrases(("{}", "kép: {}", "{} ingyen"), (", ", " és ", " vagy "), ("Tudj meg többet",)),
    "ja": Phrases(("{}", "{}の写真", "{}の画像", "{}のイラスト"), ("、", "と", "・"), ("もっと見る", "新着情報")),
    "zh": Phrases(("{}", "{}的照片", "{}图片", "免费下载{}"), ("、", "和", "与"), ("了解更多", "最新消息")),
    "ko": Phrases(("{}", "{} 사진", "{} 이미지"), (", ", " 그리고 "), ("더 보기",)),
}
PLAIN = Phrases(("{}",), (", ", " / ", " - "))
"""For languages without phrases of their own."""

BOILERPLATE = (
    "IMG_{n:04d}.JPG", "DSC{n:05d}", "DSC_{n:04d}.jpg", "image{n:03d}.png",
    "Screenshot 2021-03-{d:02d} at 10.{d:02d}.11",
    "untitled-{d}", "final_v{d}_export.jpg", "{n}_{d}_n.jpg", "download ({d})", "Click to enlarge",
    "Skip to content",
    "Loading...", "Advertisement", "Read more", "Share this", "placeholder", "thumbnail", "slide {d} of 12",
    "banner-{n}x{d}00", "P{n:07d}.jpg", "photo-{n}-unsplash", "Image may be subject to copyright", "no description",
    "alt text", "img", "1200x{n}", "header-bg@2x", "wp-content/uploads/2019/{d:02d}/{n}.webp",
)
WATERMARKS = ("sample", "preview", "stock", "© 2021", "www", "DRAFT", "copyright", "demo")
