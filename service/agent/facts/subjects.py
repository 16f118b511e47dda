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
_PATTERNS = tuple(
    re.compile(rf"(?<![^\W\u4e00-\u9fff])(?:{words})(?![^\W\u4e00-\u9fff])", re.IGNORECASE)
    for words in TABLE_WORDS.values()
)
_SOURCE_VIDEOS = re.compile("source videos?", re.IGNORECASE)
_MAKES = re.compile(
    r"\b(?:make|create|generate|produce|build|prepare|want|need|give me|watch|mach|erstell|rendere|crée|fais|génère|haz"
    r"|crea|genera)\w{0,9}\b|制作|生成",
    re.IGNORECASE,
)
_VIDEOS = re.compile(r"video|movie|film|clip|time-?lapse|vidéo|vídeo|视频", re.IGNORECASE)
_RENDER_THIS = re.compile(r"\W{0,9}(?:(?:please|can you|could you) ){0,3}render\b|渲染", re.IGNORECASE)


def asks_for_video(question: str) -> bool:
    """Whether words of the question may ask for a video to be made."""
    verb = _MAKES.search(question)
    return bool(_RENDER_THIS.match(question) or (verb and _VIDEOS.search(question, verb.end())))


def guess_table(question: str) -> str | None:
    """None if words of no table or of several are in the question, or if it may ask for a video."""
    if asks_for_video(question):
        return None
    named = [table for table, pattern in zip(TABLE_WORDS, _PATTERNS, strict=True) if pattern.search(question)]
    if "sources" in named and _SOURCE_VIDEOS.search(question):
        named = [table for table in named if table != "renders"]
    return named[0] if len(named) == 1 else None
