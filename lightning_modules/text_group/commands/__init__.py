"""The subcommands of text group discovery: the name of each, which is its file's, and what it is for."""

COMMANDS = {
    "spans": "baselines of groups of words, judged on marked phrases: spans --spans FILE",
    "vectors": "GroupViT's vectors of images, computed once: vectors --images DIR --weights FILE --out DIR",
}
