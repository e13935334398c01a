"""Words of the closed classes: determiners, numerals, prepositions, pronouns and the like."""

from __future__ import annotations

from datamodules.chunkers.words import word_list

DETERMINERS = word_list("""
    a an the this these those his her its their my your our another each every some any no all both either
    several many few various numerous multiple most whose enough certain
""")
# Determiners and possessive pronouns that cannot stand for a noun.
ARTICLES = word_list("a an the its their my your our")
# Words that announce a plural.
QUANTITIES = word_list("""
    several many few various numerous multiple these those all both some two three four five six seven eight
    nine ten
""")
NUMERALS = word_list("""
    one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen twenty
    thirty forty fifty hundred thousand dozen half first second third fourth fifth
""")
PREPOSITIONS = word_list("""
    in on at with to from by for into onto over under near through across behind beside besides between among
    around against along alongside above below beneath underneath inside outside toward towards up down off
    out during before after upon within without about like past via per beyond throughout atop amid amidst
    aboard next despite except including plus than versus vs amongst unto till since
""")
PRONOUNS = word_list("""
    he she they it them him me i you we us himself herself itself themselves themself myself yourself who whom
    which what there here something anything nothing everything other's theirs hers mine ours yours others
    oneself another's it's he's she's they're that's there's
""")
# Conjunctions, interjections, and the ends of contractions.
CONNECTIVES = word_list("""
    that as while when where because if although though but nor so whilst whereas then how why whether yet not
    n't 't 're 've 'll please ok yes oh etc 'd whenever
""")
ADVERBS = word_list("""
    very too quite rather almost just still already also together apart away back again now once twice ahead
    forward forwards backward backwards sideways upward upwards downward downwards upstream downstream
    outdoors indoors nearby somewhere everywhere anywhere elsewhere home alone aloud half-way halfway midair
    mid-air upside overhead uphill downhill offstage onstage underwater ashore instead perhaps maybe even ever
    never always often sometimes soon today tonight tomorrow yesterday barefoot well hard fast high low close
    far long else asleep awake aside astride abroad alike afloat upright only extremely more less most least
    much
""")
# Auxiliary and modal verbs, and verbs that are used like them.
AUXILIARIES = word_list("""
    is are was were be been being am has have had having do does did done can could will would may might must
    shall should get gets getting got let lets seems seem appears appear cannot isn't aren't doesn't don't
    can't
""")
# After these a verb stands in its base form.
BASE_FORM_FOLLOWS = word_list("""
    to can could will would may might must shall should do does did let lets cannot don't doesn't can't please
    not
""")
