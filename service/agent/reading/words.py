"""What words mean for each table, in English, German, French, Spanish and Chinese."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple


class Meaning(NamedTuple):
    """A condition on a column."""

    column: str
    op: str
    value: Any


COUNT = r"how many|count(?:ed)?|(?:the )?number of|wie viele|combien d(?:e |['\u2019])|cu[aá]nt[oa]s|有?多少"
NOT = r"(?:not|nicht|pas|no|un)"
MINE = r"(?:of )?(?:my|mine|meine?r?|mes|mis|我的)|(?:that )?(?:do )?i (?:have|own)|have i"
# Values of enumerated columns, and flags. A word may mean something else for another table.
MEANINGS: Mapping[str, tuple[tuple[str, Meaning], ...]] = {
    "renders": (
        (
            r"(?:ha(?:ve|s) )?failed|fehlgeschlagen\w*|gescheitert\w*|(?:ont )?échoué\w*|fallaron|fallid[oa]s?"
            r"|失败了?",
            Meaning("status", "eq", "failed"),
        ),
        (
            r"running|(?:being|gerade) made|laufen(?:de?)?|en cours|en curso|正在运行",
            Meaning("status", "eq", "running"),
        ),
        (r"queued|waiting|wartende?n?|en attente|en espera|排队", Meaning("status", "eq", "queued")),
        (r"cancell?ed|abgebrochene?n?|annulés?|cancelad[oa]s|取消", Meaning("status", "eq", "cancelled")),
        (r"succeeded|successful|erfolgreiche?n?|réussis?|exitos[oa]s|成功", Meaning("status", "eq", "succeeded")),
    ),
    "datasets": (
        (r"(?:still )?(?:being scanned|scanning)|en cours d['\u2019]analyse|扫描", Meaning("state", "eq", "scanning")),
        (
            r"(?:ha(?:ve|s) )?failed|fehlgeschlagen\w*|(?:ont )?échoué\w*|fallid[oa]s?|失败",
            Meaning("state", "eq", "failed"),
        ),
        (r"empty|leere?n?|vides?|vací[oa]s?", Meaning("state", "eq", "empty")),
        (r"ready|bereit|prêts?|(?:están )?list[oa]s|就绪", Meaning("state", "eq", "ready")),
        (r"with unreadable frames|ha(?:ve|s) unreadable frames", Meaning("unreadable_frames", "gt", 0)),
    ),
    "experiments": (
        (r"public|öffentliche?n?|publi(?:c|que)s?|públic[oa]s|公开的?", Meaning("visibility", "eq", "public")),
        (r"private?n?|privée?s?|privad[oa]s|私有的?", Meaning("visibility", "eq", "private")),
        (r"shared|geteilte?n?|partagée?s?|compartid[oa]s|共享的?", Meaning("visibility", "eq", "shared")),
    ),
    "frames": (
        (
            r"(?:that )?cannot be read|unreadable|damaged|broken|(?:with|have|has) a problem"
            r"|unlesbare?n?|illisibles?|ilegibles?",
            Meaning("problem", "is_null", False),
        ),
    ),
    "sources": (),
    "query_audit": ((r"refused|abgelehnte?n?|refusée?s?", Meaning("outcome", "eq", "refused")),),
}
# By what a table is ordered, and in which direction; the column of bytes is its own.
BYTES = {"datasets": "bytes", "renders": "video_bytes", "frames": "size", "sources": "size"}
ORDERS = (
    (
        r"newest|latest|most recent|neueste[rsn]?|jüngste[rsn]?|derni[eè]re?s?|plus récente?s?|últim[oa]s?|最新的?",
        "-created_at",
    ),
    (r"oldest|earliest|first|älteste[rsn]?|plus anciene?n?e?s?|más antigu[oa]s?|最早的?", "created_at"),
    (r"largest|biggest|größte[rsn]?|plus grande?s?|más grandes?|最大的?", "-bytes"),
    (r"smallest|kleinste[rsn]?|plus petite?s?|más pequeñ[oa]s?|最小的?", "bytes"),
    (r"(?:with the )?most frames|longest", "-frame_count"),
    (r"(?:with the )?most unreadable frames", "-unreadable_frames"),
    (r"widest", "-width"),
)
GROUPS = re.compile(r"(?:by|per|of each|for each|has each|in each|nach|pro|je|par|por) (?:the )?(?P<group>[a-z]+)")
GROUP_COLUMNS = ("owner", "status", "state", "visibility", "format", "codec", "kind", "outcome", "priority")
ABOVE = (
    r"(?:more|larger|bigger|greater|wider|taller|longer) than|over|above|mehr als|größer als|über|plus de|más de|超过"
)
BELOW = r"(?:fewer|less|smaller|narrower|shorter) than|under|below|weniger als|kleiner als|unter|moins de|menos de|少于"
# Of a comparison without a unit: what the number counts.
COUNTED = {"frames": "frame_count", "unreadable frames": "unreadable_frames", "bytes": "bytes"}
# Words that say nothing by themselves.
_FILLER = """
a all an and any are asked at be been bytes can contain created did do does exist existing for from give had has have
here i in is it its list made many me named of on ones or out please show tell that the their them there these this
those to up us was were what which who whose with you your alle am angelegt das den der des die ein eine er erstellt
es gibt hat haben im mir sind und von war waren welche welchen wie worden wurden zeige créé créée créées créés d de du
elle est et été il l la le les liste moi montre ont qu que quelles quels sont sur t un une y creadas creado creados
cuales cuáles el en fueron ha han hay las los muestra qué si son una 的 了 吗 哪些 哪个 创建 创建的 有 在 是 请 列出
"""
FILLER = frozenset(_FILLER.split())
WORD = re.compile(r"[a-zà-ÿß0-9]+|[\u4e00-\u9fff]+", re.IGNORECASE)


def whole_words(expression: str) -> "re.Pattern[str]":
    """The expression where no word goes on before or after it; in Chinese there are no spaces between words."""
    return re.compile(rf"(?<![^\W_\u4e00-\u9fff])(?:{expression})(?![^\W_\u4e00-\u9fff])")
