"""What fills the slots of the wordings: names, words, places, numbers, drawn by a seed.

Rules: a value belongs to training or to evaluation by a checksum of its text alone, so the two
sides never share one. Many names and words are made of syllables: there is no list to learn.
Limits: words are of 3 to 7 letters; sums go to 20 + 20 and are not divided, there are only 441.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable

from infd.demo.pieces import PIECES


def _split(text: str) -> list[str]:
    return text.split()


NAMES = _split(
    """
    Ada Adam Alan Alice Amir Amy Ana Andre Anna Anton Arthur Ben Bella Bob Boris Carl Carla
    Carmen Chloe Clara Daniel David Dora Edgar Elena Eli Ella Emil Emma Eric Eva Felix Fiona
    Frank Fred George Grace Greta Hana Hans Harry Helen Henry Hugo Ida Igor Ines Irene Iris Ivan
    Jack Jacob Jane Jim Joan Joe John Jonas Julia Karen Karl Kate Ken Kim Lara Laura Lea Leo
    Lena Liam Lily Linda Lisa Louis Lucas Lucy Luna Maria Mark Mary Maya Max Mia Mike Milo Mona
    Nadia Nina Noah Nora Olga Oliver Omar Oscar Otto Paul Peter Petra Phil Rita Robert Rosa Ruth
    Sam Sara Simon Sofia Stella Susan Tanya Ted Theo Thomas Tim Tina Tom Uma Vera Victor Viola
    Walter Wendy Will Yara Yusuf Zara Zoe
    """
)
PETS = _split(
    """
    Rex Bello Luna Fluffy Rover Spot Buddy Daisy Shadow Tiger Lucky Molly Simba Snowy Pepper
    Biscuit Coco Cookie Ginger Honey Jasper Kestrel Mango Misty Muffin Oreo Patch Robin Rusty
    """
)
CITIES = _split(
    """
    Amsterdam Athens Berlin Bern Bonn Boston Bremen Brussels Cairo Chicago Cologne Dallas Delhi
    Denver Dover Dublin Essen Geneva Ghent Hamburg Hanoi Helsinki Jena Kassel Kiel Krakow Kyoto
    Leeds Leipzig Lima Linz Lisbon London Lyon Madrid Malaga Miami Milan Mumbai Munich Nairobi
    Naples Oslo Oxford Paris Perth Porto Prague Quito Riga Rome Salem Seoul Seville Siena Sofia
    Sydney Tallinn Tampa Tokyo Toronto Trier Turin Utrecht Verona Vienna Warsaw Weimar York
    Zagreb Zurich
    """
)
HUES = _split(
    """
    red green blue yellow orange purple pink brown black white grey gold silver violet indigo
    cyan magenta teal navy olive maroon beige ivory crimson scarlet turquoise lavender coral
    salmon amber bronze copper lilac mint peach plum rose ruby jade cream
    """
)
SHADES = ["", "", "", "dark ", "light ", "pale ", "bright ", "deep "]
FOODS = _split(
    """
    pizza pasta rice bread soup salad cheese fish chicken curry sushi tacos beans noodles
    pancakes waffles apples pears bananas cherries grapes lemons melons oranges plums potatoes
    carrots tomatoes onions spinach mushrooms lentils eggs honey yoghurt chocolate cake pie
    cookies pudding dumplings stew omelette risotto lasagne burgers sandwiches peanuts almonds
    olives
    """
)
STYLES = ["", "", "", "hot ", "cold ", "fresh ", "sweet ", "fried ", "spicy "]
JOBS = _split(
    """
    baker barber butcher carpenter chemist cleaner clerk coach cook dancer dentist designer
    doctor driver farmer fisher florist gardener guard hunter judge lawyer librarian mason
    mechanic miner model musician nurse painter pilot plumber poet porter potter printer sailor
    scientist singer soldier tailor teacher trader vet waiter weaver welder writer zoologist
    """
)
KINDS = _split(
    """
    dog cat horse parrot rabbit hamster turtle goldfish bird pony sister brother mother father
    friend boss teacher neighbour cousin son daughter wife husband
    """
)
WORDS = _split(
    """
    apple arm art baby bag ball bank basket beach bear bed bee bell bird black boat body bone
    book bottle bowl box boy branch brave bread brick bridge bright brush bucket bus butter
    button cabin cake camel camp candle car card carpet castle cat chain chair chalk cheese
    child circle city clean clock cloud coat coffee cold cook corn cotton cow cream crown cup
    dance dark day deep desk dinner dish dog door dragon dream dress drop drum duck dust eagle
    ear earth east egg engine eye face farm fast father feather field finger fire fish flag
    flame floor flower fly fog foot forest fork fox free friend frog fruit garden gate ghost
    gift girl glass glove goat gold grape grass green guitar hair hammer hand happy hat heart
    heavy hello hen hill home honey horse hotel hour house ice idea infd ink island jacket jam
    jar jump jungle key king kitchen kite knee knife lake lamp leaf leg lemon letter light lion
    lip lock log love lucky lunch magic map market mask meat milk mirror model money monkey moon
    morning mother mouse mouth music nail name neck needle nest night noise north nose nut ocean
    oil old onion orange oven owl page paint palm paper parrot party pen pencil pepper piano
    picture pig pillow pilot pin pink planet plant plate pocket poem pond pony pool potato pot
    quick queen quiet rabbit radio rain red rice ring river road robot rock roof room root rope
    rose round sail salt sand school sea seed shadow sheep shell ship shirt shoe shop silver
    sister sky sleep slow small smile smoke snake snow soap sock soft song soup south spoon
    spring square star stone storm story street strong sugar summer sun sweet sword table tail
    tall tea tent tiger time tired toe tooth tower town toy train tree truck tulip turtle uncle
    under valley violin voice wagon wall warm watch water wave weather west wheel white wild
    wind window wine wing winter wolf wood word world yellow young zebra
    """
)

_STARTS = _split("b c d f g h j k l m n p r s t v w z br cl dr fl gr kr pl sh st th tr bl ch")
_VOWELS = _split("a e i o u a e i o u ai ea oo")
_ENDS = ["", "", "", "n", "r", "l", "s", "m", "t", "k", "nd", "rt", "x", "p", "g"]


# Each of these is one token, whose letters can only be learned from that very word.
KNOWN = frozenset(piece.strip("_").lower() for piece in PIECES)

# A word may begin with any of these as one token: each must be met before other letters, too.
PREFIXES = sorted({word[:end] for word in KNOWN for end in range(2, len(word) + 1)})


def fresh(value: str) -> bool:
    """Whether a value is kept for evaluation; never the tokenizer's own words, see KNOWN."""
    return value.lower() not in KNOWN and zlib.crc32(value.lower().encode()) % 10 == 0


def coined(rng: random.Random, shortest: int, longest: int) -> str:
    """A made-up lower-case word."""
    while True:
        parts = rng.choice((1, 2, 2, 2, 3))
        word = "".join(rng.choice(_STARTS) + rng.choice(_VOWELS) for _ in range(parts))
        word += rng.choice(_ENDS)
        if rng.random() < 0.15:
            word = word[1:]
        if shortest <= len(word) <= longest:
            return word


def jumble(rng: random.Random, shortest: int, longest: int) -> str:
    """Random letters: every letter after every other."""
    length = rng.randint(shortest, longest)
    return "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(length))


# For lines to repeat: other scripts and signs, each of several bytes, and everyday small words.
SIGNS = (
    "äöüßéèêçñøåłžčışğæœœαβγδλπωабвгдежзилмно"
    "прстуяאבגدبתहनमक日本語漢字中文한국어€£°½×→✓♥🙂🎉🚀🌍👍🐱"
)
SMALL = """a an the of in on at to is was and or not we you they it this that with for from over
under quick brown lazy fox jumps runs goes likes sees my your his her some many no yes one two three
four five good new very here there 1 2 3 10 42 100""".split()  # noqa: SIM905


class Values:
    """Draws values of one side: of evaluation if ``held``, else of training."""

    def __init__(self, rng: random.Random, held: bool) -> None:
        self.rng = rng
        self.held = held

    def _draw(self, make: Callable[[], str]) -> str:
        while True:
            value = make()
            if fresh(value) == self.held:
                return value

    def name(self, listed: list[str] = NAMES) -> str:
        """A first name, or the name of a pet or a city, by the list given."""
        rng = self.rng

        def make() -> str:
            name = rng.choice(listed) if rng.random() < 0.5 else coined(rng, 3, 8).capitalize()
            if rng.random() < 0.05:
                name += " " + coined(rng, 3, 8).capitalize()
            elif not self.held and rng.random() < 0.03:
                spot = rng.randrange(1, len(name))
                name = name[:spot] + rng.choice(SIGNS) + name[spot + 1 :]
            return name

        return self._draw(make)

    def colour(self) -> str:
        """A colour, often with a shade."""
        return self._draw(lambda: self.rng.choice(SHADES) + self.rng.choice(HUES))

    def food(self) -> str:
        """A food, often with a style."""
        return self._draw(lambda: self.rng.choice(STYLES) + self.rng.choice(FOODS))

    def job(self) -> str:
        """A job that goes with the article ``a``."""
        return self._draw(lambda: self.rng.choice(JOBS))

    def number(self) -> str:
        """A number of one to six digits."""
        return self._draw(lambda: str(self.rng.randrange(10 ** self.rng.randint(1, 6))))

    def age(self) -> str:
        """An age in years."""
        return self._draw(lambda: str(self.rng.randint(4, 99)))

    def word(self, shortest: int = 3, longest: int = 7) -> str:
        """A word of ordinary language, a made-up one, or (in training only) random letters."""
        rng = self.rng

        def make() -> str:
            kind = rng.random()
            if kind < 0.1 and not self.held:
                return rng.choice(PIECES).strip("_").lower()
            if kind < 0.3 and not self.held:
                return rng.choice(PREFIXES) + coined(rng, 1, 4)
            if kind < 0.4:
                return rng.choice(WORDS)
            if kind < 0.75 or self.held:
                return coined(rng, shortest, longest)
            return jumble(rng, shortest, longest)

        while True:
            word = self._draw(make)
            if shortest <= len(word) <= longest:
                return word

    def words(self, most: int) -> str:
        """One to ``most`` words."""
        return " ".join(self.word() for _ in range(self.rng.randint(1, most)))

    def phrase(self) -> str:
        """One to four words, in training often small ones."""
        small = not self.held and self.rng.random() < 0.4
        if not small:
            return self.words(4)
        count = self.rng.randint(2, 4)
        return " ".join(
            self.rng.choice((self.word(), self.rng.choice(SMALL))) for _ in range(count)
        )

    def line(self) -> str:
        """A line to repeat that is not only words: small words, signs, numbers, capitals."""
        rng = self.rng
        parts = []
        for _ in range(rng.randint(1, 9)):
            kind = rng.random()
            part = rng.choice(SMALL)
            if kind < 0.3:
                part = self.word()
            elif kind < 0.4:
                part = self.number()
            elif kind < 0.5:
                part = "".join(rng.choice(SIGNS) for _ in range(rng.randint(1, 4)))
            elif kind < 0.55:
                part = self.word().upper()
            elif kind < 0.65:
                part = self.word().capitalize()
            parts.append(part + (rng.choice(",-:;") if rng.random() < 0.06 else ""))
        return " ".join(parts)
