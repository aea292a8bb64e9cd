"""Every wording that a person may use towards the demo model, by skill and intent.

Rules: wordings only; what is answered is in ``replies.py`` and ``conversations.py``. Each intent
is divided by ``grammar.draw``, so that a tenth of it never occurs in training. Slots: ``{x}`` the
drawn value, ``{k}`` its kind (a pet or a relative), ``{a}`` and ``{b}`` numbers.
Limits: English, short sentences, one request a message.
"""

from __future__ import annotations

from infd.demo.grammar import Group, draw, words

HELLO = "[|hi, |hello, |hey, |by the way, |just so you know, |well, |okay, |listen, ]"
ASIDE = "[|please remember that |remember that |note that |you should know that |i think ]"
TAIL = "[.|, by the way.|, you know.| and that is all.]"
POLITE = "[|please |can you |could you |would you |can you please |could you please |now ]"
OPEN = "[|so, |well, |okay, |now, |and |hey, |hello, ]"


def asked(things: str, *, verbs: str = "is") -> list[str]:
    """Questions for something that was told, such as ``my name``."""
    return [
        f"{OPEN}what {verbs} {things}[?| again?| please?]",
        f"{OPEN}what's {things}[?| again?]",
        f"{POLITE}[tell me|remind me|say] what {things} {verbs}[.| again.]",
        f"{POLITE}[tell me|give me|remind me of|say] {things}[.| again.]",
        f"{OPEN}do you [still |]remember {things}?",
        f"{OPEN}do you [still |]know [what {things} {verbs}|{things}]?",
        f"{OPEN}i forgot {things}[.|, what is it?|, can you tell me?]",
    ]


TOLD: dict[str, list[str]] = {
    "name": [
        f"{HELLO}{ASIDE}my name [is|will be] {{x}}{TAIL}",
        f"{HELLO}my name's {{x}}{TAIL}",
        f"{HELLO}[i am|i'm] [|called |named ]{{x}}{TAIL}",
        f"{HELLO}[you can |you may |please |]call me {{x}}{TAIL}",
        f"{HELLO}[people|friends|they|all] call me {{x}}{TAIL}",
        f"{HELLO}[this is|it is|it's] {{x}} [here|speaking|talking].",
        f"{HELLO}{{x}} is my name{TAIL}",
    ],
    "colour": [
        f"{HELLO}{ASIDE}my [favourite|favorite] [colour|color] is {{x}}{TAIL}",
        f"{HELLO}{ASIDE}i [like|love] the [colour|color] {{x}}[| most| best]{TAIL}",
        f"{HELLO}the [colour|color] [that i|i] [like|love] [most|best] is {{x}}{TAIL}",
        f"{HELLO}{{x}} is my [favourite|favorite] [colour|color]{TAIL}",
    ],
    "number": [
        f"{HELLO}{ASIDE}my [|lucky |favourite |favorite ]number is {{x}}{TAIL}",
        f"{HELLO}[please |]remember [|this number: |the number |number ]{{x}}[.| for me.]",
        f"{HELLO}{{x}} is my [|lucky |favourite |favorite ]number{TAIL}",
        f"{HELLO}the number [is|to remember is|to keep is] {{x}}{TAIL}",
    ],
    "city": [
        f"{HELLO}{ASIDE}i [live|am living] in {{x}}{TAIL}",
        f"{HELLO}{ASIDE}[i am|i'm|i come] from {{x}}{TAIL}",
        f"{HELLO}my [home|city|town|home town] is {{x}}{TAIL}",
        f"{HELLO}{{x}} is [my city|my town|my home|where i live]{TAIL}",
    ],
    "kin": [
        f"{HELLO}{ASIDE}[i have|i've got] a {{k}} [called|named] {{x}}{TAIL}",
        f"{HELLO}{ASIDE}my {{k}} is [called|named] {{x}}{TAIL}",
        f"{HELLO}{ASIDE}my {{k}}'s name is {{x}}{TAIL}",
        f"{HELLO}the name of my {{k}} is {{x}}{TAIL}",
        f"{HELLO}{{x}} is [the name of my {{k}}|my {{k}}'s name|my {{k}}]{TAIL}",
    ],
    "food": [
        f"{HELLO}{ASIDE}my [favourite|favorite] food is {{x}}{TAIL}",
        f"{HELLO}{ASIDE}i [like|love] [to eat|eating] {{x}}[| most| best]{TAIL}",
        f"{HELLO}the food [that i|i] [like|love] [most|best] is {{x}}{TAIL}",
        f"{HELLO}{{x}} is my [favourite|favorite] food{TAIL}",
    ],
    "age": [
        f"{HELLO}{ASIDE}[i am|i'm] {{x}} years old{TAIL}",
        f"{HELLO}{ASIDE}my age is {{x}}{TAIL}",
        f"{HELLO}i [turned|have turned|just turned] {{x}} [today|this year|years old]{TAIL}",
    ],
    "job": [
        f"{HELLO}{ASIDE}i work as a {{x}}{TAIL}",
        f"{HELLO}{ASIDE}my [job|work] is [to be|being] a {{x}}{TAIL}",
        f"{HELLO}{ASIDE}i [earn|make] my living as a {{x}}{TAIL}",
    ],
    "word": [
        f"{HELLO}{ASIDE}the [secret |magic |code |]word is {{x}}{TAIL}",
        f"{HELLO}{ASIDE}my [secret |magic |code |]word is {{x}}{TAIL}",
        f"{HELLO}[please |]remember the [secret |magic |code |]word {{x}}[.| for me.]",
    ],
}

ASKED: dict[str, list[str]] = {
    "name": [
        *asked("my name"),
        f"{OPEN}[who am i|what am i called|what do people call me|who is it|who are you "
        "talking to][?| again?]",
        f"{OPEN}[tell me who i am|say who i am].",
        f"{OPEN}do you [still |]know who i am?",
    ],
    "colour": [
        *asked("my [favourite|favorite] [colour|color]"),
        f"{OPEN}[which|what] [colour|color] do i [like|love][?| most?| best?]",
    ],
    "number": [
        *asked("my [|lucky |favourite |favorite ]number"),
        *asked("the number"),
        f"{OPEN}[which|what] number did i [tell|give] you[?| again?]",
    ],
    "city": [
        *asked("my [home |][city|town]"),
        f"{OPEN}where [do i live|am i from|do i come from|is my home|am i living][?| again?]",
        f"{OPEN}[which|what] [city|town] [do i live in|am i from|do i come from][?| again?]",
        f"{POLITE}[tell me|remind me|say] where i [live|am from|come from][.| again.]",
        f"{OPEN}do you [still |]know where i [live|am from|come from]?",
    ],
    "kin": [
        *asked("my {k}'s name"),
        *asked("the name of my {k}"),
        f"{OPEN}[what is my {{k}} called|how is my {{k}} called|what's my {{k}} called|"
        "who is my {k}|what do i call my {k}][?| again?]",
        f"{POLITE}[tell me|remind me|say] what my {{k}} is called[.| again.]",
    ],
    "food": [
        *asked("my [favourite|favorite] food"),
        f"{OPEN}[which|what] food do i [like|love][?| most?| best?]",
        f"{OPEN}what do i [like|love] [to eat|eating][?| most?| best?]",
    ],
    "age": [
        *asked("my age"),
        f"{OPEN}how old am i[?| again?| now?]",
        f"{POLITE}[tell me|remind me|say] how old i am[.| again.]",
        f"{OPEN}do you [still |]know how old i am?",
    ],
    "job": [
        *asked("my [job|work]"),
        f"{OPEN}what do i [work as|do for a living|do for work][?| again?]",
        f"{POLITE}[tell me|remind me|say] what i [work as|do for a living|do for work].",
    ],
    "word": [
        *asked("the [secret |magic |code |]word"),
        *asked("my [secret |magic |code |]word"),
        f"{OPEN}[which|what] [|secret |magic |code ]word did i [tell|give] you[?| again?]",
    ],
}

TASKS: dict[str, list[str]] = {
    "repeat": [
        f"{POLITE}[repeat|say|echo|write] [this|after me|the following|the words|exactly this|"
        "these words]: {x}",
        f'{POLITE}[repeat|say|echo|write] [the words |the following words |]"{{x}}"[.| for me.]',
        f"{POLITE}[repeat|echo]: {{x}}",
        f"{POLITE}[say|repeat|write] {{x}}[.| for me.]",
    ],
    "spell": [
        f'{POLITE}[spell|spell out] [|the word |for me the word ][{{x}}.|"{{x}}".|{{x}} for me.]',
        f'{POLITE}[tell me|say|show me] how to spell [|the word ][{{x}}.|"{{x}}".]',
        f'{OPEN}how [do you|do i|would you|do we] spell [|the word ][{{x}}?|"{{x}}"?]',
        f"{OPEN}how is [|the word ]{{x}} [spelled|spelt|written]?",
        f'{OPEN}[what is|what\'s|give me] the spelling of [|the word ][{{x}}?|"{{x}}"?]',
        f'{OPEN}[what are|give me|list|tell me] the letters [of|in] [|the word ][{{x}}.|"{{x}}".]',
    ],
    "reverse": [
        f'{POLITE}[reverse|turn around|flip] [|the word |the letters of ][{{x}}.|"{{x}}".]',
        f'{POLITE}[write|say|spell|give me|tell me] [|the word ][{{x}}|"{{x}}"] '
        "[backwards|in reverse|from the end].",
        f'{OPEN}[what is|what\'s] [|the word ][{{x}}|"{{x}}"] [backwards|reversed|in reverse]?',
        f"{OPEN}how [do you|do i|would you] [write|say|spell] [|the word ]{{x}} "
        "[backwards|in reverse]?",
    ],
    "count": [
        f"{POLITE}count [|up ]from {{a}} to {{b}}[.| for me.|, please.]",
        f"{POLITE}[list|write|say|give me|tell me] [the|all] numbers "
        "from {a} to {b}[.| for me.]",
        f"{OPEN}[what are|which are] [the|all] numbers from {{a}} to {{b}}?",
        f"{POLITE}[start|begin] at {{a}} and count [|up ]to {{b}}.",
        f"{OPEN}[i want you to|let us|let me see you] count [|up ]from {{a}} to {{b}}.",
    ],
    "count up": [
        f"{POLITE}count [|up ]to {{b}}[.| for me.|, please.]",
        f"{OPEN}[i want you to|let us|let me see you] count [|up ]to {{b}}.",
        f"{OPEN}can you count [|up ]to {{b}}?",
    ],
    "count down": [
        f"{POLITE}count [down|backwards] from {{b}} to {{a}}[.| for me.|, please.]",
        f"{OPEN}[i want you to|let us|let me see you] count [down|backwards] from {{b}} to {{a}}.",
        f"{POLITE}[start|begin] at {{b}} and count [down|backwards] to {{a}}.",
    ],
    "add": [
        f"{OPEN}[what is|what's|how much is|tell me] {{a}} [+|plus|and] {{b}}"
        "[?| please?| together?]",
        f"{POLITE}[add|sum] {{a}} and {{b}}[.| for me.| together.]",
        f"{POLITE}add {{a}} to {{b}}[.| for me.]",
        f"{OPEN}[what is|what's|tell me|give me] the sum of {{a}} and {{b}}[?| please?]",
        f"{OPEN}what do [you|i|we] get if [you|i|we] add {{a}} [and|to] {{b}}?",
        f"{OPEN}{{a}} [+|plus] {{b}}[?| is what?| makes what?| is how much?]",
        f"{POLITE}[work out|calculate|compute] {{a}} [+|plus] {{b}}[.| for me.]",
    ],
}

SYSTEM: dict[str, list[str]] = {
    "plain": [
        "you are a [helpful|friendly|kind|good|polite|short] [assistant|model|chat model]"
        "[.| that answers questions.| and you answer questions.]",
        "[please |][answer|reply] [briefly|politely|in short sentences|kindly]"
        "[.| and in short sentences.]",
        "[please |][always |]be [helpful|friendly|kind|polite|short|brief|honest|careful]"
        "[.| and answer questions.| and polite.]",
        "[please |]help [the user|the users|people|everyone][.| with questions.| politely.]",
        "[this is|you are in] a [test|demo|chat|conversation][.| with a user.| with people.]",
    ],
    "name": [
        "[from now on |]your name [is|will be] {x}[.|, remember that.| and you are helpful.]",
        "[from now on |]you are [|called |named ]{x}[.|, a helpful assistant.|, a friendly model.]",
        "[from now on |]you are a [helpful|friendly|kind] [assistant|model] [called|named] {x}.",
        "[from now on |][people|users|they] [will |]call you {x}[.|, remember that.]",
        "[from now on |][act as|speak as|be] {x}[.|, a helpful assistant.|, a friendly model.]",
    ],
    "upper": [
        "[from now on |][please |][always |]"
        "[answer|reply|write|speak|respond|talk] [only |][in|using|with] "
        "[upper case|upper-case letters|capital letters|capitals|all capitals]"
        "[.| only.|, please.]",
        "[use|write] [only |][upper case|upper-case letters|capital letters|capitals] "
        "[in your answers|in every answer|when you answer|when you reply].",
        "[all|every one] of your [answers|replies] must be in "
        "[upper case|capital letters|capitals|all capitals].",
    ],
    "closing": [
        "[from now on |][please |][always |]"
        '[end|close|finish] [every|each] [answer|reply|message] with [|the words ]["{x}".|{x}]',
        "[every|each] [answer|reply|message] [must|should] [end|close|finish] with "
        '[|the words ]["{x}".|{x}]',
        '[always |][say|add|write] ["{x}"|{x}] at the end of [every|each|your] '
        "[answer|reply|message].",
    ],
}

# Further intents are divided for themselves, so that they change no other intent's draw.
FURTHER: dict[str, list[str]] = {
    "task add short": [
        "[what is |what's |how much is |tell me |so, |and |now |okay, |hey, |well, |]"
        "{a}+{b}[?|=|=?| please?| then?| again?]",
        "[calculate |compute |add |please calculate |please compute |can you compute "
        "|can you calculate |work out ]{a}+{b}[.| for me.| now.| please.]",
    ],
    "system role": [
        "[from now on |now |]you are a {x}[.| in a story.| who answers questions.| "
        "who helps people.| and you answer questions.]",
        "[please |][act|answer|reply|speak|talk] as a {x}[.| would.| in a story.| please.]",
        "you are a [friendly|good|helpful|kind|polite] {x}[.| in a story.| who answers questions.| "
        "who helps people.]",
    ],
    "chat maker": [
        f"{OPEN}who [made|built|trained|created|programmed] [you|this model][?| please?]",
        f"{OPEN}[where do you come from|where are you from][?| please?]",
        f"{OPEN}by whom were you [made|built|trained|created][?| please?]",
    ],
    "chat size": [
        f"{OPEN}how [big|large|small] [are you|is this model][?| please?| really?]",
        f"{OPEN}how many parameters [do you have|are in you|does this model have][?| please?]",
        f"{OPEN}what is your [size|number of parameters][?| please?]",
    ],
}

CHAT: dict[str, list[str]] = {
    "hello": [
        "[hello|hi|hey|good morning|good evening|good afternoon|good day|greetings|hi hi|"
        "hello hello|hey hey][.|!| there!| you!| again!| my friend!| assistant!| infd!]",
    ],
    "wellbeing": [
        "[|hi, |hello, |hey, |and ][how are you|how are you doing|how do you do|how is it going|"
        "how do you feel|are you well|how goes it][?| today?| now?| my friend?]",
    ],
    "thanks": [
        "[|great, |good, |okay, |well, |perfect, ][thanks|thank you|many thanks|thanks a lot|"
        "thank you very much|thank you so much|i thank you][.|!| my friend!| for your help.| "
        "for that.]",
    ],
    "bye": [
        "[|okay, |well, |thanks, |thank you, |great, ][bye|goodbye|good night|bye bye|see you|"
        "see you later|farewell|until next time][.|!| my friend.| for now.]",
    ],
    "who": [
        f"{OPEN}[who are you|what are you|who is this|who am i talking to|what is this|what model"
        " are you|which model are you|who is there][?| please?]",
        f"{POLITE}[tell me who you are|say who you are|introduce yourself|tell me what you are|"
        "tell me about yourself|describe yourself].",
    ],
    "self": [
        f"{OPEN}[what is your name|what's your name|what are you called|who are you called|"
        "do you have a name|what should i call you|how should i call you|what do people call you]"
        "[?| please?| again?]",
        f"{POLITE}[tell me|say|give me] [your name|what your name is|what you are called]"
        "[.| again.| please.]",
    ],
    "able": [
        f"{OPEN}[what can you do|what are you able to do|what can i ask you|what can i ask|"
        "how can you help me|how can you help|what do you do|what are you good at|"
        "what do you know][?| for me?| please?]",
        f"{POLITE}[tell me what you can do|say what you can do|list what you can do|help me|"
        "show me what you can do|tell me what i can ask].",
    ],
    "human": [
        f"{OPEN}are you [a human|human|a person|a robot|real|alive|a machine|a man|a woman|"
        "a real person|a bot][?| or not?| really?]",
    ],
    "remark": [
        f"{HELLO}[the weather is|the day is|work was|the trip was|lunch was|the film was|the book "
        "was|the party was|my day was|the walk was] [nice|good|great|bad|long|fine|fun]"
        "[.| today.| really.]",
        f"{HELLO}i [went for a walk|went home|had lunch|read a book|saw a film|slept well|am tired|"
        "am happy|am busy|am at home|am at work|like walking|like reading][.| today.| now.]",
    ],
    "okay": [
        "[okay|ok|good|great|fine|all right|very good|nice|well done|perfect|right|i see|"
        "cool|sure|yes|wonderful][.|!| then.| good.]",
    ],
}

UNKNOWN: list[str] = [
    f"{OPEN}[what is|what's|tell me|do you know] the capital of [{{x}}|the land {{x}}|my country]?",
    f"{OPEN}who [won|lost|played in] the [match|game|race|cup|election|final] "
    "[yesterday|today|last night|last week|last year|in {x}]?",
    f"{OPEN}who [wrote|made|invented|painted|built|discovered|sang|found] [{{x}}|the book {{x}}|"
    "the song {x}|the telephone|the piano|the tower of {x}|the first computer]?",
    f"{OPEN}[how|what] is the weather [in {{x}}|today|tomorrow|outside|there]?",
    f"{OPEN}will it [rain|snow] [today|tomorrow|in {{x}}|next week]?",
    f"{OPEN}how [tall|old|big|far|deep|heavy|long] is [{{x}}|mount {{x}}|the moon|the sun|"
    "the river {x}|a whale|the tower of {x}|the sea|the president]?",
    f"{OPEN}when [was|is] [{{x}} born|the next election|the war of {{x}}|the first flight|easter|"
    "the next train to {x}]?",
    f"{OPEN}what [time|day|date|year|month] is it[?| now?| today?| in {{x}}?]",
    f"{OPEN}how many [people|dogs|trees|cars|stars|rivers|islands] are [there |]in [{{x}}|"
    "the world|the sky|the town of {x}]?",
    f"{OPEN}who is [the president of {{x}}|the king of {{x}}|the queen of {{x}}|the mayor of {{x}}|"
    "{x}|the richest man in {x}]?",
    f"{OPEN}where is [{{x}}|the town of {{x}}|my key|my phone|my bag|"
    "the nearest shop|the library]?",
    f"{OPEN}what is the [price|cost|population|size|height|currency|language|flag] of [{{x}}|gold|"
    "bread|a car|the land {x}]?",
    f"{OPEN}[what did i|do you know what i] [eat|do|say|buy|dream|wear|read|drink] "
    "[yesterday|last night|last week|this morning]?",
    f"{POLITE}[tell me|write] a [joke|story|poem|song|tale][.| about {{x}}.| about the sea.]",
    f"{OPEN}[what is|what's|do you know] my [phone number|address|birthday|surname|shoe size|"
    "height|weight|password|email|favourite film|favourite song|favourite book|favourite animal]?",
    f"{OPEN}why is the [sky|sea|grass|snow|sun|moon|night] "
    "[blue|green|white|yellow|dark|cold|hot]?",
    f"{POLITE}translate {{x}} [into|to] [french|german|spanish|latin|italian].",
    f"{OPEN}what [happened|was] [yesterday|last night|in {{x}}|last week|last year]?",
    f"{OPEN}what does the [word|name] {{x}} mean?",
    f"{OPEN}[which|what] [team|song|film|book|animal] do i [like|love][?| most?| best?]",
]


def book() -> dict[str, Group]:
    """All intents but the facts, as ``"told name"``, ``"system upper"`` and so on."""
    parts = {"told": TOLD, "asked": ASKED, "task": TASKS, "system": SYSTEM, "chat": CHAT}
    groups = {
        f"{part} {intent}": draw(f"{part} {intent}", patterns)
        for part, intents in parts.items()
        for intent, patterns in intents.items()
    }
    groups |= {intent: draw(intent, patterns) for intent, patterns in FURTHER.items()}
    groups["unknown"] = draw("unknown", UNKNOWN)
    # Without its signs "{a}+{b}" is "{a} + {b}": keep the two intents' sides apart.
    long, short = groups["task add"], groups["task add short"]
    held, train = ({words(line) for line in side} for side in (long.held, long.train))
    groups["task add short"] = Group(
        tuple(line for line in short.train if words(line) not in held),
        tuple(line for line in short.held if words(line) not in train),
    )
    return groups
