"""The subcommands of phrase alignment."""

COMMANDS = {
    "export_head": "write the trained head of a run as a model of its own: export_head RUN --out FOLDER/NAME"
}
