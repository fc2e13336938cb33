"""Messages of the program in the words of the page: no options of a command line, no libraries' own words."""

from __future__ import annotations

import re

OPTION = re.compile(r"--\w+|\bforce=|\bTrue\b")
UNREADABLE = re.compile(
    r"\[Errno|Invalid data|moov|avcodec|libav|FFmpeg|ffmpeg|av\.error|End of file|InvalidDataError|cannot identify|"
    r"UnidentifiedImage|Traceback|zlib|BadZip", re.IGNORECASE
)  # fmt: skip
HINTS = (
    (re.compile(r"give --ed and --es"), "set ED and ES by hand"),
    (re.compile(r"give --es too"), "set ES by hand too"),
    (re.compile(r"give --ed too"), "set ED by hand too"),
    (re.compile(r"--view \S+ \([^)]*\) takes it as one"), "choose the view, then measure"),
)


def say_plainly(reason: str, title: str) -> str:
    """A reason as the page says it.

    Examples:
        >>> say_plainly("a.mp4: no beat is seen; give --ed and --es", "a.mp4")
        'No beat is seen; set ED and ES by hand.'
        >>> say_plainly("a.mp4: Invalid data found when processing input: 'a.mp4'", "a.mp4")
        'This file cannot be read: it is damaged, cut off, or of another kind than its name says.'
    """
    text = reason
    for pattern, words in HINTS:
        text = pattern.sub(words, text)
    if UNREADABLE.search(text):
        return "This file cannot be read: it is damaged, cut off, or of another kind than its name says."
    text = text.replace(f"{title}: ", "").replace(title, "the file")
    kept = [part for part in text.split("; ") if not OPTION.search(part)] or ["It can't be measured"]
    words = "; ".join(kept).strip().rstrip(".")
    return words[:1].upper() + words[1:] + "."
