"""The subcommands of TTD: the name of each, which is its file's, and what it is for."""

COMMANDS = {
    "export_merged": "write the weights of a run with its adapters merged: export_merged RUN --out FILE",
    "prune": "keep the pairs of shards that fit together best: prune --config FILE --out FOLDER",
}
