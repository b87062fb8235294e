"""Loss-of-plasticity analysis of sweep directories. Imports neither Ray nor PyTorch.

    import analysis

    scored = analysis.score("results", margin=0.2)     # one row per cell; other thresholds need no new run
    scored["verdict"].value_counts()                     # plastic, lost, untrainable, diverged, ...
    analysis.symptom_table(scored)                     # how often symptoms come with a loss, and without one
    figure = analysis.plot_map(scored, x="lr", y="depth", value="lost")
    analysis.save_figure(figure, "map.pdf", analysis.provenance(scored))

    table = analysis.map_table(scored, x="lr", y="depth", value="lost")
    table[["lr", "depth", "n", "lost", "share", "low", "high"]]     # the numbers behind the map

    where = {"depth": [2], "lr": [0.05, 0.2]}          # field to the values that it may have
    cells = analysis.select(analysis.load_cells("results"), where)
    tasks = analysis.load_tasks("results", where=where)
    analysis.plot_curves(cells, tasks).savefig("curves.png")
    analysis.plot_layers(analysis.iter_blocks("results", where)).savefig("layers.png")
    analysis.write_report("results", "report.html")    # one page to explore in a browser

Scores carry the criterion that they were made with in `DataFrame.attrs`. Figures, captions and metadata take it from
there.

    load_cells, load_tasks, load_layers, load_requested, select    tidy frames
    iter_blocks                                                    arrays, streamed from stores of any size
    score, score_cells, LossCriterion, criterion_of, with_criterion, symptom_table    scores per cell
    map_table, difference_table                                    the numbers behind a map
    plot_map, plot_difference, plot_curves, plot_layers            figures
    provenance, save_figure                                        figures for print, with how they were made
    write_report                                                   one HTML page to explore a sweep

The command `lop-analysis` does the same from a shell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lop_sweep.lazy import attach

if TYPE_CHECKING:
    from analysis.data import iter_blocks as iter_blocks
    from analysis.data import load_cells as load_cells
    from analysis.data import load_layers as load_layers
    from analysis.data import load_requested as load_requested
    from analysis.data import load_tasks as load_tasks
    from analysis.data import select as select
    from analysis.plot import difference_table as difference_table
    from analysis.plot import map_table as map_table
    from analysis.plot import plot_curves as plot_curves
    from analysis.plot import plot_difference as plot_difference
    from analysis.plot import plot_layers as plot_layers
    from analysis.plot import plot_map as plot_map
    from analysis.plot import provenance as provenance
    from analysis.plot import save_figure as save_figure
    from analysis.report import write_report as write_report
    from analysis.scoring import LossCriterion as LossCriterion
    from analysis.scoring import criterion_of as criterion_of
    from analysis.scoring import score as score
    from analysis.scoring import score_cells as score_cells
    from analysis.scoring import symptom_table as symptom_table
    from analysis.scoring import with_criterion as with_criterion

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "data": ["iter_blocks", "load_cells", "load_layers", "load_requested", "load_tasks", "select"],
        "plot": [
            "difference_table",
            "map_table",
            "plot_curves",
            "plot_difference",
            "plot_layers",
            "plot_map",
            "provenance",
            "save_figure",
        ],
        "report": ["write_report"],
        "scoring": ["LossCriterion", "criterion_of", "score", "score_cells", "symptom_table", "with_criterion"],
    },
)
