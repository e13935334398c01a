"""Verbs in their base form, irregular forms, and those -ing and -ed forms that behave in their own way."""

from __future__ import annotations

from datamodules.chunkers.words import word_list

VERBS = word_list("""
    wear sit hold carry eat sing speak read write listen bring take give make put keep find lose buy enjoy
    enter appear become begin bend break build celebrate choose collect compete concentrate connect consist
    contain continue converse create demonstrate describe destroy discuss embrace emerge engage entertain
    examine explain explore express extend gather gesture go grow hang happen have hear hide include inspect
    instruct interact interview investigate join juggle kneel know lay learn lie live maneuver meet move
    navigate observe occupy operate overlook perform pick prepare pretend protect provide receive relax remove
    resemble retrieve say see sell send shake situate snuggle spread squeeze stare steer surround teach tell
    think throw tilt unload wade wander want welcome wield pay perch pour propel proceed attach attend admire
    adjust applaud arrange assemble assist attempt await blow bounce cling clutch cheer chew chop clean crouch
    cuddle dangle decorate depict descend devour dine dig direct dribble drag dump feature fall feed fetch
    fill fix flee fly gallop gaze giggle glide grasp greet grill grin grip hit hover huddle hurl ignore iron
    jog kiss laugh lead lean leap lick lounge lunge march munch nap paddle participate peer peek peddle pedal
    pet photograph play plunge poke pose pounce prance preach prop protrude pull push raise reach recline
    reflect rehearse remain repair rest ride roam run rush scale scatter scream scrub seat serve shout show
    skip slam sleep slurp smell smile smoke sniff snorkel soar socialize spin splash sprint squat stand stick
    straddle stretch strike stroll strum struggle stumble swallow swim swing talk taunt tend toss tote touch
    tow travel traverse trot try tug tumble twirl unwrap vault visit wait walk wash watch weave whisper win
    wrap wrestle yawn yell zoom chase climb cook dance dive draw drink drive fight follow frolic grab hike hug
    jump kick look mow paint attack approach arrive ascend bathe beg balance bark bask bite catch chat clap
    compare consume construct cut dash dip dodge drop exercise float flip fold gnaw grind help hop knit lasso
    lower nurse offer pass peel plow point practice press race roll sail shovel shop sift sketch ski skate
    slide snowboard stop surf sweep swirl tackle traipse trek turn twist type wave weld wipe chisel crawl
    cross doze dunk erect fling hitch hurdle kayak litter loiter meander peruse pray prune rappel rinse row
    scoop sew shave shear shine shoot spray squint stir strain stride strut swat sway tap taste tease tiptoe
    trim trudge unfold use vacuum view wag whittle wiggle windsurf yank sip stoop slouch sunbathe slice
    saunter love close bound adopt chuckle glare scowl frown disappear skim dismount videotape tussle
    advertise
""")
# Verbs that are plain nouns often enough for their neighbours to have a say.
RATHER_VERBS = word_list("""
    walk run play jump ride swim climb kick throw catch dance race slide skate surf ski dive splash drink cook
    cut draw work look watch stare smile laugh pose show talk chat call hug kiss touch pull push drive stop
    rest sleep nap stand lean fall fly leap hop flip turn roll spin twirl grab help wait chase fight follow
    cross travel march practice exercise stretch balance reach drop sweep wash attempt try set crawl row sail
    float cheer toss shoot hit strike swing serve dribble dunk pass tackle wrestle stroll jog sprint dash peek
    gaze sip bite lick sniff visit view press support shop hike cover display feed fold tow point perform
    attack approach grin stick tap tug use leave rise cascade kneel
""")
# Nouns that are verbs often enough for their neighbours to have a say.
RATHER_NOUNS = word_list("""
    bike fish water hand face park line plant dress light fire crowd group guard picture bat bowl shower trail
    dust raft kayak canoe sled fence box camp bow tie sign rope drum stage board drill hammer saw rock stack
    pile wheel train boulder dock head back skateboard snowboard golf pitch paint land trick lift block record
    film pack load parade protest pump brush comb pet nurse check sport list score shovel leash mount name
    side step hose frame form puddle paddle ring string ramp spray shade shave smoke milk anchor ski surf
    guide place pocket snack snow bus house study store stream circle cycle trim toy wave wakeboard battle
    blast bolt mill test sample
""")
IRREGULAR_PAST = word_list("""
    sat stood wore ran ate rode held threw caught swam sang spoke took gave made kept lost bought began built
    went grew hung lay laid led left met sold sent shook slept spun swung taught told thought won wound drove
    drew drank fell flew fought hid bent brought came found forgot knew meant read rang shot sprang stuck
    struck swept wept wrote
""")
IRREGULAR_PARTICIPLES = word_list("""
    worn held built made taken seen shown thrown driven drawn eaten written caught hung bent spread lit strewn
    sewn woven known given hidden ridden parked frozen cut clad dressed surrounded covered shot tied laden
    blown stolen swollen
""")
# Forms that describe the noun behind them: "smiling children".
ADJECTIVAL_ING = word_list("""
    smiling laughing crying screaming sleeping aging surrounding opposing flowing falling setting rising
    crashing rushing moving flashing glowing burning blooming flowering exciting remaining leading visiting
    overhanging towering winding rolling crumbling breaking cooling working floating barking growling snarling
    dancing running swirling cascading hanging passing waiting adoring cheering charging shining gleaming
    budding sprawling decaying contrasting trailing melting flying protruding marching
""")
# Forms that make a compound with a noun of GERUND_HEADS: "swimming pool".
GERUND_MODIFIERS = word_list("""
    swimming bathing climbing shopping fishing racing parking rowing skating dining hiking training running
    boxing wrestling riding cooking skiing diving vending washing sewing living bowling welding landing
    rocking sleeping walking waiting bouncing jumping serving cutting playing dancing hunting camping painting
    drinking watering sailing surfing recording driving sparring jogging fencing weaving folding digging
    snowboarding skateboarding biking batting hearing reading measuring mixing frying baking changing meeting
    dressing viewing wrapping hitting crossing sledding magnifying rolling swinging cycling golfing building
    wedding flying gardening
""")
GERUND_HEADS = word_list("""
    bag bags suit suits trunks pool pools shoe shoes gear room rooms machine machines equipment chair chairs
    lot lots boat boats pole poles rod rods helmet helmets wall walls car cars net nets cap caps costume
    costumes cart carts mall center centre area areas board boards hall stick sticks path paths trail table
    tables ring rink mat mats goggles uniform uniforms outfit outfits ramp ramps bike bikes dog dogs horse
    horses harness garage meter meters space spaces stand stands team line lines ball bar bars alley pit range
    track class studio field cage cages boots clothes attire pants shorts shirt shirts gloves mask vest tank
    platform house castle structure fountain can glasses aid aids glass pan pot lane lanes bull stone fish
    slope slopes party trip vessel pads pin pins supplies utensils light lights deck pond hole competition
    event wire paper park parks
""")
# Heads that are rather the object of the -ing form where a subject stands before it: "a man riding
# horses".
GERUND_OBJECTS = word_list("""
    horse horses bike bikes dog dogs ball boat boats cart carts car cars bull fish castle trail path paths
    ramp ramps lines line slope slopes board boards pole poles wall walls clothes can glasses field machine
    equipment table tables
""")
# Forms that make an adjective with the noun before them: "tree lined".
COMPOUND_ED = word_list("""
    covered colored coloured haired shaped lined striped sleeved skinned filled sized clad faced eyed legged
    toned themed styled decorated trimmed rimmed wheeled aged patterned brimmed breasted tailed coated powered
    printed painted fenced checkered spotted topped headed footed dyed collared hooded studded laden soaked
    paved chested walled handled infested drawn capped necked lit roofed looking fashioned made soled sided
    bodied tiled pulled
""")
