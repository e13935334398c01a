"""Adjectives, and colours."""

from __future__ import annotations

from datamodules.chunkers.words import word_list

COLOURS = word_list("""
    red blue green yellow orange purple pink black white brown gray grey tan beige gold silver maroon navy
    turquoise teal violet khaki burgundy crimson magenta lavender fuchsia camouflage camo plaid denim blond
    blonde brunette redhead scarlet indigo
""")
# Adjectives that can stand for a noun.
NOMINAL_ADJECTIVES = word_list("""
    male female adult elderly asian african american hispanic european indian chinese japanese mexican native
    caucasian oriental korean african-american teenage teen senior junior infant toddler newborn islamic
    muslim arab british french german italian spanish russian vietnamese thai amish tan military amateur
    professional individual plastic metal wood leather concrete light
""")
ADJECTIVES = word_list("""
    small large big little tiny huge giant enormous massive gigantic miniature mini tall short long low high
    deep shallow wide narrow thick thin broad slim skinny fat chubby heavy dark bright pale dim neon
    fluorescent vivid pastel young old older elder new modern ancient antique vintage middle-aged aged
    teenaged youthful pregnant bald hairy furry fluffy fuzzy shaggy curly wavy straight bushy spiky
    short-haired happy sad angry serious silly funny goofy playful cheerful joyful excited lonely tired sleepy
    curious scared nervous calm busy bored lazy wet dry muddy dusty dirty clean messy sandy rocky snowy icy
    grassy leafy mossy stony hilly mountainous watery foamy murky misty foggy smoky cloudy sunny rainy windy
    stormy hazy clear cold hot warm cool frozen snow-covered soft hard smooth rough bumpy sharp flat round
    square circular oval rectangular triangular curved steep sloped vertical horizontal diagonal empty full
    open closed vacant abandoned crowded beautiful pretty cute gorgeous handsome ugly lovely nice good great
    bad pleasant attractive elegant stylish fancy casual formal traditional ethnic religious public private
    urban rural suburban local foreign exotic tropical wild domestic outdoor indoor aerial wooden woolen
    woollen golden metallic rusty shiny glossy sparkly transparent translucent opaque colorful colourful
    multicolored multi-colored colored coloured tri-colored striped stripy stripey spotted dotted checkered
    checked flowered floral patterned plain solid sleeveless shirtless topless barefooted barechested bare
    bare-chested naked nude headless homeless cordless endless fallen broken torn worn ripped ragged tattered
    loose tight baggy long-sleeved short-sleeved strapless hooded bearded mustached helmeted costumed
    uniformed bespectacled tattooed wooded forested carpeted paved unpaved cobbled cobblestone fenced tiled
    grassed armed elevated raised sunken stuffed inflatable portable mobile electric electronic electrical
    mechanical manual musical acoustic digital athletic sporty scenic historic historical famous popular
    important special different similar same identical matching unique strange odd unusual weird typical
    various main major minor single double triple multiple upper lower inner outer middle central left right
    rear next last final entire whole other such own real fake artificial natural fresh raw ripe rotten
    delicious tasty sweet sour spicy frosty stringy makeshift unseen unidentified unknown visible nearby
    distant remote far-off adjacent opposite opposing parallel surrounding neighboring upcoming oncoming
    incoming ongoing interesting amazing stunning dangerous safe brave strong weak powerful muscular fit
    healthy sick injured ill handicapped disabled blind deaf dead asleep wealthy poor rich cheap expensive
    free alcoholic orthodox medical industrial commercial residential agricultural educational political
    social cultural national international federal municipal royal holy sacred catholic christian buddhist
    hindu jewish nordic western eastern northern southern fellow grown grown-up unhappy quiet noisy loud
    silent peaceful intense extreme competitive aggressive cautious careful careless swift quick slow fast
    rapid sudden brief lively energetic dynamic ornate decorative intricate elaborate abstract artistic
    creative simple complex complicated basic rustic quaint cozy comfortable rugged barren desolate deserted
    lush dense sparse overgrown thorny prickly bloody gory creepy scary spooky dried sliced canned bottled lit
    dimly-lit unlit well-dressed well-lit overcast overweight underweight obese slender petite lean tanned
    fair-skinned dark-skinned light-skinned freckled oversized undersized full-size life-size medium
    medium-sized mid-sized average regular standard ordinary normal proper original navy-blue off-white
    two-story one-piece two-piece upside-down run-down worn-out knit quilted sheer lacy frilly fleece-lined
    beaded suspended motorized non-motorized four-wheeled two-wheeled three-wheeled wheeled snowcapped
    snow-capped sunlit moonlit backlit uneven grumpy gentle tame rabid stray leashed muzzled domesticated
    adorable soapy bubbly sticky greasy slippery creamy crunchy frothy vast spacious cramped tangled rowdy
    unruly drunk drunken sober dejected patriotic festive romantic intimate affectionate solitary lone tibetan
    greek roman irish scottish dutch swedish cuban brazilian egyptian turkish arabian israeli victorian gothic
    retro better best worse worst scruffy late glad
""")
# Adjectives that have a comparative and a superlative of one word.
GRADED = word_list("""
    small large big tiny huge tall short long low high deep wide narrow thick thin slim skinny fat heavy light
    dark bright pale young old new curly happy sad silly funny wet dry dirty clean rocky cold hot warm cool
    soft hard smooth rough sharp flat steep pretty cute nice strong fast slow close fancy busy
""")
# Graded adjectives that double their last consonant.
DOUBLING = word_list("big fat wet hot thin slim sad flat")
# Words in -ly that are no adverbs.
ADJECTIVES_IN_LY = word_list("""
    elderly curly lovely friendly ugly early lonely silly woolly wooly hilly bubbly frilly lively chilly daily
    weekly orderly cuddly smelly
""")
# Words that end like adjectives, and are none.
NOUNS_IN_ABLE_OR_ISH = word_list("vegetable table cable dish fish jellyfish")
