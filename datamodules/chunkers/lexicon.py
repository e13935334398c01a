"""English words as image captions use them, and the tag of each.

One character a tag, so that a caption becomes a string and a noun phrase a regular expression (``rules.py``):

=====  =====================================================
D M    determiner or possessive pronoun; numeral
J K    adjective; adjective that can stand for a noun ("in red")
N      noun, and every word not known
S O    the token 's; the word "of"
C      and, or
P      preposition
B      adverb
V      verb beyond doubt, auxiliary, modal
X      pronoun, conjunction, interjection: never in a noun phrase
, .    comma; any other punctuation
G E    -ing form; -ed form or other participle: their neighbours decide
u U    verb rather than noun, in the -s form and in the base form: likewise
w W    noun rather than verb, in the -s form and in the base form: likewise
=====  =====================================================
"""

from __future__ import annotations

from functools import lru_cache


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


DETERMINERS = _words(
    "a an the this these those his her its their my your our another each every some any no all both either several many few various numerous"
    " multiple most whose enough certain"
)
ARTICLES = _words("a an the its their my your our")
QUANTITIES = _words(
    "several many few various numerous multiple these those all both some two three four five six seven eight nine ten"
)
NUMERALS = _words(
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen twenty thirty forty fifty hundred thousand"
    " dozen half first second third fourth fifth"
)
PREPOSITIONS = _words(
    "in on at with to from by for into onto over under near through across behind beside besides between among around against along alongside"
    " above below beneath underneath inside outside toward towards up down off out during before after upon within without about like past via per"
    " beyond throughout atop amid amidst aboard next despite except including plus than versus vs amongst unto till since"
)
PRONOUNS = _words(
    "he she they it them him me i you we us himself herself itself themselves themself myself yourself who whom which what there here something"
    " anything nothing everything other's theirs hers mine ours yours others oneself another's it's he's she's they're that's there's"
)
CONNECTIVES = _words(
    "that as while when where because if although though but nor so whilst whereas then how why whether yet not n't 't 're 've 'll please ok yes"
    " oh etc 'd whenever"
)
ADVERBS = _words(
    "very too quite rather almost just still already also together apart away back again now once twice ahead forward forwards backward backwards"
    " sideways upward upwards downward downwards upstream downstream outdoors indoors nearby somewhere everywhere anywhere elsewhere home alone"
    " aloud half-way halfway midair mid-air upside overhead uphill downhill offstage onstage underwater ashore instead perhaps maybe even ever"
    " never always often sometimes soon today tonight tomorrow yesterday barefoot well hard fast high low close far long else asleep awake aside"
    " astride abroad alike afloat upright only extremely more less most least much"
)
AUXILIARIES = _words(
    "is are was were be been being am has have had having do does did done can could will would may might must shall should get gets getting got"
    " let lets seems seem appears appear cannot isn't aren't doesn't don't can't"
)

COLOURS = _words(
    "red blue green yellow orange purple pink black white brown gray grey tan beige gold silver maroon navy turquoise teal violet khaki burgundy"
    " crimson magenta lavender fuchsia camouflage camo plaid denim blond blonde brunette redhead scarlet indigo"
)
NOMINAL_ADJECTIVES = _words(
    "male female adult elderly asian african american hispanic european indian chinese japanese mexican native caucasian oriental korean"
    " african-american teenage teen senior junior infant toddler newborn islamic muslim arab british french german italian spanish russian"
    " vietnamese thai amish tan military amateur professional individual plastic metal wood leather concrete light"
)
ADJECTIVES = _words(
    "small large big little tiny huge giant enormous massive gigantic miniature mini tall short long low high deep shallow wide narrow thick thin"
    " broad slim skinny fat chubby heavy dark bright pale dim neon fluorescent vivid pastel young old older elder new modern ancient antique"
    " vintage middle-aged aged teenaged youthful pregnant bald hairy furry fluffy fuzzy shaggy curly wavy straight bushy spiky short-haired happy"
    " sad angry serious silly funny goofy playful cheerful joyful excited lonely tired sleepy curious scared nervous calm busy bored lazy wet dry"
    " muddy dusty dirty clean messy sandy rocky snowy icy grassy leafy mossy stony hilly mountainous watery foamy murky misty foggy smoky cloudy"
    " sunny rainy windy stormy hazy clear cold hot warm cool frozen snow-covered soft hard smooth rough bumpy sharp flat round square circular"
    " oval rectangular triangular curved steep sloped vertical horizontal diagonal empty full open closed vacant abandoned crowded beautiful"
    " pretty cute gorgeous handsome ugly lovely nice good great bad pleasant attractive elegant stylish fancy casual formal traditional ethnic"
    " religious public private urban rural suburban local foreign exotic tropical wild domestic outdoor indoor aerial wooden woolen woollen golden"
    " metallic rusty shiny glossy sparkly transparent translucent opaque colorful colourful multicolored multi-colored colored coloured"
    " tri-colored striped stripy stripey spotted dotted checkered checked flowered floral patterned plain solid sleeveless shirtless topless"
    " barefooted barechested bare bare-chested naked nude headless homeless cordless endless fallen broken torn worn ripped ragged tattered loose"
    " tight baggy long-sleeved short-sleeved strapless hooded bearded mustached helmeted costumed uniformed bespectacled tattooed wooded forested"
    " carpeted paved unpaved cobbled cobblestone fenced tiled grassed armed elevated raised sunken stuffed inflatable portable mobile electric"
    " electronic electrical mechanical manual musical acoustic digital athletic sporty scenic historic historical famous popular important special"
    " different similar same identical matching unique strange odd unusual weird typical various main major minor single double triple multiple"
    " upper lower inner outer middle central left right rear next last final entire whole other such own real fake artificial natural fresh raw"
    " ripe rotten delicious tasty sweet sour spicy frosty stringy makeshift unseen unidentified unknown visible nearby distant remote far-off"
    " adjacent opposite opposing parallel surrounding neighboring upcoming oncoming incoming ongoing interesting amazing stunning dangerous safe"
    " brave strong weak powerful muscular fit healthy sick injured ill handicapped disabled blind deaf dead asleep wealthy poor rich cheap"
    " expensive free alcoholic orthodox medical industrial commercial residential agricultural educational political social cultural national"
    " international federal municipal royal holy sacred catholic christian buddhist hindu jewish nordic western eastern northern southern fellow"
    " grown grown-up unhappy quiet noisy loud silent peaceful intense extreme competitive aggressive cautious careful careless swift quick slow"
    " fast rapid sudden brief lively energetic dynamic ornate decorative intricate elaborate abstract artistic creative simple complex complicated"
    " basic rustic quaint cozy comfortable rugged barren desolate deserted lush dense sparse overgrown thorny prickly bloody gory creepy scary"
    " spooky dried sliced canned bottled lit dimly-lit unlit well-dressed well-lit overcast overweight underweight obese slender petite lean"
    " tanned fair-skinned dark-skinned light-skinned freckled oversized undersized full-size life-size medium medium-sized mid-sized average"
    " regular standard ordinary normal proper original navy-blue off-white two-story one-piece two-piece upside-down run-down worn-out knit"
    " quilted sheer lacy frilly fleece-lined beaded suspended motorized non-motorized four-wheeled two-wheeled three-wheeled wheeled snowcapped"
    " snow-capped sunlit moonlit backlit uneven grumpy gentle tame rabid stray leashed muzzled domesticated adorable soapy bubbly sticky greasy"
    " slippery creamy crunchy frothy vast spacious cramped tangled rowdy unruly drunk drunken sober dejected patriotic festive romantic intimate"
    " affectionate solitary lone tibetan greek roman irish scottish dutch swedish cuban brazilian egyptian turkish arabian israeli victorian"
    " gothic retro better best worse worst scruffy late glad"
)
_GRADED = (
    "small large big tiny huge tall short long low high deep wide narrow thick thin slim skinny fat heavy light dark bright pale young old new"
    " curly happy sad silly funny wet dry dirty clean rocky cold hot warm cool soft hard smooth rough sharp flat steep pretty cute nice strong"
    " fast slow close fancy busy"
)

# -------------------------------------------------------------------------------------------------------------------------------
# verbs
STRONG_VERBS = _words(
    "wear sit hold carry eat sing speak read write listen bring take give make put keep find lose buy enjoy enter appear become begin bend break"
    " build celebrate choose collect compete concentrate connect consist contain continue converse create demonstrate describe destroy discuss"
    " embrace emerge engage entertain examine explain explore express extend gather gesture go grow hang happen have hear hide include inspect"
    " instruct interact interview investigate join juggle kneel know lay learn lie live maneuver meet move navigate observe occupy operate"
    " overlook perform pick prepare pretend protect provide receive relax remove resemble retrieve say see sell send shake situate snuggle spread"
    " squeeze stare steer surround teach tell think throw tilt unload wade wander want welcome wield pay perch pour propel proceed attach attend"
    " admire adjust applaud arrange assemble assist attempt await blow bounce cling clutch cheer chew chop clean crouch cuddle dangle decorate"
    " depict descend devour dine dig direct dribble drag dump feature fall feed fetch fill fix flee fly gallop gaze giggle glide grasp greet grill"
    " grin grip hit hover huddle hurl ignore iron jog kiss laugh lead lean leap lick lounge lunge march munch nap paddle participate peer peek"
    " peddle pedal pet photograph play plunge poke pose pounce prance preach prop protrude pull push raise reach recline reflect rehearse remain"
    " repair rest ride roam run rush scale scatter scream scrub seat serve shout show skip slam sleep slurp smell smile smoke sniff snorkel soar"
    " socialize spin splash sprint squat stand stick straddle stretch strike stroll strum struggle stumble swallow swim swing talk taunt tend toss"
    " tote touch tow travel traverse trot try tug tumble twirl unwrap vault visit wait walk wash watch weave whisper win wrap wrestle yawn yell"
    " zoom chase climb cook dance dive draw drink drive fight follow frolic grab hike hug jump kick look mow paint attack approach arrive ascend"
    " bathe beg balance bark bask bite catch chat clap compare consume construct cut dash dip dodge drop exercise float flip fold gnaw grind help"
    " hop knit lasso lower nurse offer pass peel plow point practice press race roll sail shovel shop sift sketch ski skate slide snowboard stop"
    " surf sweep swirl tackle traipse trek turn twist type wave weld wipe chisel crawl cross doze dunk erect fling hitch hurdle kayak litter"
    " loiter meander peruse pray prune rappel rinse row scoop sew shave shear shine shoot spray squint stir strain stride strut swat sway tap"
    " taste tease tiptoe trim trudge unfold use vacuum view wag whittle wiggle windsurf yank sip stoop slouch sunbathe slice saunter love close"
    " bound adopt chuckle glare scowl frown disappear skim dismount videotape tussle advertise"
)
# Strong verbs that are plain nouns often enough for their neighbours to have a say, in the base form and the
# -s form.
VERBY = _words(
    "walk run play jump ride swim climb kick throw catch dance race slide skate surf ski dive splash drink cook cut draw work look watch stare"
    " smile laugh pose show talk chat call hug kiss touch pull push drive stop rest sleep nap stand lean fall fly leap hop flip turn roll spin"
    " twirl grab help wait chase fight follow cross travel march practice exercise stretch balance reach drop sweep wash attempt try set crawl row"
    " sail float cheer toss shoot hit strike swing serve dribble dunk pass tackle wrestle stroll jog sprint dash peek gaze sip bite lick sniff"
    " visit view press support shop hike cover display feed fold tow point perform attack approach grin stick tap tug use leave rise cascade kneel"
)
NOUNY = _words(
    "bike fish water hand face park line plant dress light fire crowd group guard picture bat bowl shower trail dust raft kayak canoe sled fence"
    " box camp bow tie sign rope drum stage board drill hammer saw rock stack pile wheel train boulder dock head back skateboard snowboard golf"
    " pitch paint land trick lift block record film pack load parade protest pump brush comb pet nurse check sport list score shovel leash mount"
    " name side step hose frame form puddle paddle ring string ramp spray shade shave smoke milk anchor ski surf guide place pocket snack snow bus"
    " house study store stream circle cycle trim toy wave wakeboard battle blast bolt mill test sample"
)
_IRREGULAR_PAST = _words(
    "sat stood wore ran ate rode held threw caught swam sang spoke took gave made kept lost bought began built went grew hung lay laid led left"
    " met sold sent shook slept spun swung taught told thought won wound drove drew drank fell flew fought hid bent brought came found forgot knew"
    " meant read rang shot sprang stuck struck swept wept wrote"
)
_IRREGULAR_PARTICIPLES = _words(
    "worn held built made taken seen shown thrown driven drawn eaten written caught hung bent spread lit strewn sewn woven known given hidden"
    " ridden parked frozen cut clad dressed surrounded covered shot tied laden blown stolen swollen"
)
ADJECTIVAL_ING = _words(
    "smiling laughing crying screaming sleeping aging surrounding opposing flowing falling setting rising crashing rushing moving flashing"
    " glowing burning blooming flowering exciting remaining leading visiting overhanging towering winding rolling crumbling breaking cooling"
    " working floating barking growling snarling dancing running swirling cascading hanging passing waiting adoring cheering charging shining"
    " gleaming budding sprawling decaying contrasting trailing melting flying protruding marching"
)
GERUND_MODIFIERS = _words(
    "swimming bathing climbing shopping fishing racing parking rowing skating dining hiking training running boxing wrestling riding cooking"
    " skiing diving vending washing sewing living bowling welding landing rocking sleeping walking waiting bouncing jumping serving cutting"
    " playing dancing hunting camping painting drinking watering sailing surfing recording driving sparring jogging fencing weaving folding"
    " digging snowboarding skateboarding biking batting hearing reading measuring mixing frying baking changing meeting dressing viewing wrapping"
    " hitting crossing sledding magnifying rolling swinging cycling golfing building wedding flying gardening"
)
GERUND_HEADS = _words(
    "bag bags suit suits trunks pool pools shoe shoes gear room rooms machine machines equipment chair chairs lot lots boat boats pole poles rod"
    " rods helmet helmets wall walls car cars net nets cap caps costume costumes cart carts mall center centre area areas board boards hall stick"
    " sticks path paths trail table tables ring rink mat mats goggles uniform uniforms outfit outfits ramp ramps bike bikes dog dogs horse horses"
    " harness garage meter meters space spaces stand stands team line lines ball bar bars alley pit range track class studio field cage cages"
    " boots clothes attire pants shorts shirt shirts gloves mask vest tank platform house castle structure fountain can glasses aid aids glass pan"
    " pot lane lanes bull stone fish slope slopes party trip vessel pads pin pins supplies utensils light lights deck pond hole competition event"
    " wire paper park parks"
)
# Heads that are rather the object of the -ing form where a subject stands before it: "a man riding horses".
GERUND_OBJECTS = _words(
    "horse horses bike bikes dog dogs ball boat boats cart carts car cars bull fish castle trail path paths ramp ramps lines line slope slopes"
    " board boards pole poles wall walls clothes can glasses field machine equipment table tables"
)
COMPOUND_ED = _words(
    "covered colored coloured haired shaped lined striped sleeved skinned filled sized clad faced eyed legged toned themed styled decorated"
    " trimmed rimmed wheeled aged patterned brimmed breasted tailed coated powered printed painted fenced checkered spotted topped headed footed"
    " dyed collared hooded studded laden soaked paved chested walled handled infested drawn capped necked lit roofed looking fashioned made soled"
    " sided bodied tiled pulled"
)

# -------------------------------------------------------------------------------------------------------------------------------
# nouns
NOUNS_IN_ING = _words(
    "building clothing wedding ceiling railing ring string king wing thing something spring earring awning evening morning sling sibling duckling"
    " icing lighting siding bling viking underling gosling blessing outing ping wring plumbing scaffolding netting bedding carving crossing"
    " clearing opening drawing painting offspring landing meeting dwelling piercing marking dressing lightning pudding seating shilling paving"
    " tubing styling flooring rigging covering frosting stuffing stocking wiring beijing boeing mooring setting gathering fencing sting zing"
    " housing feeling ending darling starling sterling flooding decking padding greeting packaging outbuilding topping feeding"
)
AMBIGUOUS_ING_NOUNS = _words(
    "painting drawing crossing meeting landing gathering fencing opening carving dressing feeding setting lighting covering"
)
NOUNS_IN_ED = _words(
    "bed sled shed seed weed breed speed red need reed steed bobsled dogsled kindred watershed moped biped infrared tumbleweed seaweed feed"
)
NOUNS_IN_LY = _words(
    "family fly butterfly jelly belly dragonfly trolley lily assembly bully rally ally monopoly gully firefly italy july supply dolly"
)
ADJECTIVES_IN_LY = _words(
    "elderly curly lovely friendly ugly early lonely silly woolly wooly hilly bubbly frilly lively chilly daily weekly orderly cuddly smelly"
)
SINGULAR_IN_S = _words(
    "glass grass dress bus class moss cross tennis gymnastics harness mattress canvas princess waitress hostess actress compass cactus circus"
    " chess bass brass press boss mess fitness lacrosse hibiscus octopus platypus walrus virus campus iris series species news gas lens kiss pass"
    " address darkness wilderness business process ross jesus christmas his its this is has was as us texas stewardess goddess thus less across"
    " toss"
)
# A trouser-like noun takes no singular: "a shorts" is an error that captions make, so the plural ending does
# not make it a verb.
PLURAL_ONLY = _words(
    "pants shorts jeans trunks glasses sunglasses goggles scissors pajamas tights clothes binoculars overalls khakis sports stairs headphones"
)
IRREGULAR_PLURALS = _words(
    "people men women children geese feet teeth mice police sheep deer cattle firemen policemen policewomen fishermen snowmen oxen workmen"
)
ANIMATE = _words(
    "man woman boy girl child kid baby toddler infant person guy lady gentleman lad teen teenager adult youth couple family group crowd team band"
    " dog puppy cat kitten horse bird duck cow bull elephant monkey animal bear player worker female male someone somebody everyone fireman"
    " policeman officer soldier chef waiter waitress bride groom mother father mom dad grandmother grandfather brother sister friend artist"
    " musician guitarist cyclist athlete gymnast tourist student skier surfer skater snowboarder skateboarder biker rider runner swimmer dancer"
    " singer performer climber hiker driver batter pitcher catcher golfer fisherman vendor doctor nurse clown model"
)

# X of "X of Y" that is no object of its own: it counts, packs, pictures or places Y.
TRANSPARENT = _words(
    "group groups crowd crowds pair pairs pile piles set sets bunch bunches lot lots couple couples row rows line lines stack stacks piece pieces"
    " number series flock flocks herd herds team band pack packs bundle heap collection variety assortment array selection handful cluster clump"
    " bouquet flight patch patches gathering mass load loads sheet slice slices strip strips chunk block blocks plenty host swarm school dozen"
    " dozens hundreds thousands majority rest kind type sort bit ton tons trio class section part portion half glass glasses cup cups mug mugs"
    " bottle bottles can cans bowl bowls plate plates bucket buckets bag bags basket baskets box boxes jar jars pitcher pitchers tray trays"
    " spoonful mouthful roll rolls bale bales loaf slab pot pots carton cartons tub crate crates picture pictures photo photos photograph image"
    " images closeup close-up view views shot shots portrait drawing painting sketch reflection side sides edge edges top tops bottom middle"
    " center centre back front end ends base corner corners midst foot surface rear outskirts body bodies sorts kinds types foreground background"
)
# Heads that name no object when they stand alone.
SETTINGS = _words(
    "front background foreground distance air midair mid-air way time day night morning afternoon evening midday dusk dawn middle midst side edge"
    " end part lot kind sort fun place action rest"
)
COMPOUNDS = frozenset(
    f"{first} {last}{plural}"
    for first, last in (
        ("teddy", "bear"), ("hot", "dog"), ("ice", "cream"), ("sea", "lion"), ("prairie", "dog"), ("polar", "bear"), ("traffic", "light"),
        ("stop", "sign"), ("fire", "hydrant"), ("parking", "meter"), ("cell", "phone"), ("baseball", "bat"), ("tennis", "racket"),
        ("computer", "mouse"), ("wine", "glass"), ("palm", "tree"), ("police", "officer"), ("construction", "worker"), ("stuffed", "animal"),
    )
    for plural in ("", "s", "es")
)  # fmt: skip
# Singular subjects that take a verb without -s as readily.
COLLECTIVES = _words("couple family group crowd team band pair class audience police")
BASE_FORM_FOLLOWS = _words(
    "to can could will would may might must shall should do does did let lets cannot don't doesn't can't please not"
)

_FIXED: dict[str, str] = {}


def _inflect(verb: str) -> tuple[str, str, str]:
    """The -s, -ing and -ed forms by the spelling rules."""
    sibilant = verb.endswith(("s", "x", "z", "ch", "sh", "o"))
    consonant_y = verb.endswith("y") and verb[-2] not in "aeiou"
    s_form = verb + "es" if sibilant else verb[:-1] + "ies" if consonant_y else verb + "s"
    if verb.endswith("ie"):
        return s_form, verb[:-2] + "ying", verb + "d"
    if verb.endswith("e") and not verb.endswith(("ee", "oe", "ye")):
        return s_form, verb[:-1] + "ing", verb + "d"
    doubled = (
        len(verb) > 2
        and verb[-1] not in "wxyaeiou"
        and verb[-2] in "aeiou"
        and verb[-3] not in "aeiou"
        and len(verb) < 6
    )
    stem = verb + verb[-1] if doubled else verb
    return (
        s_form,
        stem + "ing",
        verb[:-1] + "ied" if consonant_y else verb + "d" if verb.endswith("e") else stem + "ed",
    )


def _fill() -> None:
    """Later lines overrule earlier ones: the closed classes come last. "Wearing" is a preposition in all but
    name.
    """
    for verbs, base, s_form in ((STRONG_VERBS, "V", "V"), (VERBY, "U", "u"), (NOUNY - VERBY, "W", "w")):
        for verb in verbs:
            s, ing, ed = _inflect(verb)
            _FIXED.update({verb: base, s: s_form, ing: "G", ed: "E"})
    _FIXED.update(dict.fromkeys(_IRREGULAR_PAST, "V"))
    _FIXED.update(dict.fromkeys(_IRREGULAR_PARTICIPLES, "E"))
    _FIXED.update(
        dict.fromkeys(
            NOUNS_IN_ING
            | NOUNS_IN_ED
            | NOUNS_IN_LY
            | SINGULAR_IN_S - VERBY
            | PLURAL_ONLY
            | IRREGULAR_PLURALS,
            "N",
        )
    )
    _FIXED.update(dict.fromkeys(AMBIGUOUS_ING_NOUNS, "G"))
    for adjective in _GRADED.split():
        stem = adjective[:-1] + "i" if adjective.endswith("y") else adjective.removesuffix("e")
        doubled = (
            stem + stem[-1]
            if adjective in {"big", "fat", "wet", "hot", "thin", "slim", "sad", "flat"}
            else stem
        )
        _FIXED.update({doubled + "er": "J", doubled + "est": "J"})
    _FIXED.update(dict.fromkeys(ADVERBS, "B"))
    _FIXED.update(dict.fromkeys(ADJECTIVES, "J"))
    _FIXED.update(dict.fromkeys(COLOURS | NOMINAL_ADJECTIVES, "K"))
    _FIXED.update(dict.fromkeys(PREPOSITIONS, "P"))
    _FIXED.update(dict.fromkeys(PRONOUNS | CONNECTIVES, "X"))
    _FIXED.update(dict.fromkeys(AUXILIARIES, "V"))
    _FIXED.update(dict.fromkeys(NUMERALS, "M"))
    _FIXED.update(dict.fromkeys(DETERMINERS, "D"))
    _FIXED.update(
        {"and": "C", "or": "C", "&": "C", "of": "O", "wearing": "P", "'s": "S", "\u2019s": "S", "'": "S"}
    )


_fill()


@lru_cache(maxsize=1 << 16)
def tag(word: str) -> str:
    """Tag of one lower-case word without punctuation, before its neighbours are looked at; a word not known
    goes by its ending.
    """
    if fixed := _FIXED.get(word):
        return fixed
    if word[0].isdigit():
        return "J" if word.endswith("old") else "M"
    if "-" in word and word.endswith(
        ("ed", "ing", "-old", "-sleeve", "-hair", "-style", "-like", "-size", "clad")
    ):
        return "J"
    if word.endswith(("'s", "s'", "\u2019s", "s\u2019")):
        return "J"
    if len(word) > 4:
        if word.endswith("ly"):
            return "J" if word in ADJECTIVES_IN_LY else "B"
        if word.endswith("ing"):
            return "G"
        if word.endswith("ed"):
            return "E"
        if word.endswith(("ful", "less", "ous", "able", "ible", "ish")) and word not in {
            "vegetable",
            "table",
            "cable",
            "dish",
            "fish",
            "jellyfish",
        }:
            return "J"
    return "N"


def plural(noun: str) -> bool:
    """Does the noun look like a plural?"""
    return noun in IRREGULAR_PLURALS or (
        noun.endswith("s") and noun not in SINGULAR_IN_S and not noun.endswith(("ss", "us"))
    )
