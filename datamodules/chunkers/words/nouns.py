"""Nouns: those that end like other words, plurals, and heads that need care."""

from __future__ import annotations

from datamodules.chunkers.words import word_list

NOUNS_IN_ING = word_list("""
    building clothing wedding ceiling railing ring string king wing thing something spring earring awning
    evening morning sling sibling duckling icing lighting siding bling viking underling gosling blessing
    outing ping wring plumbing scaffolding netting bedding carving crossing clearing opening drawing painting
    offspring landing meeting dwelling piercing marking dressing lightning pudding seating shilling paving
    tubing styling flooring rigging covering frosting stuffing stocking wiring beijing boeing mooring setting
    gathering fencing sting zing housing feeling ending darling starling sterling flooding decking padding
    greeting packaging outbuilding topping feeding
""")
# Words in -ing that are a noun or a verb.
AMBIGUOUS_ING_NOUNS = word_list("""
    painting drawing crossing meeting landing gathering fencing opening carving dressing feeding setting
    lighting covering
""")
NOUNS_IN_ED = word_list("""
    bed sled shed seed weed breed speed red need reed steed bobsled dogsled kindred watershed moped biped
    infrared tumbleweed seaweed feed
""")
NOUNS_IN_LY = word_list("""
    family fly butterfly jelly belly dragonfly trolley lily assembly bully rally ally monopoly gully firefly
    italy july supply dolly
""")
# Words in -s that are no plurals.
SINGULAR_IN_S = word_list("""
    glass grass dress bus class moss cross tennis gymnastics harness mattress canvas princess waitress hostess
    actress compass cactus circus chess bass brass press boss mess fitness lacrosse hibiscus octopus platypus
    walrus virus campus iris series species news gas lens kiss pass address darkness wilderness business
    process ross jesus christmas his its this is has was as us texas stewardess goddess thus less across toss
""")
# Trouser-like nouns take no singular: "a shorts" is an error that captions make, so that the plural ending
# does not make it a verb.
PLURAL_ONLY = word_list("""
    pants shorts jeans trunks glasses sunglasses goggles scissors pajamas tights clothes binoculars overalls
    khakis sports stairs headphones
""")
IRREGULAR_PLURALS = word_list("""
    people men women children geese feet teeth mice police sheep deer cattle firemen policemen policewomen
    fishermen snowmen oxen workmen
""")
# Nouns of those who do something.
ANIMATE = word_list("""
    man woman boy girl child kid baby toddler infant person guy lady gentleman lad teen teenager adult youth
    couple family group crowd team band dog puppy cat kitten horse bird duck cow bull elephant monkey animal
    bear player worker female male someone somebody everyone fireman policeman officer soldier chef waiter
    waitress bride groom mother father mom dad grandmother grandfather brother sister friend artist musician
    guitarist cyclist athlete gymnast tourist student skier surfer skater snowboarder skateboarder biker rider
    runner swimmer dancer singer performer climber hiker driver batter pitcher catcher golfer fisherman vendor
    doctor nurse clown model
""")
# Singular subjects that take a verb without -s as readily.
COLLECTIVES = word_list("couple family group crowd team band pair class audience police")
# X of "X of Y" that is no object of its own: it counts, packs, pictures or places Y.
TRANSPARENT = word_list("""
    group groups crowd crowds pair pairs pile piles set sets bunch bunches lot lots couple couples row rows
    line lines stack stacks piece pieces number series flock flocks herd herds team band pack packs bundle
    heap collection variety assortment array selection handful cluster clump bouquet flight patch patches
    gathering mass load loads sheet slice slices strip strips chunk block blocks plenty host swarm school
    dozen dozens hundreds thousands majority rest kind type sort bit ton tons trio class section part portion
    half glass glasses cup cups mug mugs bottle bottles can cans bowl bowls plate plates bucket buckets bag
    bags basket baskets box boxes jar jars pitcher pitchers tray trays spoonful mouthful roll rolls bale bales
    loaf slab pot pots carton cartons tub crate crates picture pictures photo photos photograph image images
    closeup close-up view views shot shots portrait drawing painting sketch reflection side sides edge edges
    top tops bottom middle center centre back front end ends base corner corners midst foot surface rear
    outskirts body bodies sorts kinds types foreground background
""")
# Heads that name no object when they stand alone.
SETTINGS = word_list("""
    front background foreground distance air midair mid-air way time day night morning afternoon evening
    midday dusk dawn middle midst side edge end part lot kind sort fun place action rest
""")
# Nouns of two words, where the last alone would name another thing.
_COMPOUNDS = (
    "teddy bear",
    "hot dog",
    "ice cream",
    "sea lion",
    "prairie dog",
    "polar bear",
    "traffic light",
    "stop sign",
    "fire hydrant",
    "parking meter",
    "cell phone",
    "baseball bat",
    "tennis racket",
    "computer mouse",
    "wine glass",
    "palm tree",
    "police officer",
    "construction worker",
    "stuffed animal",
)
COMPOUNDS = frozenset(compound + ending for compound in _COMPOUNDS for ending in ("", "s", "es"))
