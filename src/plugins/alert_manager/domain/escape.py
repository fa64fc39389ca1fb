"""Makes text of events and servers harmless for where it is shown: a log line, a mail, Discord."""

from __future__ import annotations

import re
import unicodedata

ELLIPSIS = "…"
EMPTY = "—"

_ANSI = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # OSC: window titles, hyperlinks
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|\x1b[PX^_][^\x1b]*(?:\x1b\\)?"  # strings to the terminal
    r"|\x1b[ -/]*[0-~]?"
)
# Line and paragraph separators and C0/C1 controls become a space; what reorders or hides text goes.
_BREAKING = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_BREAKING_BUT_NEWLINE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]+")
_HIDING = re.compile("[\u00ad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff]")
_SURROGATE = re.compile("[\ud800-\udfff]")

_DISCORD_SPECIAL = re.compile(r"[\\*_~`|\[\]<]")
# A time such as 12:30:45 stays as it is; a few emoji names are digits.
_DISCORD_SCHEME_OR_EMOJI = re.compile(r":(?=//|(?:[^\W\d][\w~-]*|[+-]1|100|1234|8ball):)")
_DISCORD_LINE_START = re.compile(r"^(?:[#>+-]|\d+(?=[.)]))")
_DISCORD_EVERYONE = re.compile(r"@(?=everyone|here)", re.IGNORECASE)
_AT = re.compile(r"@(?=\w)")
_LOOKALIKES = str.maketrans(
    {"*": "∗", "`": "ˋ", "~": "∼", "<": "‹", ">": "›", "[": "［", "]": "］"}
)
_MENTION_BREAK = "\u200b"  # zero width: unseen, and no longer a mention


def _harmless(text: str) -> str:
    return _HIDING.sub("", _SURROGATE.sub("\ufffd", _ANSI.sub(" ", text)))


def single_line(text: str) -> str:
    """Returns one line: no ANSI escapes, control or bidirectional characters, single spaces."""
    if text.isprintable():  # nearly always: there is nothing of all that in it
        return " ".join(text.split())
    return " ".join(_BREAKING.sub(" ", _harmless(text)).split())


def many_lines(text: str) -> str:
    r"""Does what `single_line` does, but keeps `\n` and spaces, for preformatted text."""
    return _BREAKING_BUT_NEWLINE.sub(" ", _harmless(text))


def is_visible(text: str) -> bool:
    """Says whether a reader sees anything of `text`."""
    return any(unicodedata.category(char)[0] not in "ZC" for char in text)


def utf16_length(text: str) -> int:
    """Returns the length in UTF-16 units.

    Discord counts code points (discord-api-docs issue 1315), its clients UTF-16 units; these are
    never fewer, so a text within a limit by this count is within it by both.
    """
    return len(text) + sum(char > "\uffff" for char in text)


def clip(text: str, limit: int) -> str:
    """Returns `text`, cut to at most `limit` (>= 1) UTF-16 units; a cut ends in an ellipsis."""
    if utf16_length(text) <= limit:
        return text
    units = 0
    for index, char in enumerate(text):
        units += 2 if char > "\uffff" else 1
        if units > limit - 1:
            return text[:index].rstrip() + ELLIPSIS
    return text  # not reached: the text is longer than the limit


def discord_text(text: str, limit: int) -> str:
    """Returns one line for an embed, of at most `limit` UTF-16 units, that Discord shows literally.

    Markdown, mentions, masked and bare links, emoji names and line starts that mean a heading,
    quote or list are escaped. A text without anything to see becomes a dash, because Discord
    refuses empty fields.
    """
    line = single_line(text)
    if not is_visible(line):
        return EMPTY
    escaped = _DISCORD_SPECIAL.sub(r"\\\g<0>", line)
    escaped = _DISCORD_SCHEME_OR_EMOJI.sub(r"\\:", escaped)
    escaped = _DISCORD_LINE_START.sub(_escape_start, escaped)
    escaped = _DISCORD_EVERYONE.sub("@" + _MENTION_BREAK, escaped)
    return clip(escaped, limit)  # a backslash cut off from its character escapes the ellipsis


def inert(text: str) -> str:
    """Returns text for a service whose markup nobody knows: no emphasis, tag, code or mention."""
    return _AT.sub("@" + _MENTION_BREAK, text.translate(_LOOKALIKES))


def _escape_start(match: re.Match[str]) -> str:
    start = match[0]
    return f"{start}\\" if start.isdecimal() else f"\\{start}"


def masked_address(address: str) -> str:
    """Returns a mail address of which only the first letter and the domain can be read."""
    local, _, domain = address.rpartition("@")
    return f"{local[:1]}***@{domain}"
