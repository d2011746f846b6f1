"""The commands `history`, `layers` and `search-plot`: an overview of a run, a network and a search."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from minidl.cli.flags import add_trained_flags
from minidl.cli.parser import Command, Parser
from minidl.cli.pictures import Pictures, add_output_flags, add_run_flags, make_folder, read_subject, say_written
from minidl.data.naming import stem
from minidl.errors import UsageError
from minidl.storage.files import own_folder
from minidl.text.calls import call
from minidl.text.columns import align
from minidl.text.console import print_lines
from minidl.text.plural import counted


def history(args: Namespace) -> int:
    """Draws accuracy and loss over the epochs of a run, with the best epoch marked."""
    from minidl.visual.figures import save_history

    subject = read_subject(args)
    pictures = Pictures(args, subject)
    if not (rows := subject.checkpoint.state.history):
        raise UsageError(f"{subject.checkpoint.path}: no epoch is finished yet")
    path = pictures.path("history")
    save_history(path, rows, f"{subject.about.model} on {stem(subject.about.config['data'])}")
    return say_written([path])


def layers(args: Namespace) -> int:
    """Lists the layers that can be looked at, with the shape of their output and their units."""
    from minidl.visual.truncate import layer_table

    subject = read_subject(args)
    rows = [(row.name, "x".join(map(str, row.shape)), str(row.units)) for row in subject.layers]
    print_lines(*align([("layer", "output", "units"), *rows], left=1).splitlines())
    every = layer_table(subject.model, tuple(subject.about.image_shape), leaves=True)
    if parts := [row.name for row in every if row not in subject.layers]:
        print_lines(f"and the parts of each block, such as {parts[0]}")
    return 0


def search_plot(args: Namespace) -> int:
    """Draws the trials of a search: learning rate, weight decay and accuracy (the paper's Figure 3)."""
    from minidl.training.search import read_plan
    from minidl.training.study import read_trials
    from minidl.visual.file_names import file_name
    from minidl.visual.search_plots import save_search

    folder = Path(args.folder)
    rows, config = read_trials(folder), read_plan(folder).config
    name = file_name([folder.resolve().name if args.output else None, "search"], {})
    place = make_folder(Path(args.output)) if args.output else own_folder(folder, "figures")
    path = place / f"{name}.{args.format}"
    trials, epochs = counted(len(rows), "trial"), counted(config.epochs, "epoch")
    title = f"{trials} of {config.model} on {stem(config.data)}, {epochs}"
    save_search(path, rows, title)
    return say_written([path])


def _add_history_flags(parser: Parser) -> None:
    add_run_flags(parser, images=False)
    parser.set_defaults(checkpoint="last")  # `best` ends with the best epoch


def _add_layers_flags(parser: Parser) -> None:
    add_trained_flags(parser)


def _add_search_plot_flags(parser: Parser) -> None:
    parser.add_argument("folder", metavar="FOLDER", help=f"of a search (`{call('search')}`)")
    add_output_flags(parser, "figures/ of the search")


HISTORY = Command(history, _add_history_flags)
LAYERS = Command(layers, _add_layers_flags)
SEARCH_PLOT = Command(search_plot, _add_search_plot_flags)
