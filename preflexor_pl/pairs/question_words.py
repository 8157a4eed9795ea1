"""Words by which a question's reply is read: tasks, preambles, labels, mentions of a source.

English first, then a few other languages; a language that is not here is read by its question mark.
"""

import re

# "Explain how ...": what asks without a question mark. The second group needs an object, or
# "Design principles ..." would be a task.
_TASKS = (
    r"(?:explain|describe|derive|compare|discuss|analy[sz]e|evaluate|predict|justify|calculate"
    r"|compute|determine|identify|prove|assess|summari[sz]e|elucidate|elaborate|critique|contrast"
    r"|examine|interpret|quantify|demonstrate)\b",
    r"(?:design|propose|suggest|outline|formulate|develop|estimate|show|state|define|list|provide"
    r"|give|illustrate|argue|sketch|rank|construct|name|write|support|relate|model|account)\s+"
    r"(?:an?|the|how|why|what|which|that|whether|two|three|four|at least|your|one|its?|for)\b",
    r"(?:erklär|erläuter|beschreib|vergleich|begründ|diskutier|analysier|bewert|berechn|leit)\w*\s"
    r"(?:sie\b)?",
    r"(?:expliquez|décrivez|comparez|analysez|discutez|justifiez|calculez|démontrez|évaluez)\b",
    r"(?:expli(?:que|ca)|descri(?:ba|be)|compar[ae]|analice|analiza|discut[ae]|justifi(?:que|ca)"
    r"|calcul[ea]|descreva|analise|calcule|deduzca|deduzir)\b",
    r"(?:spieg(?:a|hi)|descriv[ia]|confront[ai]|discut[ia]|analizz[ai]|calcol[ai])\b",
    r"(?:объясни|опиши|сравни|выведи|обоснуй|проанализируй|обсуди|оцени|рассчитай)(?:те)?\b",
    r"(?:εξηγήστε|περιγράψτε|συγκρίνετε|αναλύστε|συζητήστε|υπολογίστε)\b",
    r"(?:اشرح|صف|قارن|فسر|فسّر|وضح|وضّح|حلل|ناقش|احسب)\b",
    r"(?:请)?(?:解释|说明|描述|比较|分析|推导|讨论|论述|阐述|评价|计算|預測|请)",
)
_TASK_ENDS = (  # where the verb comes last
    r"(?:説明|記述|比較|議論|考察|導出|計算|評価)(?:せよ|しなさい|してください|して下さい)[。.]?$",
    r"述べ(?:よ|なさい|てください)[。.]?$",
    r"(?:설명|비교|논의|서술|분석|계산)하(?:시오|세요|십시오|라)[.]?$",
    r"(?:कीजिए|करें|बताइए|समझाइए)[।.]?$",
)
_FIRST = (  # may stand before a task
    r"(?:(?:briefly|critically|quantitatively|qualitatively|please|then|next|finally|also|first"
    r"|and|in detail|bitte|por favor|s['’]il vous plaît|пожалуйста)[,\s]+)*"
)
TASK = re.compile(
    rf"^{_FIRST}(?:{'|'.join(_TASKS)})|,\s+{_FIRST}(?:{'|'.join(_TASKS[:2])})"
    rf"|{'|'.join(_TASK_ENDS)}",
    re.IGNORECASE,
)
# Belongs to a question that stands beside it, and asks nothing by itself.
SETTING = re.compile(
    r"^(?:consider|suppose|assume|imagine|given|let(?! me\b)|take|use|using|include|refer"
    r"|focus|be sure|make sure|specifically|in particular|base|(?:in )?your (?:answer|response"
    r"|explanation|discussion|reasoning)|betrachten sie|nehmen sie|considérez|supposez|considere"
    r"|suponga|рассмотрите|предположи|考虑|假设)\b",
    re.IGNORECASE,
)
_AUXILIARY = r"(?:do|does|did|is|are|was|were|can|could|would|will|should|might|must|has|have)"
_ASKS_WITH_STOP = (  # "How does silk harden.", but not "What silk does is ..."
    rf"(?i:^(?:(?:how|why)\s+{_AUXILIARY}|what\s+(?:(?:is|are)\s+the|(?:(?:role|mechanism|factor"
    r"|effect|condition|change|feature)s?\s+)?(?:do|does|did))|which\s+\w+\s+(?:do|does|did))\b"
    r"[^?]*\.$)"
)
ASKS_WITHOUT_MARK = re.compile(  # Thai ends no sentence; an Armenian mark stands within a word
    r"(?:か|かな|のか)。?$|[吗呢]。?$|(?:ไหม|หรือไม่|อย่างไร|อะไร|ทำไม|เพราะเหตุใด)|\u055e"
    rf"|{_ASKS_WITH_STOP}"
)

_WORD_FOR_QUESTION = (
    r"(?:\b(?:question|prompt|frage|pregunta|pergunta|domanda|вопрос|ερώτηση|سؤال)s?\b"
    r"|问题|問題|質問|질문|سؤال|प्रश्न|คำถาม)"
)
_INTERJECTIONS = (
    r"(?:sure|certainly|of course|absolutely|great|good|okay|ok|alright|yes|hello|hi|gerne?"
    r"|natürlich|bien sûr|certainement|claro|por supuesto|certo|конечно|βεβαίως|φυσικά|بالتأكيد"
    r"|بالطبع|当然(?:可以)?|好的|もちろん(?:です)?|はい|물론(?:입니다|이죠)?)"
)
PREAMBLES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"\s*{_INTERJECTIONS}(?: thing| question| here you go)?\s*[!,.:;！，。、：—–-]+\s*",
        r"\s*(?:here(?:['’]s| is| are)|below (?:is|are))\b[^?:：\n]{0,120}?"
        r"(?:[:：]|\.(?:\s|$)|$)\s*",
        rf"[^?？؟\n:：]{{0,160}}{_WORD_FOR_QUESTION}[^?？؟\n:：]{{0,80}}[:：]\s*",
        r"\s*(?:a|one)\b[^?\n\"“]{0,80}\bquestion\b[^?\n\"“]{0,60}\b(?:is|be)\s+(?=[\"“])",
        r"\s*(?:q|question)\s*:\s*",
    )
)
NUMBERED = re.compile(rf"(?:q|{_WORD_FOR_QUESTION})\s*#?\d{{1,2}}\s*[:：.)]\s*", re.IGNORECASE)
LABEL = re.compile(rf"(?:\w+ ){{0,2}}{_WORD_FOR_QUESTION}\s*#?\d{{0,2}}", re.IGNORECASE)  # alone
LABELLED = re.compile(rf"{LABEL.pattern}\s*[:：]", re.IGNORECASE)
TAG = re.compile(r"</?(?:question|q|output)>|\[/?question\]", re.IGNORECASE)
NO_QUESTION = re.compile(  # a refusal where it is not English
    r"\s*(?:(?:es )?tut mir leid|(?:leider )?(?:ich )?kann (?:ich )?(?:leider )?(?:keine|nicht)"
    r"|ich kann (?:leider )?(?:keine|nicht)|je (?:suis désolé|ne peux pas)|désolé|lo siento"
    r"|no puedo|desculpe|não posso|mi dispiace|non posso|к сожалению|извините|я не могу|抱歉|对不起"
    r"|很遗憾|我无法|申し訳|죄송|λυπάμαι|عذر[اً]|آسف|(?:could|can|would) you (?:please )?(?:provide"
    r"|share|send|paste)|please (?:provide|share|send|paste)\b)",
    re.IGNORECASE,
)
_SOURCES = (
    # English
    r"\b(?:this|that|above|given|provided)\s+(?:\w+\s+)?(?:texts?|passages?|study|studies|papers?"
    r"|articles?|excerpts?|documents?|notes?|contexts?|paragraphs?|chapters?|information)\b",
    r"\bthe\s+(?:\w+\s+)?(?:texts?|passages?|study|papers?|articles?|excerpts?|documents?|notes?"
    r"|contexts?|paragraphs?)\b(?!['’]?s? of\b)",
    r"\bthe (?:authors?|researchers?)\b",
    r"\baccording to (?:the (?:texts?|passages?|study|authors?|description|information|figures?)"
    r"|this|these|experts?|researchers?|scientists?|stud)\w*",
    r"\b(?:mentioned|described|discussed|stated|shown|listed) (?:above|below|here|in the)\b",
    # German
    r"\b(?:laut|gemäß) (?:de[mr]|dieser) (?:text|studie|artikel|autor\w*|abschnitt)",
    r"\bin (?:dieser|der vorliegenden) (?:studie|arbeit)\b|\bim (?:text|artikel|abschnitt)\b",
    # French
    r"\bselon (?:le |la |les |l['’]|cette |ce )(?:texte|passage|étude|article|auteurs?)",
    r"\bdans (?:cette|l['’]|ce) ?(?:étude|article|texte|passage)",
    r"\bd['’]après l[ea] (?:texte|passage)",
    # Spanish, Portuguese, Italian
    r"\bsegún (?:el|la|los|este) (?:texto|pasaje|estudio|artículo|autor(?:es)?)",
    r"\ben este (?:estudio|texto|artículo|pasaje)\b",
    r"\bneste (?:estudo|texto|artigo)\b",
    r"\b(?:segundo|de acordo com) (?:o|os) (?:texto|autores|estudo|artigo)",
    r"\bsecondo (?:il|lo|gli) (?:testo|brano|studio|autori|articolo)",
    r"\bin questo (?:studio|testo)\b",
    # Russian
    r"\bсогласно (?:тексту|статье|отрывку|автор\w+)|\bавтор(?:ы|ов|ами)\b",
    r"\bв (?:это[мй]|данно[мй]) (?:исследовании|тексте|статье|работе)",
    # Greek, Arabic
    r"\bσύμφωνα με (?:το|τη|την|τους) (?:κείμενο|μελέτη|συγγραφείς)|\bσε αυτή τη μελέτη",
    r"(?:وفق[اً]*|بحسب|حسب) (?:ل)?(?:النص|الدراسة)|في هذه الدراسة|المؤلف(?:ون|ين)",
    # Chinese, Japanese, Korean
    r"(?:根据|按照)(?:上述|上面|以上|本|该|所给)?(?:文章|文本|段落|文献|原文|文中)|文中|本研究|该研究|本文",
    r"この研究|著者|文章によ",
    r"본문|이 연구|저자",
)
SOURCE = re.compile("|".join(_SOURCES), re.IGNORECASE)
POINTING = re.compile(
    r"\b(?:this|these|those)\b|\bthe (?:material|product|answer|question|process|facts?)\b"
    r"(?! (?:of|by|that|through|whereby)\b)",
    re.IGNORECASE,
)
