"""Words of captions, in scripts that part them by spaces and in Chinese, which does not.

A caption becomes stretches of words: nothing that reaches over a comma, a bracket or an emoji is a phrase. Hyphens,
dots and apostrophes inside a word belong to it ("t-shirt"). Chinese is cut by jieba's dictionary, without its guesses
at unknown words: those come as single characters, and the statistics of `kg.mining` join them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache

from kg.errors import BadSetting
from kg.records import normalise
from kg.scripts import MARKS, unspaced

__all__ = ["STOP_WORDS", "join", "meaningful", "stretches"]

# Words of every kind of text, which start or end no phrase and are none by themselves.
_STOP = """
    a about above after all also am an and any are as at be because been before being below between both but by can
    could did do does doing down during each either else ever every few for from further get gets had has have having
    he her here hers him his how i if in into is it its itself just let like made make makes many may me might more
    most much must my neither no nor not now of off on once one only onto or other our ours out over own per same she
    should so some such than that the their theirs them then there these they this those through to too under until up
    upon us use used using very via was we were what when where which while who whom whose why will with within
    without would you your yours x w new set pack pcs piece pieces
    的 了 和 与 及 或 在 是 有 为 于 对 从 到 被 把 让 给 等 之 其 这 那 个 们 也 都 就 而 且 但 不 没 无 很 更 最
    我 你 您 他 她 它 我们 你们 他们 可 可以 能 会 要 用 款 件 套 只 支 瓶 片 盒 装 组 份 包 送 号 新 大 小
    正品 包邮 官方 旗舰店 专柜 代购 专用 同款 热卖 现货 新款
    新版 免税 套装 件套 两件套 三件套 四件套 五件套 全套 套盒 礼盒
"""
STOP_WORDS = frozenset(_STOP.split())
_HAN = "\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_UNSPACED = f"{_HAN}\u0e00-\u0eff\u2e80-\u33ff\uac00-\ud7af"  # as kg.scripts has them
_LETTERS = rf"(?:[^\W_{_UNSPACED}][{MARKS}]*)+"
# A word of a script with spaces, a run of Chinese, or one letter of another script.
_WORD = re.compile(rf"{_LETTERS}(?:['’.&+\-]{_LETTERS})*|(?P<han>[{_HAN}]+)|[^\W_][{MARKS}]*")
_MEASURE = re.compile(r"\d+(?:[-.x*+]\d+)*[a-z]{0,4}(?:[-.x*+]\d+[a-z]{0,4})*")


def stretches(caption: str) -> list[list[str]]:
    """Words in their order, normalised; phrases lie inside one stretch.

    Raises:
        BadSetting: Chinese, and jieba is not installed.
    """
    text = normalise(caption)
    found: list[list[str]] = []
    end = 0
    for match in _WORD.finditer(text):
        words = list(_cutter()(match.group())) if match["han"] else [match.group()]
        gap = text[end : match.start()] if found else None
        for word in words:
            if gap is None or not _together(found[-1][-1] if found else "", gap, word):
                found.append([word])
            else:
                found[-1].append(word)
            gap = ""
        end = match.end()
    return found


def _together(left: str, gap: str, right: str) -> bool:
    """White space joins words of spaced scripts; beside a script without spaces it parts, and so does the change from
    one to the other ("AHC黄金"), but for a single letter ("T恤")."""
    if unspaced(left[-1]) != unspaced(right[0]):
        return gap == "" and len(left) == 1 and left.isascii()
    return gap == ("" if unspaced(left[-1]) else " ")


def join(words: Iterable[str]) -> str:
    """Words as they stand in a normalised caption: a space between them where their script parts words."""
    text = ""
    for word in words:
        text += f" {word}" if text and not unspaced(text[-1]) and not unspaced(word[0]) else word
    return text


def meaningful(word: str) -> bool:
    """Neither a stop word nor a number nor a measure ("50ml")."""
    return word not in STOP_WORDS and any(map(str.isalpha, word)) and not _MEASURE.fullmatch(word)


@cache
def _cutter() -> Callable[[str], Iterable[str]]:
    try:
        import jieba  # only where Chinese is read: its dictionary takes a second and 150 MB
    except ImportError as error:
        raise BadSetting(
            "captions are Chinese and jieba, which finds their words, is not installed",
            hint='pip install "skugraph[chinese]"',
        ) from error
    jieba.setLogLevel("WARNING")
    return lambda text: jieba.cut(text, HMM=False)
