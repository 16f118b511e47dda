"""Words of time in German, French, Spanish and Chinese, as the English ones that `times` understands."""

import re

# Whole expressions first; a longer one before those that it contains.
EXPRESSIONS: dict[str, str] = {
    "day before yesterday": r"vorgestern|avant-hier|anteayer|antes de ayer|前天",
    "last night": r"letzte nacht|gestern nacht|(?:la )?nuit dernière|cette nuit|anoche|昨晚|昨天晚上",
    "yesterday": r"gestern|hier(?= (?:soir|matin|(?:de|entre|après|avant) \d)|[?.,!]|$)|ayer|昨天|昨日",
    "this morning": r"heute (?:morgen|früh|vormittag)|ce matin|esta mañana|今天早上|今早",
    "this afternoon": r"heute nachmittag|cet après-midi|esta tarde|今天下午",
    "tonight": r"heute abend|ce soir|esta noche|今晚",
    "today": r"heute|aujourd['\u2019]hui|hoy|今天|今日",
    "last week": r"(?:in der )?(?:letzten?|vorigen?|vergangenen?) woche|la semaine (?:dernière|passée)|la semana pasada"
    r"|上个?(?:周|星期)",
    "last month": r"(?:im )?(?:letzten|vorigen|vergangenen) monat|le mois (?:dernier|passé)|el mes pasado|上个?月",
    "last year": r"(?:im )?(?:letztes|letzten|voriges|vergangenes) jahr|l['\u2019]an(?:née)? derni(?:er|ère)"
    r"|el año pasado|去年",
    "this week": r"(?:in )?dieser? woche|cette semaine|esta semana|(?:本|这个?)(?:周|星期)",
    "this month": r"(?:in )?diese[nm] monat|ce mois(?:-ci)?|este mes|(?:本|这个?)月",
    "this year": r"dieses jahr|cette année|este año|今年",
    "last \\g<n1>": r"(?:in den |den |der )?(?:letzten|vergangenen) (?<!\d)(?P<n1>\d{1,4})",
    "last \\g<n2>": r"(?:pendant |dans |ces |les )?(?:(?:derni[eè]re?s|passée?s) (?<!\d)(?P<n2>\d{1,4}))",
    "last \\g<n3>": r"(?:[cdl]es )?(?<!\d)(?P<n3>\d{1,4}) derni[eè]re?s",
    "last \\g<n4>": r"(?:en )?l[ao]s últim[oa]s (?<!\d)(?P<n4>\d{1,4})",
    "last \\g<n5>": r"(?:最近|过去)的? ?(?<!\d)(?P<n5>\d{1,4}) ?个?",
    "ago \\g<n6>": r"(?:vor|il y a|hace) (?<!\d)(?P<n6>\d{1,4})",
    "before": r"vor dem|bis zum|avant(?: le)?|jusqu['\u2019]au|antes del?",
    "since": r"seit(?: dem)?|depuis(?: le)?|desde(?: el)?|自从?",
    "monday": r"montags?|lundi|lunes|(?:周|星期)一",
    "tuesday": r"dienstags?|mardi|martes|(?:周|星期)二",
    "wednesday": r"mittwochs?|mercredi|mi[eé]rcoles|(?:周|星期)三",
    "thursday": r"donnerstags?|jeudi|jueves|(?:周|星期)四",
    "friday": r"freitags?|vendredi|viernes|(?:周|星期)五",
    "saturday": r"samstags?|sonnabends?|samedi|s[aá]bado|(?:周|星期)六",
    "sunday": r"sonntags?|dimanche|domingo|(?:周|星期)[日天]",
    "january": r"januar|jänner|janvier|enero",
    "february": r"februar|f[eé]vrier|febrero",
    "march": r"märz|mars(?= \d|$|[?.,])|marzo",
    "april": r"avril|abril",
    "may": r"mai|mayo",
    "june": r"juni|juin|junio",
    "july": r"juli|juillet|julio",
    "august": r"ao[uû]t|agosto",
    "september": r"septembre|septiembre",
    "october": r"oktober|octobre|octubre",
    "november": r"novembre|noviembre",
    "december": r"dezember|d[eé]cembre|diciembre",
    "minutes": r"minuten|minutos?|分钟",
    "hours": r"stunden?|heures?|horas?|小时",
    "days": r"tagen?|tage|jours?|d[ií]as?|天",
    "weeks": r"wochen?|semaines?|semanas?|周|星期",
    "months": r"monaten?|monate|mois|meses|个月",
    "years": r"jahren?|jahre|années?|ans|años?",
}


def _pattern(words: str) -> "re.Pattern[str]":
    """Whole words, where there are spaces between words."""
    edge = r"(?<![^\W\d_\u4e00-\u9fff]){}(?![^\W\d_\u4e00-\u9fff])"
    return re.compile(edge.format(f"(?:{words})"), re.IGNORECASE)


_PATTERNS = tuple(map(_pattern, EXPRESSIONS.values()))


def to_english_times(question: str) -> str:
    """The question with its words of time in English; all else stays, but for the spaces between words."""
    for pattern, english in zip(_PATTERNS, EXPRESSIONS, strict=True):
        question = pattern.sub(f" {english} ", question)
    return " ".join(question.split())
