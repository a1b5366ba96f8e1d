"""The stage `report`: one HTML page about the whole run. Writes reports/report.html."""

from datetime import UTC, datetime
from pathlib import Path

from genai_core.data.dataset.dataset import load_dataset
from genai_core.reporting.page import Page, render_page
from genai_core.reporting.summary import summarise
from tasks import report_parts as parts
from tasks.context import new_folder, running
from tasks.report_lineage import lineage_svg
from tasks.report_robustness import read_robustness
from tasks.report_searches import read_searches

PREPARED, AUGMENTED, REPORTS = Path("data/prepared"), Path("data/augmented"), Path("reports")


def main() -> None:
    with running("report", writes_cost=False) as context:  # this stage reads the costs of all others
        config = context.config
        prepared, augmented = load_dataset(PREPARED), load_dataset(AUGMENTED)
        candidate = parts.read_candidate()
        models = parts.read_models(list(config.models))
        summary = summarise([model.measured for model in models], candidate.weights_sha256)
        real = parts.real_pictures(prepared, augmented, config.report.grid_images)
        generated = parts.generated_picture(config.report.grid_images)
        graph = parts.read_graph(list(config.models))
        page = Page(
            title=config.report.title,
            created=datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC"),
            summary=summary,
            hero=generated,
            comparison=(*real, generated),
            trainings=tuple(parts.read_training(model) for model in models),
            robustness=read_robustness(models),
            lineage=lineage_svg(prepared, augmented, models),
            dag=graph.svg,
            dag_missing=graph.missing,
            costs=graph.costs,
            versions=parts.versions(prepared, augmented, summary, candidate),
            parameters=parts.parameters(config),
            searches=read_searches(),
        )
        with new_folder(REPORTS) as folder:
            (folder / "report.html").write_text(render_page(page), encoding="utf-8")
        print(f"report: {REPORTS / 'report.html'}")


if __name__ == "__main__":
    main()
