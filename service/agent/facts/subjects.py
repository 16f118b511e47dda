"""The table that a question is about, if its words name one table alone; a model decides the rest."""

import re

# English, German, French, Spanish, Chinese.
TABLE_WORDS = {
    "experiments": r"experiments?|experimente?n?|expériences?|experimentos?|实验",
    "datasets": r"datasets?|data sets?|datensätze?n?|jeux? de données|conjuntos? de datos|cameras?|数据集",
    "frames": r"frames?|images?|pictures?|photos?|bilde?r?n?|einzelbilder|imágenes|fotogramas?|图像|图片|帧",
    "renders": r"renders?|rendered|renderings?|videos?|movies?|vidéos?|vídeos?|rendus?|视频|渲染",
    "sources": r"source videos?|sources?|quellvideos?|videoquellen?|vidéos? source|源视频",
    "query_audit": r"quer(?:y|ies)|audit|abfragen?|requêtes?|consultas?|查询",
}
_PATTERNS = {
    table: re.compile(rf"(?<![^\W\u4e00-\u9fff])(?:{words})(?![^\W\u4e00-\u9fff])", re.IGNORECASE)
    for table, words in TABLE_WORDS.items()
}
_ASKS_FOR_VIDEO = re.compile(
    r"\b(?:make|create|generate|produce|build|prepare|want|need|give me|watch)\b.*"
    r"\b(?:video|movie|film|clip|time-?lapse)"
    r"|^\W*(?:please |can you |could you )*render\b|\b(?:mach|erstell|rendere)\w*\b.*\bvideo|\bvidéo à partir\b"
    r"|\b(?:crée|fais|génère)\w*\b.*\bvidéo|\b(?:haz|crea|genera)\w*\b.*\bv[ií]deo|(?:制作|生成|渲染一?个?).*视频",
    re.IGNORECASE,
)


def asks_for_video(question: str) -> bool:
    """Whether words of the question may ask for a video to be made."""
    return _ASKS_FOR_VIDEO.search(question) is not None


def guess_table(question: str) -> str | None:
    """None if words of no table or of several are in the question, or if it may ask for a video."""
    if asks_for_video(question):
        return None
    named = [table for table, pattern in _PATTERNS.items() if pattern.search(question)]
    if "sources" in named and re.search(r"source videos?", question, re.IGNORECASE):
        named = [table for table in named if table != "renders"]
    return named[0] if len(named) == 1 else None
