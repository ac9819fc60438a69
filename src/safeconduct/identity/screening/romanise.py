"""Names of every script in Latin letters, and which of those letters can be trusted.

Letters are read by `anyascii` (a table of all of Unicode); here is what a table of letters cannot know: the Arabic article
and compounds, family names of Chinese and Korean and how the two Koreas, Hong Kong and Taiwan write them, Thai vowels that
are written before the consonant they follow. Where a script writes no vowels the Latin form is a skeleton, and says so.
"""

from __future__ import annotations

import re
from typing import Final

from safeconduct.identity.screening.folding import Script, main_script

# Stands between letters read one by one, so that "t" and "s" are not taken for one sound.
BETWEEN: Final = "|"
# Scripts that leave most vowels out: only the consonants of what is read can be compared.
CONSONANTAL: Final = frozenset({Script.ARABIC, Script.HEBREW})

_ARABIC_VARIANTS: Final = str.maketrans(
    {
        "أ": "ا", "إ": "ا", "آ": "ا", "ٱ": "ا", "ى": "ي", "ی": "ي", "ې": "ي", "ے": "ي", "ئ": "ي", "ؤ": "و", "ک": "ك", "ڪ": "ك",
        "ہ": "ه", "ھ": "ه", "ۀ": "ه", "ة": "ه", "ۃ": "ه", "ګ": "گ", "ټ": "ت", "ٹ": "ت", "ډ": "د", "ڈ": "د", "ړ": "ر", "ڑ": "ر",
        "ښ": "ش", "ږ": "ژ", "ځ": "ز", "څ": "س", "ڼ": "ن", "ں": "ن", "ۇ": "و", "ۆ": "و", "ۋ": "و", "ـ": "", "ء": "",
    }
)  # fmt: skip
_ARABIC_MARKS: Final = re.compile("[\u064b-\u065f\u0670\u06d6-\u06ed\u0610-\u061a]")
_HEBREW_MARKS: Final = re.compile("[\u0591-\u05c7]")
# What is written together in Arabic script and apart in Latin: servant of, father of; the name of God stays whole.
_ARABIC_SERVANT: Final = re.compile(r"^عبدال(?!له$)(?=.{2})")
_ARABIC_LETTERS: Final = {
    "ا": "a", "ب": "b", "پ": "p", "ت": "t", "ث": "th", "ج": "j", "چ": "ch", "ح": "h", "خ": "kh", "د": "d", "ذ": "dh", "ر": "r",
    "ز": "z", "ژ": "zh", "س": "s", "ش": "sh", "ص": "s", "ض": "d", "ط": "t", "ظ": "z", "ع": "a", "غ": "gh", "ف": "f", "ڤ": "v",
    "ق": "q", "ك": "k", "گ": "g", "ل": "l", "م": "m", "ن": "n", "ه": "h", "و": "u", "ي": "i",
}  # fmt: skip
# The emphatic and interdental letters, which Arabic, Persian and Urdu speakers say differently: "Fadl" and "Fazl".
_ARABIC_EASTERN: Final = _ARABIC_LETTERS | {"ض": "z", "ذ": "z", "ظ": "d", "ث": "s"}
_ARABIC_WORDS: Final[dict[str, tuple[str, ...]]] = {
    "عبد": ("abdul",), "ال": (), "بن": ("bin",), "ابن": ("bin",), "ولد": ("ould",), "الله": ("allah",), "الدين": ("din",), "عبدالله": ("abdullah",),
    "محمد": ("muhammad",), "احمد": ("ahmad",), "علي": ("ali",), "ابو": ("abu",), "و": (), "بنت": ("bint",), "ام": ("umm",), "خان": ("khan",),
}  # fmt: skip
_ARABIC_DISPUTED: Final = frozenset("ضذظث")
_HEBREW_LETTERS: Final = {
    "א": "a", "ב": "b", "ג": "g", "ד": "d", "ה": "h", "ו": "u", "ז": "z", "ח": "h", "ט": "t", "י": "i", "כ": "k", "ך": "k",
    "ל": "l", "מ": "m", "ם": "m", "נ": "n", "ן": "n", "ס": "s", "ע": "a", "פ": "p", "ף": "f", "צ": "ts", "ץ": "ts", "ק": "k",
    "ר": "r", "ש": "sh", "ת": "t",
}  # fmt: skip

# Family names of two characters, and family names that are read otherwise than the character usually is.
COMPOUND_FAMILIES: Final = frozenset(
    [
        "欧阳",
        "歐陽",
        "司马",
        "司馬",
        "上官",
        "诸葛",
        "諸葛",
        "东方",
        "東方",
        "皇甫",
        "尉迟",
        "尉遲",
        "公孙",
        "公孫",
        "令狐",
        "慕容",
        "司徒",
        "夏侯",
        "端木",
        "独孤",
        "獨孤",
        "南宫",
        "南宮",
        "西门",
        "西門",
        "남궁",
        "황보",
        "제갈",
        "사공",
        "선우",
        "서문",
        "독고",
    ]
)
_FAMILY_READINGS: Final = {
    "单": "shan", "單": "shan", "曾": "zeng", "仇": "qiu", "解": "xie", "查": "zha", "朴": "piao", "翟": "zhai", "缪": "miao", "繆": "miao",
    "区": "ou", "區": "ou", "任": "ren", "盖": "ge", "覃": "qin", "乐": "yue", "樂": "yue", "宓": "mi", "尉": "wei", "员": "yun", "瞿": "qu",
    "冼": "xian", "谌": "chen", "折": "she", "种": "chong", "繁": "po", "黑": "he", "长": "zhang", "沈": "shen", "葉": "ye", "叶": "ye",
    "吕": "lu", "呂": "lu", "石": "shi", "洗": "xian", "哈": "ha", "令": "ling", "隗": "wei", "撒": "sa", "重": "chong",
}  # fmt: skip
# As Hong Kong and Cantonese speakers write a family name; the official pinyin comes first on the mainland.
_CANTONESE: Final = {
    "陈": "chan", "陳": "chan", "黄": "wong", "黃": "wong", "王": "wong", "李": "lee", "张": "cheung", "張": "cheung", "林": "lam",
    "吴": "ng", "吳": "ng", "刘": "lau", "劉": "lau", "郑": "cheng", "鄭": "cheng", "梁": "leung", "周": "chow", "何": "ho", "叶": "yip",
    "葉": "yip", "谢": "tse", "謝": "tse", "许": "hui", "許": "hui", "徐": "tsui", "曾": "tsang", "邓": "tang", "鄧": "tang", "罗": "law",
    "羅": "law", "郭": "kwok", "冯": "fung", "馮": "fung", "胡": "wu", "朱": "chu", "关": "kwan", "關": "kwan", "麦": "mak", "麥": "mak",
    "杨": "yeung", "楊": "yeung", "伍": "ng", "莫": "mok", "苏": "so", "蘇": "so", "潘": "poon", "蔡": "choi", "余": "yu", "冼": "sin",
}  # fmt: skip
_KOREAN_FAMILY: Final = {
    "김": "kim", "이": "ri", "리": "ri", "박": "pak", "최": "choe", "정": "jong", "강": "kang", "조": "cho", "윤": "yun", "장": "jang",
    "임": "rim", "림": "rim", "오": "o", "한": "han", "신": "sin", "서": "so", "권": "kwon", "황": "hwang", "안": "an", "송": "song",
    "류": "ryu", "유": "yu", "홍": "hong", "전": "jon", "고": "ko", "문": "mun", "손": "son", "양": "yang", "배": "pae", "백": "paek",
    "허": "ho", "남": "nam", "심": "sim", "노": "ro", "로": "ro", "하": "ha", "곽": "kwak", "성": "song", "차": "cha", "주": "chu",
    "우": "u", "구": "ku", "나": "ra", "라": "ra", "민": "min", "진": "jin", "지": "ji", "엄": "om", "원": "won", "천": "chon",
    "방": "pang", "공": "kong", "현": "hyon", "함": "ham", "변": "pyon", "염": "yom", "여": "ryo", "려": "ryo", "추": "chu", "도": "to",
}  # fmt: skip
# Syllables of Hangul by the arithmetic of its code points (The Unicode Standard, 3.12), in the Koreas' older spelling.
_HANGUL_FIRST: Final = (
    "k",
    "kk",
    "n",
    "t",
    "tt",
    "r",
    "m",
    "p",
    "pp",
    "s",
    "ss",
    "",
    "j",
    "jj",
    "ch",
    "k",
    "t",
    "p",
    "h",
)
_HANGUL_VOWEL: Final = (
    "a", "ae", "ya", "yae", "o", "e", "yo", "ye", "o", "wa", "wae", "oe", "yo", "u", "wo", "we", "wi", "yu", "u", "ui", "i",
)  # fmt: skip
_HANGUL_LAST: Final = (
    "", "k", "k", "k", "n", "n", "n", "t", "l", "k", "m", "l", "l", "l", "l", "l", "m", "p", "p", "t", "t", "ng", "t", "t", "k", "t",
    "p", "t",
)  # fmt: skip
_CAMEL: Final = re.compile(r"[A-Z][a-z]*")
_THAI_LEADING: Final = re.compile("([เแโใไ])([\u0e01-\u0e2e])")
_NOT_LATIN: Final = re.compile(r"[^a-z0-9]+")


def _plain(text: str) -> str:
    from anyascii import anyascii  # noqa: PLC0415 - read only when a name is not in plain ASCII

    return str(anyascii(text))


def native_form(word: str) -> str:
    """The word in its own script without what spellings of that script leave open: alef and yeh forms, vowel marks, case."""
    if word.isascii():
        return word.casefold()
    word = _ARABIC_MARKS.sub("", word).translate(_ARABIC_VARIANTS)
    return _HEBREW_MARKS.sub("", word).casefold()


def _arabic(word: str, letters: dict[str, str]) -> list[str]:
    if word in _ARABIC_WORDS:
        return list(_ARABIC_WORDS[word])
    if _ARABIC_SERVANT.match(word):
        return ["abdul", *_arabic(word[5:], letters)]
    for compound in ("ابوال", "ابو"):
        if word.startswith(compound) and len(word) > len(compound) + 2:
            return ["abu", *_arabic(word[len(compound) :], letters)]
    for ending in ("الدين", "الله"):
        if word.endswith(ending) and len(word) > len(ending) + 1 and word != "عبدالله":
            return [*_arabic(word[: -len(ending)], letters), *_ARABIC_WORDS[ending]]
    if word.startswith("ال") and len(word) > 3:
        word = word[2:]
    read = BETWEEN.join(letters[letter] for letter in word if letter in letters)
    return [read] if read else []


def _hebrew(word: str) -> list[str]:
    read = BETWEEN.join(_HEBREW_LETTERS[letter] for letter in native_form(word) if letter in _HEBREW_LETTERS)
    return [read] if read else []


def _han_syllables(word: str) -> list[str]:
    return [
        syllable.lower()
        for letter in word
        for syllable in (_CAMEL.findall(_plain(letter)) or [_plain(letter)])
    ]


def _hangul_syllable(letter: str) -> str:
    number = ord(letter) - 0xAC00
    if not 0 <= number < 11_172:
        return _plain(letter).lower()
    return _HANGUL_FIRST[number // 588] + _HANGUL_VOWEL[number % 588 // 28] + _HANGUL_LAST[number % 28]


def _family_first(word: str, read: dict[str, str], syllables: list[str]) -> list[str]:
    length = 2 if word[:2] in COMPOUND_FAMILIES and len(word) > 2 else 1
    family = read.get(word[0], syllables[0]) if length == 1 else "".join(syllables[:2])
    return [family, "".join(syllables[length:])]


def romanise(word: str, *, alone: bool, person: bool) -> tuple[list[list[str]], Script]:
    """Latin readings of one word, each a list of parts in reading order, the official one first; and the word's script.

    alone: the word is the whole name, so that a Chinese or Korean one holds family and given name. person: False for a firm,
    whose Chinese name is one chain of syllables.
    """
    script = main_script(word)
    if script is Script.ARABIC:
        plain = native_form(word)
        readings = [_arabic(plain, _ARABIC_LETTERS)]
        if set(plain) & _ARABIC_DISPUTED:
            readings.append(_arabic(plain, _ARABIC_EASTERN))
        return readings, script
    if script is Script.HEBREW:
        return [_hebrew(word)], script
    if script is Script.HAN:
        syllables = _han_syllables(word)
        if person and alone and 2 <= len(word) <= 4 and len(syllables) == len(word):
            readings = [_family_first(word, _FAMILY_READINGS, syllables)]
            if word[0] in _CANTONESE and word[:2] not in COMPOUND_FAMILIES:
                readings.append([_CANTONESE[word[0]], "".join(syllables[1:])])
            return readings, script
        if person and len(word) == 1:
            first = _FAMILY_READINGS.get(word, syllables[0])
            return [[first]] + ([[_CANTONESE[word]]] if word in _CANTONESE else []), script
        return [["".join(syllables)]], script
    if script is Script.HANGUL:
        heard = [_hangul_syllable(letter) for letter in word]
        if person and alone and 2 <= len(word) <= 4:
            return [_family_first(word, _KOREAN_FAMILY, heard)], script
        if person and len(word) == 1:
            return [[_KOREAN_FAMILY.get(word, heard[0])]], script
        return [["".join(heard)]], script
    if script is Script.THAI:
        word = _THAI_LEADING.sub(r"\2\1", word)
    read = _NOT_LATIN.sub("", _plain(word).lower())
    return [[read] if read else []], script
