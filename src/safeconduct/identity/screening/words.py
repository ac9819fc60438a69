"""Words of names that are not names: particles, titles, legal forms, words every second firm has; and names everybody has.

Facts, kept as own tables and part of the scorer's version. Legal forms follow ISO 20275 (entity legal forms) as far as
names of firms use them; a form's class says which forms are the same thing in another language.
"""

from __future__ import annotations

from typing import Final

# Between names: never evidence by themselves. Arabic articles and filiations, European particles.
PARTICLES: Final = frozenset(
    "al el ul ur ud ad as ash az an at ar il l bin ben ibn bint binti binte abn ould wuld walad ould oglu ogly uly kyzy kizi qizi "
    "de da do dos das del della delle di du des la le los las van von der den dem ter ten te zu zur zum av af y e i und and et "
    "of the a o na aka alias fnu lnu nee ne".split()
)
# Before or after names, in the ways lists and forms write them.
TITLES: Final = frozenset(
    "mr mrs ms miss mx sir dame lord lady dr prof professor eng engineer ing rev reverend father sister brother hon honourable "
    "honorable president prime minister general gen colonel col lieutenant lt major maj captain capt cpt commander cdr admiral adm "
    "sergeant sgt brigadier marshal chief chairman director judge ambassador senator governor king queen prince princess sheikh sheik "
    "shaikh shaykh shekh cheikh haji hajji hadji hajj hadj al-haj alhaj alhaji hafiz qari mullah mulla maulana maulawi maulvi mawlawi "
    "molla moulavi ayatollah hojatoleslam imam sayyid sayyed sayed seyyed seyed said syed emir amir sultan ustad ustaz akhund "
    "akhundzada monsieur madame mme herr frau senor senora don dona dott sig signor jr sr junior senior iii iv esq phd md prasident "
    "presidente gospodin gospozha pan pani bey bay effendi pasha agha comrade".split()
) - frozenset({"said", "amir", "sultan", "prince", "king", "major", "pan", "bay", "agha", "lord", "bey", "akhund", "haji"})
# Honorifics that are also names: they count, but little.
HONORIFICS: Final = frozenset(
    "said amir sultan prince king agha akhund haji hajji khan mullah bey begum bibi mohammad muhammad mohammed mohamed md".split()
)
# Never alone: "servant of", "father of", "mother of".
PREFIXES: Final = frozenset({"abdul", "allah", "din", "abu", "abou", "abo", "umm", "um", "oum", "mac", "mc", "san", "saint", "st"})

LEGAL_CLASS_NAMES: Final = ("limited", "stock", "partnership", "nonprofit", "state", "cooperative")
_LEGAL: Final = {
    "limited": (
        "llc|l l c|ltd|limited|limited liability company|limited liability partnership|limited liability co|co ltd|co limited|"
        "company limited|company ltd|private limited|pvt ltd|pvt limited|pte ltd|pte limited|pty ltd|pty limited|pte|pty|pvt|"
        "gmbh|g m b h|gesellschaft mit beschrankter haftung|mbh|ug|haftungsbeschrankt|ooo|o o o|obshchestvo s ogranichennoy otvetstvennostyu|"
        "obschestvo s ogranichennoi otvetstvennostyu|tov|tzov|tovarystvo z obmezhenoyu vidpovidalnistyu|too|tdo|"
        "sarl|s a r l|s a r l u|sarlu|societe a responsabilite limitee|eurl|sprl|bvba|srl|s r l|societatea cu raspundere limitata|"
        "societa a responsabilita limitata|sociedad de responsabilidad limitada|sociedad limitada|s l|sl|slu|s de r l|s de rl|s de r l de c v|"
        "ltda|limitada|lda|b v|bv|besloten vennootschap|sp z o o|sp zoo|spzoo|spolka z ograniczona odpowiedzialnoscia|spolka z o o|"
        "d o o|doo|drustvo s ogranicenom odgovornoscu|dooel|ood|eood|o o d|kft|korlatolt felelossegu tarsasag|s r o|sro|spol s r o|"
        "oy|osakeyhtio|ab|aktiebolag|aps|anpartsselskab|as|a s u|uab|sia|ou|osauhing|llp|wll|w l l|fze|fz e|fzco|fz llc|fzc|dmcc|"
        "limited sirketi|ltd sti|limited sti|sti|ltd st|sdn bhd|sdn|bhd|berhad|sendirian berhad|mchj|yueks|gk|godo kaisha|yugen kaisha|"
        "yugen gaisha|youxian gongsi|youxiangongsi|youxianzerengongsi|ltd co|co ltda|cia ltda|ehf|mmc|mmm|shpk|sh p k|xk|d d o|aat"
    ),
    "stock": (
        "ag|a g|aktiengesellschaft|akg|aktien gesellschaft|se|societas europaea|plc|p l c|public limited company|public company limited|"
        "inc|incorporated|incorp|corp|corporation|co|company|compagnie|compania|companhia|cie|jsc|j s c|joint stock company|joint stock co|"
        "open joint stock company|closed joint stock company|public joint stock company|private joint stock company|ojsc|cjsc|pjsc|psc|"
        "oao|o a o|zao|z a o|pao|p a o|ao|a o|otkrytoe aktsionernoe obshchestvo|otkrytoye aktsionernoye obshchestvo|"
        "zakrytoe aktsionernoe obshchestvo|aktsionernoe obshchestvo|aktsionernoye obshchestvo|publichnoe aktsionernoe obshchestvo|"
        "publichnoye aktsionernoye obshchestvo|vat|prat|pat|zat|dat|s a|sa|s a s|sas|sasu|societe anonyme|sociedad anonima|sociedade anonima|"
        "s a de c v|sa de cv|sab de cv|de c v|c v|s p a|spa|societa per azioni|n v|nv|naamloze vennootschap|a s|oyj|asa|abp|a d|ad|ead|"
        "a b|publ|as publ|anonim sirketi|anonim sirket|a s anonim|pt|p t|tbk|perseroan terbatas|kk|k k|kabushiki kaisha|kabushiki gaisha|"
        "gufen youxian gongsi|gufenyouxiangongsi|jt stk co|nyrt|zrt|rt|d d|dd|akcionarsko drustvo|s a l|sal|s a e|sae|s a o g|saog|sh a|"
        "n a|na|national association|s p k|kgaa|saoc|bsc|b s c|ksc|k s c|qsc|q s c|kscc|pcl|hf|a e|chusik hoesa|jusik hoesa"
    ),
    "partnership": "lp|l p|limited partnership|kg|k g|kommanditgesellschaft|gmbh co kg|gmbh and co kg|ohg|gbr|snc|s n c|s c s|scs|c v b a|ky|"
    "k s|v o f|vof|general partnership|gp|lllp|s e n c|sp k|sp j",
    "nonprofit": "ano|a n o|foundation e v|e v|ev|eingetragener verein|stiftung|vzw|asbl|avtonomnaya nekommercheskaya organizatsiya|npo|ngo|"
    "nekommercheskoe partnerstvo|gemeinnutzige gmbh|ggmbh",
    "state": "fgup|federal state unitary enterprise|fsue|gup|state unitary enterprise|federalnoe gosudarstvennoe unitarnoe predpriyatie|mup|"
    "gp state enterprise",
    "cooperative": "co op|coop|cooperative|genossenschaft|eg|e g|scop|scrl|cvba|kooperativ",
}  # fmt: skip
# Every legal form as its words, and its class; longer forms first, so that "co ltd" is not read as "co".
LEGAL_FORMS: Final[dict[tuple[str, ...], str]] = {
    tuple(form.split()): name for name, forms in _LEGAL.items() for form in forms.split("|")
}
LONGEST_FORM: Final = max(len(form) for form in LEGAL_FORMS)
# Forms that are also words or initials of names: only taken for a form at the end of a name (or, for PT, at its start).
SHY_FORMS: Final = frozenset(
    "as sa se ad na ag co dd pt kk ky rt ab ao eg ou oy sl sia gp kg xk spa pat dat vat gk ug ev sti tov too aat hf scs company pte nv bv lp sal".split()
)

# Words that many firms share; the value is how much such a word still says (a distinctive word says 1).
GENERIC: Final[dict[str, float]] = dict.fromkeys(
    "group groupe gruppe gruppa holding holdings international company companies enterprise enterprises general trading trade commercial "
    "industry industries industrial services service solutions systems system technology technologies tech management development investment "
    "investments capital partners fund trust finance financial global worldwide national state corporation establishment est agency office "
    "organization organisation association society institute institution center centre committee foundation department ministry "
    "union federation bureau division branch import export consulting logistics shipping marine maritime transport transportation "
    "engineering construction manufacturing production products equipment electronics energy petroleum oil gas chemical chemicals mining "
    "steel metal metals textile foods food agriculture agricultural medical pharmaceutical insurance bank banking banco banque real "
    "estate properties property security securities aviation airlines airways air exchange money business network communications "
    "telecom media press charity relief humanitarian welfare research laboratory university school college academy plant factory "
    "works mill zavod kombinat firma obshchestvo organizatsiya tsentr public private joint stock united first new".split(),
    0.5,
)  # fmt: skip
STOP: Final = frozenset("the of and for in on at to a an de la le les des du und et y e der die das di del dla pour para von".split())

# Short forms of words.
ABBREVIATIONS: Final[dict[str, str]] = {
    "intl": "international", "int": "international", "natl": "national", "mfg": "manufacturing", "assn": "association", "assoc": "association",
    "govt": "government", "dept": "department", "univ": "university", "org": "organization", "organisation": "organization", "ind": "industries",
    "inds": "industries", "eng": "engineering", "engg": "engineering", "tech": "technology", "mgmt": "management", "svc": "services", "svcs": "services",
    "ctr": "center", "centre": "center", "bros": "brothers", "est": "establishment", "gen": "general", "labour": "labor", "defence": "defense",
    "usa": "us", "grp": "group", "hldgs": "holdings", "hldg": "holding", "bk": "bank", "inst": "institute", "co-operation": "cooperation",
    "railroad": "railway", "intnl": "international", "techs": "technologies", "dev": "development", "transp": "transport",
}  # fmt: skip
_UNITS: Final = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
_TENS: Final = {"twenty": 20, "thirty": 30, "forty": 40, "fourty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90}
_ORDINALS: Final = "zeroth first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth".split()
NUMBERS: Final[dict[str, int]] = {
    **{word: value for value, word in enumerate(_UNITS)},
    **_TENS,
    **{word: value for value, word in enumerate(_ORDINALS)},
}
ROMAN: Final[dict[str, int]] = {
    "ii": 2, "iii": 3, "iv": 4, "vi": 6, "vii": 7, "viii": 8, "ix": 9, "xi": 11, "xii": 12, "xiii": 13, "xiv": 14, "xv": 15, "xvi": 16, "xx": 20,
}  # fmt: skip
# Names of countries, their adjectives' stems and big cities: what tells a bank's daughters apart.
PLACES: Final = frozenset(
    "afghanistan albania algeria america american argentina armenia asia atlanta australia austria azerbaijan bahrain bangladesh beijing "
    "belarus belgium bolivia boston brazil brasil britain british bulgaria cambodia canada chad chicago chile china chinese cleveland "
    "colombia congo croatia cuba cyprus dallas damascus denmark deutschland dubai ecuador egypt england eritrea estonia ethiopia europe "
    "european finland france french germany german ghana greece guatemala guinea haiti hong kong hungary iceland india indian indonesia iran "
    "iranian iraq iraqi ireland islamabad israel istanbul italy italia japan japanese jordan kabul karachi kazakhstan kenya korea korean kuwait "
    "kyrgyzstan laos latvia lebanon liberia libya libyan lithuania london luxembourg macau malaysia mali malta mexico moldova monaco mongolia "
    "morocco moscow myanmar nederland nepal netherlands nicaragua nigeria norge north norway oman pakistan palestine panama paris peru "
    "philippines phoenix poland portugal pyongyang qatar romania rossiya russia russian rwanda saudi schweiz senegal serbia shanghai "
    "singapore slovakia slovenia somalia south spain sudan suisse sweden swiss switzerland syria syrian taiwan tajikistan tanzania tehran "
    "thailand tokyo tunisia turkey turkish turkmenistan uganda uk ukraine ukrainian uruguay us uzbekistan venezuela vietnam yemen zambia "
    "zimbabwe york angeles bend west east central".split()
)

# Diminutives that official papers do not show, and other words for the same name.
_SAME: Final = (
    "alexander aleksandr alex sasha alejandro iskander|theodore ted teddy theo|william bill billy will willy|robert bob bobby rob|"
    "richard dick rick|michael mike mikhail mikhael miguel|vladimir volodymyr vladimer vova volodya|dmitry dmitri dima dmytro|"
    "nicholas nikolai nikolay nick mykola nicolas nicola|john ivan johannes juan giovanni jean jan johan hans|joseph iosif josef jose yusuf youssef|"
    "george georgy giorgi georgiy jorge yuri yury yuriy|charles karl carl carlos chuck|peter pyotr petr pedro pierre pavlo|"
    "andrew andrei andrey andriy andrej|paul pavel pablo paulo|sergey sergei serhii serhiy sergio|eugene yevgeny evgeny evgenii yevhen|"
    "anthony tony antonio anton|thomas tom tommy|james jim jimmy jaime|daniel dan danny|samuel sam|benjamin ben benny bibi binyamin|"
    "edward ed eddie|elizabeth liz beth elisabeth yelizaveta|catherine kate katherine ekaterina yekaterina|margaret maggie meg|"
    "barack barry|christopher chris|matthew matt|gregory greg grigory grigori|steven steve stephen stefan|leo lev leon|"
    "ri li lee yi rhee|pak park bak|choe choi|jong jung chung jeong|kim gim|rim lim|ryu yoo yu|hyong hyung|yong young|chol chul cheol|son sun|"
    "muhammad mohammed mohammad mohamed muhammed mohamad md muhamad mohd mohamud mahamed maxamed|ahmad ahmed axmed|abdullah abdallah abdalla|"
    "osama usama|omar umar|usman othman osman uthman|hussein husain husayn hossein hussain|youssef yusuf yousef joseph|gaddafi qadhafi kadhafi"
)  # fmt: skip
SAME_NAME: Final[dict[str, frozenset[int]]] = {}
for _number, _group in enumerate(_SAME.split("|")):
    for _word in _group.split():
        SAME_NAME[_word] = SAME_NAME.get(_word, frozenset()) | {_number}

# Names so common that sharing one says little: given and family names of the most populous naming traditions.
COMMON: Final = frozenset(
    "muhammad mohammed mohammad mohamed muhammed mohamad ahmad ahmed ali hassan hasan hussein husain husayn hossein hussain ibrahim abdullah "
    "abdallah abdul omar umar osman usman mahmud mahmoud mahmood mustafa mostafa yusuf youssef khalid saleh salih said saeed karim "
    "rahman aziz khan shah hamid hameed rashid nasser jamal kamal malik abbas reza mehdi mahdi akbar hashem musa isa daud ismail "
    "maria jose juan carlos luis garcia rodriguez martinez lopez hernandez gonzalez perez sanchez ramirez torres flores gomez diaz "
    "antonio manuel pedro miguel francisco fernandez cruz morales silva santos souza oliveira pereira costa joao ana paulo "
    "john james robert michael william david richard joseph thomas charles daniel george paul mark mary smith johnson williams brown "
    "jones davis miller wilson taylor anderson lee kim park choi jung jong yong chol ri pak li wang zhang liu chen yang huang zhao wu "
    "zhou xu sun ma zhu hu guo he lin luo gao nguyen tran le pham wei ming hui ping jun jing hong hua ying mei yu jin "
    "ivan ivanov ivanova petrov aleksandr alexander sergey sergei vladimir dmitry andrei andrey nikolai mikhail igor oleg anna elena "
    "olga natalia tatiana jean pierre michel singh kumar sharma patel gupta das begum kaur ram raj devi fatima aisha".split()
)
