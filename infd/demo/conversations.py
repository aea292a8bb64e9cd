"""The seeded generator of conversations: what a person says, and what the model should reply.

Rules: a reply follows from the conversation alone, and is always the same for the same
conversation. All wordings and values of a conversation come from one side: training, or, with
``held``, evaluation. The system prompt may set a name, upper case and a closing phrase; they
apply to every reply.
Limits: replies are short fixed sentences around what is copied, counted, spelled or looked up.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from infd.demo.facts import facts
from infd.demo.values import CITIES, KINDS, NAMES, PETS, Values, coined
from infd.demo.wordings import book

Message = dict[str, str]

BOOK = book()
FACTS = facts()
UNKNOWN = "I do not know that."
NOTED = "I will remember that."
ABLE = (
    "I can chat, remember what you tell me, count, add, spell, reverse and repeat, "
    "and answer questions about infd."
)
CHAT = {
    "hello": "Hello! How can I help you?",
    "wellbeing": "I am well, thank you.",
    "thanks": "You are welcome.",
    "bye": "Goodbye!",
    "able": ABLE,
    "human": "No, I am a small language model.",
    "remark": "I see.",
    "okay": "All right.",
    "maker": "The infd project trained me on text that it generates.",
    "size": "I have 2.85 million parameters.",
}
LETTERS = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen
fifteen sixteen seventeen eighteen nineteen twenty""".split()  # noqa: SIM905
RECALL = {
    "name": "Your name is {x}.",
    "colour": "Your favourite colour is {x}.",
    "number": "Your number is {x}.",
    "city": "You live in {x}.",
    "food": "Your favourite food is {x}.",
    "age": "You are {x} years old.",
    "job": "You work as a {x}.",
    "word": "The word is {x}.",
}
SLOTS = (*RECALL, "kin", "kin")

# How often each kind of turn is drawn in training. Recall, copying, spelling and reversing are
# the slowest to learn; "ask" is about something told, "missing" about something that was not.
WEIGHTS = {
    "tell": 17.0,
    "ask": 20.0,
    "missing": 8.0,
    "unknown": 4.0,
    "fact": 7.0,
    "chat": 7.0,
    "self": 5.0,
    "repeat": 14.0,
    "spell": 11.0,
    "reverse": 11.0,
    "count": 4.0,
    "add": 4.0,
}


class Talk:
    """One conversation that grows turn by turn."""

    def __init__(self, rng: random.Random, *, held: bool = False) -> None:
        self.rng = rng
        self.held = held
        self.values = Values(rng, held)
        self.messages: list[Message] = []
        self.told: dict[str, str] = {}
        self.name = ""
        self.upper = False
        self.closing = ""

    def system(self, *wanted: str) -> None:
        """Begin with a system prompt made of the parts ``plain``, ``name``, ``upper``, …"""
        lines = []
        # infd joins the user's own system prompt and a client's by a blank line.
        joint = self.rng.choice((" ", " ", "\n\n"))
        for part in wanted:
            value = ""
            if part == "name":
                value = self.name = self.values.name(PETS + NAMES)
            elif part == "role":
                value = self.values.job()
            elif part == "closing":
                value = self.closing = self.values.phrase().capitalize()
            self.upper = self.upper or part == "upper"
            lines.append(self._say(f"system {part}", x=value))
        self.messages.append({"role": "system", "content": joint.join(lines)})

    def add(self, user: str, reply: str) -> None:
        """Add a turn, the reply in the form that the system prompt asks for."""
        if self.closing:
            reply = f"{reply} {self.closing}."
        if self.upper:
            reply = reply.upper()
        self.messages.append({"role": "user", "content": user})
        self.messages.append({"role": "assistant", "content": reply})

    def _style(self, wording: str) -> str:
        """As careful or as careless as people type."""
        wording = wording.replace(" i ", " I ").replace(" i'", " I'")
        kind = self.rng.random()
        if kind < 0.35:
            wording = wording.rstrip(".?!")
        elif kind > 0.9 and wording.endswith("."):
            wording = wording[:-1] + "!"
        if 0.2 < kind < 0.5:
            wording = wording[:1].lower() + wording[1:].replace(" I ", " i ").replace(" I'", " i'")
        return wording

    def _say(self, intent: str, **slots: str) -> str:
        wording = self._style(BOOK[intent].pick(self.rng, self.held))
        for slot, value in slots.items():
            wording = wording.replace("{" + slot + "}", value)
        return wording

    def _value(self, slot: str) -> str:
        values = self.values
        drawn: dict[str, Callable[[], str]] = {
            "name": values.name,
            "kin": lambda: values.name(PETS + NAMES),
            "city": lambda: values.name(CITIES),
            "colour": values.colour,
            "number": values.number,
            "food": values.food,
            "age": values.age,
            "job": values.job,
            "word": values.word,
        }
        return drawn[slot]()

    def tell(self, slot: str = "") -> str:
        """The person tells something; gives the key under which ``ask`` finds it."""
        new = [slot for slot in SLOTS if slot not in self.told]
        slot = slot or self.rng.choice(new if new and self.rng.random() < 0.85 else SLOTS)
        value = self._value(slot)
        kind = self.rng.choice(KINDS) if slot == "kin" else ""
        key = f"kin {kind}" if kind else slot
        self.told[key] = value
        user = self._say(f"told {slot}", x="{x}", k=kind)
        lower = user[:1].islower() and slot in ("name", "kin", "city")
        user = user.replace("{x}", value.lower() if lower and self.rng.random() < 0.4 else value)
        self.add(user, f"Nice to meet you, {value}." if slot == "name" else NOTED)
        return key

    def ask(self, key: str = "") -> None:
        """The person asks for something told."""
        key = key or self.rng.choice(list(self.told))
        slot, _, kind = key.partition(" ")
        reply = f"Your {kind} is called {{x}}." if kind else RECALL[slot]
        self.add(self._say(f"asked {slot}", k=kind), reply.replace("{x}", self.told[key]))

    def missing(self) -> None:
        """The person asks for something that was not told."""
        keys = [*RECALL, *(f"kin {kind}" for kind in self.rng.sample(KINDS, 4))]
        left = [key for key in keys if key not in self.told]
        slot, _, kind = self.rng.choice(left).partition(" ")
        self.add(self._say(f"asked {slot}", k=kind), UNKNOWN)

    def unknown(self) -> None:
        """The person asks what a small model cannot know."""
        about = self.values.name(NAMES + CITIES)
        self.add(self._say("unknown", x=about), UNKNOWN)

    def fact(self, number: int | None = None) -> None:
        """The person asks about infd."""
        fact = self.rng.choice(FACTS) if number is None else FACTS[number]
        self.add(self._style(fact.group.pick(self.rng, self.held)), fact.answer)

    def chat(self, intent: str = "") -> None:
        """A greeting, thanks and the like."""
        intent = intent or self.rng.choice(list(CHAT))
        self.add(self._say(f"chat {intent}"), CHAT[intent])

    def self(self, intent: str = "") -> None:
        """The person asks for the model's own name."""
        if (intent or self.rng.choice(("self", "who"))) == "self":
            self.add(self._say("chat self"), f"My name is {self.name or 'infd demo'}.")
        else:
            who = self.name or "infd demo, a small language model"
            self.add(self._say("chat who"), f"I am {who}.")

    def repeat(self) -> None:
        """The person wants words said after them."""
        text = self.values.words(5)
        if not self.held and self.rng.random() < 0.25:
            text = self.values.line()
        elif self.rng.random() < 0.3:
            text = text.capitalize()
        self.add(self._say("task repeat", x=text), text)

    def spell(self) -> None:
        """The letters of a word."""
        word = self.values.word()
        if not self.held:
            kind = self.rng.random()
            if kind < 0.08:
                word = self.values.name()
            elif kind < 0.16:
                word = coined(self.rng, 8, 11)
        self.add(self._say("task spell", x=word), "-".join(word))

    def reverse(self) -> None:
        """A word from its end."""
        word = self.values.word(3, 6)
        if not self.held and self.rng.random() < 0.08:
            word = self.values.name()
        self.add(self._say("task reverse", x=word), word[::-1])

    def _figure(self, number: int) -> str:
        """A number in figures; in training now and then in letters."""
        if self.held or number >= len(LETTERS) or self.rng.random() > 0.06:
            return str(number)
        return LETTERS[number]

    def count(self) -> None:
        """Numbers from one to another, up or down."""
        way = self.rng.choice(("count", "count", "count up", "count down"))
        first = 1 if way == "count up" else self.rng.randint(0, 20)
        last = first + self.rng.randint(2, 11)
        if not self.held and self.rng.random() < 0.1:
            last = self.rng.randint(first + 12, 100)
        run = [str(number) for number in range(first, last + 1)]
        user = self._say(f"task {way}", a=self._figure(first), b=self._figure(last))
        self.add(user, ", ".join(run[::-1] if way == "count down" else run) + ".")

    def sum(self) -> None:
        """Two numbers up to 20."""
        a, b = self.rng.randint(0, 20), self.rng.randint(0, 20)
        intent = "task add short" if self.rng.random() < 0.15 else "task add"
        self.add(self._say(intent, a=self._figure(a), b=self._figure(b)), f"{a} + {b} = {a + b}.")

    def turn(self) -> None:
        """One more turn of a kind drawn by weight."""
        weights = dict(WEIGHTS)
        if not self.told:
            del weights["ask"]
        if self.name or "name" in self.told:
            # Whose name is whose is learned only where there is a name to mistake.
            weights["self"] *= 5
        if self.upper:
            del weights["fact"]
        kind = self.rng.choices(list(weights), list(weights.values()))[0]
        (self.sum if kind == "add" else getattr(self, kind))()
        if not self.held and len(self.messages) > 3 and self.rng.random() < 0.06:
            self._join()

    def _join(self) -> None:
        """Make one turn of the last two: two sentences, and the reply to the second."""
        if self.messages[-4]["role"] != "user":
            return
        first, second, reply = self.messages[-4]["content"], *self.messages[-2:]
        if first[-1:] not in ".?!":
            first += self.rng.choice((".", ",", " and"))
        self.messages[-4:] = [{"role": "user", "content": f"{first} {second['content']}"}, reply]


# The system prompts of training, by how often they are drawn.
PROMPTS: dict[tuple[str, ...], float] = {
    (): 38,
    ("plain",): 11,
    ("role",): 3,
    ("name",): 17,
    ("upper",): 9,
    ("closing",): 17,
    ("name", "closing"): 3,
    ("name", "upper"): 2,
    ("closing", "upper"): 2,
    ("plain", "name"): 3,
    ("plain", "upper"): 1,
    ("plain", "closing"): 1,
}


def opened(rng: random.Random) -> Talk:
    """A conversation of training, with its system prompt and no turn yet."""
    talk = Talk(rng)
    parts = rng.choices(list(PROMPTS), list(PROMPTS.values()))[0]
    if parts:
        talk.system(*parts)
    return talk
